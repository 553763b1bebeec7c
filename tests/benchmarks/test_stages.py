"""Where time goes: parts add up, modules are as they were, cold and warm runs name every stage."""

import mmap
import time
from types import SimpleNamespace

from benchmarks import stages
from benchmarks.songs import write_song
from benchmarks.stopwatch import Stopwatch


def test_parts_count_for_themselves_and_are_put_back():
    owner = SimpleNamespace(inner=lambda: time.sleep(0.05))
    owner.outer = lambda: (time.sleep(0.02), owner.inner())
    functions = dict(vars(owner))
    watch = Stopwatch()
    began = time.perf_counter()
    with watch.watching([(owner, "inner", "inside"), (owner, "outer", "around")], "rest"):
        owner.outer()
        time.sleep(0.01)
    elapsed = time.perf_counter() - began
    assert watch.seconds["inside"] >= 0.05
    assert 0.02 <= watch.seconds["around"] <= elapsed - 0.06
    assert 0.01 <= watch.seconds["rest"] <= elapsed - 0.07
    assert abs(sum(watch.seconds.values()) - elapsed) < 0.01
    assert dict(vars(owner)) == functions


def test_memory_is_that_of_the_part():
    def take() -> None:
        pages = mmap.mmap(-1, 80_000_000)  # not malloc, which may have so much left
        pages.write(b"x" * len(pages))
        pages.close()

    owner = SimpleNamespace(take=take, rest=lambda: None)
    watch = Stopwatch(memory=True)
    with watch.watching([(owner, "take", "large"), (owner, "rest", "small")], "around"):
        owner.rest()
        owner.take()
        owner.rest()
    assert watch.peaks_mb["large"] > watch.peaks_mb["small"] + 60


def test_every_stage_has_its_time(tiny_model, tmp_path):
    song = write_song(tmp_path / "song.flac", 1.0)
    warm = stages.warm_stages(song, tmp_path / "out", repeats=1, steps=1, model=str(tiny_model))
    cold = {"separate": stages.cold_laps("separate", song, tmp_path, repeats=1)}
    helped = stages.whole_command(1, "--help")
    assert set(warm["separate"]["stages_s"]) >= {
        *("decode the file", "resample", "log-mel", "autoencoder: encode", "denoiser"),
        *("autoencoder: decode", "Fourier transforms", "write the files", "everything else"),
    }
    assert "vocoder" in warm["generate"]["stages_s"]
    assert set(warm["separate"]["peaks_mb"]) == set(warm["separate"]["stages_s"])
    assert {"import torch", "read the model", "separate 10.24 s, the first time"} <= set(
        cold["separate"]
    )
    seconds = {"stemweave --help": helped["seconds"], "separate, warm": warm["separate"]["whole_s"]}
    commands = {"stemweave separate, cold": helped}
    text = stages.as_markdown(
        {"cold": cold, "commands": commands, "warm": warm, "seconds": seconds}
    )
    assert "import torch" in text and "vocoder" in text
