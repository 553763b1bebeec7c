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
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from stemweave.checkpoints.model_folder import BUNDLED_MODEL
from stemweave.data.latents import LatentShards
from stemweave.data.mixing import MixSettings
from stemweave.data.shards import ShardPlan
from stemweave.data.songs import Song
from stemweave.errors import InputError
from stemweave.io import jobs
from stemweave.io.batch import separate_file
from stemweave.io.encoding import Encoding
from stemweave.io.mixtures import Separation
from stemweave.model import StemModel, load_model
from stemweave.models.log_mel import LogMel
from stemweave.models.unet3d import UNet3D
from stemweave.models.vae import PatchVAE
from stemweave.music.lead_sheet import LeadSheet
from stemweave.music.midi import write_midi
from stemweave.render.collection import CompositionJob, make_song
from stemweave.render.compose import compose_song
from stemweave.render.freedoom import render_freedoom
from stemweave.render.grooves import read_groove_families
from stemweave.render.midi_folder import MidiJob, render_file
from stemweave.render.sheets import score_of
from stemweave.render.soundfonts import soundfonts_by_stem
from stemweave.stems import STEMS
from stemweave.tasks.window_estimates import network_masks

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


def music_rates(folder: Path) -> tuple[dict[str, float], list[Song]]:
    """Composing and rendering; also the songs, at 16 kHz."""
    fonts = soundfonts_by_stem()

    def composed(index: int, sample_rate: int) -> tuple[Song, float]:
        data = folder / str(sample_rate)
        job = CompositionJob(
            data=data, index=index, seed=0, split="train", soundfonts=fonts, sample_rate=sample_rate
        )
        return timed(lambda: make_song(job))

    def rendered(index: int) -> tuple[Song, float]:
        rng = np.random.default_rng(index)
        song = compose_song(read_groove_families(), rng)
        path = folder / f"{index}.mid"
        sheet = LeadSheet.from_text(tempo_bpm=song.tempo_bpm, duration_s=song.duration_s)
        write_midi(path, score_of(song.stems, sheet), sheet)
        job = MidiJob(
            collection=folder,
            path=path,
            data=folder / "midi",
            seed=0,
            soundfonts=fonts,
            sample_rate=16000,
            min_stems=2,
            max_duration_s=600.0,
        )
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
        shards = LatentShards(folder, songs, log_mel, STEMS, MixSettings(), plan, vae=vae)
        hours = crops * CROP_S / 3600
        before = cpu_s()
        path = shards.prepare(0)
        rates[f"encode_{name}_cpu_s"] = (cpu_s() - before) / hours
        rates[f"latents_{name}_bytes"] = path.stat().st_size / hours
    return rates


def flops(network: Callable[..., Any], *inputs: Tensor, backward: bool = False) -> int:
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
            "decode_paper_flops": flops(vae.decoder, latents[0]),
        }


def separation_rates() -> dict[str, float]:
    """Separating a human-written stereo song at 44.1 kHz, as ``stemweave separate`` does."""
    pipe = load_model()
    rates: dict[str, float] = {"separate_bundled_flops": separation_flops(pipe)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        songs = render_freedoom(
            folder / "music",
            sample_rate=44100,
            only="D_E1M1",
            stereo=True,
            length_s=30.0,
            with_mixture=True,
        )
        mixture = songs[0].folder / "mixture.flac"
        separate_file(pipe, mixture, folder / "warm", Separation(pipe.separated_stems))
        for fmt in ("wav", "flac"):
            before = cpu_s()
            asked = Separation(pipe.separated_stems, encoding=Encoding(fmt))
            written = separate_file(pipe, mixture, folder / fmt, asked)
            rates[f"separate_{fmt}_cpu_s"] = per_hour(cpu_s() - before, songs)
            size = sum(path.stat().st_size for path in written.values())
            rates[f"separate_{fmt}_bytes"] = per_hour(size, songs)
        rates["mixture_flac_bytes"] = per_hour(mixture.stat().st_size, songs)
    window = 0.1 * torch.randn(pipe.log_mel.segment_samples)
    windows = 5
    before = cpu_s()
    with torch.inference_mode():
        for _ in range(windows):
            network_masks(pipe, [window])
    rates["separate_networks_cpu_s"] = (cpu_s() - before) / windows
    return rates


def separation_flops(pipe: StemModel) -> int:
    """FLOPs of the mask network for one window, counted on the meta device."""
    refiner, mel = deepcopy(pipe.refiner).to("meta"), pipe.log_mel.config
    fine = pipe.refiner.fine_of(torch.zeros(1, pipe.log_mel.segment_samples))
    with torch.device("meta"), torch.no_grad():
        mixture = torch.zeros(1, mel.segment_frames, mel.num_mels)
        return flops(refiner, mixture, fine if fine is None else fine.to("meta"))


def nothing(number: int) -> int:
    """The least job there is."""
    return number


def ray_rates(num_jobs: int = 2000, cores: int = 256) -> dict[str, float]:
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


def song_rates() -> dict[str, float]:
    """Rates of making songs and of encoding them."""
    if shutil.which("mma") is None:
        raise InputError("mma is missing: run scripts/install-system-packages.sh render")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for rate in ("16000", "44100", "midi"):
            (folder / rate).mkdir()
        music, songs = music_rates(folder)
        return music | latent_rates(folder, songs)


GROUPS: dict[str, Callable[[], dict[str, float]]] = {
    "networks": network_rates,
    "songs": song_rates,
    "separation": separation_rates,
    "ray": ray_rates,
}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "scale_rates.json")
    parser.add_argument("--only", nargs="+", choices=GROUPS, help="keep the file's other rates")
    options = parser.parse_args()
    torch.set_num_threads(1)
    os.chdir(ROOT)
    result = {
        "about": "for an hour of music with four stems, by scripts/scale_rates.py",
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "measured": {},
        "rates": {},
    }
    if options.only:
        earlier = json.loads(options.out.read_text())
        result |= {key: earlier[key] for key in ("measured", "rates")}
    for group in options.only or GROUPS:
        began = time.perf_counter()
        rates = GROUPS[group]()
        result["rates"] |= {key: float(f"{value:.4g}") for key, value in rates.items()}
        seconds = time.perf_counter() - began
        result["measured"][group] = f"in {seconds:.0f} s, load at the end {os.getloadavg()[0]:.1f}"
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(options.out.read_text())


if __name__ == "__main__":
    main()
