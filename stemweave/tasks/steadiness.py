"""Long pieces keep the level and colour of their stems, and rests are rests.

Works on drawn log-mels (S, F, M). Levels and colours are those of frames in which a stem sounds:
a window with fewer notes stays quieter as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from stemweave.models.parts import Parts
from stemweave.tasks.conditioning import Conditioning
from stemweave.tasks.spectra import to_model_rate

NUM_BANDS = 8
"""Of equally many mel bands each: a note up or down does not change them, another colour does."""
MAX_CHANGE_DB = 9.0
"""Most that a band is changed by: a larger difference is taken for the music's own."""
AUDIBLE_DB = 30.0
"""Frames this far below a stem's loud ones are rests, and bands are nothing."""
MIN_SOUNDING_S = 1.0
"""A stem that sounds for less tells neither level nor colour."""
ROUNDS = 3
"""Gains glide from window to window, so that one round does not do all."""
MAX_STEP_DB = 3.0
"""Most by which a continuation goes back from a piece's last window to the mean of all."""
MAX_WINDOWS = 12
"""Of a piece, that say how loud it is."""
REST_DB = -60.0
"""Added to what a model plays where a stem rests."""
REST_TAIL_S = 1.0
"""A rest begins so long after the last note ends: strings and cymbals ring on."""
REST_FADE_S = 0.5
DB_PER_NEPER = 20 / math.log(10)


def band_levels(log_mel: Tensor, sounds: Tensor, min_frames: int) -> Tensor | None:
    """Mean power (``NUM_BANDS``,) in dB of frames of ``log_mel`` (F, M) where ``sounds`` (F,).

    None if these are fewer than ``min_frames``.
    """
    if int(sounds.sum()) < min_frames:
        return None
    power = (2 * log_mel[sounds]).exp().mean(dim=0)
    return 10 * torch.stack([band.sum() for band in power.tensor_split(NUM_BANDS)]).log10()


def audible_frames(log_mel: Tensor) -> Tensor:
    """In which frames (F,) of ``log_mel`` (F, M) a stem sounds, by its level alone."""
    levels_db = 10 * (2 * log_mel).exp().sum(dim=-1).log10()
    return levels_db > levels_db.quantile(0.95) - AUDIBLE_DB


def held_to(
    log_mel: Tensor,
    sounds: Tensor,
    first: int,
    window_frames: int,
    min_frames: int,
    reference: Tensor | None = None,
) -> Tensor:
    """A stem's log-mel (F, M) whose windows from frame ``first`` on are as loud as those before.

    So are bands of them; gains glide from window to window. ``reference`` (``NUM_BANDS``,) in dB
    takes the place of what is before. Where a stem has neither, the first window in which it sounds
    is the measure of those after it.
    """
    num_frames = len(log_mel)
    count = max(1, round((num_frames - first) / window_frames))
    windows = list(torch.arange(first, num_frames).tensor_split(count))
    if reference is None:
        reference = band_levels(log_mel[:first], sounds[:first], min_frames)
    centres = torch.tensor([first, *(float(window.float().mean()) for window in windows)])
    changes_db, held = log_mel.new_zeros(len(centres), NUM_BANDS), log_mel
    for _ in range(ROUNDS):
        for number, window in enumerate(windows, start=1):
            levels = band_levels(held[window], sounds[window], min_frames)
            if levels is None:  # it rests: as the window before
                changes_db[number] = changes_db[number - 1]
                continue
            reference = levels if reference is None else reference
            audible = reference > reference.max() - AUDIBLE_DB
            changes_db[number] += torch.where(audible, reference - levels, 0.0)
        changes_db.clamp_(-MAX_CHANGE_DB, MAX_CHANGE_DB)
        held = log_mel + _over_frames_and_bands(changes_db, centres, log_mel.shape) / DB_PER_NEPER
    return held


