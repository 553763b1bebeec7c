"""What checkpoints may hold beside weights, and what is refused, in one sentence each."""

import argparse
import os
import pickle
import subprocess
import tarfile
from collections import OrderedDict, defaultdict
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from stemweave.checkpoints import importer
from stemweave.checkpoints.reading import read_weights
from stemweave.diffusion.schedulers import sampler_name
from stemweave.errors import InputError
from stemweave.model import StemModel, TaskSettings
from tests.parity import reference as ref

from .checkpoint_files import UNET, Node, classes_of, msgld_checkpoint


@pytest.fixture(scope="module")
def checkpoint() -> dict[str, Any]:
    return msgld_checkpoint()


def imported(tmp_path: Path, state: dict, **more: Any) -> StemModel:
    path = tmp_path / "some.ckpt"
    torch.save({"state_dict": state, **more}, path)
    return importer.import_checkpoint(str(path))


def test_lightnings_own_objects_are_ignored(tmp_path: Path):
    weight = torch.randn(2, 3)
    namespace = argparse.Namespace(lr=3e-5, layers=[1, 2], nested=argparse.Namespace(a=None))
    omegaconf = ("omegaconf.base", "ContainerMetadata", Node), (
        "omegaconf.dictconfig", "DictConfig", Node), ("omegaconf.listconfig", "ListConfig", Node), (
        "omegaconf.nodes", "AnyNode", Node)  # fmt: skip
    lightning = (
        ("pytorch_lightning.utilities.parsing", "AttributeDict", dict),
        ("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint", object),
        ("lightning.fabric.utilities.data", "AttributeDict", OrderedDict),
    )
    with classes_of(*omegaconf, *lightning) as kinds:
        metadata = kinds["ContainerMetadata"](ref_type=Any, element_type=dict)
        config = kinds["DictConfig"](
            _metadata=metadata, _content={"rate": kinds["AnyNode"](value=1)}
        )
        attributes = kinds["AttributeDict"]({"lr": np.float64(3e-5), "config": config})
        state = OrderedDict(weight=weight, half=torch.nn.Parameter(weight.half()))
        state._metadata = {"": {"version": 1}}
        content = {
            "state_dict": state,
            "callbacks": {kinds["ModelCheckpoint"]: {"best": np.float32(0.1), "seen": {1, 2}}},
            "hyper_parameters": attributes,
            "hparams": namespace,
            "loops": kinds["ListConfig"](_content=[np.arange(3), np.array(["a"]), {3}]),
            "optimizer_states": [{"state": defaultdict(dict, {0: {"step": 5}})}],
            "path": Path("/tmp/somewhere"),
            "device": torch.device("cpu"),
            "kind": torch.float16,
            "counts": np.bincount([1, 2]),
        }
        for name, legacy in (("new.ckpt", False), ("old.ckpt", True)):
            torch.save(content, tmp_path / name, _use_new_zipfile_serialization=not legacy)
    for name in ("new.ckpt", "old.ckpt"):
        found = read_weights(tmp_path / name)
        assert found.keys() == {"weight", "half"}
        assert torch.equal(found["weight"], weight)
        assert torch.equal(found["half"], weight.half().float())


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple:
        return self.function, self.arguments


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "payload",
    [
        lambda mark: Calls(os.system, f"touch {mark}"),
        lambda mark: Calls(exec, f"open({str(mark)!r}, 'w')"),
        lambda mark: Calls(subprocess.Popen, ["touch", str(mark)]),
        lambda mark: Calls(open, str(mark), "w"),
        lambda mark: Calls(getattr, "text", "upper"),
        lambda mark: Calls(torch.hub.load, "a/b", "c"),
        lambda mark: partial(print, "executed"),
        lambda mark: Calls(np.save, str(mark), 3),
        lambda mark: torch.nn.Linear(1, 1),
        lambda mark: argparse.FileType("r"),
    ],
)
def test_nothing_in_a_file_is_executed(tmp_path: Path, payload, legacy: bool, capsys):
    mark, path = tmp_path / "mark", tmp_path / "bad.ckpt"
    content = {"state_dict": {"weight": torch.zeros(2)}, "hook": payload(mark)}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(InputError, match=r"plain weights: it holds .*, of which nothing is made"):
        read_weights(path)
    assert not mark.exists() and not capsys.readouterr().out


