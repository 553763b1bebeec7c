"""``stemweave evaluate``: one command per table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stemweave.cli.options import load, names_in, whole_numbers, with_options
from stemweave.errors import InputError

if TYPE_CHECKING:
    from stemweave.data.songs import Song
    from stemweave.evaluation.embeddings import Embedding
    from stemweave.evaluation.results import Evaluation
    from stemweave.model import StemModel

Data = Annotated[Path, typer.Argument(help="Data set: folder with a manifest or song folders.")]
Model = Annotated[str | None, typer.Option(help="Model folder or hub name (bundled if not given).")]
Split = Annotated[str, typer.Option(help="Split of the data set, or 'all'.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the report.")]
Steps = Annotated[int | None, typer.Option(min=1, help="Network passes (model's default).")]
Sampler = Annotated[str | None, typer.Option(help="ddim, dpm++ or unipc (model's default).")]
Seed = Annotated[int, typer.Option(help="Piece i uses seed + i.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing report.")]
Vggish = Annotated[
    str | None, typer.Option(help="VGGish state dict (path or https): adds distances in VGGish.")
]
Clap = Annotated[str | None, typer.Option(help="CLAP folder or hub name: adds distances in CLAP.")]
Segments = Annotated[int, typer.Option("--segments", "-n", min=1, help="How many.")]
Several = Annotated[int, typer.Option("--segments", "-n", min=2, help="How many.")]

app = typer.Typer(help="Measure a model on a data set.", no_args_is_help=True)


@dataclass(frozen=True, kw_only=True)
class Report:
    """Options of every table: on which songs, and where the report goes."""

    data: Data
    out: Out = None
    split: Split = "all"
    overwrite: Overwrite = False

    def songs(self, pipe: StemModel) -> list[Song]:
        """Those to measure on; raises ``InputError`` if the report would replace another."""
        from stemweave.evaluation.report import require_new_folder
        from stemweave.evaluation.segments import find_songs

        if self.out is not None:
            require_new_folder(self.out, self.overwrite)
        return find_songs(self.data, pipe.separated_stems, self.split)

    def publish(
        self, evaluation: Evaluation, model: str | None, compared: Sequence[str] = ()
    ) -> None:
        from stemweave.evaluation.report import publish

        publish(evaluation, model or "bundled", self.data, self.split, self.out, compared)


@dataclass(frozen=True, kw_only=True)
class ModelReport(Report):
    """Options of tables of one model."""

    model: Model = None

    def measure(
        self,
        of_model: Callable[..., Evaluation],
        *size: int,
        sampler: str | None = None,
        **own: Any,
    ) -> None:
        """Publish what ``of_model`` finds in the songs."""
        pipe = load(self.model, sampler=sampler)
        self.publish(of_model(pipe, self.songs(pipe), *size, progress=True, **own), self.model)


@dataclass(frozen=True, kw_only=True)
class DrawnReport(ModelReport):
    """Options of tables of what one model draws."""

    steps: Steps = None
    sampler: Sampler = None
    seed: Seed = 0

    def draw(self, of_model: Callable[..., Evaluation], *size: int, **own: Any) -> None:
        drawn: dict[str, Any] = {"sampler": self.sampler, "steps": self.steps, "seed": self.seed}
        self.measure(of_model, *size, **drawn, **own)


def _embeddings(vggish: str | None, clap: str | None = None) -> list[Embedding]:
    from stemweave.evaluation.embeddings import ClapEmbedding, MusicnnEmbedding, VggishEmbedding

    chosen: list[Embedding] = [MusicnnEmbedding()]
    if vggish:
        chosen.append(VggishEmbedding(vggish))
    if clap:
        chosen.append(ClapEmbedding(clap))
    return chosen


@app.command("separation")
@with_options
def separation_command(
    report: Report,
    models: Annotated[
        list[str] | None,
        typer.Option("--model", help="Folder, hub name, module:function; more are compared."),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Row or model that the others' differences are to.")
    ] = None,
    metrics: Annotated[list[str] | None, typer.Option("--metric", help="module:function.")] = None,
    methods: Annotated[
        str | None, typer.Option(help="Of spectra, mask, diffusion and vocoder; all that it has.")
    ] = None,
    segments: Segments = 48,
    steps: Steps = None,
    sampler: Sampler = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance weight w.")] = None,
    seed: Seed = 0,
) -> None:
    """Per stem: log-mel MSE and L1, SI-SDR improvement, SDR, beside baselines and limits."""
    from stemweave.evaluation import separation, systems
    from stemweave.io.own_code import imported

    own, (model, *further) = systems.functions_and_models(models or ())
    pipe = load(model, sampler=sampler)
    songs = report.songs(pipe)
    scored = separation.scored_stems(pipe, songs), pipe.log_mel.config.sample_rate
    compared_to = {name: load(name, sampler=sampler) for name in further}
    others = systems.separators(own, compared_to, *scored, steps=steps, guidance=guidance)
    chosen = None if methods is None else names_in(methods)
    evaluation = separation.evaluate_separation(
        pipe,
        songs,
        segments,
        steps=steps,
        guidance=guidance,
        others=others,
        metrics={name.partition(":")[2]: imported(name) for name in metrics or ()},
        methods=chosen,
        seed=seed,
        num_examples=4 if report.out else 0,
        progress=True,
    )
    first = separation.METHOD_ROWS[(chosen or pipe.methods)[0]]
    systems.put_differences(evaluation.table, first if baseline == model else baseline)
    compared = ("true stems", separation.METHOD_ROWS[pipe.methods[0]], separation.VOCODED_ROW)
    report.publish(evaluation, ", ".join([model, *further, *own]), compared)


@app.command("generation")
@with_options
def generation_command(
    report: DrawnReport,
    clips: Annotated[int, typer.Option("--clips", "-n", min=2, help="How many.")] = 300,
    kinds: Annotated[
        str | None,
        typer.Option(help="Of new, score, sheet, nothing: a row each; new and score if absent."),
    ] = None,
    vggish: Vggish = None,
    clap: Clap = None,
) -> None:
    """FAD, FAD-inf and KAD of generated mixtures, with a real floor and ceilings beside.

    With songs that have sheets and scores: variety, and whether these are obeyed.
    """
    from stemweave.evaluation.generation import evaluate_generation
    from stemweave.evaluation.pieces import KIND_ROWS

    chosen = None if kinds is None else names_in(kinds)
    for kind in chosen or ():
        if kind not in KIND_ROWS:
            raise InputError(f"--kinds takes new, score, sheet, nothing, not {kind!r}")
    embeddings = _embeddings(vggish, clap)
    report.draw(evaluate_generation, clips, embeddings=embeddings, kinds=chosen)


@app.command("arrangement")
@with_options
def arrangement_command(report: DrawnReport, segments: Several = 32, vggish: Vggish = None) -> None:
    """All subsets of stems given the rest: sub-FAD, and how well they keep time and harmony."""
    from stemweave.evaluation.arrangement import evaluate_arrangement

    report.draw(evaluate_arrangement, segments, embedding=_embeddings(vggish)[-1])


@app.command("steps")
@with_options
def steps_command(
    report: ModelReport,
    segments: Annotated[
        int, typer.Option("--segments", "-n", min=0, help="Separated ones; 0: no separation.")
    ] = 48,
    clips: Annotated[int, typer.Option(min=0, help="Generated ones; 0: no generation.")] = 64,
    samplers: Annotated[str, typer.Option(help="Of ddim, dpm++, unipc.")] = "ddim,dpm++,unipc",
    separation: Annotated[str, typer.Option(help="Numbers of passes.")] = "1,2,4,8",
    generation: Annotated[str, typer.Option(help="Numbers of passes.")] = "8,16,25,50",
    vggish: Vggish = None,
    seed: Seed = 0,
) -> None:
    """Quality by number of network passes, for each sampler: what fewer passes cost."""
    from stemweave.evaluation.steps import evaluate_steps

    report.measure(
        evaluate_steps,
        separation_steps=whole_numbers("--separation", separation),
        generation_steps=whole_numbers("--generation", generation),
        embedding=_embeddings(vggish)[-1],
        samplers=names_in(samplers),
        num_segments=segments,
        num_clips=clips,
        seed=seed,
    )


@app.command("editing")
@with_options
def editing_command(
    report: DrawnReport,
    segments: Several = 16,
    varied: Annotated[
        int | None, typer.Option("--varied", min=1, help="How many of them to vary (all).")
    ] = None,
) -> None:
    """Joints of edited and extended songs beside real ones; distance by strength of variation."""
    from stemweave.evaluation.editing import evaluate_editing

    report.draw(evaluate_editing, segments, num_variations=varied)


@app.command("vocoder")
@with_options
def vocoder_command(report: ModelReport, segments: Segments = 48) -> None:
    """Copy synthesis: true log-mel in, waveform out, beside Griffin-Lim."""
    from stemweave.evaluation.copy_synthesis import evaluate_copy_synthesis

    report.measure(evaluate_copy_synthesis, segments)


@app.command("analysis")
@with_options
def analysis_command(
    report: ModelReport,
    count: Annotated[int, typer.Option("--songs", "-n", min=1, help="How many.")] = 64,
    seconds: Annotated[
        float | None, typer.Option(min=10, help="Of each song's beginning; all if absent.")
    ] = None,
    beside: Annotated[str | None, typer.Option(help="Libraries; all installed if absent.")] = None,
) -> None:
    """Beats, bars, key, chords and notes that the analyser finds, beside libraries."""
    from stemweave.evaluation.analysis import evaluate_analysis

    names = None if beside is None else names_in(beside)
    report.measure(evaluate_analysis, count, seconds=seconds, beside=names)


@app.command("speed")
def speed_command(
    out: Out = None,
    model: Model = None,
    repeats: Annotated[int, typer.Option(min=1, help="Timed calls of each task.")] = 5,
    overwrite: Overwrite = False,
) -> None:
    """Seconds per window of every task, and parameters. Let nothing else run meanwhile."""
    from stemweave.evaluation.report import require_new_folder
    from stemweave.evaluation.speed import evaluate_speed

    if out is not None:
        require_new_folder(out, overwrite)
    measured = evaluate_speed(load(model), repeats)
    Report(data=Path("noise"), out=out, split="none").publish(measured, model)


@app.command("paper")
@with_options
def paper_command(
    report: DrawnReport,
    segments: Annotated[int, typer.Option("--segments", min=2, help="Separation.")] = 48,
    clips: Annotated[int, typer.Option("--clips", "-n", min=2, help="Generation.")] = 300,
    arranged: Annotated[int, typer.Option("--arranged", min=2, help="Arrangement.")] = 32,
    guidance: Annotated[float | None, typer.Option(help="Separation's weight w.")] = None,
    vggish: Vggish = None,
) -> None:
    """Print Tables I-III in the paper's form; reports of all three go below OUT."""
    from stemweave.evaluation.paper import PaperSizes, evaluate_paper, write_reports

    model, out = report.model, report.out
    pipe = load(model, sampler=report.sampler)
    songs = replace(report, out=out / "separation" if out else None).songs(pipe)
    results, text = evaluate_paper(
        pipe,
        songs,
        PaperSizes(segments, clips, arranged),
        _embeddings(vggish)[-1],
        steps=report.steps,
        guidance=guidance,
        seed=report.seed,
    )
    typer.echo(text)
    if out is not None:
        write_reports(results, model or "bundled", report.data, report.split, out)
