"""docs/tasks.md and docs/formats.md: their code runs as written, here with a tiny model."""

import re
import shlex
from pathlib import Path

import torch

from stemweave.stems import STEMS

ROOT = Path(__file__).parent.parent
TASKS = (ROOT / "docs" / "tasks.md").read_text()
FORMATS = (ROOT / "docs" / "formats.md").read_text()


def blocks(language: str, text: str = TASKS) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_commands(run, here: Path, tiny_model: Path):
    commands = [shlex.split(line) for block in blocks("sh") for line in block.splitlines()]
    tasks = ["generate", "arrange", "edit", "edit", "extend", "vary"]
    assert [command[1] for command in commands] == tasks
    for _, *arguments in commands:
        result = run(*arguments, "--model", tiny_model, "--steps", 1)
        assert result.code == 0, result.err
        written = {path.stem for path in (here / result.out.splitlines()[-1]).glob("*.wav")}
        assert written == {*STEMS, "mixture"}


def test_python(here: Path, tiny_model: Path):
    (code,) = blocks("python")
    names: dict = {}
    exec(code.replace("from_pretrained()", f"from_pretrained({str(tiny_model)!r})"), names)
    piece, rate = names["piece"], names["sample_rate"]
    assert torch.equal(names["edited"]["drums"][:, 4 * rate :], piece["drums"][:, 4 * rate :])
    assert names["extended"]["mixture"].shape == (2, 400_000 + 3 * rate)
    assert names["varied"]["piano"].shape == piece["piano"].shape
    assert torch.equal(names["edited_song"]["mixture"][:, :rate], names["mixture"][:, :rate])


def test_commands_of_formats(run, here: Path, tiny_model: Path):
    (block,) = blocks("sh", FORMATS)
    for _, *arguments in map(shlex.split, block.splitlines()):
        assert run(*arguments, "--model", tiny_model).code == 0
    written = {str(path.relative_to(here / "out")) for path in here.glob("out/*/*/*.*")}
    records = {f"{name}/mixture/separation.json" for name in ("m4a", "flac", "backing")}
    stems = {f"{fmt}/mixture/{stem}.{fmt}" for fmt in ("m4a", "flac") for stem in STEMS}
    assert written == {*stems, *records, "backing/mixture/without_drums.mp3"}
