"""A few fixed pieces of validation music, to listen to and see what a stage has learnt so far."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from torch import Tensor

from stemweave.data.mixing import PLAIN, Crops, draw_crops
from stemweave.data.tar_songs import Songs
from stemweave.models.log_mel import LogMel
from stemweave.models.vocoder import griffin_lim, resampled
from stemweave.training.settings import RunSettings

GRIFFIN_LIM_ITERATIONS = 30


@dataclass(frozen=True)
class Example:
    """One sound and its picture.

    Attributes:
        waveform: (T,) at the front end's rate; None has a picture only.
        log_mel: (F, M), or several spectrograms (N, F, M), the first on top.
        is_reference: the same at every validation: logged once.
    """

    waveform: Tensor | None
    log_mel: Tensor
    is_reference: bool = False

    def picture(self) -> np.ndarray:
        """RGB image (3, N · M, F) in [0, 1], low bands at the bottom of each spectrogram."""
        image = self.log_mel.detach().float().cpu().nan_to_num().flip(-1).transpose(-1, -2)
        image = image.reshape(-1, image.shape[-1])
        peak = image.max()
        level = ((image - peak) / 7 + 1).clamp(0, 1)  # 7 nepers, about 60 dB, below the peak
        return np.moveaxis(colormaps["magma"](level.numpy())[..., :3], -1, 0)


def example_crops(settings: RunSettings, songs: Songs, log_mel: LogMel, count: int) -> Crops:
    """Stems (count, S, T) of the same places at every call, half a model window long.

    Mixtures have the model's level.
    """
    mixing = replace(PLAIN, reference_rms=settings.mixing.reference_rms)
    num_samples = log_mel.segment_samples // 2
    rate = log_mel.config.sample_rate
    rng = np.random.default_rng(3)
    return draw_crops(songs, settings.stems, count, num_samples, rate, mixing, rng)


def beside_the_truth(
    name: str, true: tuple[Tensor, Tensor], made: tuple[Tensor, Tensor]
) -> dict[str, Example]:
    """Examples from waveforms (N, T) and log-mels (N, F, M): ``true_0``, ``<name>_0`` …"""
    examples = {}
    for index, (waveform, log_mel) in enumerate(zip(*true, strict=True)):
        examples[f"true_{index}"] = Example(waveform, log_mel, is_reference=True)
        examples[f"{name}_{index}"] = Example(made[0][index], made[1][index])
    return examples


def synthesised(log_mel: LogMel, log_mels: Tensor, vocoder: Any = None) -> Tensor:
    """Waveforms (N, T) of log-mels (N, F, M) by ``vocoder``, else by Griffin and Lim's iteration.

    Without gradients, on the CPU, at the front end's rate.
    """
    with torch.no_grad():
        if vocoder is not None:
            sounds = vocoder(log_mels.float().to(next(vocoder.parameters()).device)).cpu()
            return resampled(sounds, log_mels.shape[1] * log_mel.config.hop_length)
        return griffin_lim(log_mel, log_mels.float().cpu(), iterations=GRIFFIN_LIM_ITERATIONS)
