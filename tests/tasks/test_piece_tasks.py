"""Edit, extend and vary: what stays bit for bit, what the denoiser is told, shapes, levels."""

from dataclasses import replace

import pytest
import torch

from stemweave.diffusion.schedulers import with_sampler
from stemweave.model import StemModel
from stemweave.stems import STEMS
from stemweave.tasks.edit import excerpt_around
from tests.tasks.test_tasks import noise, seeded


def piece_of(num_samples: int, channels: int = 1, stems=STEMS) -> dict[str, torch.Tensor]:
    return {stem: noise(channels, num_samples, seed=index) for index, stem in enumerate(stems)}


@pytest.fixture
def told(tiny_pipe: StemModel):
    """The tiny pipeline, and what its denoiser is given: (latents, timestep, mixture, known)."""
    calls: list[tuple] = []

    def note(_: object, given: tuple) -> None:
        calls.append(tuple(None if value is None else value.clone() for value in given))

    hook = tiny_pipe.denoiser.register_forward_pre_hook(note)
    yield tiny_pipe, calls
    hook.remove()


@pytest.mark.parametrize(
    ("sample_rate", "channels", "num_samples", "start_s", "end_s"),
    [
        (16000, 1, 60_000, 1.0, 2.0),
        (44100, 2, 200_001, 2.00017, 3.7),
        (44100, 2, 200_001, 0.0, 0.5),
        (22050, 1, 30_001, 0.7, None),
        (8000, 3, 40_000, 1.5, 4.9),  # longer than a window
        (48000, 1, 9_000, 0.05, 0.0501),  # shorter than two cross-fades
        (192_000, 1, 1_200, 0.003, 0.004),  # shorter than one latent position
    ],
)
def test_an_edit_leaves_everything_outside_bit_identical(
    tiny_pipe, sample_rate, channels, num_samples, start_s, end_s
):
    piece = piece_of(num_samples, channels)
    mixture = sum(piece.values()) + noise(channels, num_samples, seed=9)  # more than the stems
    edited = tiny_pipe.edit(
        {**piece, "mixture": mixture},
        sample_rate,
        renew=dict.fromkeys(["drums", "piano"], (start_s, end_s)),
        generator=seeded(),
    )
    assert list(edited) == [*STEMS, "mixture"]
    start = round(start_s * sample_rate)
    stop = num_samples if end_s is None else round(end_s * sample_rate)
    for name, before in {**piece, "mixture": mixture}.items():
        after = edited[name]
        assert after.shape == before.shape and torch.isfinite(after).all()
        assert torch.equal(after[:, :start], before[:, :start])
        assert torch.equal(after[:, stop:], before[:, stop:])
        is_new = name in ("drums", "piano", "mixture")
        assert torch.equal(after, before) != is_new
    change = sum(edited[stem] - piece[stem] for stem in STEMS)
    assert torch.allclose(edited["mixture"] - mixture, change, atol=1e-5)


def test_each_stem_has_its_own_range_and_an_absent_one_can_be_added(tiny_pipe):
    piece = piece_of(50_000, stems=("bass", "drums"))
    edited = tiny_pipe.edit(
        piece, 16000, renew={"bass": (0.5, 1.0), "piano": (2.0, 2.5)}, generator=seeded()
    )
    assert list(edited) == ["bass", "drums", "piano", "mixture"]
    assert torch.equal(edited["drums"], piece["drums"])
    assert torch.equal(edited["bass"][:, 16000:], piece["bass"][:, 16000:])
    assert edited["piano"][:, 32000:40000].abs().max() > 0
    assert edited["piano"][:, :32000].abs().max() == edited["piano"][:, 40000:].abs().max() == 0
    total = edited["bass"] + edited["drums"] + edited["piano"]
    assert torch.allclose(edited["mixture"], total, atol=1e-6)


def test_an_edit_tells_the_denoiser_what_is_given(told):
    pipe, calls = told
    piece = piece_of(20_480)  # one window of 16 positions of 1280 samples
    pipe.edit(piece, 16000, renew={"drums": (0.2, 0.48)}, steps=2, generator=seeded())
    assert len(calls) == 2
    expected = torch.ones(1, 4, 16, dtype=torch.bool)
    expected[0, 1, 2:6] = False  # positions that hold any of the samples 3200 to 7680
    clean = None
    for latents, timestep, mixture, known in calls:
        assert mixture is None and torch.equal(known, expected)
        held = latents[known[:, :, None, :, None].expand_as(latents)]
        clean = held if clean is None else clean
        assert torch.equal(held, clean)
        assert (timestep[0, [0, 2, 3]] == 0).all() and timestep[0, 1] > 0


