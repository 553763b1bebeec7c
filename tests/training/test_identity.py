"""What parts say of themselves is checked wherever they meet; runs do not change under a name."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import ModelCard

from stemweave.errors import InputError
from stemweave.model import StemModel, load_model
from stemweave.models.provenance import TRAINED
from stemweave.training.identity import autoencoder_identity, write_record
from stemweave.training.networks import (
    autoencoder_in,
    load_component,
    make_analyser,
    make_autoencoder,
    make_denoiser,
    make_refiner,
    make_sharpener,
    make_vocoder,
)
from stemweave.training.settings import load_settings
from tests.training.command import change, train

ORDER = ["bass", "drums", "guitar", "piano"]
OTHER_ORDER = ["drums", "bass", "guitar", "piano"]
STEMS_DIFFER = "trained for the stems drums, bass, guitar, piano, not bass, drums, guitar, piano"


def record(config: Path, part: str, **said: Any) -> dict[str, Any]:
    """What a run by the settings in ``config`` would have said of ``part``."""
    settings = load_settings(config)
    log_mel = settings.log_mel.model_dump()
    return {
        "part": part, "stems": list(settings.stems), "log_mel": log_mel, "settings": {}, **said
    }  # fmt: skip


def write_parts(config: Path, folder: Path) -> dict[str, Path]:
    """Untrained parts that say what trained ones would."""
    settings = load_settings(config)
    torch.manual_seed(0)
    vae = make_autoencoder(settings)
    networks = {
        "vae": vae,
        "denoiser": make_denoiser(settings, vae),
        "refiner": make_refiner(settings),
        "sharpener": make_sharpener(settings),
        "vocoder": make_vocoder(settings),
    }
    folders = {}
    for part, network in networks.items():
        folders[part] = folder / part
        network.save_pretrained(folders[part])
        said = {"autoencoder": autoencoder_identity(vae)} if part == "denoiser" else {}
        write_record(folders[part], record(config, part, **said), network)
    return folders


@pytest.fixture
def parts(config: Path, tmp_path: Path) -> dict[str, Path]:
    return write_parts(config, tmp_path / "parts")


def assemble(run, config: Path, out: Path, folders: dict[str, Path]):
    options = [value for part, folder in folders.items() for value in (f"--{part}", folder)]
    return run("assemble", config, out, *options)


def say(folder: Path, **said: Any) -> None:
    """Change what a part says of itself."""
    path = folder / "config.json"
    content = json.loads(path.read_text())
    content[TRAINED].update(said)
    path.write_text(json.dumps(content))


def test_what_an_export_says(run, config: Path, data: Path, tmp_path: Path):
    train(run, "vae", config, tmp_path / "vae")
    vae = tmp_path / "vae" / "export"
    train(run, "denoiser", config, tmp_path / "denoiser", "--vae", vae)
    said = {
        part: json.loads((tmp_path / part / "export" / "config.json").read_text())[TRAINED]
        for part in ("vae", "denoiser")
    }
    assert said["denoiser"]["stems"] == ORDER and said["denoiser"]["part"] == "denoiser"
    assert said["denoiser"]["log_mel"]["hop_length"] == 320
    assert said["denoiser"]["autoencoder"] == said["vae"]["weights"]
    assert said["denoiser"]["data"]["songs"] == 3 and said["denoiser"]["data"]["hours"] == 0.003
    assert said["denoiser"]["seed"] == 0 and said["denoiser"]["step"] == 2
    assert said["denoiser"]["settings"]["denoiser"]["batch_size"] == 2
    assert "vocoder" not in said["denoiser"]["settings"] and said["denoiser"]["version"]
    assert str(data) not in json.dumps(said) and str(tmp_path) not in json.dumps(said)
    loaded = load_component("vae", vae)
    again = load_component("denoiser", tmp_path / "denoiser" / "export")
    again.save_pretrained(tmp_path / "again")  # what it says stays with the weights
    written = json.loads((tmp_path / "again" / "config.json").read_text())
    assert written[TRAINED] == said["denoiser"]
    loaded.config[TRAINED].pop("weights")
    assert autoencoder_identity(loaded) == said["vae"]["weights"]


def test_a_seed_of_nothing_is_said(run, config: Path, parts: dict, tmp_path: Path):
    say(parts["denoiser"], seed=0, version="", step=None)
    settings = load_settings(config)
    make_analyser(settings, ("4/4",)).save_pretrained(tmp_path / "analyser")
    parts["analyser"] = tmp_path / "analyser"
    kl = {"block_out_channels": [8] * 3, "latent_channels": 2, "norm_num_groups": 4,
          "down_block_types": ["DownEncoderBlock2D"] * 3,
          "up_block_types": ["UpDecoderBlock2D"] * 3}  # fmt: skip
    change(config, "vae", kind="autoencoder_kl", model=kl)
    autoencoder_in(make_autoencoder(load_settings(config))).save_pretrained(parts["vae"])
    say(parts["denoiser"], autoencoder=None)
    assert assemble(run, config, tmp_path / "model", parts).code == 0
    text = (tmp_path / "model" / "README.md").read_text()
    assert "| seed | 0 |" in text and "| steps |" not in text and "### analyser" in text
    for file in (tmp_path / "model").rglob("*.json"):
        assert str(tmp_path) not in file.read_text(), file


def test_parts_of_one_training_make_a_model(run, config: Path, parts: dict, tmp_path: Path):
    figures = {"step": 7, "seed": 3, "figures": {"val_separation": 0.25}}
    data = {"songs": 3, "licences": ["CC0-1.0"]}
    say(parts["denoiser"], **figures, data=data, settings={"denoiser": {"steps": 7}})
    assert assemble(run, config, tmp_path / "model", parts).code == 0
    card = ModelCard.load(tmp_path / "model" / "README.md")
    assert card.data.library_name == "stemweave" and "bass" in card.data.tags
    for text in (
        "| seed | 3 |",
        "| val_separation | 0.25 |",
        "steps: 7",
        "from_pretrained(",
        "allow: CC0-1.0.",
    ):
        assert text in card.text, text
    mask = os.umask(0o027)
    os.umask(mask)
    for file in (path for path in (tmp_path / "model").rglob("*") if path.is_file()):
        assert str(tmp_path).encode() not in file.read_bytes(), file
        assert file.stat().st_mode & 0o777 == 0o666 & ~mask, file
    for load in (load_model, StemModel.from_pretrained):
        assert load(str(tmp_path / "model")).stems == tuple(ORDER)


@pytest.mark.parametrize(
    ("part", "said", "message"),
    [
        ("refiner", {"stems": OTHER_ORDER}, f"the refiner was {STEMS_DIFFER}"),
        ("sharpener", {"stems": OTHER_ORDER}, f"the sharpener was {STEMS_DIFFER}"),
        ("denoiser", {"stems": OTHER_ORDER}, f"the denoiser was {STEMS_DIFFER}"),
        ("denoiser", {"autoencoder": "another"}, "on the latents of another autoencoder"),
        ("vae", {"log_mel": {"f_max": 7000.0}}, "the vae was trained on log-mels of f_max 7000.0"),
        ("vocoder", {"log_mel": {"log_floor": 0.1}}, "log-mels of log_floor 0.1, not 1e-05"),
        ("vocoder", {"autoencoder": "another"}, "the vocoder was trained on the latents of anoth"),
    ],
)
def test_parts_of_other_trainings_do_not_meet(
    run, config: Path, parts: dict, tmp_path: Path, part: str, said: dict, message: str
):
    assert assemble(run, config, tmp_path / "model", parts).code == 0
    say(parts[part], **said)
    refused = assemble(run, config, tmp_path / "other", parts)
    assert refused.code == 2 and message in refused.err and refused.err.count("\n") == 1
    assert not (tmp_path / "other").exists()
    # put into a model's folder by hand
    shutil.copy(parts[part] / "config.json", tmp_path / "model" / part / "config.json")
    for load in (load_model, StemModel.from_pretrained):
        with pytest.raises(InputError, match="parts do not fit together") as caught:
            load(str(tmp_path / "model"))
        assert message in str(caught.value)


@pytest.mark.parametrize("part", ["denoiser", "refiner", "sharpener", "vocoder"])
def test_weights_of_another_training_are_not_started_from(
    run, config: Path, parts: dict, tmp_path: Path, part: str
):
    say(parts[part], stems=OTHER_ORDER, log_mel={"hop_length": 160})
    needed = {"denoiser": ["--vae", parts["vae"]], "sharpener": ["--refiner", parts["refiner"]]}
    options = [*needed.get(part, []), "--run", tmp_path / "run", "--init", parts[part]]
    result = run("train", part, config, *options)
    assert result.code == 2 and "hop_length 160, not 320" in result.err, result.err
    assert (STEMS_DIFFER in result.err) == (part == "denoiser")
    assert result.err.count("\n") == 1 and not (tmp_path / "run").exists()


def test_masks_are_sharpened_only_by_their_own_stems(run, config: Path, parts: dict, tmp_path):
    say(parts["refiner"], stems=OTHER_ORDER)
    options = ["--refiner", parts["refiner"], "--run", tmp_path / "run"]
    result = run("train", "sharpener", config, *options)
    assert result.code == 2 and f"the refiner was {STEMS_DIFFER}" in result.err


def test_mask_networks_of_four_stems_go_on_with_a_fifth(
    run, config: Path, data: Path, parts: dict, tmp_path: Path
):
    songs = [json.loads(line) for line in (data / "manifest.jsonl").read_text().splitlines()]
    songs[0] |= {"stems": [*ORDER, "other"], "files": {"other": ["piano.flac"]}}
    lines = [json.dumps(song | {"path": str(data / song["path"])}) for song in songs]
    (tmp_path / "songs.jsonl").write_text("\n".join(lines))
    change(config, None, stems=[*ORDER, "other"], data=[str(tmp_path / "songs.jsonl")])
    change(config, None, mixing={"stem_drop_probability": {"other": 0.4}})
    refiner = tmp_path / "refiner" / "export"
    for part, options in {"refiner": [], "sharpener": ["--refiner", refiner]}.items():
        folders = ["--run", tmp_path / part, "--init", parts[part]]
        result = run("train", part, config, *folders, *options)
        assert result.code == 0, result.err
        assert load_component(part, tmp_path / part / "export").config.num_stems == 5
        parts[part] = tmp_path / part / "export"
    change(config, None, stems=ORDER, mixing={})
    assert assemble(run, config, tmp_path / "model", parts).code == 0
    model = load_model(str(tmp_path / "model"))
    assert (list(model.stems), list(model.separated_stems)) == (ORDER, [*ORDER, "other"])
    assert "separates other, too" in (tmp_path / "model" / "README.md").read_text()
    settings = yaml.safe_load(config.read_text())
    del settings["stems"]  # the model says which
    config.write_text(yaml.safe_dump(settings))
    for part in ("refiner", "sharpener"):
        train(run, part, config, tmp_path / f"{part}_2", "--init", tmp_path / "model")
        assert load_component(part, tmp_path / f"{part}_2" / "export").config.num_stems == 5
    change(config, None, mixing={"stem_drop_probability": {"voice": 0.4}})
    result = run("train", "refiner", config, "--run", tmp_path / "run")
    assert result.code == 2 and "stem_drop_probability has voice" in result.err


def listing(folder: Path) -> dict[str, int]:
    paths = (path for path in folder.rglob("*") if path.name != "lock")
    return {str(path): path.stat().st_mtime_ns for path in paths}


def test_a_run_that_goes_on(run, config: Path, parts: dict, tmp_path: Path):
    folder = tmp_path / "run"
    change(config, "denoiser", examples=0, validate_every_steps=100)
    train(run, "denoiser", config, folder, "--vae", parts["vae"])
    command = ["train", "denoiser", config, "--run", folder, "--vae", parts["vae"]]
    before = listing(folder)
    done = run(*command)
    assert done.code == 0 and "already at 2 of 2 steps" in done.out
    assert listing(folder) == before
    started = run(*command, "--init", parts["denoiser"])
    assert started.code == 2 and "goes on from its own checkpoint" in started.err

    plain = yaml.safe_load(config.read_text())
    scheduler = {**plain["denoiser"]["scheduler"], "prediction_type": "epsilon"}
    for section, settings, message in (
        (None, {"stems": OTHER_ORDER}, "stems bass, drums, guitar, piano → drums, bass"),
        ("denoiser", {"scheduler": scheduler}, "prediction_type v_prediction → epsilon"),
        (
            "denoiser",
            {"model": {**plain["denoiser"]["model"], "embedding_channels": 32}},
            "denoiser.model.embedding_channels 16 → 32",
        ),
        ("log_mel", {"f_max": 7000.0}, "vae was trained on log-mels of f_max 8000.0, not 7000.0"),
    ):
        change(config, section, **settings)
        refused = run(*command)
        assert refused.code == 2 and message in refused.err, refused.err
        assert "does not fit the settings" in refused.err or section == "log_mel"
        assert refused.err.count("\n") == 1 and listing(folder) == before
        config.write_text(yaml.safe_dump(plain))

    other = write_parts(config, tmp_path / "other")["vae"]
    torch.nn.init.normal_((vae := load_component("vae", other)).encoder[0].weight)
    vae.config[TRAINED].pop("weights")
    vae.save_pretrained(other)
    refused = run("train", "denoiser", config, "--run", folder, "--vae", other)
    assert refused.code == 2 and "another autoencoder" in refused.err

    change(config, "denoiser", steps=3, batch_size=1)
    again = run(*command)
    assert again.code == 0 and "resuming at step 2" in again.out, again.err
    assert "denoiser.batch_size 2 → 1" in again.out and "denoiser.steps 2 → 3" in again.out
    (line,) = [line for line in again.out.splitlines() if line.startswith("resuming")]
    assert "vocoder" not in line


def test_a_models_denoiser_stays_with_its_autoencoder(run, config: Path, parts: dict, tmp_path):
    model, other = tmp_path / "model", write_parts(config, tmp_path / "other")["vae"]
    assert assemble(run, config, model, parts).code == 0
    torch.nn.init.normal_((vae := load_component("vae", other)).encoder[0].weight)
    vae.config[TRAINED].pop("weights")
    vae.save_pretrained(other)
    settings = tmp_path / "further.yaml"
    content = yaml.safe_load(config.read_text())
    kept = {"data": content["data"], "cache": content["cache"]}
    settings.write_text(yaml.safe_dump({**kept, "finetune": {"model": str(model)}}))
    for command in (
        ("train", "denoiser", settings, "--run", tmp_path / "run", "--vae", other),
        ("assemble", settings, tmp_path / "mixed", "--vae", other),
    ):
        refused = run(*command)
        assert refused.code == 2 and "its own autoencoder: leave --vae out" in refused.err
    assert run("assemble", settings, tmp_path / "same", "--vae", model / "vae").code == 0
    assert (
        json.loads((tmp_path / "same" / "denoiser" / "config.json").read_text())[TRAINED]
        == (json.loads((parts["denoiser"] / "config.json").read_text())[TRAINED])
    )


def test_a_sharpener_goes_on_with_its_refiner(run, config: Path, parts: dict, tmp_path: Path):
    change(config, "sharpener", validate_every_steps=100)
    command = ["train", "sharpener", config, "--run", tmp_path / "run", "--refiner"]
    assert run(*command, parts["refiner"]).code == 0
    refiner = load_component("refiner", parts["refiner"])
    torch.nn.init.normal_(next(refiner.parameters()))
    refiner.save_pretrained(tmp_path / "refiner")
    refused = run(*command, tmp_path / "refiner")
    assert refused.code == 2 and "(another refiner)" in refused.err
