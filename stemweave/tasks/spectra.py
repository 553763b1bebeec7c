"""Between waveforms and latents, for pieces of any length: what all tasks share.

Long pieces are processed in chunks that overlap and are cross-faded, so no seam is left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import soxr
import torch
from torch import Tensor
from torch.nn import functional

from stemweave.audio.waveforms import mono
from stemweave.audio.windows import cross_faded, windows_over
from stemweave.diffusion.guidance import Denoiser
from stemweave.models.acceleration import denoiser_precision
from stemweave.models.conditions import Conditions
from stemweave.models.log_mel import mono_log_mel
from stemweave.models.parts import Parts
from stemweave.models.vocoder import matched, white_noise

LARGE = 20_000_000
"""Parameters of a network whose activations for several samples at once are gigabytes."""


def chunked(function: Callable[[Tensor], Tensor], data: Tensor, chunk: int, overlap: int) -> Tensor:
    """``function`` along the last axis of ``data`` (..., L) in overlapping chunks, cross-faded.

    ``function`` may stretch that axis by a constant factor: (..., l) → (..., factor · l).
    """
    if data.shape[-1] <= chunk:
        return function(data)
    windows = windows_over(data.shape[-1], chunk, overlap)
    results = [function(data[..., one.start : one.start + one.length]) for one in windows]
    factor = results[0].shape[-1] // windows[0].length
    return torch.cat(list(cross_faded(results, overlap * factor)), dim=-1)


def to_model_rate(waveform: Tensor, sample_rate: int, model_rate: int) -> Tensor:
    """Mono (T,) at ``model_rate``, T at least 1, from (channels, T) at ``sample_rate``."""
    samples = mono(waveform)
    if sample_rate == model_rate:
        return samples
    shortest = -(-sample_rate // model_rate)
    samples = functional.pad(samples, (0, max(0, shortest - len(samples))))
    return torch.from_numpy(soxr.resample(samples.numpy(), sample_rate, model_rate)).float()


def from_model_rate(
    waveform: Tensor, model_rate: int, sample_rate: int, num_samples: int
) -> Tensor:
    """(..., num_samples) at ``sample_rate`` from (..., T) at ``model_rate``, padded or cut."""
    if sample_rate != model_rate:
        flat = waveform.reshape(-1, waveform.shape[-1]).numpy()
        resampled = np.stack([soxr.resample(row, model_rate, sample_rate) for row in flat])
        waveform = torch.from_numpy(resampled).float().reshape(*waveform.shape[:-1], -1)
    missing = max(0, num_samples - waveform.shape[-1])
    return functional.pad(waveform, (0, missing))[..., :num_samples]


def encode(parts: Parts, log_mels: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Scaled latents (N, C, H, W) of log-mels (N, F, M); F a multiple of the time stride.

    A stereo model's latents hold both channels, side by side along C: log-mels are (N, 2, F, M), or
    mono ones (N, F, M) that are taken for both.
    """
    if parts.channels == 1:
        return _encode(parts, log_mels, generator)
    if log_mels.ndim == 3:
        log_mels = log_mels[:, None].expand(-1, parts.channels, -1, -1)
    latents = _encode(parts, log_mels.flatten(0, 1), generator)
    return latents.unflatten(0, (-1, parts.channels)).flatten(1, 2)


def _encode(parts: Parts, log_mels: Tensor, generator: torch.Generator | None) -> Tensor:
    """Scaled latents of the autoencoder (N, C, H, W) of log-mels (N, F, M)."""

    def encode_chunk(mels: Tensor) -> Tensor:  # (N, M, f) → (N, C, W, h)
        vae, mels = parts.on_device("vae"), mels.to(parts.compute_device)

        def moments(part: Tensor) -> Tensor:
            posterior = vae.encode(part).latent_dist
            return torch.stack([posterior.mean, posterior.std], dim=1)

        latents, std = _in_turn(vae, moments, mels.transpose(1, 2)[:, None]).unbind(1)
        if parts.config.sample_posterior:
            noise = torch.randn(latents.shape, generator=generator)
            latents = latents + std * noise.to(latents)
        return latents.transpose(2, 3).cpu()

    frames = log_mels.shape[1]
    chunk = parts.log_mel.config.segment_frames
    if frames <= chunk:
        latents = encode_chunk(log_mels.transpose(1, 2))
    else:  # latents are coarser than frames: cut at multiples of the stride, then cross-fade
        groups = log_mels.unflatten(1, (-1, parts.time_stride)).permute(0, 3, 2, 1)
        chunk = parts.window_positions
        latents = chunked(
            lambda part: encode_chunk(part.mT.flatten(2)), groups, chunk, _overlap(chunk)
        )
    return latents.transpose(2, 3) * parts.vae.config.scaling_factor


