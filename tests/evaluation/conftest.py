"""A toy pipeline with known answers and small song folders."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from stemweave.audio.log_mel import LogMel
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
    """``StemweavePipeline``'s interface: separates to equal shares, generates level noise."""

    def __init__(self) -> None:
        self.log_mel = LogMel(
            n_fft=512, win_length=512, hop_length=256, num_mels=16, segment_frames=128
        )
        self.vae = IdentityVAE()
        config = SimpleNamespace(stems=list(STEMS), known_stems=True)
        self.denoiser = SimpleNamespace(config=config)
        self.calls: list[dict] = []

    def to(self, device: str) -> "ToyPipeline":
        return self

    def vocoder(self, log_mel: torch.Tensor) -> torch.Tensor:
        level = log_mel.exp().mean(-1).repeat_interleave(256, -1)
        noise = torch.randn(level.shape, generator=torch.Generator().manual_seed(0))
        return level * noise

    def separate(self, waveform, sample_rate, method="mask", steps=1, generator=None, **options):
        self.calls.append({"method": method, "steps": steps, **options})
        return {stem: waveform / len(STEMS) for stem in STEMS}

    def generate(self, seconds, generator, steps=1):
        length = round(seconds * SAMPLE_RATE)
        noise = 0.1 * torch.randn(len(STEMS), 1, length, generator=generator)
        stems = dict(zip(STEMS, noise, strict=True))
        return {**stems, "mixture": noise.sum(0)}

    def arrange(self, given, sample_rate, generator, conditioning, steps=1):
        self.calls.append({"given": sorted(given), "conditioning": conditioning})
        length = next(iter(given.values())).shape[-1]
        made = {
            stem: 0.1 * torch.randn(1, length, generator=generator)
            for stem in STEMS
            if stem not in given
        }
        return {**given, **made}


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


@pytest.fixture
def pipe() -> ToyPipeline:
    return ToyPipeline()


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three validation songs of 6.1 s with all stems, one training song; with a manifest."""
    folder = tmp_path_factory.mktemp("data")
    lines = []
    for seed in range(4):
        write_song(folder / f"song_{seed}", seed)
        described = json.loads((folder / f"song_{seed}" / "song.json").read_text())
        split = "validation" if seed < 3 else "train"
        lines.append(json.dumps({"path": f"song_{seed}", "split": split, **described}))
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    return folder
