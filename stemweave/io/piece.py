"""``Piece``: stems and their mixture, in memory and as audio files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from torch import Tensor

from stemweave.io.encode import WriterGroup
from stemweave.io.encoding import Encoding
from stemweave.io.files import require_absent
from stemweave.io.records import PIECE_RECORD
from stemweave.stems import MIXTURE

RecordText = Callable[[Mapping[str, Path], int, float], str]
"""Of the files of a piece, their sample rate and their gain."""


class Piece(dict[str, Tensor]):
    """Waveforms (channels, samples) of stems and of their ``mixture``, by name."""

    def __init__(self, waveforms: Mapping[str, Tensor], sample_rate: int) -> None:
        super().__init__(waveforms)
        self.sample_rate = sample_rate
        """Hz."""

    @property
    def stems(self) -> dict[str, Tensor]:
        """All but the mixture."""
        return {name: waveform for name, waveform in self.items() if name != MIXTURE}

    @property
    def mixture(self) -> Tensor:
        """The sum of the stems."""
        return self[MIXTURE]

    def save(
        self,
        folder: str | Path,
        encoding: str | Encoding = "wav",
        overwrite: bool = False,
        record: RecordText | None = None,
    ) -> dict[str, Path]:
        """Write ``folder/NAME.ENCODING`` for each, all or none; raises ``InputError``.

        ``record`` is the text of ``piece.json``, by the files, their rate and their gain.
        """
        out = Path(folder)
        files = {name: out / f"{name}.{encoding}" for name in self}
        require_absent(list(files.values()), overwrite)
        texts = {out / PIECE_RECORD: partial(record, files, self.sample_rate)} if record else {}
        channels = next(iter(self.values())).shape[0]
        with WriterGroup(files, self.sample_rate, channels, encoding, texts=texts) as group:
            group.write(self)
        return files
