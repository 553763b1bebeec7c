"""Sheets and scores on the command line: what is taken, drawn, kept beside the stems, refused."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from stemweave.cli.sheets import SheetOptions
from stemweave.model import StemModel
from stemweave.music.folder import read_music
from stemweave.music.lead_sheet import LeadSheet, read_sheet
from stemweave.music.midi import read_midi, write_midi
from stemweave.music.score import Score, ScoreNote
from stemweave.tasks import transcribe
from tests.cli.test_main import write_noise
from tests.tasks.test_conditioning import make_conditioned_pipeline, make_writing_pipeline

SHEET = LeadSheet.from_text("Am | F", 120, "4/4", "A minor", "jazz", {"guitar": "nylon"})
SCORE = Score({"drums": tuple(ScoreNote(beat, beat + 0.25, 36, 90) for beat in range(4))})


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("conditioned")
    make_conditioned_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def writing_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``model`` with a score model."""
    folder = tmp_path_factory.mktemp("writing")
    make_writing_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    paths = {"sheet": tmp_path / "own.json", "score": tmp_path / "own.mid"}
    paths["sheet"].write_text(SHEET.to_json())
    write_midi(paths["score"], SCORE, LeadSheet.from_text("C", 100, "4/4"))
    return paths


def test_notes_that_are_not_given_are_written_and_played(run, writing_model, files, tmp_path):
    def generated(name: str, *options: object) -> Path:
        made = run(
            "generate", "-o", tmp_path / name, "--seconds", 1, "--model", writing_model, *options
        )
        assert made.code == 0, made.err
        return tmp_path / name

    folder = generated("a", "-n", 2)
    first, other = (read_midi(folder / index / "score.mid")[0] for index in "01")
    assert set(first.notes) == {"bass", "drums", "guitar", "piano"} and first != other
    assert all(first.notes.values())
    again = generated("b")
    assert read_midi(again / "0" / "score.mid")[0] == first
    samples = [soundfile.read(one / "0" / "mixture.wav")[0] for one in (folder, again)]
    assert (samples[0] == samples[1]).all()
    free = generated("c", "--no-score") / "0"
    assert (free / "sheet.json").exists() and not (free / "score.mid").exists()
    assert (soundfile.read(free / "mixture.wav")[0] != samples[0]).any()
    assert not (generated("d", "--unconditional") / "0" / "sheet.json").exists()
    given = generated("e", "--score", files["score"]) / "0" / "score.mid"
    played = read_midi(given)[0].notes
    assert played["drums"] == SCORE.notes["drums"] and all(map(played.get, ("bass", "piano")))


def test_pieces_keep_their_notes_but_where_they_are_new(run, writing_model, tmp_path):
    model = ("--model", writing_model)
    first = tmp_path / "piece"
    asked = ("--seconds", 4, "--tempo", 120, "--metre", "4/4")
    assert run("generate", "-o", first, *asked, *model).code == 0
    piece = first / "0"
    notes = read_midi(piece / "score.mid")[0].notes

    def result(name: str, *command: object) -> dict[str, tuple[ScoreNote, ...]]:
        made = run(*command, "-o", tmp_path / name, *model)
        assert made.code == 0, made.err
        return dict(read_midi(tmp_path / name / "score.mid")[0].notes)

    new_bar = ("--stems", "bass", "--start", 2, "--end", 4)  # the second of two bars
    edited = result("edited", "edit", piece, *new_bar)
    before, after = (
        {stem: [note for note in own if note.start_beat < 4] for stem, own in one.items()}
        for one in (notes, edited)
    )
    assert before == after and edited["bass"] != notes["bass"]
    assert {**edited, "bass": ()} == {**notes, "bass": ()}
    longer = result("longer", "extend", piece, "--seconds", 2)
    for stem, own in longer.items():
        begun = [(note.start_beat, note.pitch) for note in own]
        assert begun[: len(notes[stem])] == [(one.start_beat, one.pitch) for one in notes[stem]]
        assert all(start >= 8 for start, _ in begun[len(notes[stem]) :])
        assert len(begun) > len(notes[stem])
    arranged = result("arranged", "arrange", "--given", f"bass={piece / 'bass.wav'}")
    assert arranged["bass"] == notes["bass"] and arranged["drums"] != notes["drums"]


