"""Sheets and scores through all tasks: what each window is told, what is refused."""

import math

import numpy as np
import pytest
import torch

from stemweave.diffusion.guidance import guided_by_conditions
from stemweave.errors import InputError
from stemweave.model import StemModel
from stemweave.models.compact import CompactUNet
from stemweave.models.conditions import Conditions
from stemweave.models.score_transformer import ScoreTransformer
from stemweave.music.drawing import lasting
from stemweave.music.instruments import INSTRUMENT_CLASSES
from stemweave.music.lead_sheet import LeadSheet
from stemweave.music.rolls import HARMONY_KNOWN, WIDTHS, roll_columns, score_end_s
from stemweave.music.score import Score, ScoreNote
from stemweave.stems import STEMS
from stemweave.tasks.conditioning import conditioning_of, draw_sounds
from stemweave.tasks.sampling import Sampling
from tests.conftest import make_tiny_pipeline
from tests.tasks.test_tasks import noise, seeded

BEAT_S = 0.5
SHEET = LeadSheet.from_text("C | F", 60 / BEAT_S, "4/4", style="jazz")  # 4 s
CLICKS = Score({"drums": tuple(ScoreNote(beat, beat, 36, 100) for beat in range(8))})


def make_conditioned_pipeline() -> StemModel:
    """The tiny pipeline with a denoiser that understands sheets and scores."""
    pipe = make_tiny_pipeline()
    config = {name: value for name, value in pipe.denoiser.config.items() if name[0] != "_"}
    vocabulary = {
        "styles": ["jazz", "rock"],
        "instruments": {"guitar": ["nylon"]},
        "sounds": {"piano": {"rare.sf2": 1, "usual.sf2": 1000}},
        "num_mels": 32,
        "channels": 8,
    }
    torch.manual_seed(0)
    pipe.denoiser = CompactUNet(**{**config, "vocabulary": vocabulary})
    for parameter in (*pipe.denoiser.conditions.parameters(), pipe.denoiser.conv_out.weight):
        torch.nn.init.normal_(parameter, std=0.2)
    pipe.denoiser.eval()
    return pipe


def make_writing_pipeline() -> StemModel:
    """That pipeline with a score model."""
    pipe = make_conditioned_pipeline()
    torch.manual_seed(0)
    pipe.score_model = ScoreTransformer(
        ("drums", "bass", "guitar", "piano"), ("rock",), INSTRUMENT_CLASSES,
        channels=32, num_layers=1, head_channels=16, max_bars=4,
    ).eval()  # fmt: skip
    return pipe


@pytest.fixture(scope="module")
def pipe() -> StemModel:
    return make_conditioned_pipeline()


@pytest.fixture
def told(pipe: StemModel):
    """The pipeline, and the conditions of every window."""
    calls: list[Conditions] = []
    hook = pipe.denoiser.conditions.register_forward_pre_hook(
        lambda _, given: calls.append(given[0]) if given[0].rows.any() else None
    )
    yield pipe, calls
    hook.remove()


def clicks_of(conditions: Conditions, start_s: float) -> list[float]:
    """Times of drum onsets that a window beginning at ``start_s`` is told."""
    drums = conditions.roll[0, :, roll_columns("drums")].numpy()
    return [round(start_s + (p + (c % 4) / 4) * 0.08, 2) for p, c in np.argwhere(drums)]


def beats_between(start_s: float, stop_s: float) -> list[float]:
    beats = (round(beat * BEAT_S, 2) for beat in range(8))
    # a click is told at the sub-step of 20 ms in which it is
    return [math.floor(b / 0.02 + 1e-6) * 0.02 for b in beats if start_s <= b < stop_s]


