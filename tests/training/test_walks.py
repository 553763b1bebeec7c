"""The walks of training.md and extend.md are walked, by tiny settings."""

import re
import shlex
import shutil
import sys
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import soundfile
import yaml

from stemweave.errors import InputError
from stemweave.io.own_code import TRUSTED, imported
from stemweave.model import StemModel
from tests.checkpoints.local_hub import LocalHub
from tests.training.conftest import STEMS

DOCS = Path(__file__).parent.parent.parent / "docs"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def walk(run, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write the files of a page, run its commands and its programs; what the commands said.

    The tiny settings lie where the page extends the bundled ones.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("configs").mkdir()
    tiny = yaml.safe_load(config.read_text())
    for part in ("vae", "denoiser", "refiner", "vocoder"):
        tiny[part]["examples"] = 0
    tiny["sampling"] = {"generation_steps": 1, "separation_steps": 1}
    Path("configs/bundled.yaml").write_text(yaml.safe_dump(tiny))

    def follow(text: str) -> str:
        said = []
        for language, code in BLOCK.findall(text):
            name = re.match(r"# (\S+\.(?:py|yaml))\n", code)
            if name:
                Path(name[1]).write_text(code)
            elif language == "python":
                exec(compile(code, "page", "exec"), {})
            for line in code.replace("\\\n", " ").splitlines() if language == "sh" else ():
                words = shlex.split(line, comments=True)
                while words and "=" in words[0]:
                    monkeypatch.setenv(*words.pop(0).split("="))
                outcome = run(*words[1:])
                assert outcome.code == 0, f"{line}: {outcome.err}"
                said.append(outcome.out)
        return "\n".join(said)

    return follow


def noise(path: Path, seed: int, seconds: float = 4.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * 16000))
    soundfile.write(path, samples, 16000)


def test_extending(walk, run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    noise(tmp_path / "song.wav", 0, 2.0)
    for number, stem in enumerate(STEMS):
        for name in ("a", "b", "c"):
            noise(tmp_path / "flat" / f"{name}_{stem}.wav", number)
    said = walk((DOCS / "extend.md").read_text())
    assert "1,000 steps: " in said
    table = (tmp_path / "out" / "own" / "table.md").read_text()
    assert "## level_error_db: difference to own_measures:equal_shares, paired" in table
    assert StemModel.from_pretrained("models/own").denoiser.config.width == 48
    told = imported("own_mood:MoodNet").from_pretrained("runs/denoiser/export")
    assert told.shift.abs().sum() > 0  # it has heard of the mood
    monkeypatch.delenv(TRUSTED)
    monkeypatch.delitem(sys.modules, "own_net")
    with pytest.raises(InputError, match="import own_net before it is loaded"):
        StemModel.from_pretrained("models/own")
    for kind, message in (
        ("own_net:Absent", "the module own_net has no Absent"),
        ("absent:Net", "absent:Net cannot be imported"),
        ("own_layout:songs", "denoiser.kind own_layout:songs is no stemweave.models.part.Part"),
        ("paper", "kind must be compact, unet3d or package.module:Class"),
    ):
        refused = run("train", "denoiser", "own.yaml", "--set", f"denoiser.kind={kind}")
        assert refused.code == 2 and message in refused.err and refused.err.count("\n") == 1


def test_from_a_messy_folder_to_a_published_model(
    walk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    messy = tmp_path / "messy"
    for number, stem in enumerate(STEMS):
        for split, name in (("train", "One"), ("train", "Two"), ("validation", "Three")):
            noise(messy / split / name / f"{stem}.WAV", number)
    noise(messy / "train" / "Short" / "bass.wav", 0, 0.1)
    soundfile.write(messy / "train" / "Two" / "drums.wav", np.full(64_000, np.nan), 16000, "FLOAT")
    shutil.move(messy / "train" / "One", tmp_path / "elsewhere")
    (messy / "train" / "One").symlink_to(tmp_path / "elsewhere")
    (messy / "song.json").write_text("stray")
    monkeypatch.setattr(LocalHub, "folder", tmp_path / "hub")
    monkeypatch.setattr(huggingface_hub, "HfApi", LocalHub)
    page = (DOCS / "training.md").read_text()
    said = walk(page[page.index("## A walk") : page.index("## Music")])
    assert "(NaN or infinite)" in said and "too short" in said and "GiB a process" in said
    published = StemModel.from_pretrained(
        "you/mine", cache_dir=tmp_path / "hub", local_files_only=True
    )
    assert published.stems == STEMS and published.has_mask_network
    (card,) = (tmp_path / "hub").rglob("README.md")
    assert "A Stemweave model of" in card.read_text()
