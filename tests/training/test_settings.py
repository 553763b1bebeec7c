"""Every field of the settings has bounds, and says which in one sentence."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from stemweave.errors import InputError
from stemweave.training.crops import VALIDATION_CROPS
from stemweave.training.settings import RunSettings, load_settings
from stemweave.training.stage_refiner import RefinerStage
from stemweave.training.start import load_songs
from stemweave.training.trial import network_and_inputs, require_network
from tests.training.command import change

OTHER_ORDER = "[drums, bass, guitar, piano]"


def fields(kind: type[BaseModel], before: tuple[str, ...] = ()) -> Iterator[tuple[str, FieldInfo]]:
    """Dotted keys of all settings, and what is known of them."""
    for name, field in kind.model_fields.items():
        inner = [one for one in members(field.annotation) if is_section(one)]
        if inner:
            yield from fields(inner[0], (*before, name))
        else:
            yield ".".join((*before, name)), field


def is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def members(kind: Any) -> list[Any]:
    """The types that a value may have."""
    if get_origin(kind) is Annotated:
        return members(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return [member for one in get_args(kind) for member in members(one)]
    return [kind]


def is_number(kind: Any) -> bool:
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    return kind in (int, float) or any(isinstance(one, int) for one in choices)


def example(kind: Any) -> Any:
    """A value of a type."""
    (kind, *_) = members(kind)
    if get_origin(kind) is Literal:
        return get_args(kind)[0]
    return {int: 3, float: 0.5, str: "a", Path: "a"}[kind]


FIELDS = dict(fields(RunSettings))
NUMBERS = [k for k, field in FIELDS.items() if any(map(is_number, members(field.annotation)))]
LISTS, TABLES = (
    {
        key: get_args(kind)
        for key, field in FIELDS.items()
        for kind in members(field.annotation)
        if get_origin(kind) in origins
    }
    for origins in ((list, tuple), (dict,))
)
"""Types of what is in them."""
BAD_NUMBERS = (-1, float("nan"), 10**30, "many")


def loaded(tmp_path: Path, key: str, value: Any) -> RunSettings:
    settings: dict[str, Any] = {"data": ["songs"]}
    section = settings
    *sections, name = key.split(".")
    for one in sections:
        section = section.setdefault(one, {})
    section[name] = value
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump(settings))
    return load_settings(path)


def refused(tmp_path: Path, key: str, value: Any) -> None:
    """Fail if the settings are taken, or not refused by one sentence that names the key."""
    with pytest.raises(InputError) as caught:
        loaded(tmp_path, key, value)
    said = str(caught.value)
    assert key.split(".")[-1] in said and "\n" not in said, said


def taken_or_refused(tmp_path: Path, key: str, value: Any) -> None:
    try:
        loaded(tmp_path, key, value)
    except InputError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("key", NUMBERS)
def test_numbers_have_bounds(tmp_path: Path, key: str):
    assert len(NUMBERS) > 100
    field = FIELDS[key]
    least = min([0, *(one.ge for one in field.metadata if hasattr(one, "ge"))])
    for value in (least - 1, *BAD_NUMBERS[1:]):
        endless = ".inf" in (field.description or "")  # is allowed, and all below it
        refused(tmp_path, key, "huge" if endless and value == 10**30 else value)
    taken_or_refused(tmp_path, key, 0)


@pytest.mark.parametrize("part", ["vae", "denoiser", "refiner", "sharpener", "vocoder"])
def test_networks_are_described_with_meaning(config: Path, part: str):
    settings = load_settings(config)
    network, _ = network_and_inputs(part, settings)
    require_network(part, settings)
    own = getattr(network, "config", {})
    numbers = [key for key, value in own.items() if not isinstance(value, str | bool | dict)]
    assert len(numbers) > 2
    for key in numbers:
        for value in (0, "many", [], [0]):
            changed = load_settings(config, changes=[f"{part}.model.{key}={value}"])
            with contextlib.suppress(InputError):
                require_network(part, changed)
        for value in (-1, ".nan", 10**12, [-1]):
            with pytest.raises(InputError, match=f"{part}.model: {key} must be "):
                load_settings(config, changes=[f"{part}.model.{key}={value}"])
    with pytest.raises(InputError, match="crop_frames must be longer than half of"):
        short = ["sharpener.piece_frames=1"] if part == "sharpener" else []
        load_settings(config, changes=[f"{part}.crop_frames=1", *short, "log_mel.n_fft=1024"])


@pytest.mark.parametrize("part", ["vae", "denoiser", "refiner"])
def test_crops_fit_their_network(config: Path, part: str):
    settings = load_settings(config, changes=[f"{part}.crop_frames=33"])
    with pytest.raises(InputError, match=f"{part}.crop_frames 33"):
        require_network(part, settings)


@pytest.mark.parametrize("key", LISTS)
def test_lists_are_of_different_things(tmp_path: Path, key: str):
    kinds = LISTS[key]
    item = example(kinds[0])
    good = [item] if kinds[-1] is Ellipsis or len(kinds) == 1 else [item] * len(kinds)
    loaded(tmp_path, key, good)
    bad: list[Any] = [[[item]], [{}], [[item], *good[1:]]]
    if isinstance(item, str):
        bad += [[item, item]]
        bad += [] if kinds[0] is Path else [[""]]  # of a path that is where one is
    else:
        bad += [[one, *good[1:]] for one in BAD_NUMBERS]
    if get_origin(kinds[0]) is Literal:
        bad += [["unknown"]]
    for value in bad:
        refused(tmp_path, key, value)
    taken_or_refused(tmp_path, key, [])


@pytest.mark.parametrize(
    "key", ["data", "stems", "validation", "denoiser.conditions.validation_timesteps"]
)
def test_some_lists_are_not_empty(tmp_path: Path, key: str):
    refused(tmp_path, key, [])


@pytest.mark.parametrize("key", TABLES)
def test_tables_hold_what_they_are_of(tmp_path: Path, key: str):
    _, kind = TABLES[key]
    loaded(tmp_path, key, {})
    bad: list[Any] = [3, ["bass"]]
    if any(map(is_number, members(kind))):
        bad += [{"bass": one} for one in BAD_NUMBERS]
    elif kind is not Any:
        bad += [{"bass": one} for one in (3, [3], {}, None)]
    for value in bad:
        refused(tmp_path, key, value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("log", ["paper"], "log.0: Input should be"),
        ("stems", ["a/b"], "stems are named as their files"),
        ("classes", {"strings": ["Strings"]}, "classes are of strings, which stems does not have"),
        ("log_mel.win_length", 2048, "win_length, and that at most n_fft"),
        ("log_mel.f_max", 9000.0, "at most half the sample_rate"),
        ("denoiser.scheduler", {"betas": 3}, "denoiser.scheduler.betas: Extra inputs"),
        ("denoiser.separation_share", 0.8, "at most 1 together"),
        ("validation", 1.5, "validation must be a share"),
        ("seed", 2**32, "seed: Input should be less than"),
        ("classes", {"bass": []}, "classes of bass must name one at least"),
        ("classes", {"bass": ["Bass", "Bass"]}, "classes name Bass twice"),
        ("classes", {"bass": ["Bass"], "piano": ["Bass"]}, "classes name Bass twice"),
        ("classes", {"bass": ["String"]}, "classes of bass has 'String', but there are Piano, "),
        (
            "denoiser.conditions.validation_timesteps",
            [999, 1000],
            "validation_timesteps must be below scheduler.num_train_timesteps, 1000",
        ),
    ],
)
def test_what_makes_no_sense(tmp_path: Path, key: str, value: Any, message: str):
    with pytest.raises(InputError, match=message):
        loaded(tmp_path, key, value)


@pytest.mark.parametrize(
    ("change_", "message"),
    [
        (f"denoiser.model.stems={OTHER_ORDER}", "denoiser.model.stems is .*: make them agree"),
        (f"refiner.model.stems={OTHER_ORDER}", "refiner.model.stems is .*: make them agree"),
        ("refiner.model.num_stems=5", "refiner.model.num_stems is 5, but the stems are bass, "),
        ("sharpener.model.num_stems=3", "sharpener.model.num_stems is 3"),
        ("vocoder.model.num_stems=3", "vocoder.model.num_stems is 3"),
        ("vocoder.crop_frames=3", "vocoder.crop_frames 3 must be more than 1024 samples"),
        ("denoiser.extra_conditions={mood: 'own:mood'}", "forward has no argument for it"),
        ("denoiser.extra_conditions={known: 'own:mood'}", "forward has no argument for it"),
        ("score.model.width=3", "score.model.width: ScoreTransformer has no such setting"),
        ("score.model.styles=[rock]", "score.model.styles: songs and other settings decide"),
        ("analyser.model.channels=7", "analyser.model does not describe a SongAnalyser"),
        ("analyser.model.hop_length=7", "analyser.model.hop_length: songs and other settings"),
    ],
)
def test_what_makes_no_network(config: Path, change_: str, message: str):
    part = change_.split(".")[0]
    with pytest.raises(InputError, match=message) as refused_:
        require_network(part, load_settings(config, changes=[change_]))
    assert "\n" not in str(refused_.value)


def test_half_precision_needs_a_gpu(run, config: Path, tmp_path: Path):
    change(config, None, mixed_precision="fp16", data=["nowhere"])
    command = ["train", "vae", config, "--run", tmp_path / "run"]
    result = run(*command, "--device", "cpu")
    assert result.code == 2 and "mixed_precision fp16 needs a GPU" in result.err
    assert run(*command, "--dry-run").code == 0


def test_settings_are_changed_on_the_command_line(run, config: Path, tmp_path: Path):
    settings = load_settings(config, changes=["denoiser.optimiser.betas=[0.5, 0.6]", "seed=3"])
    assert settings.denoiser.optimiser.betas == (0.5, 0.6) and settings.seed == 3
    assert settings.denoiser.steps == 2
    for change_, message in (
        ("vae.stepz=3", "vae.stepz"),
        ("vae", "KEY=VALUE"),
        ("seed=[", "YAML"),
    ):
        result = run("train", "vae", config, "--run", tmp_path / "run", "--set", change_)
        assert result.code == 2 and message in result.err and result.err.count("\n") == 1
    change(config, "vae", optimiser={"learning_rates": {"decoder": 1e-3, "nothing": 1e-3}})
    result = run("train", "vae", config, "--run", tmp_path / "run", "--set", "vae.steps=1")
    assert result.code == 2 and "names nothing, which the network has not" in result.err


def test_validation_is_the_same_in_every_run(config: Path):
    figures = []
    for changes in ({}, {"seed": 5, "mixing": {"stem_gain_std_db": 9.0}}):
        change(config, None, **changes)
        settings = load_settings(config, changes=[f"refiner.shard_size={4 + len(figures)}"])
        stage = RefinerStage(settings, *load_songs(settings))
        for parameter in stage.network.parameters():
            parameter.data.fill_(0.01)
        figures.append(stage.validate(stage.network.eval()))
        first = next(iter(stage.validation_shards.shard(0).values()))
        assert len(first) == VALIDATION_CROPS
    assert figures[0] == figures[1]
