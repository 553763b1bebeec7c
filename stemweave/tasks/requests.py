"""What may be asked of a model: every wrong request is one sentence (``InputError``).

``stems`` are the model's; waveforms are (channels, samples).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, cast

from torch import Tensor

from stemweave.audio.waveforms import check_waveform
from stemweave.errors import InputError
from stemweave.models.parts import Parts
from stemweave.stems import MIXTURE

Method = Literal["mask", "diffusion", "vocoder"]
METHODS: tuple[Method, ...] = ("mask", "diffusion", "vocoder")
"""Of separation: the mask network's masks, the diffusion's, and the diffusion's own sound."""
TEMPO_RANGE_BPM = (50, 240)
"""A slower bar is half as long as the model's window."""
MAX_PIECE_S = 3600.0
"""Seconds of what is made, or held in memory to be changed; ``separate`` has no limit."""
MAX_CHANNELS = 64
SAMPLE_RATES = (8_000, 192_000)


def known_stems(stems: Sequence[str], names: Sequence[str]) -> list[str]:
    """``names``, if all of them are among ``stems``."""
    for name in names:
        if name not in stems:
            raise InputError(f"no stem named {name}: this model has {', '.join(stems)}")
    return list(names)


def chosen_method(
    method: str | None, has_mask_network: bool, guidance: float | None, steps: int | None
) -> Method:
    """``method`` if the model can separate so, else its first; it refuses what has no effect."""
    possible = METHODS if has_mask_network else METHODS[1:]
    if method not in (None, *METHODS):
        raise InputError(f"method must be one of {', '.join(METHODS)}, not {method}")
    chosen = possible[0] if method is None else cast(Method, method)
    if chosen not in possible:
        raise InputError(
            f"this model has no mask network: its methods are {' and '.join(possible)}"
        )
    if chosen == "mask" and not (guidance is None and steps is None):
        raise InputError(
            "steps and guidance are settings of the diffusion, which method mask does without: "
            "choose method diffusion or vocoder, or leave them out"
        )
    return chosen


def as_piece(
    parts: Parts, piece: Mapping[str, Tensor] | Tensor, sample_rate: int
) -> Mapping[str, Tensor]:
    """A checked ``piece``: stems, their mixture, or both; a tensor is a mixture."""
    named = {MIXTURE: piece} if isinstance(piece, Tensor) else piece
    check_piece((*parts.separated_stems, MIXTURE), named, sample_rate)
    if set(named) != {MIXTURE} and not set(named) & set(parts.stems):
        raise InputError(
            f"give at least one of the stems {', '.join(parts.stems)}, or the {MIXTURE} alone"
        )
    return named


def check_piece(stems: Sequence[str], piece: Mapping[str, Tensor], sample_rate: int) -> None:
    """Refuse a piece without stems, with unknown ones, or with unequal or unusable waveforms."""
    known_stems(stems, list(piece))
    if not piece:
        raise InputError(f"give at least one of the stems {', '.join(stems)}")
    if len({waveform.shape for waveform in piece.values()}) > 1:
        raise InputError("given stems must have equal channels and lengths")
    for name, waveform in piece.items():
        if waveform.ndim != 2:
            raise InputError(f"{name} must be (channels, samples), not {tuple(waveform.shape)}")
    channels, num_samples = next(iter(piece.values())).shape
    check_channels(channels)
    check_rate(sample_rate)
    check_duration(num_samples / sample_rate)
    for name, waveform in piece.items():
        check_waveform(waveform, name)


def as_mixture(waveform: Tensor) -> Tensor:
    """Checked ``waveform`` (channels, samples) or (samples,) as float32 (channels, samples)."""
    if waveform.ndim not in (1, 2):
        raise InputError(f"the waveform must be (channels, samples), not {tuple(waveform.shape)}")
    mixture = waveform.float() if waveform.ndim == 2 else waveform.float()[None]
    check_channels(len(mixture))
    check_waveform(mixture, "the waveform")
    return mixture


def check_channels(channels: int, what: str = "the waveform") -> None:
    """Refuse what has more channels than any music, e.g. (samples, channels)."""
    if not 1 <= channels <= MAX_CHANNELS:
        raise InputError(
            f"{what} has {channels} channels: at most {MAX_CHANNELS} can be taken, and waveforms "
            "are (channels, samples)"
        )