def test_what_is_not_given_is_drawn_and_kept_beside_the_stems(run, model, tmp_path):
    asked = ["--seconds", 1, "--chords", "Am7 | F", "--tempo", 96, "--style", "rock"]
    first = run("generate", "-o", tmp_path / "a", "-n", 2, *asked, "--model", model)
    assert first.code == 0, first.err
    assert "96 bpm" in first.out and "Am7 F" in first.out
    sheets = [read_sheet(tmp_path / "a" / str(index) / "sheet.json") for index in range(2)]
    for sheet in sheets:
        assert sheet.tempo_bpm == 96 and sheet.style == "rock"
        assert sheet.beats_s is not None and sheet.beats_s[1] == pytest.approx(60 / 96)
        assert set(sheet.instruments) == {"bass", "drums", "guitar", "piano"}
    assert sheets[0].instruments != sheets[1].instruments
    assert not (tmp_path / "a" / "0" / "score.mid").exists()
    again = run("generate", "-o", tmp_path / "b", *asked, "--model", model)
    assert again.code == 0
    assert read_sheet(tmp_path / "b" / "0" / "sheet.json") == sheets[0]
    samples = [soundfile.read(tmp_path / name / "0" / "mixture.wav")[0] for name in "ab"]
    assert (samples[0] == samples[1]).all()


def test_a_score_is_played_for_as_long_as_it_is(run, model, files, tmp_path):
    out = tmp_path / "out"
    made = run("generate", "-o", out, "--score", files["score"], "--model", model)
    assert made.code == 0, made.err
    assert soundfile.info(out / "0" / "bass.wav").duration == pytest.approx(2.4)
    score, sheet = read_midi(out / "0" / "score.mid")
    assert score.notes == SCORE.notes and sheet.tempo_bpm == pytest.approx(100)
    faster = run(
        "generate",
        "-o",
        tmp_path / "f",
        "--score",
        files["score"],
        "--tempo",
        120,
        "--model",
        model,
    )
    assert faster.code == 0
    assert soundfile.info(tmp_path / "f" / "0" / "bass.wav").duration == pytest.approx(2.0)


def test_without_sheet_and_score_as_in_the_paper(run, model, tmp_path):
    out = tmp_path / "out"
    made = run("generate", "-o", out, "--unconditional", "--seconds", 1, "--model", model)
    assert made.code == 0, made.err
    assert not list(out.rglob("sheet.json"))
    both = run("generate", "-o", tmp_path / "b", "--unconditional", "--tempo", 90, "--model", model)
    assert both.code == 2 and "--unconditional takes no" in both.err


def test_the_next_task_reads_the_sheet_of_the_one_before(run, model, files, tmp_path):
    piece = tmp_path / "piece"
    options = ["--score", files["score"], "--sheet", files["sheet"], "--model", model]
    assert run("generate", "-o", piece, *options).code == 0
    before = read_sheet(piece / "0" / "sheet.json")
    assert before.key == "A minor" and before.tempo_bpm == 120
    extended = run("extend", piece / "0", "-o", tmp_path / "e", "--seconds", 3, "--model", model)
    assert extended.code == 0, extended.err
    after = read_sheet(tmp_path / "e" / "sheet.json")
    assert after.beats_s[: len(before.beats_s)] == before.beats_s
    assert after.duration_s >= before.duration_s and after.duration_s >= 5
    assert read_midi(tmp_path / "e" / "score.mid")[0].notes == SCORE.notes
    edited = run(
        "edit", piece / "0", "-o", tmp_path / "d", "--stems", "bass", "--end", 1, "--model", model
    )
    assert edited.code == 0, edited.err
    assert read_sheet(tmp_path / "d" / "sheet.json") == before
    assert not (tmp_path / "d" / "score.mid").exists()
    given = f"bass={piece / '0' / 'bass.wav'}"
    arranged = run("arrange", "-o", tmp_path / "r", "--given", given, "--model", model)
    assert arranged.code == 0, arranged.err
    assert read_sheet(tmp_path / "r" / "sheet.json") == before
    varied = run("vary", piece / "0", "-o", tmp_path / "v", "--unconditional", "--model", model)
    assert varied.code == 0 and not (tmp_path / "v" / "sheet.json").exists()
    refused = run("edit", piece / "0", "-o", tmp_path / "d", "--model", model)
    assert refused.code == 2 and "exists" in refused.err