def decode(parts: Parts, latents: Tensor) -> Tensor:
    """Log-mels (N, F, M) of scaled latents (N, C, H, W); of a stereo model, those in mono."""
    if parts.channels > 1:
        return mono_log_mel(decode_channels(parts, latents), dim=1)
    return _decode(parts, latents)


def decode_channels(parts: Parts, latents: Tensor) -> Tensor:
    """Log-mels (N, channels, F, M) of scaled latents (N, C, H, W)."""
    flat = latents.unflatten(1, (parts.channels, -1)).flatten(0, 1)
    return _decode(parts, flat).unflatten(0, (-1, parts.channels))


def bounded(parts: Parts, log_mels: Tensor, stems: Sequence[int] | None = None) -> Tensor:
    """Log-mels (S, ...) of drawn ``stems`` (all if None), nowhere louder than training ever was.

    A denoiser may answer with moments that are ten times too loud to what it did not learn from.
    """
    loudest = parts.denoiser.config.get("max_log_mels")
    if loudest is None:
        return log_mels
    limits = torch.tensor(loudest if stems is None else [loudest[stem] for stem in stems])
    return log_mels.minimum(limits.reshape(-1, *[1] * (log_mels.ndim - 1)))


def _decode(parts: Parts, latents: Tensor) -> Tensor:
    """Log-mels (N, F, M) of scaled latents of the autoencoder (N, C, H, W)."""

    def decode_chunk(part: Tensor) -> Tensor:  # (N, C, W, h) → (N, M, f)
        vae = parts.on_device("vae")
        latents = part.transpose(2, 3).to(parts.compute_device)
        decoded = _in_turn(vae, lambda some: vae.decode(some).sample, latents)
        return decoded[:, 0].transpose(1, 2).cpu()

    chunk = parts.window_positions
    unscaled = (latents / parts.vae.config.scaling_factor).transpose(2, 3)
    return chunked(decode_chunk, unscaled, chunk, _overlap(chunk)).transpose(1, 2)


def denoiser_of(parts: Parts, conditions: Conditions | None = None) -> Denoiser:
    """The model's denoiser for inputs on the CPU, wherever it is itself, with ``conditions``."""
    embedded: list[Any] = []  # as another argument, once they are

    def predict(
        latents: Tensor, timestep: Tensor, mixture: Tensor | None, known: Tensor | None
    ) -> Tensor:
        device = parts.compute_device
        latents, timestep = latents.to(device), timestep.to(device)
        mixture = None if mixture is None else mixture.to(device)
        known = None if known is None else known.to(device)
        denoiser = parts.on_device("denoiser")
        if conditions is not None and not embedded:
            embedded.append(denoiser.conditions(conditions.to(device)))
        with denoiser_precision(parts.denoiser_dtype, device):
            prediction = denoiser(latents, timestep, mixture, known, *embedded)
        return cast(Tensor, prediction).float().cpu()

    return predict


def vocode(parts: Parts, log_mels: Tensor, stems: Sequence[str]) -> Tensor:
    """Waveforms (N, F · hop_length) at ``output_rate`` of log-mels (N, F, M) of ``stems`` (N,)."""
    front_end, config = parts.log_mel, parts.config_of("vocoder")
    classes = [parts.vocoder_class(stem) for stem in stems]
    noise = white_noise(config, *log_mels.shape[:2])  # chunks share what they overlap in

    def vocode_frames(row: int, frames: Tensor) -> Tensor:  # (f,) in order → (f · hop_length,)
        log_mel = log_mels[row : row + 1, frames].to(parts.compute_device)
        vocoder, inputs = parts.on_device("vocoder"), []
        if classes[row] is not None:
            inputs.append(torch.tensor([classes[row]], device=log_mel.device))
        if noise is not None:
            first, last = (config.upsampling * int(frames[end]) for end in (0, -1))
            inputs.append(noise[row : row + 1, :, first : last + config.upsampling])
        waveform, device = vocoder(log_mel, *inputs).reshape(1, -1), front_end.window.device
        iterations = parts.config.matching_iterations
        return matched(waveform.to(device), log_mel.to(device), front_end, iterations)[0].cpu()

    chunk, frames = front_end.config.segment_frames, torch.arange(log_mels.shape[1])
    rows = (partial(vocode_frames, row) for row in range(len(log_mels)))
    return torch.stack([chunked(row, frames, chunk, _overlap(chunk)) for row in rows])


def _in_turn(network: Any, function: Callable[[Tensor], Tensor], data: Tensor) -> Tensor:
    """``function`` of ``data`` (N, ...), on a CPU sample by sample if ``network`` is large."""
    is_large = sum(weights.numel() for weights in network.parameters()) >= LARGE
    if data.device.type == "cpu" and is_large:
        return torch.cat([function(sample) for sample in data.split(1)])
    return function(data)


def _overlap(chunk: int) -> int:
    """Positions that two chunks share: enough for the convolutions' reach, less than half."""
    return min(16, chunk // 4)
