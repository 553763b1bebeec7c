"""The tables of ``stemweave evaluate`` with a row for each baseline, and what each one costs."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from baselines.baseline import Baseline
from baselines.msdm import MSDM
from baselines.ours import load_ours
from baselines.training import BASELINES
from stemweave.data.songs import Song
from stemweave.errors import InputError
from stemweave.evaluation import generation, separation, systems
from stemweave.evaluation.embeddings import Embedding
from stemweave.evaluation.results import Evaluation
from stemweave.evaluation.speed import part_parameters
from stemweave.evaluation.table import Cell, Table

PARAMETERS = "parameters (millions)"
CPU_HOURS = "CPU-hours of training"
SECONDS = "seconds per 10 s of audio"
COST = "cost"
GENERATED = ", generated"


def load_baseline(run: Path) -> Baseline:
    """The trained baseline of a run folder, or of its export itself.

    Raises:
        InputError: if there is none, or it is of no known class.
    """
    folder = run / "export" if (run / "export").is_dir() else run
    path = folder / "config.json"
    if not path.exists():
        raise InputError(f"no trained baseline in {run}: give the --run folder of its training")
    name = json.loads(path.read_text()).get("_class_name")
    classes = {kind.__name__: kind for kind in BASELINES.values()}
    if name not in classes:
        raise InputError(f"{folder} holds a {name}, not one of {', '.join(classes)}")
    model: Baseline = classes[name].from_pretrained(folder).eval()
    return model


def load_baselines(runs: Sequence[Path], pipe: Any) -> dict[str, Baseline]:
    """Baselines by the name of their row; two of a kind differ by their run's name.

    Raises:
        InputError: if one lacks stems of ``pipe`` or has another sample rate.
    """
    found: dict[str, Baseline] = {}
    for run in runs:
        model = load_baseline(run)
        sample_rate = pipe.log_mel.config.sample_rate
        if not set(model.stems) >= set(pipe.stems) or model.config.sample_rate != sample_rate:
            raise InputError(
                f"{run} separates {', '.join(model.stems)} at {model.config.sample_rate} Hz, our "
                f"model {', '.join(pipe.stems)} at {sample_rate} Hz: compare models of equal stems"
            )
        title = model.title if model.title not in found else f"{model.title} ({run.name})"
        found[title] = model
    return found


class TimedSeparator:
    """A separator that notes how long it takes."""

    def __init__(self, separate: systems.Separator, sample_rate: int) -> None:
        self.separate, self.sample_rate = separate, sample_rate
        self.relative: list[float] = []

    def __call__(self, mixture: Tensor, seed: int) -> Tensor:
        began = time.perf_counter()
        stems = self.separate(mixture, seed)
        elapsed = time.perf_counter() - began
        self.relative.append(elapsed * self.sample_rate / mixture.shape[-1])
        return stems

    @property
    def seconds_per_10_s(self) -> float:
        """Median over all calls."""
        return 10 * statistics.median(self.relative)


def as_separator(model: Baseline, method: str, stems: Sequence[str]) -> systems.Separator:
    """``model``'s ``stems``, at its own level of training.

    Raises:
        InputError: if it lacks one of them.
    """
    missing = [stem for stem in stems if stem not in model.stems]
    if missing:
        raise InputError(f"{model.title} lacks {missing[0]}, which the songs have")
    order = [model.stems.index(stem) for stem in stems]

    def separate(mixture: Tensor, seed: int) -> Tensor:
        gain = separation.level_gain(model, mixture)
        generator = torch.Generator().manual_seed(seed)
        return model.separate(gain * mixture, generator, method)[order] / gain

    return separate


def compare_separation(
    pipe: Any,
    models: Mapping[str, Baseline],
    songs: Sequence[Song],
    num_segments: int | None,
    *,
    our_cpu_hours: float | None = None,
    ours_of_equal_cost: Path | None = None,
    **options: Any,
) -> Evaluation:
    """``evaluate_separation`` with the baselines' rows, and a measure ``COST``.

    ``our_cpu_hours`` is what training our model took, ``ours_of_equal_cost`` a run of
    ``train_ours`` for a row beside it; ``options`` are those of ``evaluate_separation``.
    """
    sample_rate = pipe.log_mel.config.sample_rate
    stems = separation.scored_stems(pipe, songs)
    ours = TimedSeparator(systems.pipeline_separator(pipe, stems), sample_rate)
    timed = {separation.MASK_ROW: ours}
    costs: dict[str, tuple[float, float | None]] = {
        separation.MASK_ROW: (sum(part_parameters(pipe).values()), our_cpu_hours)
    }
    if ours_of_equal_cost is not None:
        other, equal_cpu_hours = load_ours(ours_of_equal_cost)
        row = f"ours, {equal_cpu_hours:.1f} CPU-hours"
        timed[row] = TimedSeparator(systems.pipeline_separator(other, stems), sample_rate)
        costs[row] = (sum(part_parameters(other).values()), equal_cpu_hours)
    for title, model in models.items():
        parameters = sum(parameter.numel() for parameter in model.parameters())
        for label, method in model.methods.items():
            timed[title + label] = TimedSeparator(as_separator(model, method, stems), sample_rate)
            costs[title + label] = (parameters, model.cpu_hours)
    evaluation = separation.evaluate_separation(
        pipe, songs, num_segments, methods=("spectra",), others=timed, **options
    )
    evaluation.table.title = "Separation, beside baselines"
    for row, (parameters, cpu_hours) in costs.items():
        put_cost(evaluation.table, row, parameters, cpu_hours, timed[row])
    evaluation.table.notes += [
        "Cost: parameters of all parts; process CPU time of the whole training with data and "
        "validation; median wall-clock time of the scored segments, with whatever else ran then.",
    ]
    return evaluation


def put_cost(
    table: Table, row: str, parameters: float, cpu_hours: float | None, timed: TimedSeparator
) -> None:
    """Add the line of one system to the measure ``COST``."""
    table.put(COST, row, PARAMETERS, Cell(parameters / 1e6))
    if cpu_hours is not None:
        table.put(COST, row, CPU_HOURS, Cell(cpu_hours))
    table.put(COST, row, SECONDS, Cell(timed.seconds_per_10_s, count=len(timed.relative)))


def as_generator(model: MSDM, num_samples: int) -> generation.Generator:
    """Windows of ``num_samples`` generated by ``model``."""
    return lambda seed: model.generate(num_samples, torch.Generator().manual_seed(seed))


def compare_generation(
    pipe: Any,
    models: Mapping[str, Baseline],
    songs: Sequence[Song],
    num_clips: int,
    *,
    embeddings: Sequence[Embedding],
    **options: Any,
) -> Evaluation:
    """``evaluate_generation`` with the rows of those baselines that generate.

    Raises:
        InputError: if one of them does not.
    """
    others = {}
    for title, model in models.items():
        if not isinstance(model, MSDM):
            raise InputError(f"{title} only separates: leave its run out of the generation table")
        others[title + GENERATED] = as_generator(model, pipe.log_mel.segment_samples)
    evaluation = generation.evaluate_generation(
        pipe, songs, num_clips, embeddings=embeddings, others=others, **options
    )
    evaluation.table.title = "Generation, beside baselines"
    return evaluation