def test_a_model_that_understands_no_sheets(run, tiny_model, files, tmp_path):
    asked = ["--sheet", files["sheet"], "--seconds", 1, "--model", tiny_model]
    refused = run("generate", "-o", tmp_path / "a", *asked)
    assert refused.code == 2 and "understands no sheet" in refused.err
    assert not (tmp_path / "a").exists()
    song = tmp_path / "song"
    song.mkdir()
    write_noise(song / "bass.wav")
    (song / "sheet.json").write_text(SHEET.to_json())
    varied = run("vary", song, "-o", tmp_path / "v", "--model", tiny_model)
    assert varied.code == 0, varied.err
    assert read_sheet(tmp_path / "v" / "sheet.json") == SHEET


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--chords", "Am | H7"], "H7"),
        (["--metre", "4"], "not a metre"),
        (["--style", "polkacore"], "not a style"),
        (["--instruments", "guitar"], "--instruments takes STEM=KIND"),
        (["--instruments", "guitar=tuba"], "not a kind of guitar"),
        (["--tempo", "0"], "tempo"),
        (["--sheet", "none.json"], "none.json"),
        (["--score", "none.mid"], "none.mid"),
    ],
)
def test_what_cannot_be_understood_is_one_sentence(run, model, tmp_path, options, message):
    result = run("generate", "-o", tmp_path / "out", *options, "--model", model)
    assert result.code == 2 and message in result.err and result.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_what_is_written_counts_for_more_than_files(files):
    sheet, score = SheetOptions(**files, key="C major", chords="Dm | G | C").read()
    assert sheet is not None and score is not None
    assert sheet.key == "C major" and sheet.style == "jazz" and sheet.tempo_bpm == 120
    starts = [(change.start_beat, change.chord.symbol) for change in sheet.chords]
    assert starts == [(0, "Dm"), (4, "G")]  # the sheet has two bars
    waltz, _ = SheetOptions(sheet=files["sheet"], metre="3/4").read()
    assert waltz is not None and waltz.metre == "3/4" and waltz.downbeats == (0, 3, 6)
    mine, _ = SheetOptions(sheet=files["score"], tempo=60).read()
    assert mine is not None and mine.beats_s[1] == 1.0


def test_what_is_found_in_a_recording_is_taken_unless_it_is_given(
    run, writing_model, files, tmp_path, monkeypatch
):
    found = LeadSheet.from_text("Dm | G", 90, "3/4", duration_s=2.0)
    monkeypatch.setattr(StemModel, "analyses", True)
    monkeypatch.setattr(StemModel, "analyse", lambda self, waveform, rate: found)
    write_noise(tmp_path / "bass.wav")
    given = ("arrange", "--given", f"bass={tmp_path / 'bass.wav'}", "--model", writing_model)
    arranged = run(*given, "-o", tmp_path / "a", "--style", "rock")
    assert arranged.code == 0 and "90 bpm, 3/4" in arranged.out, arranged.err
    sheet = read_sheet(tmp_path / "a" / "sheet.json")
    assert (sheet.metre, sheet.style) == ("3/4", "rock") and sheet.beats_s[:2] == found.beats_s[:2]
    assert set(read_midi(tmp_path / "a" / "score.mid")[0].notes) == {"drums", "guitar", "piano"}
    assert run(*given, "-o", tmp_path / "b", "--sheet", files["sheet"]).code == 0
    assert read_sheet(tmp_path / "b" / "sheet.json").metre == "4/4"
    assert run(*given, "-o", tmp_path / "c", "--unconditional").code == 0
    assert not (tmp_path / "c" / "sheet.json").exists()
    analysed = run("analyse", tmp_path / "bass.wav", "-o", tmp_path / "d", "--model", writing_model)
    assert analysed.code == 0 and "90 bpm, 3/4, Dm" in analysed.out
    assert read_sheet(tmp_path / "d" / "sheet.json") == found
    assert read_midi(tmp_path / "d" / "sheet.mid")[1].metre == "3/4"