def check_rate(sample_rate: int) -> None:
    """Refuse sample rates in Hz that no music has."""
    lowest, highest = SAMPLE_RATES
    if not lowest <= sample_rate <= highest:
        raise InputError(f"the sample rate must be {lowest} to {highest} Hz, not {sample_rate}")


def check_duration(duration_s: float, what: str = "the piece") -> None:
    """Refuse what is too long to be held in memory."""
    if duration_s > MAX_PIECE_S:
        raise InputError(
            f"{what} would be {duration_s:g} s long: at most {MAX_PIECE_S:g} s can be made or "
            "changed at once, give a part"
        )


def check_arrangement(
    parts: Parts, given: Mapping[str, Tensor], add: Sequence[str] | None, sample_rate: int
) -> list[str]:
    """The stems to add to ``given``: ``add``, or all that are missing."""
    stems = parts.stems
    known_stems(parts.separated_stems, list(given))
    missing = [stem for stem in stems if stem not in given]
    if len(missing) in (0, len(stems)):
        raise InputError(
            f"give at least one and not all of the stems {', '.join(stems)} to arrange"
        )
    check_piece(parts.separated_stems, given, sample_rate)
    added = known_stems(stems, add or missing)
    if set(added) & set(given):
        raise InputError("a stem cannot be both given and added")
    return added


def ranges_in_samples(
    stems: Sequence[str],
    piece: Mapping[str, Tensor],
    sample_rate: int,
    renew: Mapping[str, tuple[float, float | None]],
) -> dict[str, tuple[int, int]]:
    """Samples [start, stop) of each stem to renew, from seconds (None: the piece's end).

    Refuses ranges that are not in the piece or cover all of it in all of its stems.
    """
    if not renew:
        raise InputError(f"name at least one of the stems {', '.join(stems)} to renew")
    known_stems(stems, list(renew))
    num_samples = next(iter(piece.values())).shape[-1]
    duration_s = num_samples / sample_rate
    ranges = {}
    for name, (start_s, given_end_s) in renew.items():
        end_s = duration_s if given_end_s is None else given_end_s
        if not (math.isfinite(start_s) and math.isfinite(end_s) and start_s < end_s):
            raise InputError(f"a range must start before it ends, not {start_s:g} to {end_s:g} s")
        start, stop = round(start_s * sample_rate), round(end_s * sample_rate)
        if start < 0 or stop > num_samples:
            raise InputError(
                f"the range {start_s:g} to {end_s:g} s is not in the piece, which is "
                f"{duration_s:g} s long"
            )
        if start == stop:
            raise InputError(f"the range {start_s:g} to {end_s:g} s holds no sample")
        ranges[name] = (start, stop)
    present = set(piece) & set(stems) or set(stems)  # a mixture alone will be separated
    if all(ranges.get(name) == (0, num_samples) for name in present):
        raise InputError("nothing of the piece would stay: leave out a stem, or vary the piece")
    return ranges


def check_seconds(seconds: float, begun_s: float = 0.0) -> None:
    """Refuse lengths that are not positive or too long, with ``begun_s`` that are there already."""
    if not (math.isfinite(seconds) and seconds > 0):
        raise InputError(f"seconds must be positive, not {seconds}")
    check_duration(begun_s + seconds)


def check_tempo(tempo_bpm: float | None, takes_sheets: bool) -> None:
    """Refuse tempi that no sheet can have, or of a model that understands none."""
    if tempo_bpm is None:
        return
    if not takes_sheets:
        raise InputError("this model understands no tempo: leave it out")
    slowest, fastest = TEMPO_RANGE_BPM
    if not slowest <= tempo_bpm <= fastest:
        raise InputError(f"the tempo must be {slowest} to {fastest} bpm, not {tempo_bpm:g}")


def check_long_enough(piece: Mapping[str, Tensor], shortest_s: float, sample_rate: int) -> None:
    """Refuse a piece of less than one latent position: there is nothing to continue."""
    duration_s = next(iter(piece.values())).shape[-1] / sample_rate
    if duration_s < shortest_s:
        raise InputError(
            f"a piece of {duration_s:.3f} s is too short to continue: give {shortest_s:g} s or more"
        )


def check_strength(strength: float) -> None:
    """Refuse strengths outside [0, 1]."""
    if not 0 <= strength <= 1:
        raise InputError(f"strength must be between 0 and 1, not {strength}")
