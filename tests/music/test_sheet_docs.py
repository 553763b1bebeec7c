"""docs/sheet-and-score.md: its sheet, its Python and its lists are what the code has."""

import re
import shlex
from pathlib import Path

import pytest

from stemweave.music.instruments import INSTRUMENTS
from stemweave.music.lead_sheet import LeadSheet
from stemweave.music.midi import write_midi
from stemweave.music.score import Score, ScoreNote
from stemweave.music.styles import STYLES
from tests.cli.test_main import write_noise
from tests.tasks.test_conditioning import make_conditioned_pipeline

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "sheet-and-score.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def block(language: str, number: int = 0) -> str:
    return blocks(language)[number]


def test_the_sheet_that_is_shown():
    sheet = LeadSheet.from_json(block("json"))
    assert sheet.to_json() == block("json")


def test_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(block("python", 1), names)
    assert names["sheet"].chord_at(8.0).symbol == "G/B"
    assert len(names["score"].notes["bass"]) == 4
    assert LeadSheet.from_json((tmp_path / "sheet.json").read_text()) == names["sheet"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that understands sheets and scores."""
    folder = tmp_path_factory.mktemp("model")
    make_conditioned_pipeline().save_pretrained(folder)
    return folder


def test_commands_and_python_of_a_model(
    run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    sheet = LeadSheet.from_text("C", 240, "4/4")
    write_midi(Path("song.mid"), Score({"bass": (ScoreNote(0, 1, 40, 90),)}), sheet)
    Path("other.json").write_text(LeadSheet(style="jazz").to_json())
    write_noise(Path("guitar.wav"))
    commands = block("sh").replace("\\\n", " ").replace("--seconds 30", "--seconds 1")
    commands = commands.replace("-n 4", "").replace("--seconds 20", "--seconds 1")
    for line in commands.splitlines():
        _, *arguments = shlex.split(line, comments=True)
        result = run(*arguments, "--model", model, "--steps", 1)
        assert result.code == 0, result.err
    assert Path("longer/sheet.json").exists() and Path("played/0/score.mid").exists()
    code = block("python").replace("runs/model", str(model)).replace("30.0", "1.0")
    names: dict = {}
    exec(code, names)
    assert names["piece"]["mixture"].shape == (1, 16000)


def test_lists_are_complete():
    styles = re.search(r"\*\*Styles\*\*: (.*?)\.\n", PAGE, re.DOTALL)[1]
    assert re.split(r",\s+", styles) == list(STYLES)
    for stem, classes in INSTRUMENTS.items():
        assert f"| {stem} | {', '.join(classes)} |" in PAGE
