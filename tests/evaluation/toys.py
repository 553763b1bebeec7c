"""A toy pipeline with known answers, a toy embedding and small song folders."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import soundfile
import torch
from diffusers import DDIMScheduler

from stemweave.models.log_mel import LogMel
from stemweave.stems import STEMS

SAMPLE_RATE = 16_000
SEGMENT_S = 2.048


class IdentityVAE:
    """Encodes and decodes log-mels (N, 1, F, M) without any change."""

    def encode(self, log_mel: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(latent_dist=SimpleNamespace(mode=lambda: log_mel))

    def decode(self, latents: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(sample=latents)


class ToyPipeline:
    """``StemModel``'s interface: separates to equal shares, generates level noise."""

    methods = ("mask", "vocoder")
    stems = separated_stems = STEMS
    takes_sheets = analyses = False

    def __init__(self) -> None:
        self.log_mel = LogMel(
            n_fft=512, win_length=512, hop_length=256, num_mels=16, segment_frames=128
        )
        self.vae = IdentityVAE()
        self.scheduler = DDIMScheduler()
        config = SimpleNamespace(stems=list(STEMS), known_stems=True)
        self.denoiser = SimpleNamespace(config=config)
        self.config = SimpleNamespace(
            reference_rms=0.1, separation_steps=1, separation_guidance=1.0, generation_steps=4,
            matching_iterations=0,
        )  # fmt: skip
        self.compute_device, self.output_rate = torch.device("cpu"), SAMPLE_RATE
        self.calls: list[dict] = []

    def config_of(self, part: str) -> SimpleNamespace:
        return SimpleNamespace()

    def vocoder_class(self, stem: str) -> None:
        return None

    def on_device(self, part: str):
        return getattr(self, part)

    def vocoder(self, log_mel: torch.Tensor) -> torch.Tensor:
        level = log_mel.exp().mean(-1).repeat_interleave(256, -1)
        noise = torch.randn(level.shape, generator=torch.Generator().manual_seed(0))
        return level * noise

    def separate(self, waveform, sample_rate, method="mask", **options):
        self.calls.append({"method": method, **options})
        return {stem: waveform / len(STEMS) for stem in STEMS}

    def generate(self, seconds, generator, sample_rate, mono, steps=None):
        assert mono
        length = round(seconds * sample_rate)
        noise = 0.1 * torch.randn(len(STEMS), 1, length, generator=generator)
        stems = dict(zip(STEMS, noise, strict=True))
        return {**stems, "mixture": noise.sum(0)}

    def arrange(self, given, sample_rate, generator, inpainting, steps=None):
        self.calls.append({"given": sorted(given), "inpainting": inpainting})
        length = next(iter(given.values())).shape[-1]
        made = {
            stem: 0.1 * torch.randn(1, length, generator=generator)
            for stem in STEMS
            if stem not in given
        }
        return {**given, **made}

    def extend(self, piece, sample_rate, seconds, generator):
        added = round(seconds * sample_rate)
        longer = {n: torch.cat([w, 0.1 * w.repeat(1, 9)[:, :added]], 1) for n, w in piece.items()}
        return {**longer, "mixture": sum(longer.values())}

    def edit(self, piece, sample_rate, renew, generator):
        edited = {name: waveform.clone() for name, waveform in piece.items()}
        for name, span_s in renew.items():
            start, stop = (round(second * sample_rate) for second in span_s)
            edited[name][:, start:stop] = 0
        return {**edited, "mixture": sum(edited.values())}

    def vary(self, piece, sample_rate, strength, generator):
        return {
            name: waveform + strength * 0.1 * torch.randn(waveform.shape, generator=generator)
            for name, waveform in piece.items()
        }


def write_song(
    folder: Path, seed: int, stems=STEMS, num_samples: int = 3 * 32_768, silent=()
) -> None:
    """Stems of clicks and tones in a tempo and key that depend on ``seed``."""
    folder.mkdir(parents=True)
    drawn = np.random.default_rng(seed)
    time_s = np.arange(num_samples) / SAMPLE_RATE
    pulse = (np.mod(time_s, 0.3 + 0.07 * seed) < 0.03).astype(np.float32)
    for index, stem in enumerate(stems):
        tone = np.sin(2 * np.pi * 110 * 2 ** (index + seed / 12) * time_s)
        noise = drawn.normal(size=num_samples)
        source = noise if stem == "drums" else tone * (1 + 0.1 * noise)
        audio = np.zeros(num_samples) if stem in silent else 0.1 * source * (pulse + 0.1)
        soundfile.write(folder / f"{stem}.flac", audio.astype(np.float32), SAMPLE_RATE)
    described = {
        "duration_s": num_samples / SAMPLE_RATE,
        "sample_rate": SAMPLE_RATE,
        "stems": list(stems),
        "origin": "test",
        "licence": "CC0",
    }
    (folder / "song.json").write_text(json.dumps(described))


class BandEnergies:
    """Log energies of four bands in each second: a tiny embedding (N, T) → (N, 2, 4)."""

    name = "bands"
    sample_rate = 16_000

    def embed(self, waveforms: torch.Tensor) -> torch.Tensor:
        chunks = waveforms.unfold(-1, 16_000, 16_000)
        spectrum = torch.fft.rfft(chunks).abs()[..., :8000].reshape(*chunks.shape[:2], 4, 2000)
        return (spectrum.square().mean(-1) + 1e-3).log()
