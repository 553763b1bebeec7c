"""Audio files in: every container, whole and harmed. Lengths are counted, not believed."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from stemweave.errors import InputError
from stemweave.io.decode import AudioReader, is_audio, probe_audio, read_audio, read_header
from tests.io.sounds import (
    KINDS,
    UNSTATED,
    click,
    ffmpeg_write,
    music,
    overwritten,
    with_sizes,
    without_first_frame,
    write,
)

RATE = 44100


def read_in_windows(path: Path, window: int = 20_000, overlap: int = 3_000) -> torch.Tensor:
    """(channels, samples), read as separation does: each window begins in the last one."""
    with AudioReader(path) as reader:
        total, parts, done = reader.info.num_samples, [], 0
        while done < total:
            start = max(done - overlap, 0)
            block = reader(start, min(window, total - start))
            parts.append(block[:, done - start :])
            done = start + block.shape[1]
    return torch.cat(parts, dim=1)


@pytest.fixture(autouse=True)
def nothing_on_stderr(capfd):
    """No library writes warnings of its own."""
    yield
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", KINDS)
def test_a_click_comes_back_where_it_was(tmp_path, kind):
    rate = 48000 if "opus" in kind or kind == "ac3" else RATE
    sound = click(rate + 20_003, rate)
    path = write(tmp_path / f"a.{kind}", kind, sound, rate)
    info = probe_audio(path)
    read = read_in_windows(path)
    assert (info.sample_rate, info.channels, info.shortfall) == (rate, 2, None)
    assert read.shape == (2, info.num_samples)
    assert torch.equal(read, read_audio(path)[0])
    at = int(read.abs().amax(0).argmax())
    if kind in UNSTATED:
        assert abs(at - rate) <= 2048 and abs(info.num_samples - len(sound)) < 4096
    else:
        assert (at, info.num_samples) == (rate, len(sound))


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 32000, 44100, 48000])
@pytest.mark.parametrize("kind", ["mp3", "ogg", "aac.m4a"])
def test_clicks_at_every_rate(tmp_path, kind, rate):
    path = write(tmp_path / f"a.{kind}", kind, click(2 * rate + 123, rate, 1), rate)
    assert probe_audio(path).num_samples == 2 * rate + 123
    assert int(read_audio(path)[0][0].abs().argmax()) == rate


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 48000])
def test_opus_keeps_the_rate_it_was_made_from(tmp_path, rate):
    path = tmp_path / "a.opus"
    soundfile.write(path, click(2 * rate + 123, rate), rate, format="OGG", subtype="OPUS")
    waveform, found = read_audio(path)
    assert (found, waveform.shape[1]) == (rate, 2 * rate + 123)
    assert int(waveform[0].abs().argmax()) == rate


@pytest.mark.parametrize("num_samples", [1, 2, 100, 1023, 1024, 1025, 44_101])
@pytest.mark.parametrize("kind", ["flac", "ogg", "alac.m4a", "aac.m4a", "wv"])
def test_every_length(tmp_path, kind, num_samples):
    path = write(tmp_path / f"a.{kind}", kind, music(num_samples), RATE)
    assert read_in_windows(path).shape[1] == num_samples


@pytest.mark.parametrize("variable", [True, False])
@pytest.mark.parametrize("channels", [1, 2])
def test_an_mp3_without_an_info_frame_is_counted(tmp_path, variable, channels):
    """What libsndfile guesses from the first frame's bit rate is a third, or three times that."""
    sound = music(6 * RATE, channels=channels)
    path = tmp_path / "a.mp3"
    if variable:
        soundfile.write(path, sound, RATE, bitrate_mode="VARIABLE", compression_level=0.4)
        path.write_bytes(without_first_frame(path.read_bytes()))
    else:
        ffmpeg_write(path, sound, RATE, "libmp3lame", "mp3", write_xing="0")
    info = probe_audio(path)
    assert len(sound) <= info.num_samples <= len(sound) + 2 * 1152
    assert info.shortfall is None
    read = read_in_windows(path)
    assert read.shape == (channels, info.num_samples)
    assert read[:, -RATE : -RATE // 2].std() > 0.1


def test_tags_in_latin_1_refuse_nothing(tmp_path):
    path = write(tmp_path / "a.mp3", "mp3", music(RATE), RATE)
    title = "Café".encode("latin-1").ljust(125, b"\0")
    path.write_bytes(path.read_bytes() + b"TAG" + title)
    assert probe_audio(path).num_samples == RATE
    assert read_in_windows(path).shape == (2, RATE)


@pytest.mark.parametrize("kind", ["mp3", "ogg", "opus"])
def test_joined_files_are_read_to_the_end(tmp_path, kind):
    rate = 48000 if kind == "opus" else RATE
    for name in ("a", "b"):
        write(tmp_path / name, kind, music(2 * rate, rate), rate)
    path = tmp_path / f"c.{kind}"
    path.write_bytes((tmp_path / "a").read_bytes() + (tmp_path / "b").read_bytes())
    info = probe_audio(path)
    assert info.num_samples == pytest.approx(4 * rate, abs=4000) and info.shortfall is None
    assert read_in_windows(path)[:, -rate // 2 : -5000].std() > 0.1


def test_joined_mp3s_of_other_rates_and_channels_go_on_in_those_of_the_first(tmp_path):
    for name, rate, channels in (("a", 44100, 2), ("b", 22050, 1)):
        write(tmp_path / name, "mp3", music(2 * rate, rate, channels), rate)
    path = tmp_path / "c.mp3"
    path.write_bytes((tmp_path / "a").read_bytes() + (tmp_path / "b").read_bytes())
    info = probe_audio(path)
    assert (info.sample_rate, info.channels) == (44100, 2)
    assert info.num_samples == pytest.approx(4 * 44100, abs=6000)
    assert read_in_windows(path)[:, -20_000:-6000].std() > 0.1


INDEX_AT_THE_END = ("aac.m4a", "aac.mp4", "aac.mov", "alac.m4a", "alac.caf", "opus.mp4")
CUT = [kind for kind in KINDS if kind not in INDEX_AT_THE_END]
STATES_LENGTH = (
    "wav", "wav16", "rf64", "w64", "aiff", "au", "caf", "flac", "mp3", "flac.mkv", "mp3.mkv", "wv"
)  # fmt: skip


@pytest.mark.parametrize("kind", CUT)
def test_all_that_is_left_of_a_cut_file_is_read(tmp_path, kind):
    rate = 48000 if "opus" in kind or kind == "ac3" else RATE
    path = write(tmp_path / f"a.{kind}", kind, music(3 * rate, rate), rate)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    info = probe_audio(path)
    read = read_in_windows(path)
    assert read.shape == (2, info.num_samples) and read.isfinite().all()
    assert 0.5 < info.duration_s < 2.7
    if kind in STATES_LENGTH:
        assert info.shortfall is not None and str(path) in info.shortfall
        assert f"{info.duration_s:.1f} of 3.0 s" in info.shortfall


def test_an_mp4_that_is_cut_before_its_index_is_refused_and_after_it_read(tmp_path):
    path = ffmpeg_write(tmp_path / "a.m4a", music(3 * RATE), RATE, "aac", "ipod")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"a\.m4a is not audio that can be read"):
        probe_audio(path)
    path = ffmpeg_write(
        tmp_path / "b.m4a", music(3 * RATE), RATE, "aac", "ipod", movflags="faststart"
    )
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    info = probe_audio(path)
    assert 1 < info.duration_s < 2.5 and "of 3.0 s" in str(info.shortfall)


@pytest.mark.parametrize("kind", ["flac", "ogg", "mp3", "aac.m4a", "opus", "flac.mkv", "wv"])
def test_damage_in_the_middle_costs_only_itself(tmp_path, kind):
    rate = 48000 if kind == "opus" else RATE
    path = write(tmp_path / f"a.{kind}", kind, music(4 * rate, rate), rate)
    path.write_bytes(overwritten(path.read_bytes(), 0.6, 300))
    info = probe_audio(path)
    read = read_in_windows(path)
    assert read.shape == (2, info.num_samples)
    assert 3.5 < info.duration_s <= 4.05
    assert read[:, -rate // 4 : -5000].std() > 0.1


def test_what_is_lost_of_a_flac_is_silent_and_the_rest_in_its_place(tmp_path):
    sound = music(4 * RATE)
    path = write(tmp_path / "a.flac", "flac", sound, RATE)
    path.write_bytes(overwritten(path.read_bytes(), 0.6, 300))
    info = probe_audio(path)
    assert info.num_samples == len(sound) and info.lost_samples > 0
    assert "cannot be decoded and are silent" in str(info.shortfall)
    read = read_in_windows(path).T.numpy()
    wrong = np.flatnonzero(np.abs(read - sound).max(axis=1) > 1e-4)
    assert 0 < len(wrong) <= info.lost_samples
    assert np.abs(read[wrong]).max() == 0


WHOLE = 8 * 22_050 + 100
"""Bytes of data and more, in the sizes below."""


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize(
    ("whole", "data"),
    [(None, 0), (0, 0), (8, 0), (36, 0), (None, 1000), (1036, 1000), (0xFFFFFFFF, 0xFFFFFFFF)],
)
def test_a_wav_whose_recorder_died(tmp_path, subtype, whole, data):
    path = tmp_path / "a.wav"
    sound = music(20_000)
    soundfile.write(path, sound, RATE, subtype=subtype)
    wav = path.read_bytes()
    path.write_bytes(with_sizes(wav, len(wav) - 8 if whole is None else whole, data))
    info = probe_audio(path)
    assert (info.num_samples, info.shortfall) == (20_000, None)
    assert np.abs(read_in_windows(path).T.numpy() - sound).max() < 1e-4


@pytest.mark.parametrize("rest", [b"LIST\4\0\0\0abcd", b"id3 \3\0\0\0abc\0", b"TAG" + bytes(125)])
def test_what_follows_the_sound_of_a_wav_is_not_sound(tmp_path, rest):
    path = write(tmp_path / "a.wav", "wav16", music(20_000), RATE)
    path.write_bytes(path.read_bytes() + rest)
    assert probe_audio(path).num_samples == 20_000
    wav = path.read_bytes()
    path.write_bytes(with_sizes(wav, len(wav) - 8, 80_000))
    if not rest.startswith(b"TAG"):
        assert probe_audio(path).num_samples == 20_000


def test_a_flac_of_unknown_or_wrong_length_is_counted(tmp_path):
    path = write(tmp_path / "a.flac", "flac", music(30_000), RATE)
    flac = bytearray(path.read_bytes())
    for stated in (0, 20_000, 60_000):
        flac[22:26] = struct.pack(">I", stated)
        path.write_bytes(flac)
        info = probe_audio(path)
        assert info.num_samples == read_in_windows(path).shape[1] == 30_000
        assert bool(info.shortfall) == (stated == 60_000)


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content


def test_itunes_files_end_where_they_say(tmp_path):
    path = ffmpeg_write(tmp_path / "a.m4a", music(RATE + 77), RATE, "aac", "ipod", use_editlist="0")
    text = f" 00000000 00000400 00000000 {RATE + 77:016X} 00000000".encode()
    entry = box(b"mean", bytes(4) + b"com.apple.iTunes") + box(b"name", bytes(4) + b"iTunSMPB")
    entry = box(b"----", entry + box(b"data", bytes([0, 0, 0, 1]) + bytes(4) + text))
    data = path.read_bytes()
    at = data.index(b"ilst") - 4
    for name in (b"moov", b"udta", b"meta", b"ilst"):
        place = data.rindex(name, 0, at + 8) - 4
        size = struct.unpack(">I", data[place : place + 4])[0] + len(entry)
        data = data[:place] + struct.pack(">I", size) + data[place + 4 :]
    path.write_bytes(data[: at + 8] + entry + data[at + 8 :])
    assert probe_audio(path).num_samples == RATE + 77


def test_reading_starts_anywhere(tmp_path):
    for kind in ("wav", "flac", "mp3", "aac.m4a"):
        path = write(tmp_path / f"a.{kind}", kind, music(60_000), RATE)
        whole, _ = read_audio(path)
        with AudioReader(path) as reader:
            for start, length in ((50_000, 4000), (51_000, 9000), (100, 50), (0, 1), (59_999, 1)):
                assert torch.equal(reader(start, length), whole[:, start : start + length])
            assert reader(60_000, 0).shape == (2, 0)
            with pytest.raises(InputError, match="no samples after"):
                reader(59_000, 1001)


def test_a_header_alone_costs_no_decoding(tmp_path, monkeypatch):
    path = write(tmp_path / "a.flac", "flac", music(60_000), RATE)
    monkeypatch.setattr("stemweave.io.ffmpeg.count", None)
    assert read_header(path).num_samples == 60_000
    assert read_audio(path, 100, 200)[0].shape == (2, 200)


def test_counting_ends_at_the_longest_that_is_wanted(tmp_path):
    path = write(tmp_path / "a.mp3", "mp3", music(8 * RATE), RATE)
    assert 1 <= probe_audio(path, max_duration_s=1).duration_s < 1.1
    assert probe_audio(path).num_samples == 8 * RATE


def refused(folder: Path) -> dict[str, Path]:
    """Files that hold no sound, by a part of the sentence that says so."""
    video = folder / "silent.mp4"
    import av

    output = av.open(str(video), "w")
    stream = output.add_stream("mpeg4", rate=10)
    stream.width = stream.height = 64
    for packet in (*stream.encode(av.VideoFrame(64, 64, "yuv420p")), *stream.encode()):
        output.mux(packet)
    output.close()
    write(folder / "a.ts", "aac.ts", music(RATE), RATE)
    (folder / "list.m3u8").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:3,\n{folder}/a.ts\n#EXT-X-ENDLIST\n"
    )
    (folder / "list.ffconcat").write_text("ffconcat version 1.0\nfile a.ts\n")
    (folder / "noise.mp3").write_bytes(np.random.default_rng(0).bytes(50_000))
    (folder / "text.wav").write_text("this is no sound\n")
    (folder / "zeros.mp3").write_bytes(bytes(50_000))
    (folder / "head.wav").write_bytes(b"RIFF\x24\0\0\0WAVEfmt ")
    os.mkfifo(folder / "pipe.wav")
    soundfile.write(folder / "none.wav", np.zeros((0, 1)), 16000)
    names = {
        "no sound in it": "silent.mp4",
        "list.m3u8 is not audio": "list.m3u8",
        "list.ffconcat is not audio": "list.ffconcat",
        "noise.mp3 is not audio": "noise.mp3",
        "text.wav is not audio": "text.wav",
        "zeros.mp3 is not audio": "zeros.mp3",
        "head.wav": "head.wav",
        "no regular file": "pipe.wav",
        "holds no samples": "none.wav",
        "does not exist": "text.wav/a.wav",
        "cannot be read": "a" * 300,
    }
    return {message: folder / name for message, name in names.items()}


def test_what_is_no_sound_is_one_sentence(tmp_path):
    for message, path in refused(tmp_path).items():
        with pytest.raises(InputError) as error:
            AudioReader(path)
        assert message in str(error.value) and path.name in str(error.value), path
        assert "\n" not in str(error.value)
        assert not is_audio(path)
    assert is_audio(tmp_path / "a.ts")


def test_a_decoder_that_breaks_has_found_no_sound(tmp_path, monkeypatch):
    path = write(tmp_path / "a.mp3", "mp3", music(9000), RATE)
    monkeypatch.setattr("stemweave.io.ffmpeg.count", lambda *_, **__: 1 / 0)
    assert not is_audio(path)
