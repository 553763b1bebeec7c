"""``Piece``: stems and their mixture, in memory and as audio files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from stemweave.io.encode import AudioWriter, Document, WriterGroup
from stemweave.io.encoding import Encoding
from stemweave.io.files import require_absent
from stemweave.stems import MIXTURE


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
        self, folder: str | Path, encoding: str | Encoding = "wav", overwrite: bool = False
    ) -> dict[str, Path]:
        """Write ``folder/NAME.ENCODING`` for each, all or none; raises ``InputError``."""
        return write_stems(Path(folder), self, self.sample_rate, encoding, overwrite)


def open_writers(
    files: Mapping[str, Path],
    sample_rate: int,
    channels: int,
    encoding: str | Encoding,
    num_samples: int | None = None,
) -> dict[str, AudioWriter]:
    """A writer for each file; if one cannot be opened, none stays behind."""
    writers: dict[str, AudioWriter] = {}
    try:
        for name, path in files.items():
            writers[name] = AudioWriter(path, sample_rate, channels, encoding, num_samples)
    except BaseException:
        for writer in reversed(writers.values()):
            writer.discard()
        raise
    return writers


def write_stems(
    out: Path,
    waveforms: Mapping[str, Tensor],
    sample_rate: int,
    encoding: str | Encoding,
    overwrite: bool,
    documents: Sequence[Document] = (),
) -> dict[str, Path]:
    """Write ``out/<name>.<suffix>`` for every waveform (channels, samples), all or none; and
    ``documents`` with them.
    """
    files = {name: out / f"{name}.{encoding}" for name in waveforms}
    require_absent(list(files.values()), overwrite)
    channels = next(iter(waveforms.values())).shape[0]
    with WriterGroup(open_writers(files, sample_rate, channels, encoding), documents) as group:
        group.write(waveforms)
    return files
