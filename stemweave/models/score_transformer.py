"""The score model: a transformer that writes the notes of bars that are not given.

A window of bars becomes one sequence of segments (what one stem plays in one bar): the given ones,
then the missing ones, each in the order of bars and stems. A segment is a header and its notes; one
token holds all four attributes of a note. Attention is causal, with rotary positions (arXiv
2104.09864). Shapes: B sequences, L tokens, E channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn import functional

from stemweave.models.part import Part
from stemweave.music.events import (
    CHORD_ROWS,
    CHORD_SLOTS,
    DURATION_STEPS,
    MAX_BAR_BEATS,
    MAX_STEPS,
    NUM_VELOCITIES,
)

NUM_PITCHES = 256
"""128 of pitched stems, 128 of drums."""
END = MAX_STEPS
"""Stands in the place of a step where a segment ends."""
HEADER = MAX_STEPS + 1
"""Stands in the place of a step in a segment's header."""
LOG_TEMPO_CENTRE = 4.7


@dataclass
class Tokens:
    """Sequences of events; every field (B, L) int64.

    Attributes:
        step: place in the bar; ``HEADER`` in headers.
        pitch, duration, velocity: of the note; 0 in headers. Drums' pitches are 128 higher.
        stem: index of the stem.
        segment: index of the segment in ``Segments``.
        given: 1 where the segment is given.
    """

    step: Tensor
    pitch: Tensor
    duration: Tensor
    velocity: Tensor
    stem: Tensor
    segment: Tensor
    given: Tensor

    def map(self, change: object) -> Tokens:
        """All fields through a function of a tensor."""
        return Tokens(*(change(getattr(self, field.name)) for field in fields(self)))  # type: ignore[operator]


@dataclass
class Segments:
    """What each of N segments is to sound like; the sheet as far as it is known.

    Attributes:
        bar: (B, N) int64, index of the bar in the window.
        beats: (B, N) int64 beats in the bar.
        chords: (B, N, ``CHORD_SLOTS``, ``CHORD_ROWS``) float.
        instrument: (B, N) int64 class of the stem's instrument, 0 if unknown.
        style: (B,) int64, 0 if unknown.
        log_tempo: (B,) float, natural logarithm of beats a minute; NaN if unknown.
    """

    bar: Tensor
    beats: Tensor
    chords: Tensor
    instrument: Tensor
    style: Tensor
    log_tempo: Tensor


class ScoreTransformer(Part):
    """Events in, distributions of the next event out.

    Args:
        stems: names of the stems, in the order of their segments within a bar.
        styles: names of the styles that a sheet may have.
        instruments: names of all instrument classes.
        channels: E.
        num_layers, head_channels: of the transformer.
        max_bars: bars in a window.
        dropout: inside layers.
    """

    def __init__(
        self,
        stems: Sequence[str] = ("drums", "bass", "guitar", "piano"),
        styles: Sequence[str] = (),
        instruments: Sequence[str] = (),
        channels: int = 192,
        num_layers: int = 6,
        head_channels: int = 32,
        max_bars: int = 16,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.step = nn.Embedding(HEADER + 1, channels)
        self.pitch = nn.Embedding(NUM_PITCHES, channels)
        self.duration = nn.Embedding(len(DURATION_STEPS), channels)
        self.velocity = nn.Embedding(NUM_VELOCITIES, channels)
        self.stem = nn.Embedding(len(stems), channels)
        self.given = nn.Embedding(2, channels)
        self.bar = nn.Embedding(max_bars, channels)
        self.beats = nn.Embedding(MAX_BAR_BEATS + 1, channels)
        self.instrument = nn.Embedding(len(instruments) + 1, channels)
        self.style = nn.Embedding(len(styles) + 1, channels)
        self.harmony = nn.Linear(CHORD_SLOTS * CHORD_ROWS, channels)
        self.tempo = nn.Linear(2, channels)
        self.layers = nn.ModuleList(
            Layer(channels, head_channels, dropout) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(channels)
        self.step_head = nn.Linear(channels, MAX_STEPS + 1)
        self.pitch_head = Head(channels, NUM_PITCHES)
        self.duration_head = Head(channels, len(DURATION_STEPS))
        self.velocity_head = Head(channels, NUM_VELOCITIES)
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)

    def segment_states(self, segments: Segments) -> Tensor:
        """Embeddings (B, N, E) of what segments are to sound like."""
        known = ~segments.log_tempo.isnan()
        tempo = (segments.log_tempo.nan_to_num(LOG_TEMPO_CENTRE) - LOG_TEMPO_CENTRE) * 2
        piece = self.style(segments.style) + self.tempo(torch.stack([tempo, known.float()], dim=-1))
        own = self.bar(segments.bar) + self.beats(segments.beats)
        own = own + self.instrument(segments.instrument) + self.harmony(segments.chords.flatten(2))
        return own + piece[:, None]

    def states(self, tokens: Tokens, segment_states: Tensor, cache: Cache | None = None) -> Tensor:
        """Hidden states (B, L, E) after every event; with ``cache`` of those that follow what is in
        it.
        """
        index = tokens.segment[..., None].expand(-1, -1, segment_states.shape[-1])
        is_note = (tokens.step != HEADER)[..., None]
        note = self.pitch(tokens.pitch) + self.duration(tokens.duration)
        note = (note + self.velocity(tokens.velocity)) * is_note
        place = self.step(tokens.step) + self.stem(tokens.stem) + self.given(tokens.given)
        hidden = note + place + segment_states.gather(1, index)
        for number, layer in enumerate(self.layers):
            hidden = layer(hidden, number, cache)
        if cache is not None:
            cache.length += hidden.shape[1]
        return self.norm(hidden)

    def forward(self, tokens: Tokens, segments: Segments) -> dict[str, Tensor]:
        """Cross entropies (B, L - 1) in nats of each attribute of the event that follows.

        Steps include the ends of segments; other attributes are 0 where no note follows. All are
        NaN-free; padding is for the caller to leave out.
        """
        hidden = self.states(tokens, self.segment_states(segments))[:, :-1]
        step, pitch, duration, velocity = (
            field[:, 1:] for field in (tokens.step, tokens.pitch, tokens.duration, tokens.velocity)
        )
        follows = step != HEADER
        ended = torch.where(follows, step, END)
        after_step = hidden + self.step(ended)
        after_pitch = after_step + self.pitch(pitch)

        def entropy(logits: Tensor, target: Tensor) -> Tensor:
            return functional.cross_entropy(logits.transpose(1, 2), target, reduction="none")

        return {
            "step": entropy(self.step_head(hidden), ended),
            "pitch": entropy(self.pitch_head(after_step), pitch) * follows,
            "duration": entropy(self.duration_head(after_pitch), duration) * follows,
            "velocity": entropy(self.velocity_head(after_pitch), velocity) * follows,
        }


class Head(nn.Module):
    """Logits of one attribute from a hidden state and the attributes drawn before it."""

    def __init__(self, channels: int, num_values: int) -> None:
        super().__init__()
        self.mix = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, num_values)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.out(functional.gelu(self.mix(hidden)))


