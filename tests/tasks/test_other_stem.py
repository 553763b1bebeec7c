"""A model that separates a stem which it does not generate: what becomes of it in every task."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
import torch

from stemweave.errors import InputError
from stemweave.model import StemModel
from stemweave.models.refiner import MaskRefiner
from stemweave.stems import OTHER, STEMS
from tests.cli.test_main import write_noise
from tests.conftest import make_tiny_pipeline
from tests.tasks.test_tasks import noise, seeded

FIVE = (*STEMS, OTHER)
LOUD, FAINT = 0.0, -20.0


def five_stems(other_logit: float) -> StemModel:
    """The tiny model with a mask network that gives ``other`` such a logit, others about 0."""
    parts = make_tiny_pipeline().components
    refiner = MaskRefiner(5, 32, (16, 32), attention_levels=(1,), stems=FIVE)
    torch.nn.init.normal_(refiner.conv_out.weight[:16], std=0.1)
    torch.nn.init.constant_(refiner.conv_out.bias[16:], other_logit)
    return StemModel(**{**parts, "refiner": refiner}, reference_rms=0.1, generation_steps=2)


@pytest.fixture(scope="module")
def pipe() -> StemModel:
    return five_stems(LOUD)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[float, Path]:
    """Saved models that find something else in a mixture, or nothing."""
    made = {logit: tmp_path_factory.mktemp("model") / "five" for logit in (LOUD, FAINT)}
    for logit, folder in made.items():
        five_stems(logit).save_pretrained(folder)
    return made


def test_masks_give_five_stems_and_the_diffusion_four(pipe: StemModel):
    assert pipe.stems == STEMS and pipe.separated_stems == FIVE
    mixture = noise(2, 50_000)
    stems = pipe.separate(mixture, 16000)
    assert tuple(stems) == FIVE and stems[OTHER].abs().max() > 0.01
    assert torch.allclose(sum(stems.values()), mixture, atol=1e-6)
    assert list(pipe.separate(mixture, 16000, stems=[OTHER])) == [OTHER]
    assert tuple(pipe.separate(mixture, 16000, method="diffusion", steps=1)) == STEMS
    with pytest.raises(InputError, match="no stem named other"):
        pipe.separate(mixture, 16000, stems=[OTHER], method="diffusion")


@pytest.mark.parametrize("scale", [1.0, 1e30, 1e-30])
def test_what_is_faint_goes_to_the_loudest_stem_and_nothing_is_lost(scale: float):
    mixture = scale * torch.cat([noise(1, 30_000), torch.zeros(1, 30_000)], dim=1)
    stems = five_stems(FAINT).separate(mixture, 16000)
    assert not stems[OTHER].any()
    assert torch.allclose(sum(stems.values()), mixture, rtol=1e-5, atol=1e-6 * scale)


TASKS: dict[str, Callable] = {
    "edit": lambda pipe, piece: pipe.edit(
        piece, 16000, renew={"drums": (0.2, 0.5)}, generator=seeded()
    ),
    "extend": lambda pipe, piece: pipe.extend(piece, 16000, seconds=0.4, generator=seeded()),
    "vary": lambda pipe, piece: pipe.vary(piece, 16000, strength=0.5, generator=seeded()),
    "arrange": lambda pipe, piece: pipe.arrange(
        piece, 16000, add=["piano"], generator=seeded()
    ),
}  # fmt: skip


@pytest.mark.parametrize("task", TASKS)
def test_a_task_keeps_what_the_model_does_not_make_and_never_tells_it(pipe: StemModel, task: str):
    length = 20_480
    four = {name: 0.1 * noise(1, length, seed=i) for i, name in enumerate(STEMS[:3])}
    other = 0.1 * noise(1, length, seed=9)
    made = TASKS[task](pipe, {**four, OTHER: other})
    without = TASKS[task](pipe, four)
    assert [*made] == [*(name for name in without if name != "mixture"), OTHER, "mixture"]
    for name, waveform in made.items():
        if name in STEMS:
            assert torch.equal(waveform, without[name])
    assert torch.equal(made[OTHER][:, :length], other)
    assert made[OTHER][:, length + 400 :].abs().sum() == 0
    total = sum(waveform for name, waveform in made.items() if name != "mixture")
    assert torch.allclose(made["mixture"], total, atol=1e-6)


@pytest.mark.parametrize("task", ["edit", "extend", "vary"])
def test_a_mixture_is_separated_and_its_other_sounds_put_back(pipe: StemModel, task: str):
    mixture = 0.1 * noise(2, 20_480)
    made = TASKS[task](pipe, {"mixture": mixture})
    assert tuple(made) == (*FIVE, "mixture")
    separated = pipe.separate(mixture, 16000)[OTHER]
    assert torch.equal(made[OTHER][:, :20_480], separated) and separated.any()
    total = sum(made[name] for name in FIVE)
    assert torch.allclose(made["mixture"], total, atol=1e-6)
    assert OTHER not in TASKS[task](five_stems(FAINT), {"mixture": mixture})


def test_what_cannot_be_meant_is_refused(pipe: StemModel, tiny_pipe: StemModel):
    some = noise(1, 20_480)
    for piece in ({OTHER: some}, {OTHER: some, "mixture": some}):
        with pytest.raises(InputError, match="or the mixture alone"):
            pipe.vary(piece, 16000)
    with pytest.raises(InputError, match="at least one and not all"):
        pipe.arrange({OTHER: some}, 16000)
    with pytest.raises(InputError, match="no stem named other"):
        pipe.edit({"bass": some, OTHER: some}, 16000, renew={OTHER: (0.1, 0.2)})
    with pytest.raises(InputError, match="no stem named other"):
        tiny_pipe.vary({"bass": some, OTHER: some}, 16000)
    parts = tiny_pipe.components
    for stems, message in (
        (["bass", "drums", "voice", OTHER], "lacks guitar, piano of the denoiser's"),
        (None, "the refiner has 5 stems"),
    ):
        count = 5 if stems is None else 4
        refiner = MaskRefiner(count, 32, (16, 32), attention_levels=(1,), stems=stems)
        with pytest.raises(InputError, match=message):
            StemModel(**{**parts, "refiner": refiner})


def test_files_of_other_sounds_are_written_if_they_sound_or_are_named(
    run, folders: dict[float, Path], tmp_path: Path
):
    song, out = tmp_path / "a.wav", tmp_path / "out"
    write_noise(song, 30_000)
    command = ["separate", song, "-o", out]
    assert run(*command, "--model", folders[LOUD]).code == 0
    assert {path.stem for path in (out / "a").glob("*.wav")} == set(FIVE)
    result = run(*command, "--model", folders[FAINT], "--overwrite")
    assert result.code == 0 and "silent, left out: other" in result.out, result.err
    stems = {path.stem: soundfile.read(path)[0] for path in (out / "a").glob("*.wav")}
    assert set(stems) == set(STEMS)  # the other model's is not left beside them
    assert abs(sum(stems.values()) - soundfile.read(song)[0]).max() < 1e-6
    record = json.loads((out / "a" / "separation.json").read_text())
    assert record["left_out"] == [OTHER] and set(record["outputs"]) == set(STEMS)
    result = run(*command, "--model", folders[FAINT], "--skip-existing")
    assert "1 of 1 files have their stems already" in result.out
    result = run(*command, "--model", folders[FAINT], "--stems", "other,bass", "--overwrite")
    assert result.code == 0 and "left out" not in result.out
    assert not soundfile.read(out / "a" / "other.wav")[0].any()
    options = ["--without", "other", "--mix", "bass,other", "--model", folders[LOUD]]
    assert run("separate", song, "-o", tmp_path / "sums", *options).code == 0
    names = {path.stem for path in (tmp_path / "sums" / "a").glob("*.wav")}
    assert names == {"without_other", "bass+other"}


def test_a_folder_may_hold_other_sounds(run, folders: dict[float, Path], tmp_path: Path):
    source, out = tmp_path / "piece", tmp_path / "out"
    source.mkdir()
    for name in ("bass", OTHER):
        write_noise(source / f"{name}.wav", 20_480)
    options = ["--model", folders[LOUD], "--seconds", 0.5]
    assert run("extend", source, "-o", out, *options).code == 0
    assert {path.name for path in out.glob("*.wav")} == {"bass.wav", "other.wav", "mixture.wav"}
    (source / "bass.wav").unlink()
    result = run("extend", source, "-o", tmp_path / "none", *options)
    assert result.code == 2 and "no audio file named bass" in result.err
