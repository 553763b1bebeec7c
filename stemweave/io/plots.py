"""Pictures of audio files: one log-mel spectrogram below the other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from stemweave.io.decode import AudioReader
from stemweave.io.files import appearing, writing_failed

MAX_DURATION_S = 30.0
RATE = 44100


def plot_files(files: Mapping[str, Path], picture: Path) -> None:
    """Write a PNG with the log-mel spectrogram, to 16 kHz, of each file's first 30 s, in order."""
    from torch.nn import functional

    from stemweave.audio.waveforms import exact_scale
    from stemweave.models.log_mel import LogMel  # after the model: see ``loading``
    from stemweave.tasks.spectra import to_model_rate

    log_mel = LogMel(RATE, 4096, hop_length=441, win_length=4096, num_mels=128, f_max=16000.0)
    figure = Figure(figsize=(10, 1.7 * len(files)), layout="constrained")
    axes = figure.subplots(len(files), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (name, path) in zip(axes, files.items(), strict=True):
        with AudioReader(path) as reader:
            rate = reader.info.sample_rate
            length = min(reader.info.num_samples, round(MAX_DURATION_S * rate))
            samples = reader(0, length)
        mono = to_model_rate(samples * exact_scale(samples), rate, RATE)
        seconds = len(mono) / RATE
        image = log_mel(functional.pad(mono, (0, max(0, 2049 - len(mono))))).T.numpy()
        axis.imshow(
            image, origin="lower", aspect="auto", extent=(0, seconds, 0, 128), vmin=-6, vmax=3,
            cmap="magma",
        )  # fmt: skip
        axis.set_ylabel(name)
        axis.set_yticks([])
    axes[-1].set_xlabel("seconds")
    try:
        with appearing(picture) as partial:
            figure.savefig(partial, dpi=80)
    except OSError as error:
        raise writing_failed(picture, error) from error
