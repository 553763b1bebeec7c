"""Sound that libsndfile reads: PCM of many containers, FLAC, Vorbis and Opus."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from stemweave.io.stated import STREAMED_BYTES

if TYPE_CHECKING:
    import numpy as np

PCM_CONTAINERS = (b"RIFF", b"RF64", b"RIFX", b"FORM", b"caff", b".snd", b"riff\x2e\x91\xcf\x11")
"""How files begin that need no decoder."""
INDEXED = (b"fLaC", b"OggS")
"""How compressed files begin in which libsndfile finds any sample quickly."""


class NotReadable(Exception):
    """libsndfile cannot read a file; the message is a reason."""


class SndfileSound:
    """An open file; its samples are read in order or from anywhere.

    Raises:
        NotReadable: if libsndfile cannot read it, or leaves its decoding to mpg123, which guesses
            lengths and prints warnings.
    """

    def __init__(self, path: Path) -> None:
        import soundfile

        try:
            self._sound = soundfile.SoundFile(str(path))
        except soundfile.LibsndfileError as error:
            raise NotReadable(error.error_string.rstrip(".")) from error
        if self._sound.subtype.startswith("MPEG"):
            self.close()
            raise NotReadable("MPEG audio")
        self.sample_rate: int = self._sound.samplerate
        self.channels: int = self._sound.channels
        self.num_samples: int = self._sound.frames
        self.stated_samples = stated_samples(self._sound.extra_info, self.num_samples)

    def seek(self, start: int) -> None:
        """The next samples are those from ``start`` on."""
        self._sound.seek(min(start, self.num_samples))

    def read(self, length: int) -> np.ndarray:
        """The next samples (length, channels), fewer at the end.

        Raises:
            NotReadable: if the file is damaged there.
        """
        import soundfile

        try:
            return self._sound.read(length, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise NotReadable(error.error_string.rstrip(".")) from error

    def close(self) -> None:
        self._sound.close()


def stated_samples(log: str, num_samples: int) -> int:
    """Samples that a header states, by libsndfile's log of what it read."""
    stated = num_samples
    if cut := re.search(r"^\s*(?:data|SSND|Data Size)\s*: (\d+) \(should be (\d+)\)$", log, re.M):
        if int(cut[2]) < int(cut[1]) < STREAMED_BYTES:
            stated = num_samples * int(cut[1]) // max(int(cut[2]), 1)
    elif found := re.search(r"does not match value from 'ds64' chunk of (\d+)\.$", log, re.M):
        stated = int(found[1])
    elif found := re.search(r"^riff : .*Block Align\s*: (\d+)$.*^data : (\d+)$", log, re.M | re.S):
        align = max(int(found[1]), 1)  # Sony's Wave64, whose chunks end on 8 bytes
        stated = (int(found[2]) - 24) // align
        stated = stated if stated - num_samples > 8 / align else num_samples
    return max(stated, num_samples)
