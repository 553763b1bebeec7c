"""``python -m baselines train | evaluate | generation``: see baselines/README.md."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stemweave.cli.console import sentence
from stemweave.errors import InputError

if TYPE_CHECKING:
    from baselines.baseline import Baseline

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Train other systems on our songs for the same CPU time, and score them like ours.",
)

NAMES = ("open_unmix", "htdemucs", "msdm")

Data = Annotated[Path, typer.Argument(help="Data set: folder with a manifest or song folders.")]
Runs = Annotated[
    list[Path] | None, typer.Option("--run", help="Run folder of a baseline; repeatable.")
]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the report.")]
Model = Annotated[str | None, typer.Option(help="Our model (bundled if not given).")]
Split = Annotated[str, typer.Option(help="Split of the data set, or 'all'.")]
Seed = Annotated[int, typer.Option(help="Piece i uses seed + i.")]
MsdmSteps = Annotated[
    int | None, typer.Option(min=1, help="MSDM's sampling steps (its settings' if not given).")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing report.")]


@app.command()
def train(
    name: Annotated[str, typer.Argument(help="open_unmix, htdemucs, msdm or ours")],
    config: Annotated[Path, typer.Argument(help="YAML file, e.g. baselines/configs/msdm.yaml")],
    run: Annotated[Path | None, typer.Option(help="run folder; default runs/<name>")] = None,
    cpu_hours: Annotated[
        float | None, typer.Option(min=0, help="stop after so much CPU time; else the config's")
    ] = None,
    minutes: Annotated[float, typer.Option(min=0, help="stop after so many (0: never)")] = 0,
    device: Annotated[str, typer.Option(help="auto or cpu")] = "auto",
) -> None:
    """Train a baseline, or ours from nothing; started again, it goes on from its checkpoint."""
    if name == "ours":
        from baselines.ours import train_ours

        print(f"{train_ours(config, run or Path('runs/ours')):.2f} CPU-hours")
        return
    if name not in NAMES:
        raise InputError(f"no baseline named {name}: there are {', '.join(NAMES)} and ours")
    from baselines.settings import BaselineSettings
    from baselines.training import BaselineStage
    from stemweave.training.start import load_songs, prepare, start

    settings = prepare(config, kind=BaselineSettings)
    assert isinstance(settings, BaselineSettings)
    budget = settings.section(name).cpu_hours if cpu_hours is None else cpu_hours
    stage = BaselineStage(name, settings, *load_songs(settings), cpu_hours=budget)
    start(stage, settings, run or Path("runs") / name, minutes, device)


def _prepare(
    data: Path,
    runs: list[Path] | None,
    model: str | None,
    split: str,
    out: Path | None,
    overwrite: bool,
    msdm_steps: int | None,
) -> tuple[Any, dict[str, Baseline], Any]:
    """Our pipeline, the baselines by row, the songs."""
    from baselines.evaluation import load_baselines
    from baselines.msdm import MSDM
    from stemweave.evaluation.report import require_new_folder
    from stemweave.evaluation.segments import find_songs
    from stemweave.model import load_model

    if not runs:
        raise InputError("give at least one baseline's run folder with --run")
    if out is not None:
        require_new_folder(out, overwrite)
    pipe = load_model(model)
    models = load_baselines(runs, pipe)
    for baseline in models.values():
        if isinstance(baseline, MSDM) and msdm_steps is not None:
            baseline.num_steps = msdm_steps
    return pipe, models, find_songs(data, pipe.separated_stems, split)


@app.command()
def evaluate(
    data: Data,
    run: Runs = None,
    out: Out = None,
    model: Model = None,
    our_cpu_hours: Annotated[
        float | None, typer.Option(min=0, help="CPU-hours that training our model took.")
    ] = None,
    ours: Annotated[
        Path | None, typer.Option(help="Run folder of 'train ours': a row of equal cost.")
    ] = None,
    split: Split = "all",
    segments: Annotated[int, typer.Option("--segments", "-n", min=1, help="How many.")] = 48,
    msdm_steps: MsdmSteps = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Separation: the table of 'stemweave evaluate separation' with baselines and costs."""
    from baselines.evaluation import compare_separation
    from stemweave.evaluation.report import publish
    from stemweave.evaluation.separation import MASK_ROW

    pipe, models, songs = _prepare(data, run, model, split, out, overwrite, msdm_steps)
    evaluation = compare_separation(
        pipe,
        models,
        songs,
        segments,
        our_cpu_hours=our_cpu_hours,
        ours_of_equal_cost=ours,
        seed=seed,
        num_examples=4 if out is not None else 0,
        progress=True,
    )
    rows = [title + label for title, one in models.items() for label in one.methods]
    compared = ("true stems", MASK_ROW, *rows)
    publish(evaluation, model or "bundled", data, split, out, compared)


@app.command()
def generation(
    data: Data,
    run: Runs = None,
    out: Out = None,
    model: Model = None,
    split: Split = "all",
    clips: Annotated[int, typer.Option("--clips", "-n", min=2, help="How many.")] = 64,
    steps: Annotated[int | None, typer.Option(min=1, help="Our network passes.")] = None,
    msdm_steps: MsdmSteps = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Generation: the table of 'stemweave evaluate generation' with MSDM."""
    from baselines.evaluation import compare_generation
    from stemweave.evaluation.embeddings import MusicnnEmbedding
    from stemweave.evaluation.report import publish

    pipe, models, songs = _prepare(data, run, model, split, out, overwrite, msdm_steps)
    evaluation = compare_generation(
        pipe,
        models,
        songs,
        clips,
        embeddings=[MusicnnEmbedding()],
        steps=steps,
        seed=seed,
        progress=True,
    )
    publish(evaluation, model or "bundled", data, split, out)


def main() -> None:
    """Run the command line; ``InputError`` becomes one line and exit code 2."""
    try:
        app()
    except InputError as error:
        print(f"error: {sentence(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
