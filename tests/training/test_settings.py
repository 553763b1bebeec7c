"""Every field of the settings has bounds, and says which in one sentence."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from stemweave.errors import InputError
from stemweave.training.crops import VALIDATION_CROPS
from stemweave.training.settings import RunSettings, load_settings
from stemweave.training.stage_refiner import RefinerStage
from stemweave.training.start import load_songs
from stemweave.training.trial import network_and_inputs, require_network
from tests.training.command import change

SIGNED = {"sampling.separation_guidance", "sampling.arrangement_guidance"}


def fields(kind: type[BaseModel], before: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Dotted keys of all settings, and their types."""
    for name, field in kind.model_fields.items():
        inner = [one for one in (field.annotation, *get_args(field.annotation)) if is_section(one)]
        if inner:
            yield from fields(inner[0], (*before, name))
        else:
            yield ".".join((*before, name)), field.annotation


def is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


FIELDS = dict(fields(RunSettings))
NUMBERS = [
    key for key, kind in FIELDS.items()
    if {int, float} & {kind, *get_args(kind)} and bool not in (kind, *get_args(kind))
]  # fmt: skip
LISTS = {
    "data": ["a"], "stems": ["a"], "validation": ["a"], "log": ["wandb"],
    "score.validation": ["a"], "denoiser.conditions.validation_timesteps": [3],
}  # fmt: skip


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


@pytest.mark.parametrize("key", NUMBERS)
def test_numbers_have_bounds(tmp_path: Path, key: str):
    assert len(NUMBERS) > 100
    huge = "huge" if key.endswith("clip_norm") else 10**30  # .inf clips nothing
    for value in (-1, float("nan"), huge, "many"):
        if (value == -1 and key in SIGNED) or (value == "many" and key == "validation"):
            continue
        with pytest.raises(InputError) as refused:
            loaded(tmp_path, key, value)
        said = str(refused.value)
        assert key.split(".")[-1] in said and "\n" not in said, said
    try:
        loaded(tmp_path, key, 0)
    except InputError as error:
        assert "\n" not in str(error)


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
    (item,) = LISTS[key]
    loaded(tmp_path, key, [item])
    bad: list[Any] = [[[item]], [{}]]
    bad += (
        [[item, item], *([[""]] if key != "score.validation" else [])]
        if isinstance(item, str)
        else [[-5]]
    )
    bad += [] if key in ("log", "score.validation") else [[]]
    for value in bad:
        with pytest.raises(InputError) as refused:
            loaded(tmp_path, key, value)
        assert key.split(".")[-1] in str(refused.value) and "\n" not in str(refused.value)


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
    ],
)
def test_what_makes_no_sense(tmp_path: Path, key: str, value: Any, message: str):
    with pytest.raises(InputError, match=message):
        loaded(tmp_path, key, value)


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
