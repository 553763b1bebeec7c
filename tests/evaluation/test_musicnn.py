"""musicnn equals the published graph; its front end against hand-made signals."""

from pathlib import Path

import numpy as np
import pytest
import torch

from stemweave.evaluation.musicnn import (
    HOP_LENGTH,
    PATCH_FRAMES,
    Musicnn,
    musicnn_log_mel,
    musicnn_patches,
)

PARITY = Path(__file__).parent / "data" / "musicnn_parity.npz"


@torch.inference_mode()
def test_equals_the_original_graph() -> None:
    expected = np.load(PARITY)
    penultimate, logits = Musicnn.from_bundled()(torch.from_numpy(expected["log_mel"]).float())
    np.testing.assert_allclose(penultimate.numpy(), expected["penultimate"], atol=1e-4)
    np.testing.assert_allclose(logits.numpy(), expected["logits"], atol=1e-4)


def test_rejects_patches_of_another_size() -> None:
    with pytest.raises(ValueError, match="187"):
        Musicnn.from_bundled()(torch.zeros(1, 100, 96))


def test_front_end_equals_librosa() -> None:
    librosa = pytest.importorskip("librosa")
    waveform = 0.1 * torch.randn(16000, generator=torch.Generator().manual_seed(0))
    mel = librosa.feature.melspectrogram(
        y=waveform.numpy(), sr=16000, n_fft=512, hop_length=256, n_mels=96, pad_mode="reflect"
    )
    expected = np.log10(10_000 * mel + 1).T
    np.testing.assert_allclose(musicnn_log_mel(waveform).numpy(), expected, atol=2e-4)


def test_patches_are_whole_and_silence_is_zero() -> None:
    assert musicnn_patches(torch.zeros(163_840)).shape == (3, 187, 96)
    short = musicnn_patches(torch.zeros(1000))
    assert short.shape == (1, 187, 96)
    assert not short.any()
    exact = torch.zeros((PATCH_FRAMES - 1) * HOP_LENGTH)
    assert musicnn_patches(exact).shape[0] == 1
