"""Embedding networks on random weights in the published file formats."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

from stemweave.errors import InputError
from stemweave.evaluation.embeddings import (
    ClapEmbedding,
    MusicnnEmbedding,
    VggishEmbedding,
    embed_clips,
)
from stemweave.evaluation.vggish import Vggish, vggish_patches


@pytest.fixture(scope="module")
def clips() -> torch.Tensor:
    return 0.1 * torch.randn(3, 52_000, generator=torch.Generator().manual_seed(0))


def test_musicnn_vectors_do_not_depend_on_the_batch(clips: torch.Tensor) -> None:
    embedding = MusicnnEmbedding()
    vectors = embed_clips(embedding, clips, 16_000, batch_size=2)
    assert vectors.shape == (3, 1, 200)
    alone = embed_clips(embedding, clips[2:], 16_000)
    np.testing.assert_allclose(vectors[2:], alone, atol=1e-4)


def test_clips_of_another_rate_are_resampled() -> None:
    time_s = torch.arange(44_100 * 4) / 44_100
    tone = 0.3 * torch.sin(2 * torch.pi * 440 * time_s)[None]
    reference = 0.3 * torch.sin(2 * torch.pi * 440 * torch.arange(64_000) / 16_000)[None]
    embedding = MusicnnEmbedding()
    other = embed_clips(embedding, tone, 44_100)
    same = embed_clips(embedding, reference, 16_000)
    assert np.abs(other - same).max() < 0.1 * np.abs(same).max()


def test_vggish_reads_the_published_layout(tmp_path: Path, clips: torch.Tensor) -> None:
    torch.manual_seed(0)
    network = Vggish(hidden_channels=32).eval()
    keys = set(network.state_dict())
    assert {"features.0.weight", "features.13.bias", "embeddings.4.weight"} <= keys
    assert Vggish.__init__.__defaults__ == (4096,)
    path = tmp_path / "vggish.pth"
    torch.save({**network.state_dict(), "pproc.pca_means": torch.zeros(128, 1)}, path)
    vectors = embed_clips(VggishEmbedding(str(path)), clips, 16_000)
    assert vectors.shape == (3, 3, 128)
    with torch.inference_mode():
        expected = network(vggish_patches(clips[0]))
    np.testing.assert_allclose(vectors[0], expected.numpy(), atol=1e-5)


def test_vggish_front_end_on_silence_and_a_tone() -> None:
    silence = vggish_patches(torch.zeros(2, 32_000))
    assert silence.shape == (2, 2, 96, 64)
    assert torch.allclose(silence, torch.tensor(0.01).log().expand_as(silence))
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(16_000) / 16_000)
    loudest = int(vggish_patches(tone)[0].mean(0).argmax())
    mel_edges = 1127 * np.log1p(np.array([125.0, 7500.0, 1000.0]) / 700)
    expected = (mel_edges[2] - mel_edges[0]) / (mel_edges[1] - mel_edges[0]) * 65 - 1
    assert abs(loudest - expected) < 1
    with pytest.raises(ValueError, match="at least"):
        vggish_patches(torch.zeros(1000))


def test_unreadable_weights_are_input_errors(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_text("no weights")
    with pytest.raises(InputError, match="cannot read"):
        VggishEmbedding(str(path))
    torch.save({"other": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="no VGGish weights"):
        VggishEmbedding(str(path))
    with pytest.raises(InputError, match="CLAP"):
        ClapEmbedding(str(tmp_path / "missing"))


def test_clap_loads_a_saved_folder(tmp_path: Path) -> None:
    audio = {
        "window_size": 8, "num_mel_bins": 64, "spec_size": 256, "patch_embeds_hidden_size": 16,
        "hidden_size": 128, "depths": [1, 1, 1, 1], "num_attention_heads": [1, 1, 1, 1],
        "projection_dim": 24,
    }  # fmt: skip
    text = {
        "vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 16, "projection_dim": 24,
    }  # fmt: skip
    torch.manual_seed(0)
    config = ClapConfig(text_config=text, audio_config=audio, projection_dim=24)
    ClapModel(config).save_pretrained(tmp_path)
    ClapFeatureExtractor(truncation="rand_trunc").save_pretrained(tmp_path)
    clips = 0.1 * torch.randn(2, 32_000, generator=torch.Generator().manual_seed(1))
    embedding = ClapEmbedding(str(tmp_path))
    vectors = embed_clips(embedding, clips, 16_000)
    assert vectors.shape == (2, 1, 24)
    np.testing.assert_allclose(vectors, embed_clips(embedding, clips, 16_000))
    assert np.abs(vectors[0] - vectors[1]).max() > 0
