"""PyAV's audio frames: all of one rate and number of channels, and as arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import av
    import numpy as np


class Alike:
    """Frames in, frames of the first one's rate and channels out: files may be joined ones."""

    def __init__(self, first: av.AudioFrame) -> None:
        self._rate, self._layout = first.sample_rate, first.layout
        self._kind: object = None
        self._resampler: Any = None

    def __call__(self, frame: av.AudioFrame) -> list[av.AudioFrame]:
        import av

        kind = frame.sample_rate, frame.layout.name, frame.format.name
        if (frame.sample_rate, frame.layout.nb_channels) == (self._rate, self._layout.nb_channels):
            return [*self.rest(), frame]
        before = [] if kind == self._kind else self.rest()
        if self._resampler is None:
            self._resampler = av.AudioResampler("fltp", self._layout, self._rate)
            self._kind = kind
        frame.pts = None
        return before + self._resampler.resample(frame)

    def rest(self) -> list[av.AudioFrame]:
        """What is still to come of the frames before."""
        resampler, self._resampler = self._resampler, None
        return resampler.resample(None) if resampler is not None else []


def as_float(frame: av.AudioFrame) -> np.ndarray:
    """Samples (n, channels), full scale at 1."""
    import numpy as np

    array: np.ndarray = frame.to_ndarray()
    array = array.T if frame.format.is_planar else array.reshape(-1, frame.layout.nb_channels)
    if array.dtype == np.uint8:
        return (array.astype(np.float32) - 128) / 128
    if np.issubdtype(array.dtype, np.integer):
        return (array / -float(np.iinfo(array.dtype).min)).astype(np.float32)
    return array.astype(np.float32, copy=False)
