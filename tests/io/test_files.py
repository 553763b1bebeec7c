"""Files that are cut off or cannot be written, runs that are ended, models that are damaged."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from stemweave.errors import InputError
from stemweave.io.batch import separate_file
from stemweave.io.decode import probe_audio
from stemweave.io.encode import WriterGroup, write_audio
from stemweave.io.encoding import Encoding
from stemweave.io.mixtures import Separation
from tests.waiting import is_being_written, wait_for


def write_noise(path: Path, num_samples: int = 20_000, **options: str) -> Path:
    samples = 0.2 * np.random.default_rng(0).standard_normal((num_samples, 2))
    soundfile.write(path, samples.astype(np.float32), 16000, **options)
    return path


@contextmanager
def largest_file(num_bytes: int) -> Iterator[None]:
    """Writing beyond ``num_bytes`` fails, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("fmt", ["wav", "flac", "mp3"])
@pytest.mark.parametrize("room", [0, 10_000])
def test_a_full_disk_is_one_sentence_and_leaves_no_folder(tiny_pipe, tmp_path, fmt, room):
    source = write_noise(tmp_path / "a.wav", 80_000)
    with largest_file(room), pytest.raises(InputError, match=r"cannot write .*disk may be full"):
        asked = Separation(tiny_pipe.stems, encoding=Encoding(fmt))
        separate_file(tiny_pipe, source, tmp_path / "new" / "a", asked)
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux")
def test_a_name_that_is_not_unicode(tmp_path):
    name = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.wav")
    shutil.copy(write_noise(tmp_path / "a.wav"), name)
    with pytest.raises(InputError, match="rename it"):
        probe_audio(Path(name))
    write_audio(Path(name), torch.zeros(1, 100), 44100)
    assert Path(name).stat().st_size > 400


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)]
)
def test_a_run_that_is_ended_leaves_nothing(run, tiny_model, tmp_path, number, code):
    source = write_noise(tmp_path / "a.wav", 2_000_000)

    def end_once_it_writes() -> None:
        wait_for(lambda: is_being_written(tmp_path / "out", "piano"), 120)
        os.kill(os.getpid(), number)

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs are not given it
    ignored = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nor this one, by nohup
    ending = threading.Thread(target=end_once_it_writes)
    ending.start()
    try:
        result = run("separate", source, "-o", tmp_path / "out", "--model", tiny_model)
    finally:
        ending.join()
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])
        signal.signal(signal.SIGHUP, ignored)
    assert result.code == code, result
    assert not (tmp_path / "out").exists()


def test_the_next_run_clears_up_after_a_killed_one(tmp_path):
    program = (
        "import os, pathlib, sys; from stemweave.io.encode import WriterGroup; "
        "WriterGroup({'a': pathlib.Path(sys.argv[1])}, 16000, 1); os.kill(os.getpid(), 9)"
    )
    path = tmp_path / "out" / "bass.wav"
    subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert len(list(path.parent.iterdir())) == 1 and not path.exists()
    with suppress(KeyError), WriterGroup({"a": path}, 16000, 1):
        assert len(list(path.parent.iterdir())) == 1
        raise KeyError
    assert list(path.parent.iterdir()) == []


def _damage(folder: Path, path: str, text: str | None) -> Path:
    if text is None:
        shutil.rmtree(folder / path)
    else:
        (folder / path).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("model_index.json", "{", "model_index.json is not JSON"),
        ("model_index.json", "[]", "must hold an object"),
        ("model_index.json", '{"vae": ["diffusers", "AutoencoderKL"]}', "no Stemweave model"),
        ("denoiser", None, "no folder denoiser"),
        ("vae/config.json", "rubbish", "vae/config.json is not JSON"),
        ("vae/diffusion_pytorch_model.safetensors", "", "cannot load the model"),
        ("log_mel/config.json", '{"num_mels": 16}', "parts do not fit together"),
    ],
)
def test_damaged_models_are_one_sentence(run, tiny_model, tmp_path, path, text, message):
    model = _damage(Path(shutil.copytree(tiny_model, tmp_path / "model")), path, text)
    result = run("generate", "-o", tmp_path / "out", "--seconds", 1, "--model", model)
    assert result.code == 2 and message in result.err.splitlines()[-1], result
    assert "Traceback" not in result.err and not (tmp_path / "out").exists()


def test_a_file_is_no_model_and_no_seed_overflows(run, tiny_model, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({}))
    result = run("generate", "-o", tmp_path / "out", "--model", tmp_path / "a.json")
    assert result.code == 2 and "is a file, not a model folder" in result.err
    result = run("generate", "-o", tmp_path / "out", "--model", tiny_model, "--seed", 2**63)
    assert result.code == 2 and "--seed" in result.err