def steady(
    parts: Parts,
    log_mels: Tensor,
    stems: Sequence[str],
    conditioning: Conditioning | None,
    *,
    first: int,
    references: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """Log-mels (N, F, M) of ``stems`` (N,), each ``held_to`` what it was, silent where it rests.

    Args:
        conditioning: its score says where stems sound and rest.
        first: frame from which on they are held, if there is one.
        references: ``levels_of_piece`` by stem; None: what is before ``first``.
    """
    config, num_frames = parts.log_mel.config, log_mels.shape[1]
    if conditioning is not None:
        frame_s = 1 / parts.log_mel.frames_per_second
        ringing = conditioning.sounding(stems, num_frames, frame_s, REST_TAIL_S)
        log_mels = log_mels if ringing is None else _resting(parts, log_mels, ringing)
    if num_frames <= first:
        return log_mels
    min_frames, held = _min_frames(parts), []
    for stem, own in zip(stems, log_mels, strict=True):
        reference = None if references is None else references.get(stem)
        sounds = audible_frames(own)
        held.append(held_to(own, sounds, first, config.segment_frames, min_frames, reference))
    return torch.stack(held).clamp(min=math.log(config.log_floor))


def levels_of_piece(parts: Parts, waveform: Tensor, sample_rate: int, gain: float) -> Tensor | None:
    """``band_levels`` of a stem (channels, T) times ``gain``; None where it does not sound.

    Those of windows all over it, but not far from those of the last window in which it sounds: what
    goes on after a quiet end begins quietly.
    """
    window, num_samples = round(parts.segment_s * sample_rate), waveform.shape[-1]
    count = min(MAX_WINDOWS, max(1, round(num_samples / window)))
    starts = torch.linspace(0, max(0, num_samples - window), count).long().tolist()
    excerpts = [waveform[:, start : start + window] for start in starts]
    log_mels = [
        parts.log_mel(gain * to_model_rate(one, sample_rate, parts.sample_rate)) for one in excerpts
    ]
    sounding = audible_frames(torch.cat(log_mels)).split([len(one) for one in log_mels])
    min_frames = _min_frames(parts)
    pairs = zip(log_mels, sounding, strict=True)
    levels = [found for pair in pairs if (found := band_levels(*pair, min_frames)) is not None]
    if not levels:
        return None
    step_db = torch.stack(levels).mean(dim=0) - levels[-1]
    return levels[-1] + step_db.clamp(-MAX_STEP_DB, MAX_STEP_DB)


def _resting(parts: Parts, log_mels: Tensor, sounds: Tensor) -> Tensor:
    """Log-mels (S, F, M) that fade out where stems do not sound, as ``sounds`` (S, F) says."""
    fade = 2 * round(REST_FADE_S * parts.log_mel.frames_per_second / 2) + 1
    # turned into rests only half a fade away from what sounds: attacks stay whole
    near = functional.max_pool1d(sounds.float()[:, None], fade, stride=1, padding=fade // 2)
    rests = functional.pad(1 - near, (fade // 2, fade // 2), mode="replicate")
    depth_db = REST_DB * functional.avg_pool1d(rests, fade, stride=1)[:, 0]
    floor = log_mels.clamp(max=math.log(parts.log_mel.config.log_floor))
    return torch.maximum(log_mels + depth_db[..., None] / DB_PER_NEPER, floor)


def _min_frames(parts: Parts) -> int:
    return round(MIN_SOUNDING_S * parts.log_mel.frames_per_second)


def _over_frames_and_bands(values: Tensor, places: Tensor, shape: torch.Size) -> Tensor:
    """(F, M) of ``shape`` in straight lines through ``values`` (K, N) at frames ``places`` (K,)."""
    at = torch.arange(shape[0], dtype=torch.float32)
    after = torch.searchsorted(places, at).clamp(1, len(places) - 1)
    start, end = places[after - 1], places[after]
    share = ((at - start) / (end - start)).clamp(0, 1)[:, None]
    frames = values[after - 1] + (values[after] - values[after - 1]) * share
    return functional.interpolate(frames[:, None], shape[1], mode="linear")[:, 0]
