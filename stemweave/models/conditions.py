"""Sheet, score and sounds as conditions of a denoiser.

``ConditionNetwork`` makes of ``Conditions`` a map (B, width, H, W) for the denoiser's first level,
and a vector (B, E) for its timestep embedding. Every pitch begins with a template of its partials
over the mel bands. The last layers are zero at first: a trained denoiser stays what it was.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from stemweave.models.convolution import Convolution
from stemweave.music.instruments import number_of
from stemweave.music.lead_sheet import LeadSheet
from stemweave.music.rolls import (
    LOWEST,
    PITCHED,
    PITCHES,
    ROLL_COLUMNS,
    SHEET_COLUMNS,
    SUB_STEPS,
    WIDTHS,
    TimedNotes,
    roll_columns,
    roll_of_notes,
    sheet_rows,
)

MOST_PARTIALS = 24
DRUM_CHANNELS = 16
ROW_CHANNELS = 128
EMBEDDING_STD = 0.02


class Conditions(NamedTuple):
    """What is known of B pieces of H positions; what is not known is zeros.

    Attributes:
        roll: (B, H, 264) uint8, of ``music.rolls``.
        notes_known: (B, H, R) bool, for each stem of a roll.
        rows: (B, H, 43), of ``music.rolls``.
        style: (B,) integers, 0 = unknown.
        instruments: (B, S) classes of instruments, 0 = unknown.
        sounds: (B, S) sounds of the training songs, 0 = unknown.
    """

    roll: Tensor
    notes_known: Tensor
    rows: Tensor
    style: Tensor
    instruments: Tensor
    sounds: Tensor

    def to(self, device: torch.device) -> Conditions:
        return Conditions(*(tensor.to(device) for tensor in self))

    def part(self, samples: slice | Tensor) -> Conditions:
        return Conditions(*(tensor[samples] for tensor in self))


Embedded = tuple[Tensor, Tensor]
"""The map and the vector that ``ConditionNetwork`` makes."""


def nothing_known(batch: int, num_stems: int, height: int) -> Conditions:
    """Conditions that say nothing."""
    return Conditions(
        torch.zeros(batch, height, ROLL_COLUMNS, dtype=torch.uint8),
        torch.zeros(batch, height, len(WIDTHS), dtype=torch.bool),
        torch.zeros(batch, height, SHEET_COLUMNS),
        torch.zeros(batch, dtype=torch.long),
        torch.zeros(batch, num_stems, dtype=torch.long),
        torch.zeros(batch, num_stems, dtype=torch.long),
    )


def conditions_of(
    denoiser_config: Mapping[str, Any],
    sheet: LeadSheet | None,
    notes: TimedNotes | None,
    start_s: float,
    num_positions: int,
    position_s: float,
    sounds: Mapping[str, str] = {},
    notes_until_s: float = math.inf,
) -> Conditions:
    """Conditions of one piece (B = 1) from ``start_s`` on, in a denoiser's own vocabulary.

    Args:
        denoiser_config: of a denoiser that has conditions; names that it does not know are unknown.
        notes: by stem, in seconds (``music.rolls.timed_notes``); a missing stem is unknown.
        sounds: name of the sound of each stem, as in ``song.json``.
        notes_until_s: from here on notes are unknown.
    """
    stems, words = denoiser_config["stems"], denoiser_config["vocabulary"]
    conditions = nothing_known(1, len(stems), num_positions)
    if notes is not None:
        roll = torch.from_numpy(roll_of_notes(notes, start_s, num_positions, position_s))
        begun = start_s + torch.arange(num_positions, dtype=torch.float64) * position_s
        early = (begun < notes_until_s)[:, None]
        known = early & torch.tensor([stem in notes for stem in WIDTHS])
        conditions = conditions._replace(roll=(roll * early)[None], notes_known=known[None])
    if sheet is not None:
        rows = torch.from_numpy(sheet_rows(sheet, start_s, num_positions, position_s))
        played = [
            number_of(words["instruments"].get(stem, ()), sheet.instruments.get(stem))
            for stem in stems
        ]
        conditions = conditions._replace(
            rows=rows[None],
            style=torch.tensor([number_of(words["styles"], sheet.style)]),
            instruments=torch.tensor([played]),
        )
    numbers = [number_of(words["sounds"].get(stem, ()), sounds.get(stem)) for stem in stems]
    return conditions._replace(sounds=torch.tensor([numbers]))


class ConditionNetwork(nn.Module):
    """``Conditions`` → map (B, width, H, W) and vector (B, E).

    Args:
        stems: the denoiser's.
        latent_bands: W.
        width: channels of the denoiser's first level.
        embedding_channels: E.
        styles: names, in the order of their numbers from 1.
        instruments: classes of each stem, likewise.
        sounds: of each stem, likewise, as sequences or with how often each was trained on.
        num_mels: mel bands M of the autoencoder's input, a multiple of W, from 0 to ``f_max`` Hz.
        channels: inside.
    """

    def __init__(
        self,
        stems: Sequence[str],
        latent_bands: int,
        width: int,
        embedding_channels: int,
        *,
        styles: Sequence[str] = (),
        instruments: Mapping[str, Sequence[str]] = {},
        sounds: Mapping[str, Collection[str]] = {},
        num_mels: int = 128,
        f_max: float = 8000.0,
        channels: int = 64,
    ) -> None:
        super().__init__()
        if num_mels % latent_bands:
            raise ValueError(f"{num_mels} mel bands do not fit {latent_bands} latent bands")
        self.words: dict[str, Sequence[str]] = {"style": styles}
        for index, stem in enumerate(stems):
            self.words[f"instruments.{index}"] = instruments.get(stem, ())
            self.words[f"sounds.{index}"] = list(sounds.get(stem, ()))
        self.roll_stems = [stem for stem in WIDTHS if stem in stems]
        self.templates = nn.ParameterDict(
            {stem: _templates(stem, num_mels, latent_bands, f_max) for stem in self.roll_stems}
        )
        in_channels = sum(template.shape[1] for template in self.templates.values())
        notes_out = Convolution(channels, width, 3, padding=1)
        self.notes = nn.Sequential(
            Convolution(in_channels, channels, 3, padding=1), nn.SiLU(), notes_out
        )
        rows_out = nn.Conv1d(ROW_CHANNELS, width, 5, padding=2)
        self.rows = nn.Sequential(
            nn.Conv1d(SHEET_COLUMNS, ROW_CHANNELS, 5, padding=2), nn.SiLU(), rows_out
        )

        def embedding(name: str) -> nn.Embedding:
            table = nn.Embedding(len(self.words[name]) + 1, embedding_channels)
            nn.init.normal_(table.weight, std=EMBEDDING_STD)
            return table

        self.style = embedding("style")
        numbers = range(len(stems))
        self.instruments = nn.ModuleList(embedding(f"instruments.{i}") for i in numbers)
        self.sounds = nn.ModuleList(embedding(f"sounds.{i}") for i in numbers)
        self.project = nn.Linear(embedding_channels, embedding_channels)
        for parameter in (p for m in (notes_out, rows_out, self.project) for p in m.parameters()):
            nn.init.zeros_(parameter)

    def forward(self, conditions: Conditions) -> Embedded:
        dtype = self.project.weight.dtype
        roll = conditions.roll.to(dtype) / 255
        played = []
        for stem, template in self.templates.items():
            number = list(WIDTHS).index(stem)
            known = conditions.notes_known[..., number, None].to(dtype)
            own = torch.cat([roll[..., roll_columns(stem)], known], dim=-1)
            sounding = own @ template.flatten(1)
            played.append(sounding.unflatten(-1, template.shape[1:]).transpose(1, 2))
        rows = self.rows(conditions.rows.to(dtype).transpose(1, 2))
        hidden = self.notes(torch.cat(played, dim=1)) + rows[..., None]
        vector = self.style(conditions.style)
        for index, instrument in enumerate(self.instruments):
            vector = vector + instrument(conditions.instruments[:, index])
            vector = vector + self.sounds[index](conditions.sounds[:, index])
        return hidden, self.project(functional.silu(vector))

    def taken_over(
        self, state: Mapping[str, Tensor], words: Mapping[str, Sequence[str]]
    ) -> dict[str, Tensor]:
        """``state`` of another such network for this one's words: its own rows for new ones.

        ``words`` are the other's, as in ``ConditionNetwork.words``.
        """
        taken = dict(state)
        for name, own_words in self.words.items():
            table = self.get_submodule(name).weight.detach().clone()  # type: ignore[operator]
            rows = state[f"{name}.weight"]
            table[0] = rows[0]
            for number, word in enumerate(own_words, start=1):
                if word in words[name]:
                    table[number] = rows[list(words[name]).index(word) + 1]
            taken[f"{name}.weight"] = table
        return taken


def _templates(stem: str, num_mels: int, latent_bands: int, f_max: float) -> nn.Parameter:
    """(columns + 1, channels, W): each column of a stem's roll, and "known", over the bands."""
    rows = WIDTHS[stem] + 1
    if stem not in PITCHED:
        return nn.Parameter(torch.randn(rows, DRUM_CHANNELS, latent_bands) * rows**-0.5 * 2)
    pitches = torch.from_numpy(pitch_templates(num_mels, f_max))  # (profiles, pitches, M)
    folded = pitches.unflatten(-1, (latent_bands, -1)).permute(1, 0, 3, 2).flatten(1, 2)
    channels = folded.shape[1] + SUB_STEPS
    template = torch.randn(rows, channels, latent_bands) * EMBEDDING_STD
    template[:PITCHES, : folded.shape[1]] += folded
    for step in range(SUB_STEPS):
        template[PITCHES + step, folded.shape[1] + step] += 1
    return nn.Parameter(template)


