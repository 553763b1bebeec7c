"""Measures what docs/scale.md computes with: bytes, CPU seconds and FLOPs for an hour of music.

Run on a quiet machine: .venv/bin/python scripts/scale_rates.py  →  docs/scale_rates.json
CPU seconds are those of the process and its children, so they hold, nearly, on a shared one too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pretty_midi
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from stemweave import jobs
from stemweave.audio.log_mel import LogMel
from stemweave.data.latents import LatentShards
from stemweave.data.mixing import MixSettings
from stemweave.data.shards import ShardPlan
from stemweave.data.songs import Song
from stemweave.files import InputError
from stemweave.model_folder import BUNDLED_MODEL
from stemweave.models.unet3d import UNet3D
from stemweave.models.vae import PatchVAE
from stemweave.render.collection import CompositionJob, make_song, soundfonts_by_stem
from stemweave.render.compose import compose_song, read_groove_families
from stemweave.render.midi_folder import MidiJob, render_file
from stemweave.render.score import Part
from stemweave.stems import STEMS

ROOT = Path(__file__).parent.parent
NUM_SONGS = 4
CROP_S = 10.24


def cpu_s() -> float:
    """CPU time that this process and its finished children have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def timed(make: Callable[[], Song]) -> tuple[Song, float]:
    """What ``make`` returns and its CPU seconds."""
    before = cpu_s()
    return make(), cpu_s() - before


def flac_bytes(songs: Sequence[Song]) -> int:
    """Size of all stems."""
    return sum(p.stat().st_size for song in songs for s in song.stems for p in song.stem_paths(s))


def per_hour(total: float, songs: Sequence[Song]) -> float:
    """``total`` for an hour of music instead of for ``songs``."""
    return total / (sum(song.duration_s for song in songs) / 3600)


def write_midi(parts: Sequence[Part], path: Path) -> None:
    """A MIDI file of composed parts."""
    midi = pretty_midi.PrettyMIDI()
    for part in parts:
        instrument = pretty_midi.Instrument(part.program, part.is_drum)
        instrument.notes = [
            pretty_midi.Note(note.velocity, note.pitch, note.start_s, note.end_s)
            for note in part.notes
        ]
        midi.instruments.append(instrument)
    midi.write(str(path))


def music_rates(folder: Path) -> tuple[dict[str, float], list[Song]]:
    """Composing and rendering; also the songs, at 16 kHz."""
    fonts = soundfonts_by_stem()

    def composed(index: int, sample_rate: int) -> tuple[Song, float]:
        data = folder / str(sample_rate)
        job = CompositionJob(data, index, 0, "train", fonts, False, sample_rate)
        return timed(lambda: make_song(job))

    def rendered(index: int) -> tuple[Song, float]:
        rng = np.random.default_rng(index)
        song = compose_song(read_groove_families(), rng)
        path = folder / f"{index}.mid"
        write_midi([part for parts in song.stems.values() for part in parts], path)
        job = MidiJob(folder, path, folder / "midi", 0, fonts, 16000, 2, 600.0)
        made, seconds = timed(lambda: render_file(job))  # type: ignore[arg-type, return-value]
        assert isinstance(made, Song), made
        return made, seconds

    rates = {}
    for index in range(NUM_SONGS):  # the SoundFonts are loaded by songs that do not count
        composed(100 + index, 16000)
    songs, seconds = zip(*(composed(index, 16000) for index in range(NUM_SONGS)), strict=True)
    rates["compose_cpu_s"] = per_hour(sum(seconds), songs)
    rates["flac_16k_bytes"] = per_hour(flac_bytes(songs), songs)
    from_midi, seconds = zip(*(rendered(index) for index in range(NUM_SONGS)), strict=True)
    rates["render_cpu_s"] = per_hour(sum(seconds), from_midi)
    full_band, _ = zip(*(composed(index, 44100) for index in range(2)), strict=True)
    rates["flac_44k_bytes"] = per_hour(flac_bytes(full_band), full_band)
    return rates, list(songs)


