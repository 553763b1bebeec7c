"""``stemweave evaluate``: one command per table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stemweave.cli.options import load, names_in, whole_numbers
from stemweave.errors import InputError

if TYPE_CHECKING:
    from stemweave.data.songs import Song
    from stemweave.evaluation.embeddings import Embedding
    from stemweave.evaluation.results import Evaluation

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

evaluate = typer.Typer(help="Measure a model on a data set.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the ``evaluate`` commands to ``app``."""
    app.add_typer(evaluate, name="evaluate")


def _embeddings(vggish: str | None, clap: str | None) -> list[Embedding]:
    from stemweave.evaluation.embeddings import ClapEmbedding, MusicnnEmbedding, VggishEmbedding

    chosen: list[Embedding] = [MusicnnEmbedding()]
    if vggish:
        chosen.append(VggishEmbedding(vggish))
    if clap:
        chosen.append(ClapEmbedding(clap))
    return chosen


def _songs(data: Path, pipe: Any, split: str, out: Path | None, overwrite: bool) -> list[Song]:
    from stemweave.evaluation.report import require_new_folder
    from stemweave.evaluation.segments import find_songs

    if out is not None:
        require_new_folder(out, overwrite)
    return find_songs(data, pipe.separated_stems, split)


def _finish(
    evaluation: Evaluation,
    model: str | None,
    data: Path,
    split: str,
    out: Path | None,
    compared: tuple[str, ...] = (),
) -> None:
    from stemweave.evaluation.report import publish

    publish(evaluation, model or "bundled", data, split, out, compared)


@evaluate.command("separation")
def separation_command(
    data: Data,
    out: Out = None,
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
    split: Split = "all",
    segments: Annotated[int, typer.Option("--segments", "-n", min=1, help="How many.")] = 48,
    steps: Steps = None,
    sampler: Sampler = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance weight w.")] = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Per stem: log-mel MSE and L1, SI-SDR improvement, SDR, beside baselines and limits."""
    from stemweave.evaluation import comparison, separation, systems
    from stemweave.io.own_code import imported

    own, (model, *further) = systems.functions_and_models(models or ())
    pipe = load(model, sampler=sampler)
    songs = _songs(data, pipe, split, out, overwrite)
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
        num_examples=4 if out else 0,
        progress=True,
    )
    first = separation.METHOD_ROWS[(chosen or pipe.methods)[0]]
    comparison.put_differences(evaluation.table, first if baseline == model else baseline)
    compared = ("true stems", separation.METHOD_ROWS[pipe.methods[0]], separation.VOCODED_ROW)
    _finish(evaluation, ", ".join([model, *further, *own]), data, split, out, compared)