class Cache:
    """Keys and values of the events so far, of every layer; there is room for ``capacity``."""

    def __init__(self, network: ScoreTransformer, capacity: int) -> None:
        config = network.config
        heads = config.channels // config.head_channels
        shape = (config.num_layers, 2, 1, heads, capacity, config.head_channels)
        self.length = 0
        self._values = torch.empty(shape, device=network.step.weight.device)

    def extended(self, number: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of layer ``number`` with those of new events at their end."""
        stop = self.length + key.shape[2]
        self._values[number, 0, :, :, self.length : stop] = key
        self._values[number, 1, :, :, self.length : stop] = value
        return self._values[number, 0, :, :, :stop], self._values[number, 1, :, :, :stop]


class Layer(nn.Module):
    """Causal self-attention and a feed-forward network, normalised before each."""

    def __init__(self, channels: int, head_channels: int, dropout: float) -> None:
        super().__init__()
        self.head_channels = head_channels
        self.norm1 = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.project = nn.Linear(channels, channels, bias=False)
        self.norm2 = nn.LayerNorm(channels)
        self.widen = nn.Linear(channels, 4 * channels)
        self.narrow = nn.Linear(4 * channels, channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, number: int, cache: Cache | None) -> Tensor:
        """Hidden states (B, L, E) after this layer, which is layer ``number``."""
        batch, length, channels = hidden.shape
        qkv = self.qkv(self.norm1(hidden)).view(batch, length, 3, -1, self.head_channels)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        first = 0 if cache is None else cache.length
        query, key = rotated(query, first), rotated(key, first)
        if cache is not None:
            key, value = cache.extended(number, key, value)
        mask = None
        if first and length > 1:  # new events see all earlier ones, and each other causally
            mask = torch.ones(length, first + length, dtype=torch.bool, device=hidden.device)
            mask = mask.tril(first)
        mixed = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=not first and length > 1
        )
        mixed = mixed.transpose(1, 2).reshape(batch, length, channels)
        hidden = hidden + self.dropout(self.project(mixed))
        update = self.narrow(functional.gelu(self.widen(self.norm2(hidden))))
        return hidden + self.dropout(update)


def rotated(vectors: Tensor, first: int) -> Tensor:
    """Rotary positions ``first``, ``first + 1``, … on vectors (B, heads, L, head channels)."""
    half = vectors.shape[-1] // 2
    frequencies = 10_000.0 ** -(torch.arange(half, device=vectors.device) / half)
    positions = torch.arange(first, first + vectors.shape[2], device=vectors.device)
    angles = positions[:, None] * frequencies
    cos, sin = angles.cos(), angles.sin()
    a, b = vectors.split(half, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)
