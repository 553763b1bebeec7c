"""``make demo``: a real song separated, a piece generated, missing stems arranged.

Writes WAV files and a picture for each task and prints what was reached.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stemweave.cli.sheets import summary
from stemweave.evaluation.signal_measures import si_sdr_db
from stemweave.io.batch import separate_file
from stemweave.io.decode import read_audio
from stemweave.io.mixtures import Separation
from stemweave.io.plots import plot_files
from stemweave.model import load_model
from stemweave.music.folder import write_music
from stemweave.music.lead_sheet import LeadSheet
from stemweave.tasks.compose import drawn_sheet, found_sheet, with_new_stems

if TYPE_CHECKING:
    from stemweave.model import StemModel

CHORDS, TEMPO_BPM, STYLE = "Dm7 | G7 | Cmaj7 | Am7", 112, "bossa nova"
EXCERPT = Path(__file__).parent.parent / "examples" / "freedoom_excerpt"


def separate_excerpt(pipe: StemModel, out: Path) -> None:
    """Separate the bundled song and print each stem's SI-SDR improvement over the mixture."""
    mixture_file = EXCERPT / "mixture.flac"
    began = time.perf_counter()
    files = separate_file(
        pipe, mixture_file, out, Separation(pipe.separated_stems, existing="replace")
    )
    elapsed_s = time.perf_counter() - began
    mixture, sample_rate = read_audio(mixture_file)
    estimates = {stem: read_audio(path)[0] for stem, path in files.items()}
    residual = (sum(estimates.values(), torch.zeros(())) - mixture).abs().max().item()
    print(f"separated {mixture_file} ({mixture.shape[1] / sample_rate:.0f} s) in {elapsed_s:.1f} s")
    improvements = []
    for stem, estimate in estimates.items():
        if not (EXCERPT / f"{stem}.flac").exists():
            level_db = 10 * (estimate.square().mean() / mixture.square().mean()).log10().item()
            print(f"  {stem:7s} is not in the song: {level_db:.0f} dB of it came here")
            continue
        true, _ = read_audio(EXCERPT / f"{stem}.flac")
        before = _mono_si_sdr(mixture, true)
        after = _mono_si_sdr(estimate, true)
        improvements.append(after - before)
        print(f"  {stem:7s} SI-SDR {before:6.1f} dB → {after:6.1f} dB  ({after - before:+.1f} dB)")
    mean = sum(improvements) / len(improvements)
    print(f"  mean improvement {mean:+.1f} dB; stems add up to the song within {residual:.1e}")
    plot_files({"mixture": mixture_file, **files}, out / "spectrograms.png")


def _mono_si_sdr(estimate: Tensor, true: Tensor) -> float:
    return float(si_sdr_db(estimate.mean(dim=0)[None], true.mean(dim=0)[None]))


def generate_piece(pipe: StemModel, out: Path, seed: int) -> None:
    """Write and play a piece of 10.24 s in a wanted style over given chords."""
    began = time.perf_counter()
    wanted = LeadSheet.from_text(CHORDS, tempo_bpm=TEMPO_BPM, style=STYLE)
    sheet = drawn_sheet(pipe, 10.24, seed, wanted)
    score = with_new_stems(pipe, sheet, None, pipe.stems, seed)
    piece = pipe.generate(
        10.24, sheet=sheet, score=score, generator=torch.Generator().manual_seed(seed)
    )
    files = piece.save(out, overwrite=True)
    write_music(out, sheet, score)
    print(f"generated 10.24 s of {', '.join(piece)} in {time.perf_counter() - began:.1f} s")
    print_sheet("asked for", sheet)
    print_sheet("found in it", found_sheet(pipe, piece, piece.sample_rate))
    plot_files(files, out / "spectrograms.png")


def print_sheet(label: str, sheet: LeadSheet | None) -> None:
    """One line of tempo, metre, key and chords."""
    print(f"  {label}: {summary(sheet) if sheet else 'nothing'}")


def arrange_excerpt(pipe: StemModel, out: Path, seed: int) -> None:
    """Write drums and bass to the bundled song's guitar and piano."""
    given = {stem: read_audio(EXCERPT / f"{stem}.flac") for stem in ("guitar", "piano")}
    sample_rate = next(iter(given.values()))[1]
    waveforms = {stem: waveform for stem, (waveform, _) in given.items()}
    began = time.perf_counter()
    sheet = found_sheet(pipe, waveforms, sample_rate)
    added = ["bass", "drums"]
    score = with_new_stems(pipe, sheet, None, added, seed)
    piece = pipe.arrange(
        waveforms,
        sample_rate,
        add=added,
        sheet=sheet,
        score=score,
        generator=torch.Generator().manual_seed(seed),
    )
    files = piece.save(out, overwrite=True)
    elapsed_s = time.perf_counter() - began
    write_music(out, sheet, score)
    print(f"arranged bass and drums to {' and '.join(given)} in {elapsed_s:.1f} s")
    print_sheet("found in what was given", sheet)
    plot_files(files, out / "spectrograms.png")


def main() -> None:
    """Run the three tasks with the bundled model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="folder for the results")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    pipe = load_model()
    separate_excerpt(pipe, options.out / "separate")
    generate_piece(pipe, options.out / "generate", options.seed)
    arrange_excerpt(pipe, options.out / "arrange", options.seed)
    print(f"listen: {options.out}/*/*.wav   look: {options.out}/*/spectrograms.png")


if __name__ == "__main__":
    main()
