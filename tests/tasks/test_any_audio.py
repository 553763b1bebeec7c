"""Whatever finite audio goes in: finite audio of the right length comes out, or one sentence."""

import logging
import math
from collections.abc import Callable

import pytest
import torch

from stemweave.audio.waveforms import ResultError
from stemweave.model import StemModel
from stemweave.models.refiner import MaskRefiner
from stemweave.models.sharpener import MaskSharpener
from stemweave.stems import STEMS
from tests.conftest import make_tiny_pipeline
from tests.tasks.test_tasks import noise, seeded

RATE = 16000
WINDOW = 20_480
METHODS = ("mask", "diffusion", "vocoder")
LARGEST = torch.finfo(torch.float32).max


def complete_pipeline() -> StemModel:
    """A tiny model with everything that makes masks."""
    pipe = make_tiny_pipeline()
    refiner = MaskRefiner(4, 32, (16, 32), attention_levels=(1,), head_channels=16)
    sharpener = MaskSharpener(
        4, 128, 16, (1, 2), num_components=2, later_components=2, sample_rate=RATE, n_fft=512
    )
    pipe.refiner = refiner
    pipe.sharpener = sharpener
    return pipe.to("cpu")


@pytest.fixture(scope="module")
def pipe() -> StemModel:
    """One none of whose layers is silent."""
    pipe = complete_pipeline()
    for part in (pipe.denoiser, pipe.refiner, pipe.sharpener):
        for parameter in part.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    return pipe