@evaluate.command("generation")
def generation_command(
    data: Data,
    out: Out = None,
    model: Model = None,
    split: Split = "all",
    clips: Annotated[int, typer.Option("--clips", "-n", min=2, help="How many.")] = 300,
    kinds: Annotated[
        str | None,
        typer.Option(help="Of new, score, sheet, nothing: a row each; new and score if absent."),
    ] = None,
    steps: Steps = None,
    sampler: Sampler = None,
    vggish: Vggish = None,
    clap: Clap = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """FAD, FAD-inf and KAD of generated mixtures, with a real floor and ceilings beside.

    With songs that have sheets and scores: variety, and whether these are obeyed.
    """
    from stemweave.evaluation.generation import evaluate_generation
    from stemweave.evaluation.pieces import KIND_ROWS

    chosen: Any = None if kinds is None else names_in(kinds)
    for kind in chosen or ():
        if kind not in KIND_ROWS:
            raise InputError(f"--kinds takes new, score, sheet, nothing, not {kind!r}")
    pipe = load(model, sampler=sampler)
    evaluation = evaluate_generation(
        pipe,
        _songs(data, pipe, split, out, overwrite),
        clips,
        embeddings=_embeddings(vggish, clap),
        kinds=chosen,
        steps=steps,
        seed=seed,
        progress=True,
    )
    _finish(evaluation, model, data, split, out)


@evaluate.command("arrangement")
def arrangement_command(
    data: Data,
    out: Out = None,
    model: Model = None,
    split: Split = "all",
    segments: Annotated[int, typer.Option("--segments", "-n", min=2, help="How many.")] = 32,
    steps: Steps = None,
    sampler: Sampler = None,
    vggish: Vggish = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """All subsets of stems given the rest: sub-FAD, and how well they keep time and harmony."""
    from stemweave.evaluation.arrangement import evaluate_arrangement

    pipe = load(model, sampler=sampler)
    evaluation = evaluate_arrangement(
        pipe,
        _songs(data, pipe, split, out, overwrite),
        segments,
        embedding=_embeddings(vggish, None)[-1],
        steps=steps,
        seed=seed,
        progress=True,
    )
    _finish(evaluation, model, data, split, out)


@evaluate.command("steps")
def steps_command(
    data: Data,
    out: Out = None,
    model: Model = None,
    split: Split = "all",
    segments: Annotated[
        int, typer.Option("--segments", "-n", min=0, help="Separated ones; 0: no separation.")
    ] = 48,
    clips: Annotated[int, typer.Option(min=0, help="Generated ones; 0: no generation.")] = 64,
    samplers: Annotated[str, typer.Option(help="Of ddim, dpm++, unipc.")] = "ddim,dpm++,unipc",
    separation: Annotated[str, typer.Option(help="Numbers of passes.")] = "1,2,4,8",
    generation: Annotated[str, typer.Option(help="Numbers of passes.")] = "8,16,25,50",
    vggish: Vggish = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Quality by number of network passes, for each sampler: what fewer passes cost."""
    from stemweave.evaluation.steps import evaluate_steps

    passes = whole_numbers("--separation", separation), whole_numbers("--generation", generation)
    pipe = load(model)
    evaluation = evaluate_steps(
        pipe,
        _songs(data, pipe, split, out, overwrite),
        embedding=_embeddings(vggish, None)[-1],
        samplers=names_in(samplers),
        separation_steps=passes[0],
        generation_steps=passes[1],
        num_segments=segments,
        num_clips=clips,
        seed=seed,
        progress=True,
    )
    _finish(evaluation, model, data, split, out)


@evaluate.command("editing")
def editing_command(
    data: Data,
    out: Out = None,
    model: Model = None,
    split: Split = "all",
    segments: Annotated[int, typer.Option("--segments", "-n", min=2, help="How many.")] = 16,
    varied: Annotated[
        int | None, typer.Option("--varied", min=1, help="How many of them to vary (all).")
    ] = None,
    steps: Steps = None,
    sampler: Sampler = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Joints of edited and extended songs beside real ones; distance by strength of variation."""
    from stemweave.evaluation.editing import evaluate_editing

    pipe = load(model, sampler=sampler)
    evaluation = evaluate_editing(
        pipe,
        _songs(data, pipe, split, out, overwrite),
        segments,
        num_variations=varied,
        steps=steps,
        seed=seed,
        progress=True,
    )
    _finish(evaluation, model, data, split, out)


@evaluate.command("vocoder")
def vocoder_command(
    data: Data,
    out: Out = None,
    model: Model = None,
    split: Split = "all",
    segments: Annotated[int, typer.Option("--segments", "-n", min=1, help="How many.")] = 48,
    overwrite: Overwrite = False,
) -> None:
    """Copy synthesis: true log-mel in, waveform out, beside Griffin-Lim."""
    from stemweave.evaluation.copy_synthesis import evaluate_copy_synthesis

    pipe = load(model)
    songs = _songs(data, pipe, split, out, overwrite)
    _finish(evaluate_copy_synthesis(pipe, songs, segments, progress=True), model, data, split, out)


@evaluate.command("analysis")
def analysis_command(
    data: Data,
    out: Out = None,
    model: Model = None,
    split: Split = "all",
    count: Annotated[int, typer.Option("--songs", "-n", min=1, help="How many.")] = 64,
    seconds: Annotated[
        float | None, typer.Option(min=10, help="Of each song's beginning; all if absent.")
    ] = None,
    beside: Annotated[str | None, typer.Option(help="Libraries; all installed if absent.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Beats, bars, key, chords and notes that the analyser finds, beside libraries."""
    from stemweave.evaluation.analysis import evaluate_analysis

    pipe = load(model)
    songs = _songs(data, pipe, split, out, overwrite)
    names = beside.split(",") if beside else None
    found = evaluate_analysis(pipe, songs, count, seconds=seconds, beside=names, progress=True)
    _finish(found, model, data, split, out)


@evaluate.command("speed")
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
    _finish(evaluate_speed(load(model), repeats), model, Path("noise"), "none", out)


@evaluate.command("paper")
def paper_command(
    data: Data,
    out: Out = None,
    model: Model = None,
    split: Split = "all",
    segments: Annotated[int, typer.Option("--segments", min=2, help="Separation.")] = 48,
    clips: Annotated[int, typer.Option("--clips", "-n", min=2, help="Generation.")] = 300,
    arranged: Annotated[int, typer.Option("--arranged", min=2, help="Arrangement.")] = 32,
    steps: Steps = None,
    sampler: Sampler = None,
    guidance: Annotated[float | None, typer.Option(help="Separation's weight w.")] = None,
    vggish: Vggish = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Print Tables I-III in the paper's form; reports of all three go below OUT."""
    from stemweave.evaluation.paper import PaperSizes, evaluate_paper, write_reports

    pipe = load(model, sampler=sampler)
    songs = _songs(data, pipe, split, out / "separation" if out else None, overwrite)
    embedding = _embeddings(vggish, None)[-1]
    sizes = PaperSizes(segments, clips, arranged)
    results, text = evaluate_paper(
        pipe, songs, sizes, embedding, steps=steps, guidance=guidance, seed=seed
    )
    typer.echo(text)
    if out is not None:
        write_reports(results, model or "bundled", data, split, out)
