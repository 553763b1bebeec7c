"""Conditions of each sample of a denoiser's batch, and how noisy it is: the tasks' shares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stemweave.diffusion.schedulers import shifted
from stemweave.models.conditions import Conditions
from stemweave.music.rolls import (
    CHORD_COLUMNS,
    HARMONY_KNOWN,
    RHYTHM_COLUMNS,
    RHYTHM_KNOWN,
    WIDTHS,
    roll_columns,
)
from stemweave.training.part_settings import ConditionSettings, DenoiserSettings


@dataclass
class Situation:
    """Conditions of one batch of samples, and how noisy it is.

    Attributes:
        timestep: (B, S) integers.
        has_mixture: (B,) bool.
        known: (B, S, H) bool.
    """

    timestep: Tensor
    has_mixture: Tensor
    known: Tensor

    def part(self, samples: slice) -> Situation:
        return Situation(self.timestep[samples], self.has_mixture[samples], self.known[samples])


def draw_situation(
    settings: DenoiserSettings,
    coherent: Tensor,
    num_stems: int,
    height: int,
    num_timesteps: int,
    rng: np.random.Generator,
) -> Situation:
    """Divide a batch among the tasks; incoherent samples (``coherent`` (B,)) only separate."""
    batch = len(coherent)
    timestep = _draw_timesteps(settings, (batch, 1), num_timesteps, rng).repeat(num_stems, axis=1)
    has_mixture = np.zeros(batch, dtype=bool)
    known = np.zeros((batch, num_stems, height), dtype=bool)
    for sample in range(batch):
        draw = rng.random()
        if draw < settings.separation_share or not coherent[sample]:
            has_mixture[sample] = True
            if rng.random() < settings.pure_noise_probability:
                timestep[sample] = num_timesteps - 1
        elif draw < settings.separation_share + settings.arrangement_share:
            has_mixture[sample] = rng.random() < settings.mixture_probability
            known[sample] = _draw_known(settings, num_stems, height, rng)
        if rng.random() < settings.own_timesteps_probability:
            timestep[sample] = _draw_timesteps(settings, num_stems, num_timesteps, rng)
    timestep[known.all(axis=2)] = 0  # a stem that is wholly given is clean
    return Situation(
        torch.from_numpy(timestep), torch.from_numpy(has_mixture), torch.from_numpy(known)
    )


def _draw_timesteps(
    settings: DenoiserSettings,
    shape: int | tuple[int, ...],
    num_timesteps: int,
    rng: np.random.Generator,
) -> np.ndarray:
    uniform = rng.integers(0, num_timesteps, shape)
    return shifted(uniform, num_timesteps, settings.timestep_shift)


def _draw_known(
    settings: DenoiserSettings, num_stems: int, height: int, rng: np.random.Generator
) -> np.ndarray:
    """Given positions (S, H): some stems for all time, or a time range of some or all stems."""
    known = np.zeros((num_stems, height), dtype=bool)
    if num_stems > 1 and rng.random() >= settings.time_range_probability:
        num_known = rng.integers(1, num_stems)
        known[rng.permutation(num_stems)[:num_known]] = True
        return known
    start, stop = sorted(rng.integers(0, height + 1, 2))
    if rng.random() < 0.5:  # the beginning is known: continue it
        start = 0
    known[:, start:stop] = True
    if num_stems > 1 and rng.random() < 0.5:  # everything is known but a region of some stems
        renewed = rng.permutation(num_stems)[: rng.integers(1, num_stems)]
        untouched = np.setdiff1d(np.arange(num_stems), renewed)
        known[untouched] = True
    return known


def hide(
    conditions: Conditions, settings: ConditionSettings, rng: np.random.Generator
) -> Conditions:
    """``conditions`` with a part of them unknown, as often as ``settings`` say."""
    batch, num_stems = conditions.instruments.shape

    def drawn(probability: float, *shape: int) -> Tensor:
        return torch.from_numpy(rng.random((batch, *shape)) < probability)

    everything = drawn(settings.everything_hidden)
    height = conditions.roll.shape[1]
    notes = drawn(settings.stem_hidden, 1, len(WIDTHS))
    notes = notes | (everything | drawn(settings.score_hidden))[:, None, None]
    notes = notes | (drawn(settings.range_hidden)[:, None] & _ranges(batch, height, rng))[..., None]
    roll = conditions.roll.clone()
    for index, stem in enumerate(WIDTHS):
        roll[..., roll_columns(stem)] *= ~notes[..., index, None]
    rows = conditions.rows.clone()
    for columns, known in ((RHYTHM_COLUMNS, RHYTHM_KNOWN), (CHORD_COLUMNS, HARMONY_KNOWN)):
        hidden = everything | drawn(settings.field_hidden)
        rows[hidden, :, columns] = 0
        rows[hidden, :, known] = 0
    hidden_style = everything | drawn(settings.field_hidden)
    instruments, sounds = (
        number * ~(everything[:, None] | drawn(settings.stem_hidden, num_stems))
        for number in (conditions.instruments, conditions.sounds)
    )
    return Conditions(
        roll,
        conditions.notes_known & ~notes,
        rows,
        conditions.style * ~hidden_style,
        instruments,
        sounds,
    )


def _ranges(batch: int, height: int, rng: np.random.Generator) -> Tensor:
    """A time range (B, H) of each sample, a third of which begin and a third end with it."""
    ends = np.sort(rng.integers(0, height + 1, (batch, 2)), axis=1)
    kind = rng.integers(0, 3, batch)
    start = np.where(kind == 0, 0, ends[:, 0])[:, None]
    stop = np.where(kind == 1, height, ends[:, 1])[:, None]
    positions = np.arange(height)
    return torch.from_numpy((positions >= start) & (positions < stop))
