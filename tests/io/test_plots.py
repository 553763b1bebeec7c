"""Pictures of whatever audio there is."""

import warnings
from pathlib import Path

import matplotlib.image
import pytest
import soundfile

from stemweave.io.plots import plot_files
from tests.tasks.test_any_audio import SIGNALS


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize(("sample_rate", "num_samples"), [(44100, 1), (8000, 300), (192_000, 9000)])
def test_any_signal_has_a_picture(tmp_path: Path, name: str, sample_rate: int, num_samples: int):
    song, picture = tmp_path / "song.wav", tmp_path / "song.png"
    soundfile.write(song, SIGNALS[name](num_samples).T.numpy(), sample_rate, subtype="FLOAT")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_files({"song": song}, picture)
    pixels = matplotlib.image.imread(picture)[..., :3]
    assert pixels.shape[:2] == (136, 800)
    assert (pixels.std(axis=(0, 1)) > 0).all()