def test_an_edit_hears_a_window_around_the_range_however_long_the_piece(tiny_pipe):
    window = round(tiny_pipe.segment_s * 44100)
    part = excerpt_around(tiny_pipe, [(400_000, 410_000)], 10**9, 44100)
    assert part.stop - part.start == window
    assert abs((part.start + part.stop) / 2 - 405_000) <= 1
    assert excerpt_around(tiny_pipe, [(0, 99)], 10**9, 44100) == slice(0, window)
    long = excerpt_around(tiny_pipe, [(10**6, 2 * 10**6)], 10**9, 44100)
    assert min(10**6 - long.start, long.stop - 2 * 10**6) >= window // 8
    assert excerpt_around(tiny_pipe, [(5, 10)], 1000, 44100) == slice(0, 1000)


@pytest.mark.parametrize(
    ("sample_rate", "channels", "num_samples", "seconds"),
    [
        (16000, 1, 50_000, 0.3),
        (44100, 2, 100_001, 4.0),
        (22050, 1, 5_000, 1.0),
        (8000, 2, 640, 0.1),
    ],
)
def test_an_extension_begins_with_the_piece(tiny_pipe, sample_rate, channels, num_samples, seconds):
    piece = piece_of(num_samples, channels, ("bass", "drums", "piano"))
    extended = tiny_pipe.extend(piece, sample_rate, seconds=seconds, generator=seeded())
    assert list(extended) == ["bass", "drums", "piano", "mixture"]
    length = num_samples + round(seconds * sample_rate)
    for stem, before in piece.items():
        assert extended[stem].shape == (channels, length)
        assert torch.equal(extended[stem][:, :num_samples], before)
        assert extended[stem][:, num_samples:].abs().max() > 0
    total = extended["bass"] + extended["drums"] + extended["piano"]
    assert torch.allclose(extended["mixture"], total, atol=1e-5)


def test_an_extension_is_told_the_end_of_the_piece_and_silence_of_absent_stems(told):
    pipe, calls = told
    piece = piece_of(51_200, stems=("bass", "drums", "piano"))
    pipe.extend(piece, 16000, seconds=1.28, steps=1, generator=seeded())
    (first, _, _, known), (second, _, _, known_next) = calls
    assert known.shape == (1, 4, 16)
    assert known[0, :, :8].all() and known[0, 2].all()  # there is no guitar, and there stays none
    assert not known[0, [0, 1, 3], 8:].any()
    assert torch.equal(known_next, known)
    assert not torch.equal(first[0, :, :, :8], second[0, :, :, :8])
    calls.clear()
    pipe.extend(piece, 16000, seconds=0.16, steps=1, generator=seeded())
    ((_, _, _, known),) = calls  # a shorter continuation leaves room to hear more
    assert known[0, 0].tolist() == 14 * [True] + 2 * [False]


def test_new_material_stays_below_full_scale(tiny_pipe, monkeypatch):
    def loud(pipe, encoded, latents, names, num_samples, **options):
        return {name: torch.full((1, num_samples), 0.8) for name in names}

    for task in ("edit", "extend", "vary"):
        monkeypatch.setattr(f"stemweave.tasks.{task}.decode_stems", loud)
    piece = piece_of(20_480, stems=("bass", "drums"))
    given = piece["bass"] + piece["drums"]
    extended = tiny_pipe.extend(piece, 16000, seconds=0.5, generator=seeded())["mixture"]
    assert extended[:, 20_480 + 400 :].max() == pytest.approx(1, abs=1e-5)
    varied = tiny_pipe.vary(piece, 16000, strength=0.5, generator=seeded())["mixture"]
    assert varied.max() == pytest.approx(1, abs=1e-5)
    both = dict.fromkeys(["bass", "drums"], (0.5, 0.9))
    edited = tiny_pipe.edit(piece, 16000, renew=both, generator=seeded())["mixture"]
    assert edited[:, 8400:14000].max() == pytest.approx(1, abs=1e-5)
    renew = {"bass": (0.5, 0.9)}  # under drums that stay
    edited = tiny_pipe.edit({**piece, "mixture": given}, 16000, renew=renew, generator=seeded())
    assert edited["mixture"][:, 8400:14000].max() == pytest.approx(1, abs=1e-5)
    assert torch.equal(edited["drums"], piece["drums"])


def test_the_joint_of_an_extension_has_no_step(tiny_pipe):
    tone = 0.3 * torch.sin(torch.arange(30_000) * 0.02)[None]
    extended = tiny_pipe.extend({"bass": tone}, 16000, seconds=1.0, generator=seeded())["bass"]
    step = (extended[0, 30_000] - extended[0, 29_999]).abs()
    assert step < 0.02 * 0.3 * 2 + 0.02


