"""A 44.1 kHz stereo model, tiny, from songs on disk to sound: every stage and every task."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

from stemweave.data.latents import LatentShards
from stemweave.data.mixing import PLAIN, draw_crops
from stemweave.data.shards import ShardPlan
from stemweave.data.songs import Song, append_to_manifest, write_song
from stemweave.model import StemModel
from stemweave.models.log_mel import LogMel, mono_log_mel
from stemweave.models.vae import PatchVAE
from stemweave.tasks.spectra import decode, decode_channels, encode

RATE = 44100
STEMS = ("bass", "drums")


@pytest.fixture
def songs(tmp_path: Path) -> list[Song]:
    """Two songs of 2 s; the bass is on the left, the drums are in mono."""
    rng = np.random.default_rng(0)
    made = []
    for split in ("train", "validation"):
        song = Song(tmp_path / "songs" / split, split, 2.0, RATE, STEMS)
        song.folder.mkdir(parents=True)
        noise = 0.1 * rng.standard_normal((2 * RATE, 2))
        soundfile.write(song.folder / "bass.wav", noise * [1, 0.1], RATE)
        soundfile.write(song.folder / "drums.wav", noise[:, 1], RATE)
        write_song(song)
        append_to_manifest(tmp_path / "songs", song)
        made.append(song)
    return made


def stereo_settings(config: Path, data: Path) -> None:
    content = yaml.safe_load(config.read_text())
    content.update(
        data=[str(data)], stems=list(STEMS), channels=2,
        log_mel={"sample_rate": RATE, "n_fft": 1024, "win_length": 1024, "hop_length": 512,
                 "num_mels": 32, "f_max": 22050.0, "segment_frames": 64},
    )  # fmt: skip
    content["denoiser"]["model"]["latent_channels"] = 4
    content["vocoder"]["model"].update(hop_length=512, sample_rate=RATE)
    config.write_text(yaml.safe_dump(content))


def test_every_stage_and_task(run, config: Path, songs: list[Song], tmp_path: Path):
    stereo_settings(config, songs[0].folder.parent)
    parts: list[object] = []
    needed = {"denoiser": slice(0, 2), "sharpener": slice(6, 8)}
    for stage in ("vae", "denoiser", "vocoder", "refiner", "sharpener"):
        known = parts[needed.get(stage, slice(0))]
        result = run("train", stage, config, "--run", tmp_path / stage, *known)
        assert result.code == 0, result.err
        parts += [f"--{stage}", tmp_path / stage / "export"]
    result = run("assemble", config, tmp_path / "model", *parts)
    assert result.code == 0, result.err
    pipe = StemModel.from_pretrained(tmp_path / "model")
    assert pipe.channels == 2 and pipe.sample_rate == RATE

    piece = pipe.generate(0.5, steps=2, generator=torch.Generator().manual_seed(0))
    assert {stem.shape for stem in piece.values()} == {(2, RATE // 2)}
    assert torch.allclose(piece["bass"] + piece["drums"], piece["mixture"], atol=1e-6)
    assert not torch.allclose(piece["mixture"][0], piece["mixture"][1], atol=1e-4)

    mixture = 0.1 * torch.randn(2, RATE, generator=torch.Generator().manual_seed(1))
    for waveform in (mixture, mixture[:1]):
        stems = pipe.separate(waveform, RATE)
        assert torch.allclose(sum(stems.values()), waveform, atol=1e-6)
    arranged = pipe.arrange({"bass": mixture}, RATE, steps=2)
    assert torch.equal(arranged["bass"], mixture) and arranged["drums"].shape == mixture.shape


def test_crops_have_both_channels(songs: list[Song]):
    crops = draw_crops(songs[:1], STEMS, 3, RATE, RATE, PLAIN, np.random.default_rng(0), 2)
    assert crops.waveforms.shape == (3, 2, 2, RATE)
    left, right = crops.waveforms[:, 0].square().mean(-1).unbind(1)
    assert torch.allclose(left.sqrt() / right.sqrt(), torch.tensor(10.0), rtol=0.1)
    assert torch.equal(crops.waveforms[:, 1, 0], crops.waveforms[:, 1, 1])  # mono file
    mono = draw_crops(songs[:1], STEMS, 3, RATE, RATE, PLAIN, np.random.default_rng(0))
    assert torch.allclose(crops.waveforms.mean(2), mono.waveforms, atol=1e-6)


def test_latents_lie_side_by_side(songs: list[Song], tmp_path: Path):
    torch.manual_seed(0)
    log_mel = LogMel(sample_rate=RATE, n_fft=1024, win_length=1024, hop_length=512, num_mels=32,
                     f_max=22050.0, segment_frames=64)  # fmt: skip
    vae = PatchVAE(latent_channels=2, hidden_channels=8, num_blocks=1)
    plan = ShardPlan(64, shard_size=2, first_window=1)
    shards = LatentShards(tmp_path, songs[:1], log_mel, STEMS, PLAIN, plan, vae=vae, channels=2)
    batch = shards.latents(0, 2, np.random.default_rng(0))
    assert batch.stems.shape == (2, 2, 4, 16, 8) and batch.mixture.shape == (2, 4, 16, 8)
    bass, drums = batch.stems.unbind(1)
    assert torch.equal(drums[:, :2], drums[:, 2:]) and not torch.allclose(bass[:, :2], bass[:, 2:])


def test_both_channels_come_back(tiny_pipe: StemModel):
    """A stereo model of the tiny one's autoencoder: each channel as the mono model has it."""
    from stemweave.models.compact import CompactUNet

    config = {**tiny_pipe.denoiser.config, "latent_channels": 4}
    parts = {**tiny_pipe.components, "denoiser": CompactUNet.from_config(config)}
    stereo = StemModel(**parts)
    log_mels = torch.randn(3, 2, 64, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        latents = encode(stereo, log_mels)
        assert torch.allclose(latents[:, :2], encode(tiny_pipe, log_mels[:, 0]), atol=1e-6)
        channels = decode_channels(stereo, latents)
        assert torch.allclose(channels[:, 1], decode(tiny_pipe, latents[:, 2:]), atol=1e-5)
        assert torch.allclose(decode(stereo, latents), mono_log_mel(channels, 1), atol=1e-5)
        centred = encode(stereo, log_mels[:, 0])
    assert torch.equal(centred[:, :2], centred[:, 2:])
    same = mono_log_mel(log_mels[:, :1].expand(-1, 2, -1, -1), dim=1)
    assert torch.allclose(same, log_mels[:, 0], atol=1e-5)
