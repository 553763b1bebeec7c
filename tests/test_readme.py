"""The README: its commands and its Python run as written; its table is the committed scores."""

import re
import shlex
from pathlib import Path

import pytest

from benchmarks.documents import renew
from stemweave.checkpoints.model_folder import BUNDLED_MODEL
from stemweave.errors import InputError
from tests.scripts import script

as_markdown = script("scores_table").as_markdown
ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
STEMS = ("bass", "drums", "guitar", "piano")
OTHER = "other"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_commands(run, here: Path):
    commands = [
        shlex.split(line, comments=True)
        for block in blocks("sh")
        for line in block.splitlines()
        if line.startswith("stemweave ")
    ]
    assert len(commands) == 4
    for _, *arguments in commands:
        drawn = arguments[0] in ("generate", "arrange")
        result = run(*arguments, *(["--steps", "2"] if drawn else []))
        assert result.code == 0, result.err
    for folder, names in (
        ("separated/mixture", STEMS),
        ("new/1", (*STEMS, "mixture")),
        ("arranged", ("bass", "drums", "guitar", "mixture")),
    ):
        written = {path.stem for path in (here / "out" / folder).glob("*.wav")}
        assert written - {OTHER} == set(names), folder
    assert (here / "out" / "new" / "new-0.zip").exists()


def test_python(here: Path):
    (code,) = blocks("python")
    names: dict = {}
    exec(code, names)
    mixture = names["mixture"].T
    assert set(names["stems"]) == {*STEMS, OTHER}
    total = sum(names["stems"].values()).numpy()
    assert abs(total - mixture).max() < 1e-5
    assert names["piece"]["mixture"].shape == (2, 451_584)
    assert names["arranged"]["piano"].shape == mixture.shape


def test_the_table_is_what_the_scores_say():
    (table,) = re.findall(r"<!-- scores -->\n(.*?)\n<!-- /scores -->", README, re.DOTALL)
    assert table == as_markdown(ROOT / "docs" / "scores")


def test_the_table_is_renewed_in_its_place(tmp_path: Path):
    document = tmp_path / "README.md"
    document.write_text("a\n<!-- scores -->\n| old |\n<!-- /scores -->\nb\n")
    renew(document, "scores", "| new |\n| newer |")
    assert document.read_text() == "a\n<!-- scores -->\n| new |\n| newer |\n<!-- /scores -->\nb\n"
    document.write_text("no marks")
    with pytest.raises(InputError, match=r"README\.md"):
        renew(document, "scores", "| new |")
    assert document.read_text() == "no marks"


def test_every_path_exists():
    for path in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / path).exists(), path
    make_targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`?make (\w+)", README)) <= make_targets


def test_the_bundled_model_is_small():
    size = sum(path.stat().st_size for path in BUNDLED_MODEL.rglob("*") if path.is_file())
    assert 1e6 < size < 60e6