def test_a_file_cannot_change_what_makes_tensors(tmp_path: Path):
    """BUILD sets attributes of whatever a file names: of nothing that lasts."""

    def build(module: str, name: str, state: dict) -> bytes:
        text = pickle.dumps(state, 2)[2:-1]
        return b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"N" + text + b"\x86b."

    for module, name in (
        ("torch._utils", "_rebuild_tensor_v2"), ("collections", "OrderedDict"),
        ("torch", "Size"), ("argparse", "Namespace"),
    ):  # fmt: skip
        (tmp_path / "bad.ckpt").write_bytes(build(module, name, {"__doc__": "changed", "x": 3}))
        with pytest.raises(InputError):
            read_weights(tmp_path / "bad.ckpt")
    assert torch._utils._rebuild_tensor_v2.__doc__ != "changed"
    assert argparse.Namespace.__doc__ != "changed" and not hasattr(argparse.Namespace, "x")


def test_other_kinds_of_files(tmp_path: Path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), tmp_path / "script.ckpt")
    with tarfile.open(tmp_path / "tar.ckpt", "w") as archive:
        archive.add(tmp_path / "script.ckpt", "storages")
    torch.save(msgld_checkpoint(False), tmp_path / "whole.ckpt")
    whole = (tmp_path / "whole.ckpt").read_bytes()
    huge = torch.zeros(1, dtype=torch.float16).expand(10**6, 10**7)
    torch.save({"state_dict": {"weight": huge}}, tmp_path / "huge.ckpt")
    (tmp_path / "cut.ckpt").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.ckpt").write_text("text")
    (tmp_path / "empty.ckpt").write_bytes(b"")
    (tmp_path / "pickle.ckpt").write_bytes(pickle.dumps({"a": 3}))
    for name, message in (
        ("script", "a TorchScript program"), ("tar", "an archive of files"), ("cut", "damaged"),
        ("text", "damaged"), ("empty", "damaged"), ("pickle", "damaged"),
        ("none", "does not exist"), ("huge", "larger than what the file holds"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message) as caught:
            read_weights(tmp_path / f"{name}.ckpt")
        said = str(caught.value)
        assert said.isprintable() and "weights_only" not in said and "trust" not in said


def test_names_from_a_file_are_printable(tmp_path: Path):
    torch.save({"state_dict": {3: torch.zeros(1)}}, tmp_path / "numbers.ckpt")
    with pytest.raises(InputError, match="named 3, not by a text"):
        read_weights(tmp_path / "numbers.ckpt")
    hidden = {UNET + "\033[31mred" + "x" * 500: torch.zeros(1)}
    state = msgld_checkpoint()["state_dict"]
    with pytest.raises(InputError, match=r"average lacks 1 weights, e\.g\. model\.") as caught:
        imported(tmp_path, state | hidden)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 250


def test_a_running_average_alone(tmp_path: Path, checkpoint: dict):
    state = {k: t for k, t in checkpoint["state_dict"].items() if not k.startswith(UNET)}
    pipe = imported(tmp_path, state)
    with torch.no_grad():
        ours = pipe.denoiser(
            ref.reference_input("unet.z"),
            torch.tensor(ref.SPEC["unet"]["timesteps"]),
            ref.reference_input("unet.mixture")[:, 0],
        )
    ref.assert_close(ours, "unet.conditional")
    for name, message in (
        ("model_ema.diffusion_modelhead0weight", "1 weights that no U-Net has"),
        ("model_ema.other", "1 weights that no U-Net has"),
    ):
        with pytest.raises(InputError, match=message):
            imported(tmp_path, {**state, name: torch.zeros(1)})


def test_every_published_name_is_found_again_without_its_dots():
    from stemweave.checkpoints.weights import with_dots

    for keys in (ref.SPEC["unet"]["keys"], ref.SPEC["unet_paper_keys"]):
        flat = {name.replace(".", ""): name for name in keys}
        assert len(flat) == len(keys) and with_dots(flat) == flat


def test_names_of_networks_that_were_wrapped(tmp_path: Path, checkpoint: dict):
    state = {"module._orig_mod." + name: t for name, t in checkpoint["state_dict"].items()}
    torch.save({"state_dict": state}, tmp_path / "wrapped.ckpt")
    assert read_weights(tmp_path / "wrapped.ckpt").keys() == checkpoint["state_dict"].keys()


FIRST, VAE, VOCODER = (
    "input_blocks.0.0.weight", "first_stage_model.", "first_stage_model.vocoder.",
)  # fmt: skip
NOT_A_NUMBER = torch.full((32,), float("nan"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale_factor": None}, "has no scale_factor"),
        ({"ema:" + FIRST: None}, r"the checkpoint has no U-Net \(model"),
        ({"model_ema.diffusion_modelout2bias": None}, "running average lacks 1 weights"),
        ({"scale_factor": torch.tensor(0.0)}, "scale_factor must be one number above 0, not 0"),
        ({"scale_factor": torch.tensor(float("nan"))}, "scale_factor must be one number"),
        ({"scale_factor": torch.tensor(float("inf"))}, "scale_factor must be one number"),
        ({"scale_factor": torch.tensor([0.7, 0.7])}, "scale_factor must be one number"),
        ({"betas": torch.zeros(1000)}, "betas are no noise schedule"),
        ({"betas": torch.full((1000,), float("nan"))}, "betas are no noise schedule"),
        ({"betas": torch.tensor(0.1)}, "betas are no noise schedule"),
        ({"ema:" + FIRST: torch.zeros(32)}, "the U-Net has another shape of 1 weights"),
        ({"ema:" + FIRST: torch.zeros(32, 5, 3, 3, 3)}, "has 5 stems; name them all"),
        ({"ema:" + FIRST: torch.zeros(3, 4, 3, 3, 3)}, "the U-Net"),
        ({"ema:out.0.bias": NOT_A_NUMBER}, "the U-Net has NaN or infinite weights, e.g. in out.0"),
        ({VAE + "quant_conv.weight": None}, "the VAE lacks"),
        ({VAE + "post_quant_conv.weight": None}, "the VAE lacks"),
        ({VAE + "encoder.conv_in.weight": torch.zeros(3)}, "the VAE"),
        ({VAE + "encoder.mid.attn_1.q.weight": None}, "the VAE lacks"),
        ({VAE + "encoder.down.1.downsample.conv.bias": None}, "the VAE lacks 1 weights"),
        ({VAE + "encoder.other.weight": torch.zeros(3)}, "the VAE has 1 weights that"),
        ({VAE + "encoder.norm_out.bias": NOT_A_NUMBER[:16]}, "the VAE has"),
        ({VOCODER + "conv_pre.weight": None}, "the vocoder"),
        ({VOCODER + "ups.0.weight": torch.zeros(3)}, "the vocoder has another shape"),
        ({VOCODER + "conv_post.bias": NOT_A_NUMBER[:1]}, "the vocoder has NaN or infinite"),
    ],
)
def test_damaged_checkpoints(
    tmp_path: Path, checkpoint: dict, change: dict[str, torch.Tensor | None], message: str
):
    state = dict(checkpoint["state_dict"])
    for key, tensor in change.items():
        names = [key]
        if key.startswith("ema:"):
            plain = key.removeprefix("ema:")
            names = [UNET + plain, "model_ema.diffusion_model" + plain.replace(".", "")]
        for name in names:
            if tensor is None:
                del state[name]
            else:
                state[name] = tensor
    with pytest.raises(InputError, match=message):
        imported(tmp_path, state)


def test_a_schedule_of_its_own_is_taken(tmp_path: Path, checkpoint: dict):
    betas = torch.linspace(0.001, 0.02, 500)
    state = {**checkpoint["state_dict"], "betas": betas}
    pipe = imported(tmp_path, state)
    pipe.save_pretrained(tmp_path / "model")
    scheduler = DDIMScheduler.from_pretrained(tmp_path / "model" / "scheduler")
    assert torch.allclose(scheduler.alphas_cumprod, torch.cumprod(1 - betas, 0))
    assert scheduler.config.num_train_timesteps == 500


def test_an_imported_model_has_its_own_defaults(tmp_path: Path, checkpoint: dict):
    pipe = imported(tmp_path, checkpoint["state_dict"])
    pipe.save_pretrained(tmp_path / "model")
    pipe = StemModel.from_pretrained(tmp_path / "model")
    expected = {**asdict(TaskSettings()), **importer.PAPER_SAMPLING}
    assert {name: getattr(pipe.config, name) for name in expected} == expected
    assert expected["timestep_shift"] == expected["arrangement_guidance"] == 1
    assert expected["noise_offset"] == 0 and expected["generation_steps"] == 200
    assert sampler_name(pipe.scheduler) == "ddim"
    stored = {key: pipe.scheduler.config[key] for key in importer.PAPER_SCHEDULE}
    assert stored == importer.PAPER_SCHEDULE
    assert pipe.refiner is None and pipe.sharpener is None
    assert pipe.denoiser.config.latent_channels == pipe.vae.config.latent_channels
    with pytest.raises(InputError, match="understands no tempo"):
        pipe.generate(1.0, tempo_bpm=120)
