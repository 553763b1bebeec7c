"""The score model at work: notes for the bars of a sheet that nobody has written yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stemweave.models.score_transformer import (
    END,
    HEADER,
    Cache,
    ScoreTransformer,
    Segments,
    Tokens,
)
from stemweave.music.events import Segment, bars_of, notes_of, segments_of
from stemweave.music.lead_sheet import LeadSheet
from stemweave.music.score import Score, playable
from stemweave.music.sequences import (
    DRUM_PITCHES_FROM,
    BarWindow,
    header,
    note_events,
    segment_fields,
    segment_order,
    sequence_of,
    window_of,
)

MOST_NOTES = 96
"""In one segment."""


@dataclass(frozen=True)
class ScoreSampling:
    """How notes are drawn.

    Attributes:
        temperature: below 1 likelier notes are drawn more often, above 1 less often.
        top_p: the likeliest values that make up so much of the probability are drawn from.
    """

    temperature: float = 1.0
    top_p: float = 0.98
    generator: torch.Generator | None = None

    def draw(self, logits: Tensor) -> int:
        """A value from unnormalised log-probabilities (V,)."""
        probabilities = (logits.float() / max(self.temperature, 1e-4)).softmax(dim=0)
        ordered, index = probabilities.sort(descending=True)
        before = ordered.cumsum(dim=0) - ordered
        ordered = torch.where(before < self.top_p, ordered, 0.0)
        return int(index[torch.multinomial(ordered, 1, generator=self.generator)])


def write_score(
    network: ScoreTransformer,
    sheet: LeadSheet,
    sampling: ScoreSampling,
    given: Score | None = None,
    rewrite: Mapping[str, tuple[int, int]] | None = None,
) -> Score:
    """The notes of all the model's stems over the bars of ``sheet``, which needs beats and
    downbeats.

    Notes of ``given`` stay, but for the bars to ``rewrite``: by stem, the first one and the one
    after the last. Raises ``InputError`` if the sheet has no bars, or one that is too long for the
    model.
    """
    bars = bars_of(sheet)
    stems = tuple(network.config.stems)
    notes = {} if given is None else dict(given.notes)
    known = {stem: np.full(len(bars), stem in notes) for stem in stems}
    for stem, (first, stop) in (rewrite or {}).items():
        known[stem][first:stop] = False
    nothing = [np.zeros((0, 4), dtype=np.uint8)] * len(bars)
    segments = {s: segments_of(notes[s], bars) if s in notes else nothing for s in stems}
    window = window_of(sheet, segments, network.config.styles, network.config.instruments)
    written = write_bars(network, window, known, sampling)
    for stem in stems:
        anew = [index for index in range(len(bars)) if not known[stem][index]]
        new = notes_of([written[stem][index] for index in anew], [bars[index] for index in anew])
        spans = [(bars[i].start_beat, bars[i].start_beat + bars[i].beats) for i in anew]
        kept = [
            note
            for note in notes.get(stem, ())
            if not any(start <= note.start_beat < end for start, end in spans)
        ]
        notes[stem] = playable([*kept, *new]) if anew else tuple(kept)
    return Score(notes)


@torch.inference_mode()
def write_bars(
    network: ScoreTransformer,
    window: BarWindow,
    given: Mapping[str, np.ndarray],
    sampling: ScoreSampling,
) -> dict[str, list[Segment]]:
    """All segments of a piece of any length; those without a True in ``given`` are newly written.

    Windows overlap by half: each half is written in the light of the one before it and of whatever
    is given in both. ``given`` has a bool for each bar of a stem; ``window`` is the whole piece,
    whose other segments may be empty.
    """
    stems, size = tuple(network.config.stems), network.config.max_bars
    segments = {stem: list(window.segments[stem]) for stem in stems}
    done = {stem: given[stem].copy() for stem in stems}
    start = 0
    while True:
        stop = min(start + size, window.num_bars)
        part = window.part(start, stop)
        part.segments = {stem: own[start:stop] for stem, own in segments.items()}
        order = segment_order({s: own[start:stop] for s, own in done.items()}, stems, stop - start)
        for (bar, number, _), segment in _write(network, part, order, sampling).items():
            segments[stems[number]][start + bar] = segment
            done[stems[number]][start + bar] = True
        if stop == window.num_bars:
            return segments
        start += size // 2


def _write(
    network: ScoreTransformer,
    window: BarWindow,
    order: Sequence[tuple[int, int, bool]],
    sampling: ScoreSampling,
) -> dict[tuple[int, int, bool], Segment]:
    """The segments of ``order`` that are not given."""
    stems = tuple(network.config.stems)
    device = network.step.weight.device
    fields = {
        name: torch.from_numpy(np.asarray(array))[None].to(device)
        for name, array in segment_fields(window, order, stems).items()
    }
    states = network.segment_states(Segments(**fields))
    first = sum(given for _, _, given in order)
    events = sequence_of(window, order[:first], stems, HEADER) if first else None
    most = (0 if events is None else len(events)) + (len(order) - first) * (MOST_NOTES + 1)
    cache = Cache(network, most)

    def read(events: np.ndarray) -> Tensor:
        tokens = Tokens(*torch.from_numpy(events).to(device)[None].unbind(dim=-1))
        return network.states(tokens, states, cache)[0, -1]

    if events is not None:
        read(events)
    written = {}
    for index in range(first, len(order)):
        bar, number, _ = order[index]
        is_drums = stems[number] == "drums"
        state = read(header(number, index, False, HEADER))
        notes: list[tuple[int, int, int, int]] = []
        last_step = int(window.beats[bar]) * 12
        while len(notes) < MOST_NOTES:
            note = _draw_note(network, state, notes, last_step, is_drums, sampling)
            if note is None:
                break
            notes.append(note)
            one = np.array([note], dtype=np.uint8)
            state = read(note_events(one, number, index, False, is_drums))
        written[order[index]] = np.array(notes, dtype=np.uint8).reshape(-1, 4)
    return written


def _draw_note(
    network: ScoreTransformer,
    state: Tensor,
    notes: Sequence[tuple[int, int, int, int]],
    bar_steps: int,
    is_drums: bool,
    sampling: ScoreSampling,
) -> tuple[int, int, int, int] | None:
    """Step, pitch, duration bucket and velocity bucket of the next note; None ends the segment.

    Notes stand in the order of time and then pitch, and inside their bar.
    """
    logits = network.step_head(state).clone()
    logits[bar_steps:END] = -torch.inf
    if notes:
        last_step, last_pitch = notes[-1][:2]
        logits[: last_step + (last_pitch == 127)] = -torch.inf
    step = sampling.draw(logits)
    if step == END:
        return None
    after_step = state + network.step.weight[step]
    logits = network.pitch_head(after_step).clone()
    lowest = DRUM_PITCHES_FROM * is_drums
    logits[:lowest] = -torch.inf
    logits[lowest + 128 :] = -torch.inf
    if notes and step == notes[-1][0]:
        logits[: lowest + notes[-1][1] + 1] = -torch.inf
    pitch = sampling.draw(logits)
    after_pitch = after_step + network.pitch.weight[pitch]
    duration = sampling.draw(network.duration_head(after_pitch))
    velocity = sampling.draw(network.velocity_head(after_pitch))
    return step, pitch - lowest, duration, velocity
