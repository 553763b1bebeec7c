"""Every benchmark runs at a tiny size, says what it found, and is put on the page."""

import pytest
import torch

from benchmarks import busy, growth, onnx_backend, paper_memory, results
from benchmarks.machine import as_sentence, describe
from benchmarks.songs import write_song
from stemweave.model import load_model


def test_growth(tmp_path):
    result = growth.run(
        seconds=(0.5,), files=(1,), workers=(1,), picture=tmp_path / "results" / "growth.png"
    )
    one, *kept = result["lengths"]
    assert one["seconds"] > 0.2 and 100 < one["peak_mb"] < 2000
    assert all(row["kept"] for row in kept)
    assert (tmp_path / "results" / "growth.png").stat().st_size > 5000
    assert "| 0.5 s |" in growth.as_markdown(result)


def test_busy():
    result = busy.run(seconds=(0.5,), loads=(0, 1), repeats=1)
    alone, beside = result["rows"]
    assert alone["busy"] == 0 and 0.2 < alone["seconds"] < 300
    assert beside["busy"] == 1 and 0.2 < beside["seconds"] < 300
    assert 0 < result["in_memory"][0]["seconds"] < alone["seconds"]
    assert "| 0.5 s |" in busy.as_markdown(result)


def test_shares_are_those_of_an_ideal_scheduler():
    rows = [(0, 4.0), (1, 6.0), (2, 12.0)]
    result = {
        "cores": 2,
        "rows": [{"audio_s": 5.0, "busy": busy_, "seconds": s} for busy_, s in rows],
        "in_memory": [],
    }
    assert busy.shares(result) == {(5.0, 0): 1.0, (5.0, 1): 1.0, (5.0, 2): 1.5}
    text = busy.as_markdown(result)
    assert "12.0 (1.50)" in text and "missed" in text


def test_hours_join_an_earlier_result(tmp_path, monkeypatch):
    monkeypatch.setattr(growth, "LONG_SECONDS", (1.0,))
    earlier = {
        "lengths": [{"audio_s": 0.5, "seconds": 2.0, "peak_mb": 500.0}],
        "counts": [{"files": 1, "workers": 1, "seconds": 2.0, "peak_mb": 500.0}],
        "file_s": 10.24,
    }
    monkeypatch.setattr(growth, "load", lambda name: earlier)
    result = growth.run(full=True, picture=tmp_path / "growth.png")
    short, long = result["lengths"]
    assert short["kept"] and short["seconds"] == 2.0
    assert long["audio_s"] == 1.0 and 0.5 < long["seconds"] < 300 and long["peak_mb"] > 100
    assert result["counts"] == earlier["counts"]
    assert "| 0.5 s (an earlier run) |" in growth.as_markdown(result)


def test_onnx_gives_the_same_stems(tiny_model):
    result = onnx_backend.run(repeats=1, steps=1, model=str(tiny_model))
    assert set(result["networks"]) == {
        *("denoiser", "autoencoder: encode", "autoencoder: decode"),
        "vocoder, without its inverse transform",
    }
    assert max(entry["relative_error"] for entry in result["networks"].values()) < 1e-3
    assert set(result["tasks"]["generate"]) == {"torch_s", "onnx_s"}
    assert "times faster" in onnx_backend.as_markdown(result)


def test_onnx_is_given_what_the_bundled_networks_take():
    networks = onnx_backend.networks_of(load_model())
    assert "mask refiner" in networks
    with torch.inference_mode():
        for network, inputs in networks.values():
            assert network(*inputs).isfinite().all()


def test_peers(tiny_model):
    pytest.importorskip("demucs")
    from benchmarks import peers

    small = {"channels": 8, "depth": 4, "t_layers": 1, "t_heads": 2, "nfft": 1024, "segment": 2}
    result = peers.run(repeats=1, model=str(tiny_model), htdemucs=small)
    assert peers.ratios(result)["Stemweave"] == 1.0
    assert all(entry["seconds"] > 0 for entry in result["rows"])
    step = {"guidance 2": {"seconds": 2.0}, "guidance 2, plain": {"seconds": 8.0}}
    plain, ours = peers.paper_rows({"formulations": step})
    assert (plain["seconds"], ours["seconds"]) == (1600.0, 400.0)
    assert "times faster than htdemucs" in peers.as_markdown(result)


def test_paper_memory(run, tmp_path):
    parameters = paper_memory.make_model(
        tmp_path / "model",
        log_mel={"segment_frames": 64},
        denoiser={
            "model_channels": 32, "channel_mult": (1, 1), "num_res_blocks": 1,
            "attention_resolutions": (),
        },
        vae={"block_out_channels": (32, 32, 32), "layers_per_block": 1},
        vocoder={"upsample_initial_channel": 32},
    )  # fmt: skip
    song = write_song(tmp_path / "song.wav", 0.5)
    done = run(*paper_memory.command(song, tmp_path, 1))
    assert done.code == 0, done.err
    assert len(list((tmp_path / "out").rglob("*.wav"))) == 4
    result = {"parameters": parameters, "model_gb": 1.5, "steps": 1, "seconds": 9, "peak_gb": 3.1}
    assert 0.3e6 < parameters < 3e6
    assert "Wanted: 4 GB at most, reached" in paper_memory.as_markdown(result)
    assert "not reached" in paper_memory.as_markdown({**result, "peak_gb": 4.1})
    assert "3.1 GB at its peak" in paper_memory.summary(result)


def test_page_is_written_from_what_was_saved(tmp_path):
    result = {"lengths": [{"audio_s": 10.0, "seconds": 1.23456, "peak_mb": 700.0}], "counts": []}
    machine = describe()
    results.save("growth", {**result, "file_s": 10.24}, machine, tmp_path)
    assert results.load("growth", tmp_path)["lengths"][0]["seconds"] == 1.235
    text = results.write_page(tmp_path, tmp_path / "results.md")
    assert text == (tmp_path / "results.md").read_text()
    assert "## Growth" in text and as_sentence(machine) in text
    assert "## Peers" not in text


def test_the_committed_documents_are_those_of_the_committed_results(tmp_path):
    assert results.write_page(page=tmp_path / "results.md") == results.PAGE.read_text()
    copy = tmp_path / "speed.md"
    copy.write_text(results.DOCUMENT.read_text())
    assert results.update_document(document=copy) == results.DOCUMENT.read_text()
    for name in ("stages", "growth", "onnx_backend", "paper_memory", "peers"):
        assert f"<!-- {name} -->" in copy.read_text()
