"""Mask refiners (and sharpeners) on the same plain crops, for choosing between weights.

    python scripts/refiner_scores.py runs/a/export runs/b/export --data data/validation data/human
    python scripts/refiner_scores.py bundled runs/a/export --data data/human --whole \\
        --sharpener runs/c/export

    python scripts/refiner_scores.py bundled --data data/human --whole --passes

One crop of 10.24 s from the middle of each song. SI-SDR improvement is of bands' masks, or, with
``--whole``, of sharpened masks. Every refiner is compared with the first one, crop by crop: the
difference of two scores is much surer than either. ``--passes`` adds a row for each with one pass
of the sharpener instead of two.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from stemweave.audio.masking import MaskSeparator
from stemweave.checkpoints.model_folder import BUNDLED_MODEL
from stemweave.evaluation import signal_measures as measures
from stemweave.evaluation.segments import find_songs, load_stems, segment_grid
from stemweave.evaluation.separation import level_gain
from stemweave.model import load_model
from stemweave.models.refiner import MaskRefiner
from stemweave.training.networks import load_component


def crops(pipe: object, stems: Sequence[str], data: Path, count: int) -> Iterator[Tensor]:
    """``stems`` (S, T) of up to ``count`` songs."""
    config = pipe.log_mel.config  # type: ignore[attr-defined]
    for song in find_songs(data, stems)[:count]:
        grid = segment_grid([song], pipe.segment_s)  # type: ignore[attr-defined]
        if grid:
            waveforms = load_stems(grid[len(grid) // 2], stems, config.sample_rate)
            if measures.is_mixed(waveforms, waveforms.sum(dim=0)).any():
                yield waveforms


def scores(
    pipe: object,
    systems: list[tuple[MaskRefiner, MaskSeparator]],
    names: Sequence[str],
    stems: Tensor,
) -> list[tuple[float, Tensor]]:
    """Each system's log-mel MSE and SI-SDR improvement (S,) in dB of one crop of stems ``names``.

    The latter is NaN where nothing is mixed, and of a stem that a system lacks.
    """
    mixture = stems.sum(dim=0)
    gain = level_gain(pipe, mixture)
    log_mel = pipe.log_mel(gain * mixture)[None]  # type: ignore[attr-defined]
    true_mels = pipe.log_mel(gain * stems)  # type: ignore[attr-defined]
    before = measures.si_sdr_db(mixture.expand_as(stems), stems)
    mixed = measures.is_mixed(stems, mixture)
    found = []
    for refiner, separator in systems:
        masks = refiner.separate(log_mel, gain * mixture[None])[0]
        separated = separator.separate(mixture[None], masks, gain)[:, 0]
        own = [names.index(stem) for stem in stems_of(refiner, pipe)]
        mels = pipe.log_mel(gain * separated)  # type: ignore[attr-defined]
        error = (mels - true_mels[own]).square().mean()
        improvement = torch.full_like(before, torch.nan)
        improvement[own] = measures.si_sdr_db(separated, stems[own]) - before[own]
        found.append((float(error), improvement.where(mixed, torch.nan)))
    return found


def stems_of(refiner: MaskRefiner, pipe: object) -> Sequence[str]:
    """Names of a mask network's stems."""
    return refiner.config.stems or pipe.stems  # type: ignore[attr-defined, no-any-return]


def load_refiner(folder: str) -> MaskRefiner:
    """The mask network in a folder."""
    path = BUNDLED_MODEL / "refiner" if folder == "bundled" else Path(folder)
    refiner: MaskRefiner = load_component("refiner", path)
    return refiner


def report(names: list[str], errors: Tensor, gains_db: Tensor) -> None:
    """Print scores of refiners, of log-mel errors (R, N) and SI-SDR improvements (R, N, S)."""
    per_crop = gains_db.nanmean(dim=-1)
    for name, error, gain_db, of_crop in zip(names, errors, gains_db, per_crop, strict=True):
        change = of_crop - per_crop[0]
        line = f"  {name}: {of_crop.mean():.2f} dB, MSE {error.mean():.2f}"
        if name != names[0]:
            spread = change.std() / len(change) ** 0.5
            line += f", {change.mean():+.2f} ± {spread:.2f} dB"
        stems = " ".join(f"{value:.2f}" for value in gain_db.nanmean(dim=0).tolist())
        print(f"{line} (stems {stems})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("refiners", nargs="+", help="folders, or 'bundled'")
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("-n", "--count", type=int, default=64, help="songs of each")
    parser.add_argument("--whole", action="store_true", help="sharpen the masks")
    parser.add_argument("--passes", action="store_true", help="one pass of the sharpener, too")
    parser.add_argument("--sharpener", type=Path, help="another than the bundled one")
    arguments = parser.parse_args()
    pipe = load_model()
    sharpener = pipe.sharpener
    if arguments.sharpener is not None:
        sharpener = load_component("sharpener", arguments.sharpener)
    whole = arguments.whole or arguments.passes or arguments.sharpener is not None
    rate = pipe.log_mel.config.sample_rate
    separators = {"": MaskSeparator(pipe.log_mel, rate, sharpener.sharpen if whole else None)}
    if arguments.passes:
        one_pass = copy.deepcopy(sharpener)
        one_pass.register_to_config(later_components=0)
        separators[", one pass"] = MaskSeparator(pipe.log_mel, rate, one_pass.sharpen)
    refiners = {folder: load_refiner(folder) for folder in arguments.refiners}
    systems = {
        folder + note: (refiner, separator)
        for folder, refiner in refiners.items()
        for note, separator in separators.items()
    }
    names = list(dict.fromkeys(s for one in refiners.values() for s in stems_of(one, pipe)))
    for data in arguments.data:
        found = []
        with torch.inference_mode():
            for stems in crops(pipe, names, data, arguments.count):
                found.append(scores(pipe, list(systems.values()), names, stems))
        errors = torch.tensor([[error for error, _ in row] for row in found]).T
        gains_db = torch.stack([torch.stack([gain for _, gain in row]) for row in found])
        print(f"{data}, {len(found)} crops")
        report(list(systems), errors, gains_db.transpose(0, 1))


if __name__ == "__main__":
    main()
