"""The tracks of a version as one: gain and place of each, speed, pitch, and a part of the piece."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stemweave.audio.click import click
from stemweave.audio.stretching import PLAIN, Stretch
from stemweave.errors import InputError
from stemweave.io.decode import AudioReader
from stemweave.io.encode import check_format
from stemweave.io.encoding import AudioFormat
from stemweave.io.fitting import BLOCK_SAMPLES, Shape
from stemweave.stems import MIXTURE
from stemweave.web.library import Library, write_blocks
from stemweave.web.tables import Version

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_GAIN = 4.0


@dataclass(frozen=True)
class Mix:
    """How a version sounds.

    Attributes:
        gains: linear, by track; a track that is not named is silent.
        pans: from -1 (left) to 1; the other side is turned down, the near one stays as it is.
        start, end: samples, of the stretched tracks.
        stretch: at which speed and pitch.
        beats: of a click, in seconds of the piece, and whether a bar begins.
        click_gain: linear, of the click.
        channels: of the result; a mono track that is not in the middle makes it stereo.
    """

    gains: Mapping[str, float]
    pans: Mapping[str, float]
    start: int
    end: int
    channels: int
    stretch: Stretch = PLAIN
    beats: Sequence[tuple[float, bool]] = ()
    click_gain: float = 0.0


def mix_of(
    version: Version,
    gains: Mapping[str, float],
    pans: Mapping[str, float],
    start_s: float,
    end_s: float | None,
    stretch: Stretch = PLAIN,
) -> Mix:
    """The mix of ``version`` in which tracks that are not named sound as they are.

    ``start_s`` and ``end_s`` are of the piece at its own speed. The mixture, which repeats what the
    stems play, sounds instead of them if it is named.
    """
    names = version.track_names
    for name in (*gains, *pans):
        if name not in names:
            raise InputError(f"the version has no track {name}, only {', '.join(names)}")
    for name, gain in gains.items():
        if not 0 <= gain <= LARGEST_GAIN:  # NaN is neither
            raise InputError(f"the gain of {name} must be from 0 to {LARGEST_GAIN:g}")
    for name, pan in pans.items():
        if not -1 <= pan <= 1:
            raise InputError(f"the pan of {name} must be from -1 to 1")
    panned = any(pans.values())
    if panned and version.channels > 2:
        raise InputError(f"{version.channels} channels cannot be panned")
    duration_s = version.num_samples / version.sample_rate
    stop_s = duration_s if end_s is None else end_s
    if not 0 <= start_s < stop_s <= duration_s + 1e-6:
        raise InputError(f"start must be before end, and both within 0 and {duration_s:.3f} s")
    rate = version.sample_rate / stretch.speed
    end = min(math.ceil(stop_s * rate), stretch.samples(version.num_samples))
    start = min(math.floor(start_s * rate), end - 1)
    instead = gains.get(MIXTURE, 0.0) > 0
    usual = {name: 1.0 for name in names if (name == MIXTURE) == (len(names) == 1) and not instead}
    channels = 2 if panned else version.channels
    return Mix({**usual, **gains}, dict(pans), start, end, channels, stretch)


def write_mix(library: Library, version: Version, mix: Mix, path: Path, fmt: AudioFormat) -> float:
    """Write the mix; returns the gain that keeps formats which clip from it, 1 if none is needed.

    Raises:
        InputError: if the format cannot hold it, the disk is full, or the sum is not finite.
    """
    check_format(fmt, mix.channels)
    gain = 1.0
    if fmt != "wav":
        peak = max(float(block.abs().max()) for block in _blocks(library, version, mix))
        gain = min(1.0, 1.0 / peak) if peak > 0 else 1.0
    shape = Shape(version.sample_rate, mix.channels, mix.end - mix.start)
    blocks = _blocks(library, version, mix)
    write_blocks((block * gain if gain < 1 else block for block in blocks), path, fmt, shape)
    return gain


def _blocks(library: Library, version: Version, mix: Mix) -> Iterator[Tensor]:
    sounding = {name: gain for name, gain in mix.gains.items() if gain > 0}
    sounding = sounding or {version.track_names[0]: 0.0}
    with ExitStack() as files:
        readers = {
            name: files.enter_context(AudioReader(library.stretched(version, name, mix.stretch)))
            for name in sounding
        }
        for start in range(mix.start, mix.end, BLOCK_SAMPLES):
            length = min(BLOCK_SAMPLES, mix.end - start)
            parts = [
                _placed(reader(start, length), sounding[name], mix.pans.get(name, 0.0), mix)
                for name, reader in readers.items()
            ]
            block = sum(parts[1:], parts[0])
            if mix.beats:
                beats = [(seconds / mix.stretch.speed, line) for seconds, line in mix.beats]
                block = block + mix.click_gain * click(beats, version.sample_rate, start, length)
            if not block.isfinite().all():
                raise InputError("the mix is not finite: lower the gains")
            yield block


def _placed(block: Tensor, gain: float, pan: float, mix: Mix) -> Tensor:
    """One track's part (channels, samples) of a mix."""
    if mix.channels > block.shape[0]:
        block = block.expand(mix.channels, -1)
    if mix.channels != 2 or pan == 0:
        return block * gain
    sides = block.new_tensor([min(1.0, 1.0 - pan), min(1.0, 1.0 + pan)])
    return block * (gain * sides[:, None])
