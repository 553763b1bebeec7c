"""Training crops: deterministic, coherent or not, summing to their mixture."""

import dataclasses
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from stemweave.data.latents import LatentShards
from stemweave.data.mixing import (
    PLAIN,
    MixSettings,
    draw_crops,
    equalise,
    mix_mels,
    overdriven,
    read_crop,
)
from stemweave.data.shards import ShardPlan
from stemweave.data.songs import Song
from stemweave.models.log_mel import LogMel
from stemweave.models.vae import PatchVAE

STEMS = ("bass", "drums", "piano")
LOG_MEL = LogMel(n_fft=512, win_length=512, hop_length=256, num_mels=32, segment_frames=64)


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> list[Song]:
    """Song i has DC levels that tell song and stem apart; the second song has no piano."""
    folder = tmp_path_factory.mktemp("songs")
    made = []
    for index in range(3):
        stems = STEMS if index != 1 else STEMS[:2]
        (folder / f"s{index}").mkdir()
        for number, stem in enumerate(stems):
            level = 0.1 * (index + 1) + 0.01 * (number + 1)
            soundfile.write(folder / f"s{index}" / f"{stem}.flac", np.full(32000, level), 16000)
        made.append(Song(folder / f"s{index}", "train", 2.0, 16000, stems))
    return made


def song_of(level: float) -> int:
    return round((level - 0.02) * 10) - 1


def test_plain_crops_are_what_is_on_disk(songs):
    crops = draw_crops(songs, STEMS, 20, 8000, 16000, PLAIN, np.random.default_rng(0))
    assert crops.waveforms.shape == (20, 3, 8000) and crops.coherent.all()
    for bass, drums, piano in crops.waveforms[..., 100].tolist():
        assert song_of(bass) == song_of(drums)
        assert (piano == 0) == (song_of(bass) == 1)


def test_cross_song_crops_are_marked(songs):
    settings = MixSettings(0, 0, None, 0, 1.0, 0)
    crops = draw_crops(songs, STEMS, 40, 8000, 16000, settings, np.random.default_rng(0))
    assert not crops.coherent.any()
    sources = {(song_of(b), song_of(d)) for b, d, _ in crops.waveforms[..., 100].tolist()}
    assert any(bass != drums for bass, drums in sources)


def test_level_gain_and_drop(songs):
    settings = MixSettings(stem_gain_std_db=6, level_std_db=0, stem_drop_probability=0.9)
    crops = draw_crops(songs, STEMS, 30, 8000, 16000, settings, np.random.default_rng(0))
    rms = crops.waveforms.sum(1).square().mean(-1).sqrt()
    audible = (crops.waveforms.abs().amax(-1) > 0).sum(1)
    assert torch.allclose(rms[audible > 0], torch.tensor(0.1), atol=1e-4)
    assert (audible == 1).float().mean() > 0.5


def test_stems_are_dropped_by_name(songs):
    drops = {"bass": 0.3, "drums": 0.999}
    settings = MixSettings(0, 0, stem_drop_probability=drops, cross_song_probability=0.0)
    crops = draw_crops(songs, STEMS, 200, 800, 16000, settings, np.random.default_rng(0))
    silent = crops.waveforms.abs().amax(-1) == 0
    bass, drums, _ = silent.float().mean(0).tolist()
    assert 0.1 < bass < 0.3 and 0.6 < drums < 0.8  # at least one stem, any, is kept
    has_piano = [song.stems == STEMS for song, *_ in crops.places]
    assert not silent[has_piano, 2].any()


def test_a_tape_plays_all_stems_of_a_song_at_one_speed(tmp_path):
    (tmp_path / "song").mkdir()
    seconds = np.arange(160000) / 16000
    for stem, frequency_hz in (("bass", 200), ("drums", 600)):
        tone = 0.1 * np.sin(2 * np.pi * frequency_hz * seconds)
        soundfile.write(tmp_path / "song" / f"{stem}.flac", tone, 16000)
    song = Song(tmp_path / "song", "train", 10.0, 16000, STEMS[:2])
    settings = dataclasses.replace(PLAIN, tape_semitones=12.0)
    crops = draw_crops([song], STEMS[:2], 8, 16000, 16000, settings, np.random.default_rng(0))
    hertz = torch.fft.rfft(crops.waveforms * torch.hann_window(16000)).abs().argmax(-1).numpy()
    assert np.allclose(hertz[:, 1] / hertz[:, 0], 3, atol=0.02)
    assert hertz[:, 0].min() < 150 and hertz[:, 0].max() > 300
    assert (hertz[:, 0] >= 100).all() and (hertz[:, 0] <= 400).all()
    assert crops.waveforms[..., -100:].abs().amax(-1).min() > 0.09  # nothing was read past the end


def test_drive_adds_harmonics_and_keeps_the_level():
    tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000).astype(np.float32)
    driven = overdriven(0.02 * tone, 20.0)
    assert np.sqrt(np.mean(driven**2)) == pytest.approx(0.02 * np.sqrt(0.5), rel=1e-3)
    spectrum = np.abs(np.fft.rfft(driven * np.hanning(16000)))
    assert spectrum[3000] > 0.2 * spectrum[1000]
    assert spectrum[7000] > 0.05 * spectrum[1000]
    assert spectrum[2000] < 0.001 * spectrum[1000]  # nothing folds back: 9, 11, … kHz are lost
    stereo = np.stack([tone, 0 * tone])
    assert np.allclose(overdriven(stereo, 20.0)[1], 0) and not overdriven(0 * tone, 20.0).any()