def pitch_templates(num_mels: int, f_max: float) -> np.ndarray:
    """(profiles, 72, M) float32: how much of each pitch's partials lies in each mel band."""
    pitches = LOWEST + np.arange(PITCHES)
    fundamentals = 440 * 2 ** ((pitches - 69) / 12)
    numbers = np.arange(1, MOST_PARTIALS + 1)
    frequencies = fundamentals[:, None] * numbers  # (pitches, partials)
    places = _mel(frequencies) / _mel(np.array(f_max)) * (num_mels + 1) - 1
    bands = np.arange(num_mels)
    near = np.clip(1 - np.abs(places[..., None] - bands), 0, None)  # triangles, as mel bands are
    near *= (frequencies < f_max)[..., None]
    decaying = np.einsum("pkm,k->pm", near, 1 / numbers)
    return np.stack([decaying, near.sum(axis=1).clip(max=1)]).astype(np.float32)


def _mel(frequency_hz: np.ndarray) -> np.ndarray:
    """Slaney's mel scale: linear to 1 kHz, then logarithmic."""
    logarithmic = 15 + 27 * np.log(np.maximum(frequency_hz, 1000) / 1000) / np.log(6.4)
    return np.where(frequency_hz < 1000, frequency_hz * 3 / 200, logarithmic)
