"""Training of the score model: bars of four stems, some given, the others to be written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from stemweave.data.scores import ScoreCorpus
from stemweave.models.score_transformer import HEADER, Segments, Tokens
from stemweave.music.sequences import BarWindow, segment_fields, segment_order, sequence_of
from stemweave.training.networks import make_score_model
from stemweave.training.part_settings import ScoreSettings
from stemweave.training.settings import RunSettings

STEMS = ("drums", "bass", "guitar", "piano")
"""In the order in which a bar is written: rhythm first."""
SEMITONES = (-5, 7)
"""Range of the keys in which a song is shown."""


def draw_given(
    settings: ScoreSettings, stems: Sequence[str], num_bars: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Which bars of each stem are given: none, the first ones, some stems, or all but a region."""
    given = {stem: np.zeros(num_bars, dtype=bool) for stem in stems}
    draw = rng.random()
    if draw < settings.new_share:
        return given
    draw -= settings.new_share
    if draw < settings.continuation_share:
        first_missing = rng.integers(1, num_bars)
        for own in given.values():
            own[:first_missing] = True
        return given
    chosen = rng.permutation(len(stems))[: rng.integers(1, len(stems))]
    if draw - settings.continuation_share < settings.arrangement_share:
        for number in chosen:
            given[stems[number]][:] = True
        return given
    start, stop = sorted(rng.choice(num_bars + 1, 2, replace=False))
    for own in given.values():
        own[:] = True
    for number in chosen:
        given[stems[number]][start:stop] = False
    return given


def drop_sheet(window: BarWindow, probability: float, rng: np.random.Generator) -> BarWindow:
    """``window`` without some of what its sheet says; every field goes by itself."""
    chords, style, tempo = rng.random(3) < probability
    return replace(
        window,
        chords=np.zeros_like(window.chords) if chords else window.chords,
        style=0 if style else window.style,
        log_tempo=float("nan") if tempo else window.log_tempo,
        instruments={
            stem: number for stem, number in window.instruments.items()
            if rng.random() >= probability
        },
    )  # fmt: skip


def as_batch(
    windows: Sequence[tuple[BarWindow, list[tuple[int, int, bool]]]], stems: Sequence[str]
) -> tuple[Tokens, Segments, Tensor]:
    """Padded events, their segments, and where events are (B, L) bool."""
    sequences = [
        torch.as_tensor(np.asarray(sequence_of(window, order, stems, HEADER)), dtype=torch.int64)
        for window, order in windows
    ]
    is_event = [torch.ones(len(sequence), dtype=torch.bool) for sequence in sequences]
    tokens = Tokens(*pad_sequence(sequences, batch_first=True).unbind(dim=-1))
    named = [segment_fields(window, order, stems) for window, order in windows]

    def stacked(name: str) -> Tensor:
        fields = [torch.from_numpy(np.asarray(own[name])) for own in named]
        return pad_sequence(fields, batch_first=True) if fields[0].ndim else torch.stack(fields)

    names = ("bar", "beats", "chords", "instrument", "style", "log_tempo")
    return tokens, Segments(*map(stacked, names)), pad_sequence(is_event, batch_first=True)


class ScoreStage:
    """The score model's training on ``score.mid`` and ``sheet.json`` of song folders."""

    def __init__(self, settings: RunSettings, train: ScoreCorpus, validation: ScoreCorpus) -> None:
        self.settings = settings.score
        self.train, self.validation = train, validation
        self.network = make_score_model(settings, STEMS, train.styles)
        self.stems = tuple(self.network.config.stems)

    def _draw(
        self, corpus: ScoreCorpus, count: int, rng: np.random.Generator, vary: bool
    ) -> list[tuple[BarWindow, list[tuple[int, int, bool]]]]:
        windows = []
        for _ in range(count):
            window = corpus.draw(self.settings.window_bars, self.settings.max_events, rng)
            given = draw_given(self.settings, self.stems, window.num_bars, rng)
            if vary:
                window = window.in_other_key(int(rng.integers(*SEMITONES)))
                window = drop_sheet(window, self.settings.sheet_drop_probability, rng)
            windows.append((window, segment_order(given, self.stems, window.num_bars)))
        return windows

    def loss(
        self, network: nn.Module, step: int, rng: np.random.Generator, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        drawn = self._draw(self.train, self.settings.batch_size, rng, vary=True)
        sums, notes = self._sums(network, drawn)
        figures = {name: value / notes.clamp(min=1) for name, value in sums.items()}
        loss = sum(figures.values(), torch.zeros(()))
        return loss, {f"{name}_loss": value.item() for name, value in figures.items()}

    def _sums(self, network: Any, drawn: Any) -> tuple[dict[str, Tensor], Tensor]:
        """Nats of each attribute, the ends of segments among the steps, and the number of notes."""
        device = next(network.parameters()).device
        tokens, segments, is_event = as_batch(drawn, self.stems)
        tokens = tokens.map(lambda field: field.to(device))
        segments = Segments(*(field.to(device) for field in vars(segments).values()))
        losses = network(tokens, segments)
        weight = is_event[:, 1:].to(device)
        notes = (weight & (tokens.step[:, 1:] != HEADER)).sum()
        return {name: (loss * weight).sum() for name, loss in losses.items()}, notes

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Nats a note on songs of grooves that training never has: all, and of each attribute."""
        rng, count = np.random.default_rng(1), self.settings.validation_samples
        drawn = self._draw(self.validation, count, rng, vary=False)
        sums, all_notes = dict[str, float](), 0
        for start in range(0, count, self.settings.batch_size):
            some = drawn[start : start + self.settings.batch_size]
            nats, notes = self._sums(network, some)
            all_notes += int(notes)
            for name, value in nats.items():
                sums[f"val_{name}"] = sums.get(f"val_{name}", 0.0) + value.item()
        figures = {name: value / max(all_notes, 1) for name, value in sums.items()}
        return {"val_loss": sum(figures.values()), **figures}

    def export(self, network: Any, folder: Path) -> None:
        network.save_pretrained(folder)
