"""What cannot be done is refused in one sentence that says why."""

import math

import pytest
import torch

from stemweave.errors import InputError
from stemweave.stems import STEMS
from tests.conftest import make_tiny_pipeline
from tests.tasks.test_tasks import noise

PIECE = {stem: noise(1, 32_000, seed=index) for index, stem in enumerate(STEMS)}
BASS = {"bass": noise(1, 9000)}
MIXTURE = noise(1, 900)
ALL = dict.fromkeys(STEMS, (0, 2))
WHOLE = dict.fromkeys(STEMS, (0, None))
NAN = math.nan


@pytest.mark.parametrize(
    ("task", "given", "options", "message"),
    [
        ("separate", noise(1, 1, 9), {}, "channels, samples"),
        ("separate", torch.zeros(1, 0), {}, "empty"),
        ("separate", torch.full((1, 9), NAN), {}, "not numbers"),
        ("separate", MIXTURE, {"stems": ["flute"]}, "flute"),
        ("separate", MIXTURE, {"method": "magic"}, "magic"),
        ("separate", MIXTURE, {"method": "mask"}, "no mask network"),
        ("separate", MIXTURE, {"guidance": NAN}, "0 to 20"),
        ("separate", MIXTURE, {"sample_rate": 0}, "8000 to 192000 Hz"),
        ("separate", MIXTURE.T, {}, "at most 64"),
        ("arrange", {}, {}, "at least one"),
        ("arrange", {"kazoo": noise(1, 99)}, {}, "kazoo"),
        ("arrange", PIECE, {}, "not all"),
        ("arrange", {**BASS, "drums": noise(1, 98)}, {}, "equal"),
        ("arrange", BASS, {"add": ["bass"]}, "both"),
        ("arrange", BASS, {"inpainting": "replace", "guidance": 2.0}, "leave out one"),
        ("arrange", BASS, {"guidance": 1e9}, "0 to 20"),
        ("arrange", {"bass": torch.empty(1, 1).expand(1, 2**31)}, {}, "at most 3600 s"),
        ("edit", PIECE, {"renew": {}}, "at least one"),
        ("edit", PIECE, {"renew": {"kazoo": (0, 1)}}, "kazoo"),
        ("edit", PIECE, {"renew": {"bass": (1, 1)}}, "before it ends"),
        ("edit", PIECE, {"renew": {"bass": (NAN, 1)}}, "before it ends"),
        ("edit", PIECE, {"renew": {"bass": (1, 2.001)}}, "2 s long"),
        ("edit", PIECE, {"renew": {"bass": (-0.1, 1)}}, "not in the piece"),
        ("edit", PIECE, {"renew": {"bass": (1, 1.00001)}}, "no sample"),
        ("edit", PIECE, {"renew": ALL}, "would stay"),
        ("edit", PIECE["bass"], {"renew": WHOLE}, "would stay"),
        ("edit", {}, {"renew": {"bass": (0, 1)}}, "at least one"),
        ("edit", MIXTURE.T, {"renew": {"bass": (0, 1)}}, "at most 64"),
        ("extend", PIECE, {"seconds": 0}, "positive"),
        ("extend", PIECE, {"seconds": math.inf}, "positive"),
        ("extend", PIECE, {"seconds": 1e9}, "at most 3600 s"),
        ("extend", PIECE, {"seconds": 3600}, "at most 3600 s"),
        ("extend", noise(1, 1279), {"seconds": 1}, "too short"),
        ("extend", {**PIECE, "kazoo": PIECE["bass"]}, {"seconds": 1}, "kazoo"),
        ("extend", {**PIECE, "bass": noise(2, 9)}, {"seconds": 1}, "equal"),
        ("vary", PIECE, {"strength": 1.1}, "between 0 and 1"),
        ("vary", PIECE, {"strength": NAN}, "between 0 and 1"),
        ("vary", PIECE, {"sample_rate": 10**9}, "8000 to 192000 Hz"),
        ("vary", noise(9), {}, "channels, samples"),
        ("vary", torch.zeros(1, 0), {}, "empty"),
        ("vary", {"bass": torch.full((1, 9), NAN)}, {}, "not numbers"),
        ("generate", 0.0, {}, "positive"),
        ("generate", 1e9, {}, "at most 3600 s"),
        ("generate", 1.0, {"steps": 0}, "1 to 1000"),
        ("generate", 1.0, {"steps": 10**9}, "1 to 1000"),
        ("generate", 1.0, {"tempo_bpm": 120}, "leave it out"),
    ],
)
def test_one_sentence_says_why(tiny_pipe, task, given, options, message):
    rate = {} if task == "generate" else {"sample_rate": 16000}
    with pytest.raises(InputError, match=message) as caught:
        getattr(tiny_pipe, task)(given, **{**rate, **options})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("arrange", {"guidance": 2.0}, "leave out guidance"),
        ("arrange", {"inpainting": "known"}, "by replacement"),
        ("edit", {"renew": {"bass": (0, 0.05)}, "inpainting": "known"}, "by replacement"),
        ("extend", {"seconds": 1, "inpainting": "known"}, "by replacement"),
    ],
)
def test_a_model_that_is_not_told_what_is_given_says_so(task, options, message):
    pipe = make_tiny_pipeline()
    pipe.denoiser.register_to_config(known_stems=False)
    with pytest.raises(InputError, match=message):
        getattr(pipe, task)(BASS, 16000, **options)