class PaperVAE(AutoencoderKL):  # type: ignore[misc]
    """MusicLDM's autoencoder with random weights: 55 M parameters."""

    def __init__(self) -> None:
        super().__init__(
            in_channels=1,
            out_channels=1,
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            block_out_channels=(128, 256, 512),
            layers_per_block=2,
            latent_channels=8,
        )


def latent_rates(folder: Path, songs: list[Song]) -> dict[str, float]:
    """Encoding crops and keeping their latents, for the bundled and for the paper's autoencoder."""
    bundled = PatchVAE.from_pretrained(BUNDLED_MODEL / "vae").eval()
    front_ends = {
        "bundled": (LogMel.from_pretrained(BUNDLED_MODEL / "log_mel"), bundled, 16),
        "paper": (LogMel(), PaperVAE().eval(), 2),
    }
    rates = {}
    for name, (log_mel, vae, crops) in front_ends.items():
        config = log_mel.config
        frames = round(CROP_S * config.sample_rate / config.hop_length)
        plan = ShardPlan(frames, shard_size=crops)
        shards = LatentShards(folder, songs, log_mel, vae, STEMS, MixSettings(), plan)
        hours = crops * CROP_S / 3600
        before = cpu_s()
        path = shards.prepare(0)
        rates[f"encode_{name}_cpu_s"] = (cpu_s() - before) / hours
        rates[f"latents_{name}_bytes"] = path.stat().st_size / hours
    return rates


def flops(network: nn.Module, *inputs: Tensor, backward: bool = False) -> int:
    """Floating-point operations of one pass, counted on the meta device."""
    counter = FlopCounterMode(display=False)
    with counter:
        out = network(*inputs)
        if backward:
            out.square().mean().backward()
    return counter.get_total_flops()


def network_rates() -> dict[str, float]:
    """FLOPs of the paper's U-Net and of its encoder, for one crop of 10.24 s."""
    with torch.device("meta"):
        unet, vae = UNet3D(), PaperVAE()
        latents, mixture = torch.zeros(1, 4, 8, 256, 16), torch.zeros(1, 8, 256, 16)
        timestep, log_mels = torch.zeros(1, dtype=torch.long), torch.zeros(5, 1, 1024, 64)
        inputs = (latents, timestep, mixture)
        return {
            "unet_parameters": sum(p.numel() for p in unet.parameters()),
            "unet_forward_flops": flops(unet, *inputs),
            "unet_step_flops": flops(unet, *inputs, backward=True),
            "encode_paper_flops": flops(vae.encoder, log_mels) * 3600 / CROP_S,
        }


def nothing(number: int) -> int:
    """The least job there is."""
    return number


def ray_rates(num_jobs: int = 4000, cores: int = 256) -> dict[str, float]:
    """CPU time of the driver for a job, with as many in flight as ``cores`` workers would have."""
    in_flight, jobs.IN_FLIGHT = jobs.IN_FLIGHT, jobs.IN_FLIGHT * cores // 2

    def driver_cpu_s(number: int) -> float:
        before = resource.getrusage(resource.RUSAGE_SELF)
        finished = sum(1 for _ in jobs.map_jobs(nothing, range(number), jobs.Workers(2, "local")))
        assert finished == number
        after = resource.getrusage(resource.RUSAGE_SELF)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    few = driver_cpu_s(10)  # what starting costs
    many = driver_cpu_s(10 + num_jobs)
    jobs.IN_FLIGHT = in_flight
    return {"ray_driver_cpu_s": (many - few) / num_jobs}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "scale_rates.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    os.chdir(ROOT)
    if shutil.which("mma") is None:
        raise InputError("mma is missing: run scripts/install-system-packages.sh render")
    began = time.perf_counter()
    rates = network_rates()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for rate in ("16000", "44100", "midi"):
            (folder / rate).mkdir()
        music, songs = music_rates(folder)
        rates |= music | latent_rates(folder, songs) | ray_rates()
    load = os.getloadavg()[0]
    result = {
        "about": "for an hour of music with four stems, by scripts/scale_rates.py",
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, load at the end {load:.1f}",
        "seconds_to_measure": round(time.perf_counter() - began),
        "rates": {key: float(f"{value:.4g}") for key, value in rates.items()},
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(options.out.read_text())


if __name__ == "__main__":
    main()