def test_every_window_of_a_piece_is_told_its_own_place(told):
    pipe, calls = told
    made = pipe.generate(4.0, sheet=SHEET, score=CLICKS, generator=seeded())
    assert made["mixture"].shape == (1, 64000)
    starts = [0.64 * index for index in range(6)]  # windows of 1.28 s share half
    assert len(calls) >= 5
    for start_s, conditions in zip(starts[:5], calls, strict=False):
        expected = pytest.approx(beats_between(start_s, start_s + 1.28), abs=1e-6)
        assert clicks_of(conditions, start_s) == expected
        assert conditions.style.tolist() == [1] and conditions.sounds[0, 3] > 0
        assert conditions.rows[..., HARMONY_KNOWN].all()


def test_edit_and_extend_are_told_where_in_the_piece_they_are(told):
    pipe, calls = told
    piece = {stem: noise(1, 64000, seed=index) for index, stem in enumerate(STEMS)}
    renewed = pipe.edit(
        piece, 16000, renew={"drums": (2.4, 2.7)}, sheet=SHEET, score=CLICKS, generator=seeded()
    )
    assert renewed["drums"].shape == (1, 64000) and len(calls) == 1
    height = calls[0].roll.shape[1]
    starts = [s for s in np.arange(0, 4, 0.005) if s + height * 0.08 <= 4.6]
    fitting = [
        s
        for s in starts
        if len(clicks_of(calls[0], 0)) == len(beats_between(s, s + height * 0.08)) and 1.2 < s < 2.4
    ]
    assert fitting  # the excerpt lies around the range
    calls.clear()
    extended = pipe.extend(piece, 16000, seconds=1.0, sheet=SHEET, score=CLICKS, generator=seeded())
    assert extended["mixture"].shape == (1, 80000)
    first = calls[0]
    context = 4.0 - int(min(max(8, 16 - 13), 50)) * 0.08
    assert clicks_of(first, context) == pytest.approx(beats_between(context, 4.0), abs=0.021)
    known = first.notes_known[0, :, list(WIDTHS).index("drums")]
    assert known[:8].all() and not known[8:].any()  # the score says nothing of what is added
    assert first.rows[0, 8:, HARMONY_KNOWN].all()  # the chords begin anew


def test_arrange_and_vary_take_sheets(told):
    pipe, calls = told
    given = {"bass": noise(1, 20_000)}
    arranged = pipe.arrange(given, 16000, sheet=SHEET, score=CLICKS, generator=seeded())
    other = pipe.arrange(given, 16000, sheet=SHEET, generator=seeded())
    assert calls[0].sounds[0, 3] > 0 and calls[-1].sounds[0, 3] > 0
    assert not torch.equal(arranged["drums"], other["drums"])
    calls.clear()
    varied = pipe.vary({**given, "drums": noise(1, 20_000)}, 16000, sheet=SHEET, generator=seeded())
    assert set(varied) == {"bass", "drums", "mixture"}
    assert calls and not calls[0].sounds.any() and not calls[0].notes_known.any()


def test_a_model_that_understands_no_sheets_says_so_and_one_that_does_can_do_without(
    tiny_pipe, pipe
):
    with pytest.raises(InputError, match="understands no sheet"):
        tiny_pipe.generate(1.0, sheet=SHEET)
    with pytest.raises(InputError, match="counts in beats"):
        pipe.generate(1.0, score=CLICKS)
    with pytest.raises(InputError, match="0 to 20"):
        pipe.generate(1.0, sheet=SHEET, condition_guidance=30)
    free = pipe.generate(1.0, generator=seeded())
    assert torch.equal(free["bass"], pipe.generate(1.0, generator=seeded())["bass"])
    assert not tiny_pipe.takes_sheets and tiny_pipe.styles == ()
    assert pipe.styles == ("jazz", "rock")


def test_a_tempo_is_a_sheet_to_a_model_that_understands_them(told):
    pipe, calls = told
    pipe.generate(1.0, tempo_bpm=90, generator=seeded())
    assert calls[0].rows[0, 0, 40] == pytest.approx(math.log(90 / 110), abs=1e-5)
    with pytest.raises(InputError, match="tempo must be"):
        pipe.generate(1.0, tempo_bpm=900)