def test_notes_of_a_mixture_are_those_of_its_separated_stems(
    run, writing_model, tmp_path, monkeypatch
):
    found = LeadSheet.from_text("Dm | G", 120, "3/4", duration_s=2.0)
    monkeypatch.setattr(StemModel, "analyses", True)
    monkeypatch.setattr(StemModel, "analyse", lambda self, waveform, rate: found)
    monkeypatch.setattr(transcribe, "can_transcribe", lambda: True)
    monkeypatch.setattr(
        transcribe, "found_notes", lambda waveform, rate: np.array([[0.5, 1.0, 45, 80.0]])
    )
    write_noise(tmp_path / "song.wav")
    given = ("analyse", tmp_path / "song.wav", "--model", writing_model, "--midi")
    assert run(*given, "-o", tmp_path / "a").code == 0
    score, sheet = read_midi(tmp_path / "a" / "score.mid")
    notes = (ScoreNote(1, 2, 45, 80),)
    assert score.notes == {"bass": notes, "guitar": notes, "piano": notes}
    assert sheet.metre == "3/4" and read_music(tmp_path / "a") == (found, score)
    refused = run(*given)
    assert refused.code == 2 and "-o" in refused.err
    refused = run(*given, "-o", tmp_path / "a")
    assert refused.code == 2 and "sheet.json" in refused.err
    monkeypatch.setattr(transcribe, "can_transcribe", lambda: False)
    refused = run(*given, "-o", tmp_path / "b")
    assert refused.code == 2 and "pip install" in refused.err and not (tmp_path / "b").exists()


def test_models_without_an_analyser_say_so(run, model, tmp_path):
    write_noise(tmp_path / "bass.wav")
    refused = run("analyse", tmp_path / "bass.wav", "--model", model)
    assert refused.code == 2 and "has no analyser" in refused.err


def in_vain(*_: object, **__: object) -> None:
    pytest.fail("worked in vain")


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        ("edit", ["--end", "1e9"], "is not in the piece"),
        ("edit", ["--end", "inf"], "must start before it ends"),
        ("edit", ["--start", "nan"], "must start before it ends"),
        ("extend", ["--seconds", "3599"], "at most 3600 s"),
        ("vary", ["--strength", "7"], "between 0 and 1"),
    ],
)
def test_absurd_wishes_are_refused_before_any_work(
    run, writing_model, tmp_path, monkeypatch, command, options, message
):
    piece = tmp_path / "piece"
    piece.mkdir()
    write_noise(piece / "bass.wav")
    (piece / "sheet.json").write_text(SHEET.to_json())
    write_midi(piece / "score.mid", SCORE, SHEET)
    for work in ("analysed", "rewritten"):
        monkeypatch.setattr(SheetOptions, work, in_vain)
    result = run(command, piece, "-o", tmp_path / "o", "--model", writing_model, *options)
    assert result.code == 2 and message in result.err and result.err.count("\n") == 1
    assert not (tmp_path / "o").exists()


def test_absurd_lengths_are_refused_before_a_model_is_loaded(run, files, tmp_path):
    late = Score({"drums": (ScoreNote(8000, 8001, 36, 90),)})
    write_midi(files["score"], late, LeadSheet.from_text("C", 100, "4/4"))
    write_noise(tmp_path / "bass.wav", 100, channels=65)
    for command, message in (
        (["generate", "--score", files["score"]], "at most 3600 s"),
        (["extend", tmp_path / "bass.wav", "--seconds", "1e9"], "at most 3600 s"),
        (["extend", tmp_path / "bass.wav", "--seconds", "inf"], "must be positive"),
        (["arrange", "--given", f"bass={tmp_path / 'bass.wav'}"], "bass.wav has 65 channels"),
    ):
        result = run(*command, "-o", tmp_path / "o", "--model", "nowhere/at/all")
        assert result.code == 2 and message in result.err and result.err.count("\n") == 1, command
        assert not (tmp_path / "o").exists()