def test_equal_seeds_give_equal_crops(songs):
    settings = MixSettings()
    one, two, other = (
        draw_crops(songs, STEMS, 4, 8000, 16000, settings, np.random.default_rng(seed))
        for seed in (5, 5, 6)
    )
    assert torch.equal(one.waveforms, two.waveforms)
    assert not torch.equal(one.waveforms, other.waveforms)


def test_filtered_mels_are_those_of_the_filtered_sum():
    waveforms = 0.1 * torch.randn(2, 3, 16384, generator=torch.Generator().manual_seed(0))
    stems, mixture = mix_mels(LOG_MEL, waveforms, PLAIN, np.random.default_rng(0))
    assert torch.allclose(stems, LOG_MEL(waveforms), atol=1e-4)
    assert torch.allclose(mixture, LOG_MEL(waveforms.sum(1)), atol=1e-3)
    loud, clipped = 10 * waveforms, replace(PLAIN, clip_mixture=True)
    stems, mixture = mix_mels(LOG_MEL, loud, clipped, np.random.default_rng(0))
    assert torch.allclose(stems, LOG_MEL(loud), atol=1e-4)
    assert torch.equal(mixture, LOG_MEL(loud.sum(1).clamp(-1, 1)))
    filtered, _ = mix_mels(LOG_MEL, waveforms, MixSettings(), np.random.default_rng(0))
    change_db = 20 / np.log(10) * (filtered - stems)
    assert 1 < change_db.std() < 6
    assert (change_db - change_db.mean(dim=2, keepdim=True)).abs().max() < 3  # constant in time


def test_crops_are_resampled_and_padded(tmp_path: Path):
    tone = np.sin(2 * np.pi * 100 * np.arange(44100) / 44100)
    soundfile.write(tmp_path / "tone.wav", np.stack([tone, 0 * tone], 1), 44100, subtype="FLOAT")
    crop = read_crop(tmp_path / "tone.wav", 0.5, 16000, 16000)
    expected = 0.5 * np.sin(2 * np.pi * 100 * np.arange(8000) / 16000)
    assert np.abs(crop[200:7800] - expected[200:7800]).max() < 0.01
    assert np.abs(crop[8100:]).max() == 0


def make_shards(folder: Path, songs, seed: int = 0) -> LatentShards:
    torch.manual_seed(0)
    vae = PatchVAE(latent_channels=2, hidden_channels=8, num_blocks=1).eval()
    plan = ShardPlan(32, shard_size=4, window=2, first_window=2, steps_per_shard=1)
    return LatentShards(folder, songs, LOG_MEL, STEMS, MixSettings(), plan, vae=vae, seed=seed)


def test_shards_are_the_same_from_disk_and_made_again(songs, tmp_path: Path):
    first = make_shards(tmp_path / "a", songs)
    made, read = first.shard(3), make_shards(tmp_path / "a", songs).shard(3)
    elsewhere = make_shards(tmp_path / "b", songs).shard(3)
    assert made["stems"].shape == (4, 3, 2, 8, 8) and made["mixture"].shape == (4, 2, 8, 8)
    for other in (read, elsewhere):
        assert set(other) == {"stems", "mixture", "coherent"}
        for name, tensor in other.items():
            assert torch.equal(made[name], tensor)
    another = make_shards(tmp_path / "a", songs, 1).shard(3)
    assert not torch.equal(made["stems"], another["stems"])


def test_batches_come_from_a_moving_window(songs, tmp_path: Path):
    shards = make_shards(tmp_path, songs)
    for step in range(6):
        batch = shards.latents(step, 8, np.random.default_rng(step))
        assert batch.stems.shape == (8, 3, 2, 8, 8) and batch.stems.dtype == torch.float32
    used = sorted(int(path.stem[-6:]) for path in shards.folder.glob("*.safetensors"))
    assert min(used) == 0 and max(used) <= 6
    assert max(used) > 2


def test_equalise_is_a_smooth_filter_without_delay():
    impulse = torch.zeros(2, 3, 1024)
    impulse[..., 512] = 1
    settings = MixSettings(equaliser_std_db=3)
    filtered = equalise(impulse, settings, np.random.default_rng(0))
    assert filtered.shape == impulse.shape
    assert (filtered.abs().argmax(-1) == 512).all()
    assert torch.allclose(filtered[..., 400:512], filtered[..., 513:625].flip(-1), atol=1e-6)
    gain_db = 20 * torch.fft.rfft(filtered).abs().log10()
    assert gain_db.std() > 1 and gain_db.diff(dim=-1).abs().max() < 2
    assert not torch.allclose(gain_db[0, 0], gain_db[0, 1], atol=0.1)
    assert equalise(impulse, PLAIN, np.random.default_rng(0)) is impulse
