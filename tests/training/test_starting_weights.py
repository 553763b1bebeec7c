"""``--init``: what a part means by its numbers stays so, or it is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch

from stemweave.models.provenance import TRAINED
from stemweave.training.networks import (
    load_component,
    load_weights,
    make_analyser,
    make_network,
    make_score_model,
    make_vocoder,
)
from stemweave.training.settings import load_settings
from stemweave.training.stage_score import STEMS
from tests.training import test_stage_analyser, test_stage_score
from tests.training.command import change, train

ORDER, OTHER_ORDER = ["bass", "drums", "guitar", "piano"], ["drums", "piano", "guitar", "voice"]


def test_a_score_model_goes_on_with_its_own_styles(run, tmp_path: Path):
    config = test_stage_score.write_config(tmp_path)
    settings = load_settings(config)
    for style in ("rock", "jazz"):
        make_score_model(settings, STEMS, (style,)).save_pretrained(tmp_path / style)
    train(run, "score", config, tmp_path / "run", "--init", tmp_path / "rock")
    command = ["train", "score", config, "--run", tmp_path / "other", "--init", tmp_path / "jazz"]
    refused = run(*command)
    assert refused.code == 2 and "styles is jazz, not rock" in refused.err
    assert refused.err.count("\n") == 1 and not (tmp_path / "other").exists()


def test_no_steps_export_the_weights_that_it_begins_with(run, tmp_path: Path):
    config = test_stage_score.write_config(tmp_path)
    made = make_score_model(load_settings(config), STEMS, ("rock",))
    made.save_pretrained(tmp_path / "rock")
    change(config, "score", steps=0)
    train(run, "score", config, tmp_path / "run", "--init", tmp_path / "rock")
    exported = load_component("score_model", tmp_path / "run" / "export").state_dict()
    assert all(torch.equal(exported[name], weights) for name, weights in made.state_dict().items())


@pytest.mark.parametrize(
    ("settings", "metre", "message"),
    [
        ({}, "4/4", "metres is 4/4, not 3/4"),
        ({"log_mel": {"hop_length": 320}}, "3/4", "hop_length is 320, not 160"),
        ({"analyser": {"model": {"channels": 16, "dilations": [1, 4]}}}, "3/4", "dilations is"),
    ],
)
def test_an_analyser_goes_on_as_it_was(
    run, tmp_path: Path, settings: dict[str, Any], metre: str, message: str
):
    config = test_stage_analyser.write_config(tmp_path)
    before = load_settings(config)
    model = settings.get("analyser", {}).get("model", before.analyser.model)
    log_mel = before.log_mel.model_copy(update=settings.get("log_mel", {}))
    analyser = before.analyser.model_copy(update={"model": model})
    other = before.model_copy(update={"log_mel": log_mel, "analyser": analyser})
    make_analyser(other, (metre,)).save_pretrained(tmp_path / "other")
    make_analyser(before, ("3/4",)).save_pretrained(tmp_path / "same")
    train(run, "analyser", config, tmp_path / "run", "--init", tmp_path / "same")
    command = ["train", "analyser", config, "--run", tmp_path / "no", "--init", tmp_path / "other"]
    refused = run(*command)
    assert refused.code == 2 and message in refused.err and not (tmp_path / "no").exists()


def test_a_vocoders_classes_are_found_by_name(config: Path, tmp_path: Path):
    model = load_settings(config).vocoder.model
    change(config, "vocoder", model={**model, "num_stems": 4})
    settings = load_settings(config)
    before: Any = make_vocoder(settings)
    before.register_to_config(**{TRAINED: {"stems": OTHER_ORDER}})
    before.save_pretrained(tmp_path / "before")
    network: Any = make_vocoder(settings)
    load_weights(network, "vocoder", tmp_path / "before", settings.stems)
    old, new = before.stem.weight, network.stem.weight
    assert torch.equal(new[[1, 2, 3, 4]], old[[0, 2, 1, 4]])  # drums, guitar, piano, mixture
    assert torch.equal(new[0], old[4])  # bass is new, and a mixture at first
    assert torch.equal(network.conv_in.weight, before.conv_in.weight)


def test_what_does_not_fit_is_named(config: Path, tmp_path: Path):
    settings = load_settings(config)
    make_vocoder(settings).save_pretrained(tmp_path / "before")
    kind = type(make_vocoder(settings))
    other = make_network(kind, {**settings.vocoder.model, "fine_channels": 24}, "vocoder.model")
    with pytest.raises(ValueError, match=r"fine_channels is 16, not 24$"):
        load_weights(other, "vocoder", tmp_path / "before", settings.stems)
    (tmp_path / "before" / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is not JSON"):
        load_component("vocoder", tmp_path / "before")