def test_guidance_mixes_what_is_told_and_what_is_not(pipe):
    latents, timestep = torch.randn(1, 4, 2, 16, 8), torch.tensor([500])

    def two(latents, timestep, known):
        return 2 * latents

    def one(latents, timestep, known):
        return latents + torch.randn(latents.shape, generator=seeded())

    for weight, expected in ((1.0, two), (0.0, one)):
        told = guided_by_conditions(two, one, weight)
        assert torch.equal(told(latents, timestep, None), expected(latents, timestep, None))
    mixed = guided_by_conditions(two, one, 3.0)(latents, timestep, None)
    sizes = mixed.std(dim=(2, 3, 4)), (2 * latents).std(dim=(2, 3, 4))
    assert torch.allclose(*sizes, rtol=1e-4)
    pushed = 3 * two(latents, timestep, None) - 2 * one(latents, timestep, None)
    assert torch.nn.functional.cosine_similarity(mixed.flatten(), pushed.flatten(), 0) > 0.999
    early = guided_by_conditions(two, one, 3.0, first_timestep=501)
    assert torch.equal(early(latents, timestep, None), 2 * latents)
    assert torch.equal(early(latents, timestep + 1, None), mixed)
    plain = pipe.generate(1.0, sheet=SHEET, generator=seeded())
    guided = pipe.generate(1.0, sheet=SHEET, condition_guidance=2.0, generator=seeded())
    assert not torch.equal(plain["bass"], guided["bass"])


def test_sounds_are_drawn_as_often_as_they_were_trained_on(pipe):
    generator = seeded()
    drawn = [draw_sounds(pipe, ["piano", "bass"], generator) for _ in range(200)]
    assert all(set(one) == {"piano"} for one in drawn)
    assert sum(one["piano"] == "usual.sf2" for one in drawn) > 190


def test_a_score_says_nothing_of_what_comes_after_its_last_bar(pipe):
    short = Score({"drums": (ScoreNote(3.9, 4.2, 36, 90),)})
    conditioning = conditioning_of(pipe, SHEET, short, Sampling(), 10.0)
    assert conditioning is not None and conditioning.notes_until_s == pytest.approx(2.0)
    assert score_end_s(CLICKS, SHEET) == pytest.approx(4.0)
    late = Score({"drums": (ScoreNote(17, 18, 36, 90),)})
    assert score_end_s(late, SHEET) == pytest.approx(10.0)
    assert score_end_s(Score({"drums": ()}), SHEET) is None


def test_sheets_go_on_with_their_bars_and_chords():
    longer = lasting(SHEET, 9.0)
    assert longer.beats_s == pytest.approx(tuple(BEAT_S * beat for beat in range(21)))
    assert longer.downbeats == (0, 4, 8, 12, 16, 20)
    symbols = [(change.start_beat, change.chord.symbol) for change in longer.chords]
    assert symbols == [(0, "C"), (4, "F"), (8, "C"), (12, "F"), (16, "C")]
    assert lasting(longer, 3.0) == longer
    assert lasting(LeadSheet(style="jazz"), 3.0) == LeadSheet(style="jazz")
    waltz = lasting(LeadSheet(tempo_bpm=60, metre="3/4"), 4.0)
    assert waltz.beats_s == (0, 1, 2, 3, 4, 5, 6) and waltz.downbeats == (0, 3, 6)
    held = LeadSheet.from_text("C | % | F | %", 120, "4/4")
    assert [c.start_beat for c in lasting(held, 16.0).chords] == [0, 8, 16, 24]


def test_a_saved_model_keeps_what_it_understands(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    again = StemModel.from_pretrained(tmp_path)
    assert again.takes_sheets and again.styles == ("jazz", "rock")
    made = [
        one.generate(1.0, sheet=SHEET, score=CLICKS, generator=seeded())["mixture"]
        for one in (pipe, again)
    ]
    assert torch.allclose(*made, atol=1e-5)
