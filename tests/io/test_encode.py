"""Audio files out: every encoding, its length, level, rate and what it refuses."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from stemweave.errors import InputError
from stemweave.io.decode import probe_audio, read_audio
from stemweave.io.encode import WriterGroup, write_audio
from stemweave.io.encoders import Quantiser
from stemweave.io.encoding import CHANNELS, Encoding, encoding_of
from tests.io.sounds import click, music
from tests.io.test_files import largest_file

ENCODINGS = [
    Encoding("wav"),
    Encoding("wav", "16"),
    Encoding("wav", "24"),
    Encoding("flac"),
    Encoding("flac", "16"),
    Encoding("mp3"),
    Encoding("mp3", bitrate_kbps=128),
    Encoding("m4a"),
    Encoding("opus"),
]
LOSSY = [encoding for encoding in ENCODINGS if encoding.fmt in ("mp3", "m4a", "opus")]


def name_of(encoding: Encoding) -> str:
    return f"{encoding}-{encoding.bit_depth or encoding.bitrate_kbps or 'default'}"


each_encoding = pytest.mark.parametrize("encoding", ENCODINGS, ids=name_of)


def write_in_blocks(path: Path, samples: np.ndarray, rate: int, encoding: Encoding) -> Path:
    """Write (n, channels) in unequal blocks."""
    with WriterGroup({"a": path}, rate, samples.shape[1], encoding) as group:
        for start in range(0, len(samples), 7001):
            group.write({"a": torch.from_numpy(samples[start : start + 7001].T)})
    return path


@each_encoding
def test_what_is_written_is_as_long_and_in_its_place(tmp_path, encoding):
    rate = 48000 if encoding.fmt == "opus" else 44100
    sound = click(rate + 12_345, rate)
    path = write_in_blocks(tmp_path / f"a.{encoding}", sound, rate, encoding)
    read, read_rate = read_audio(path)
    assert (read_rate, read.shape) == (rate, (2, len(sound)))
    assert int(read.abs().amax(0).argmax()) == rate
    error = np.abs(read.T.numpy() - sound).max()
    bound = {None: 0.5 if encoding in LOSSY else 0.0, 16: 1.6 / 2**15, 24: 0.51 / 2**23}
    assert error <= bound[encoding.bits]


@each_encoding
def test_equal_samples_give_equal_bytes(tmp_path, encoding):
    """No time, no random number and no version of a library is in a file."""
    paths = [tmp_path / f"{name}.{encoding}" for name in ("a", "b")]
    for path in paths:
        write_in_blocks(path, music(30_000), 44100, encoding)
    data = paths[0].read_bytes()
    assert data == paths[1].read_bytes()
    assert b"PEAK" not in data[:200] and b"Lavf6" not in data


@pytest.mark.parametrize("num_samples", [1, 2, 3, 575, 1152, 1153, 1199, 1200, 2000])
@each_encoding
def test_short_files(tmp_path, encoding, num_samples):
    path = tmp_path / f"a.{encoding}"
    write_audio(path, torch.full((1, num_samples), 0.5), 44100, encoding)
    found = probe_audio(path).num_samples
    expected = round(num_samples * encoding.file_rate(44100) / 44100)
    assert found == max(expected, 1)


@pytest.mark.parametrize(
    ("fmt", "rate", "file_rate"),
    [
        ("mp3", 96000, 48000),
        ("mp3", 37800, 44100),
        ("mp3", 8000, 8000),
        ("m4a", 192_000, 96000),
        ("m4a", 11025, 11025),
        ("opus", 44100, 48000),
        ("opus", 8000, 48000),
        ("flac", 192_000, 192_000),
        ("wav", 37800, 37800),
    ],
)
def test_rates_that_a_format_lacks_become_the_next_one(tmp_path, fmt, rate, file_rate, caplog):
    path = write_in_blocks(tmp_path / f"a.{fmt}", click(rate + 777, rate // 2), rate, Encoding(fmt))
    info = probe_audio(path)
    assert info.sample_rate == file_rate
    assert info.num_samples == round((rate + 777) * file_rate / rate)
    read, _ = read_audio(path)
    assert abs(int(read[0].abs().argmax()) - file_rate / 2) <= 1
    assert (f"no sample rate of {rate} Hz" in caplog.text) <= (rate != file_rate)


@pytest.mark.parametrize("channels", range(1, 10))
@pytest.mark.parametrize("fmt", ["wav", "flac", "mp3", "m4a", "opus"])
def test_channels_keep_their_order_or_are_refused(tmp_path, fmt, channels):
    path = tmp_path / f"a.{fmt}"
    time_s = torch.arange(24_000) / 48000
    tones = torch.stack([0.3 * torch.sin(200 * (n + 2) * time_s) for n in range(channels)])
    tones[3:4] = 0.3 * torch.sin(200 * time_s)  # of 5.1 it is for bass
    if channels not in CHANNELS.get(fmt, range(1, 10)):
        with pytest.raises(InputError, match=f"cannot hold {channels} channels"):
            write_audio(path, tones, 48000, fmt)
        assert list(tmp_path.iterdir()) == []
        return
    write_audio(path, tones, 48000, fmt)
    read, _ = read_audio(path)
    likeness = torch.corrcoef(torch.cat([read, tones]))[:channels, channels:]
    assert likeness.argmax(dim=1).tolist() == list(range(channels))
    assert likeness.diagonal().min() > 0.8


def test_bit_rates(tmp_path):
    for fmt in ("mp3", "m4a", "opus"):
        sizes = []
        for kbps in (64, 160):
            path = tmp_path / f"{kbps}.{fmt}"
            write_audio(path, torch.from_numpy(music(96_000).T), 48000, Encoding(fmt, None, kbps))
            sizes.append(path.stat().st_size)
        assert sizes[1] > 1.5 * sizes[0]


def test_dither_is_triangular_and_keeps_what_16_bits_hold():
    quiet = np.full((200_000, 1), 0.3 / 2**15, np.float32)
    written = Quantiser(16)(quiet)
    error = written - 0.3
    assert abs(error.mean()) < 0.01
    assert error.std() == pytest.approx(0.5, rel=0.05)  # of uniform dither and rounding, and more
    assert set(np.unique(written)) == {-1, 0, 1}
    exact = np.arange(-(2**15), 2**15, dtype=np.float32)[:, None] / 2**15
    assert np.array_equal(Quantiser(16)(exact), np.arange(-(2**15), 2**15)[:, None])
    assert not Quantiser(16)(np.zeros((1000, 2), np.float32)).any()


def test_dither_does_not_depend_on_blocks():
    noise = music(5000)
    whole, parts = Quantiser(16), Quantiser(16)
    blocks = [parts(noise[start : start + 777]) for start in range(0, 5000, 777)]
    assert np.array_equal(whole(noise), np.concatenate(blocks))


@pytest.mark.parametrize("bits", [16, 24])
def test_integers_are_clipped_not_wrapped(bits):
    loud = np.array([[1.0], [-1.0], [1.5], [-7.0], [np.inf]], np.float32)
    written = Quantiser(bits)(loud) / 2.0 ** (15 if bits == 16 else 31)
    assert np.abs(written[:, 0] - [1, -1, 1, -1, 1]).max() < 1e-4


@each_encoding
def test_files_that_would_clip_share_one_gain(tmp_path, encoding, caplog):
    loud = 1.6 * click(20_000, 10_000, 1) / 0.9
    quiet = 0.2 * loud
    paths = {name: tmp_path / f"{name}.{encoding}" for name in ("loud", "quiet")}
    with WriterGroup(paths, 48000, 1, encoding) as group:
        for start in range(0, 20_000, 6000):
            group.write(
                {
                    "quiet": torch.from_numpy(quiet[start : start + 6000].T),
                    "loud": torch.from_numpy(loud[start : start + 6000].T),
                }
            )
    read = {name: read_audio(path)[0][0].numpy() for name, path in paths.items()}
    if encoding == Encoding("wav"):
        assert group.gain == 1 and caplog.records == []
        assert read["loud"].max() == loud.max()
        return
    assert group.gain == pytest.approx(0.9999 / 1.6)
    (record,) = caplog.records
    assert "all files made 4.1 dB quieter" in record.getMessage()
    assert str(tmp_path) in record.getMessage()
    if encoding not in LOSSY:
        assert read["loud"].max() == pytest.approx(0.9999, abs=1e-4)
        assert read["quiet"].max() == pytest.approx(0.9999 / 5, abs=1e-4)


def test_waiting_files_need_no_memory_and_leave_nothing(tmp_path):
    path, block = tmp_path / "new" / "a.flac", torch.rand(2, 1 << 20)
    with suppress(KeyError), WriterGroup({"a": path}, 48000, 2, "flac") as group:
        for _ in range(4):
            group.write({"a": block})
        waiting = group.writers["a"]._waiting
        assert waiting is not None and waiting._rolled  # on the disk, without a name
        assert [p.suffix for p in tmp_path.rglob("*.flac")] == []
        raise KeyError
    assert list(tmp_path.iterdir()) == []


@each_encoding
@pytest.mark.parametrize("room", [0, 20_000])
def test_a_full_disk_is_one_sentence(tmp_path, encoding, room):
    sound = torch.from_numpy(music(3_000_000, channels=1).T.copy())
    with largest_file(room), pytest.raises(InputError, match=r"cannot write .*disk may be full"):
        write_audio(tmp_path / "new" / f"a.{encoding}", sound, 44100, encoding)
    assert list(tmp_path.iterdir()) == []


def test_large_wavs_are_rf64(tmp_path):
    for num_samples, form in ((1000, b"RIFF"), (600_000_000, b"RF64")):
        with WriterGroup({"a": tmp_path / "a.wav"}, 48000, 2, "wav", num_samples) as group:
            group.write({"a": torch.zeros(2, 1000)})
        assert (tmp_path / "a.wav").read_bytes()[:4] == form
        assert soundfile.info(tmp_path / "a.wav").frames == 1000


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (("wav",), Encoding("wav")),
        (("flac", "16"), Encoding("flac", "16")),
        (("mp3", None, "192k"), Encoding("mp3", None, 192)),
        (("mp3", None, "192K"), Encoding("mp3", None, 192)),
        (("opus", None, "96"), Encoding("opus", None, 96)),
        (("m4a", None, "256000"), Encoding("m4a", None, 256)),
    ],
)
def test_options(asked, expected):
    assert encoding_of(*asked) == expected


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("aac",), "format must"),
        (("wav", "32"), "bit depth must be"),
        (("flac", "32f"), "bit depth 32f"),
        (("mp3", "16"), "bit depth is for wav and flac"),
        (("wav", None, "192k"), "bitrate is for"),
        (("mp3", None, "321k"), "from 8k to 320k"),
        (("opus", None, "0"), "from 6k"),
        (("m4a", None, "loud"), "bitrate is a number"),
        (("m4a", None, "-3k"), "bitrate is a number"),
    ],
)
def test_options_that_contradict(asked, message):
    with pytest.raises(InputError, match=message):
        encoding_of(*asked)


@each_encoding
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_never_written(tmp_path, encoding, wrong):
    samples = torch.full((1, 3000), 0.5)
    samples[0, 2000] = wrong
    with pytest.raises(InputError, match="not numbers"):
        write_audio(tmp_path / "new" / f"a.{encoding}", samples, 44100, encoding)
    assert list(tmp_path.iterdir()) == []