def click(num_samples: int) -> torch.Tensor:
    return (torch.arange(num_samples) == num_samples // 2).float().repeat(2, 1)


def antiphase(num_samples: int) -> torch.Tensor:
    return noise(1, num_samples) * torch.tensor([[1.0], [-1.0]])


SIGNALS: dict[str, Callable[[int], torch.Tensor]] = {
    "silence": lambda length: torch.zeros(2, length),
    "click": click,
    "direct current": lambda length: torch.full((2, length), 0.5),
    "one silent channel": lambda length: noise(1, length) * torch.tensor([[1.0], [0.0]]),
    "antiphase": antiphase,
    "denormal": lambda length: 1e-38 * noise(2, length),
    "very quiet": lambda length: 1e-29 * noise(2, length),
    "very loud": lambda length: 1e21 * noise(2, length),
    "nearly too loud": lambda length: noise(2, length) / noise(2, length).abs().max() * 3e38,
    "a click in music": lambda length: noise(2, length) + 1e30 * click(length),
}


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize(("sample_rate", "seconds"), [(44100, 1.5), (192_000, 0.3), (8000, 0.5)])
def test_separated_stems_add_up_whatever_the_signal(pipe, name, sample_rate, seconds):
    mixture = SIGNALS[name](round(seconds * sample_rate))
    stems = pipe.separate(mixture, sample_rate, generator=seeded())
    for stem in stems.values():
        assert stem.shape == mixture.shape and torch.isfinite(stem).all()
    total = torch.stack(list(stems.values())).double().sum(dim=0)
    assert (total - mixture).abs().max() <= 4e-7 * mixture.abs().max()
    if name == "silence":
        assert total.abs().max() == 0
    if name == "one silent channel":
        assert all(stem[1].abs().max() == 0 for stem in stems.values())


@pytest.mark.parametrize("scale", [2.0**-100, 2.0**-60, 2.0**60, 2.0**120])
@pytest.mark.parametrize("method", METHODS)
def test_stems_do_not_depend_on_the_level(pipe, scale: float, method: str):
    mixture = noise(2, 30_000)
    ordinary = pipe.separate(mixture, 44100, method=method, generator=seeded())
    other = pipe.separate(scale * mixture, 44100, method=method, generator=seeded())
    for name, stem in ordinary.items():
        assert torch.allclose(other[name] / scale, stem, atol=1e-6)


def test_antiphase_is_separated_as_its_channels_are(pipe):
    mixture = antiphase(30_000)
    stems = pipe.separate(mixture, RATE, generator=seeded())
    alone = pipe.separate(mixture[:1], RATE, generator=seeded())
    for name, stem in stems.items():
        assert torch.equal(stem[0], -stem[1]) or name == STEMS[-1]
        assert torch.allclose(stem[:1], alone[name], atol=1e-3)


@pytest.mark.parametrize("num_samples", [1, 2, 3, WINDOW - 1, WINDOW, WINDOW + 1])
@pytest.mark.parametrize("method", METHODS)
def test_every_length_is_kept(pipe, num_samples: int, method: str):
    mixture = 0.5 + noise(2, num_samples)
    for sample_rate in (8000, RATE, 44100, 192_000):
        stems = pipe.separate(mixture, sample_rate, method=method, generator=seeded())
        assert all(stem.shape == mixture.shape for stem in stems.values())
        assert all(torch.isfinite(stem).all() for stem in stems.values())
        if method != "vocoder":
            assert torch.allclose(sum(stems.values()), mixture, atol=1e-6)


def test_networks_take_a_short_piece_in_a_short_window(pipe):
    heights: list[int] = []
    hook = pipe.refiner.register_forward_pre_hook(
        lambda _, given: heights.append(given[0].shape[1])
    )
    for seconds in (0.001, 0.1, 0.5, 1.28, 1.4, 1.7):
        pipe.separate(noise(1, round(seconds * RATE)), RATE, generator=seeded())
    hook.remove()
    assert heights == [2, 6, 26, 64, 70, 52, 52]  # frames; a window has 64


def piece_of(name: str, num_samples: int) -> dict[str, torch.Tensor]:
    return {"bass": SIGNALS[name](num_samples), "drums": SIGNALS[name](num_samples).flip(-1)}


def changed(pipe, task: str, piece: dict[str, torch.Tensor], rate: int) -> dict[str, torch.Tensor]:
    num_samples = piece["bass"].shape[-1]
    end_s = 0.8 * num_samples / rate if num_samples > 1 else None
    calls = {
        "arrange": lambda: pipe.arrange(piece, rate, generator=seeded()),
        "edit": lambda: pipe.edit(piece, rate, renew={"bass": (0, end_s)}, generator=seeded()),
        "extend": lambda: pipe.extend(piece, rate, seconds=0.3, generator=seeded()),
        "vary": lambda: pipe.vary(piece, rate, generator=seeded()),
    }
    return calls[task]()


TASKS = ("arrange", "edit", "extend", "vary")


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("sample_rate", [8000, 192_000])
def test_pieces_of_any_signal_can_be_changed(pipe, task, name, sample_rate):
    piece = piece_of(name, sample_rate // 4)
    if name == "nearly too loud":  # for one stem; the sum of two is beyond
        piece = {stem: waveform / 4 for stem, waveform in piece.items()}
    result = changed(pipe, task, piece, sample_rate)
    added = round(0.3 * sample_rate) if task == "extend" else 0
    for waveform in result.values():
        assert waveform.shape == (2, sample_rate // 4 + added)
        assert torch.isfinite(waveform).all()
    if task in ("arrange", "edit"):
        assert torch.equal(result["drums"], piece["drums"])
    if task == "extend":
        assert torch.equal(result["bass"][:, : sample_rate // 4], piece["bass"])


@pytest.mark.parametrize("task", ["arrange", "edit", "extend"])
def test_what_float32_cannot_add_up_is_refused(pipe, task):
    piece = dict.fromkeys(("bass", "drums"), torch.full((2, 4000), LARGEST))
    with pytest.raises(ResultError, match="louder than 32-bit"):
        changed(pipe, task, piece, RATE)


@pytest.mark.parametrize("task", ["arrange", "edit", "vary"])
@pytest.mark.parametrize("sample_rate", [8000, RATE, 44100, 192_000])
def test_a_piece_of_one_sample_can_be_changed(pipe, task, sample_rate):
    piece = {"bass": torch.tensor([[0.5], [0.25]]), "drums": torch.tensor([[0.1], [-0.1]])}
    for waveform in changed(pipe, task, piece, sample_rate).values():
        assert waveform.shape == (2, 1) and torch.isfinite(waveform).all()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_windows_more_or_less_a_sample(pipe, task, more):
    piece = {"bass": noise(1, WINDOW + more), "drums": noise(1, WINDOW + more, seed=1)}
    result = changed(pipe, task, piece, RATE)
    added = 4800 if task == "extend" else 0
    for waveform in result.values():
        assert waveform.shape == (1, WINDOW + more + added) and torch.isfinite(waveform).all()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("level", [0.0, 3e-5])
def test_a_silent_piece_is_said_to_be_silent_and_new_stems_sound(pipe, task, level, caplog):
    piece = {"bass": level * torch.ones(2, 30_000), "drums": level * torch.sign(noise(2, 30_000))}
    with caplog.at_level(logging.WARNING):
        result = changed(pipe, task, piece, 44100)
    assert [record.getMessage().count("silent") for record in caplog.records] == [1]
    generated = pipe.generate(30_000 / 44100, generator=seeded())
    new = {"arrange": "piano", "edit": "bass", "extend": "bass", "vary": "bass"}[task]
    loudness = result[new].square().mean().sqrt() / generated[new].square().mean().sqrt()
    assert 0.2 < loudness < 5
    if task == "arrange":
        assert torch.equal(result["bass"], piece["bass"])


def test_one_silent_stem_among_others_is_told_to_the_model(pipe, caplog):
    piece = {"bass": torch.zeros(1, 20_000), "drums": noise(1, 20_000)}
    with caplog.at_level(logging.WARNING):
        pipe.arrange(piece, RATE, generator=seeded())
    assert caplog.records == []


def test_a_piece_keeps_its_level(pipe):
    piece = {"bass": 20 * noise(2, 20_000), "drums": 20 * noise(2, 20_000, seed=1)}
    for task in TASKS:
        ordinary = changed(pipe, task, piece, RATE)
        loud = {name: 2.0**70 * waveform for name, waveform in piece.items()}
        for name, waveform in changed(pipe, task, loud, RATE).items():
            assert torch.allclose(waveform / 2.0**70, ordinary[name], atol=1e-4), (task, name)


@pytest.mark.parametrize("method", METHODS)
def test_a_damaged_model_makes_no_file(run, pipe, tmp_path, method):
    import soundfile

    damaged = complete_pipeline()
    for part in (damaged.denoiser, damaged.vae, damaged.refiner):
        for parameter in part.parameters():
            torch.nn.init.constant_(parameter, math.nan)
    damaged.save_pretrained(tmp_path / "model")
    song = tmp_path / "song.wav"
    soundfile.write(song, noise(1, 9000)[0].numpy(), RATE)
    for fmt in ("wav", "flac", "mp3"):
        outcome = run(
            "separate", song, "-o", tmp_path / "out", "--model", tmp_path / "model",
            "--method", method, "--format", fmt,
        )  # fmt: skip
        assert outcome.code == 2
        assert outcome.err.startswith(f"error: {song}: ") and "not numbers" in outcome.err
        assert outcome.err.count("\n") == 1
        assert not (tmp_path / "out").exists()