@pytest.mark.parametrize("channels", [1, 2])
def test_strength_zero_is_the_piece_and_one_is_a_generated_one(tiny_pipe, channels):
    piece = piece_of(70_000, channels)
    same = tiny_pipe.vary(piece, 16000, strength=0, generator=seeded())
    for stem in STEMS:
        assert torch.equal(same[stem], piece[stem])
    free = tiny_pipe.vary(piece, 16000, strength=1, generator=seeded())
    generated = tiny_pipe.generate(70_000 / 16000, generator=seeded())
    for stem in STEMS:
        assert free[stem].shape == (channels, 70_000)
        # the same samples but for a level and a place that follow the stem's; see test_levels
        in_mono = torch.stack([free[stem].mean(0), generated[stem].mean(0)])
        correlation = torch.corrcoef(in_mono)[0, 1]
        assert correlation > 0.9
    total = torch.stack([free[stem] for stem in STEMS]).sum(0)
    assert torch.equal(free["mixture"], total)


def test_a_variation_starts_from_the_piece(told):
    pipe, calls = told
    piece = piece_of(60_000, stems=("bass", "drums"))
    louder = {stem: 100 * waveform.flip(-1) for stem, waveform in piece.items()}

    def asked(piece: dict, strength: float) -> list[tuple]:
        calls.clear()
        pipe.vary(piece, 16000, strength=strength, steps=4, generator=seeded())
        return list(calls)

    half, whole = asked(piece, 0.5), asked(piece, 1.0)
    assert 2 * len(half) == len(whole)  # half of the schedule
    latents, timestep, _, known = half[0]
    assert known[0, 2:].all() and not known[0, :2].any()
    assert 0 < timestep.max() < whole[0][1].max()
    assert not torch.equal(latents, asked(louder, 0.5)[0][0])
    free = asked(louder, 1.0)[0][0]
    assert torch.equal(whole[0][0][:, :2], free[:, :2])  # free of the piece


def test_a_mixture_alone_is_separated_first(tiny_pipe):
    mixture = noise(2, 60_000)
    for edited in (
        tiny_pipe.edit(mixture, 44100, renew={"bass": (0.2, 0.9)}, generator=seeded()),
        tiny_pipe.edit({"mixture": mixture}, 44100, renew={"bass": (0.2, 0.9)}, generator=seeded()),
    ):
        assert list(edited) == [*STEMS, "mixture"]
        start, stop = round(0.2 * 44100), round(0.9 * 44100)
        assert torch.equal(edited["mixture"][:, :start], mixture[:, :start])
        assert torch.equal(edited["mixture"][:, stop:], mixture[:, stop:])
        total = torch.stack([edited[stem] for stem in STEMS]).sum(0)
        assert torch.allclose(edited["mixture"], total, atol=1e-5)
    extended = tiny_pipe.extend(mixture, 44100, seconds=0.5, generator=seeded())
    assert torch.equal(extended["mixture"][:, :60_000], mixture)
    assert torch.equal(tiny_pipe.vary(mixture, 44100, strength=0)["mixture"], mixture)


def test_the_models_settings_of_noise_reach_the_denoiser(told, monkeypatch):
    pipe, calls = told
    monkeypatch.setattr(pipe, "scheduler", with_sampler(pipe.scheduler, "unipc"))
    config = replace(pipe.config, timestep_shift=3.0, noise_offset=2.0)
    monkeypatch.setattr(pipe, "config", config)
    pipe.generate(seconds=1.28, steps=4, generator=seeded(0))
    assert [int(call[1].max()) for call in calls] == [999, 899, 749, 499]
    assert calls[0][0].mean(dim=-2).std() > 1.5  # a window's mean, of plain noise near 0.25
    calls.clear()
    pipe.vary(piece_of(20_480), 16000, strength=0.5, steps=4, generator=seeded(0))
    assert [int(call[1].max()) for call in calls] == [940, 841]  # nearer to noise


def test_guidance_by_given_stems_takes_a_second_pass_that_does_not_hear_them(told, monkeypatch):
    pipe, calls = told
    given = {"bass": noise(1, 20_480)}
    pipe.arrange(given, 16000, steps=2, generator=seeded())
    assert len(calls) == 2
    calls.clear()
    plain = pipe.arrange(given, 16000, steps=2, guidance=2.0, generator=seeded())
    assert [int(call[1][0, 0]) for call in calls] == [0, 999, 0, 999]
    assert not torch.equal(calls[0][0][:, 0], calls[1][0][:, 0])
    assert torch.equal(calls[0][0][:, 1:], calls[1][0][:, 1:])
    monkeypatch.setattr(pipe, "config", replace(pipe.config, arrangement_guidance=2.0))
    again = pipe.arrange(given, 16000, steps=2, generator=seeded())
    assert torch.equal(plain["mixture"], again["mixture"])
