"""``stemweave compose``, ``render`` and ``freedoom``: music to train on, and a test set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stemweave.cli.data import ProcessesOption, RayOption
from stemweave.io.jobs import Workers

if TYPE_CHECKING:
    from stemweave.render.collection import CompositionOptions

Data = Annotated[Path, typer.Argument(help="folder for the songs")]
SampleRate = Annotated[int, typer.Option(min=8000, help="Hz")]
Voices = Annotated[
    list[Path] | None, typer.Option(help="recorded voices; songs have a stem 'other', too")
]


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """Options of commands that render many songs."""

    seed: Annotated[int, typer.Option(min=0)] = 0
    sample_rate: SampleRate = 16000
    soundfont: Annotated[
        list[str] | None, typer.Option(help="file or name; the training set's by default")
    ] = None
    voices: Voices = None
    workers: ProcessesOption = 2
    ray: RayOption = None

    @property
    def soundfonts(self) -> dict[str, float] | None:
        """Shares of the SoundFonts that are named."""
        return {name: 1.0 for name in self.soundfont} if self.soundfont else None

    @property
    def pool(self) -> Workers:
        return Workers(self.workers, self.ray)


def _absolute(folders: list[Path] | None) -> list[str]:
    return [str(folder.absolute()) for folder in folders or ()]


def compose(
    data: Data,
    how: Rendering,
    songs: Annotated[int, typer.Option(min=1, help="number of songs")] = 100,
    first: Annotated[int, typer.Option(min=0, help="index of the first song")] = 0,
    split: Annotated[str, typer.Option(help="train, validation or test")] = "train",
    metres: Annotated[
        str, typer.Option(help="drawn among, e.g. 4/4,4/4,3/4,6/8; also 12/8, 5/4")
    ] = "4/4",
    held_out_grooves: Annotated[
        bool, typer.Option(help="only grooves that training songs never use")
    ] = False,
    riffs: Annotated[bool, typer.Option("--riffs", help="guitar and bass play riffs")] = False,
    voiced: Annotated[
        bool, typer.Option("--voiced", help="vary the sounds' filters and envelopes")
    ] = False,
    crossed: Annotated[
        bool, typer.Option("--crossed", help="each stem's parts from one of several grooves")
    ] = False,
    instruments: Annotated[
        Path | None, typer.Option(help="SoundFonts and cabinets of scripts/recorded_instruments.py")
    ] = None,
    mastered: Annotated[
        bool, typer.Option("--mastered", help="most songs are compressed and limited")
    ] = False,
    mma_tempo: Annotated[
        bool,
        typer.Option("--mma-tempo", help="as older songs: grooves in whole beats a minute, drift"),
    ] = False,
    scores_only: Annotated[
        bool, typer.Option("--scores-only", help="only sheet.json and score.mid, no sound")
    ] = False,
    add_sheets: Annotated[
        bool, typer.Option("--add-sheets", help="sheet.json and score.mid for songs that lack them")
    ] = False,
) -> None:
    """Compose and render songs with mma and fluidsynth, each with its sheet and score."""
    from stemweave.music.metre import parse_metre
    from stemweave.render.collection import CompositionOptions, compose_collection

    options = CompositionOptions(
        metres=tuple(parse_metre(metre) for metre in metres.split(",")),
        held_out_grooves=held_out_grooves,
        riffs=riffs,
        voiced=voiced,
        crossed=crossed,
        exact_tempo=not mma_tempo,
        voices=tuple(_absolute(how.voices)),
        instruments=str(instruments.absolute()) if instruments else None,
        mastered=mastered,
    )
    if add_sheets:
        _add_sheets(data, options, how)
        return
    wanted: dict[str, Any] = dict(
        seed=how.seed, first=first, soundfonts=how.soundfonts, options=options, workers=how.pool
    )
    if scores_only:
        from stemweave.render.collection import compose_scores

        typer.echo(f"{compose_scores(data, songs, **wanted)} sheets and scores → {data}")
        return
    made = compose_collection(data, songs, split=split, sample_rate=how.sample_rate, **wanted)
    typer.echo(f"{made.songs} songs, {made.hours:.1f} hours → {data}")


def _add_sheets(data: Path, options: CompositionOptions, how: Rendering) -> None:
    from stemweave.render.recompose import write_sheets

    done = write_sheets(data, soundfonts=how.soundfonts, options=options, workers=how.pool)
    typer.echo(f"{done.songs} sheets and scores → {data}")
    for skipped in done.skipped:
        typer.echo(f"{skipped.folder.name} {skipped.reason}", err=True)


def render(
    midi_folder: Annotated[Path, typer.Argument(help="folder with MIDI files, at any depth")],
    data: Data,
    how: Rendering,
    min_stems: Annotated[
        int, typer.Option(min=1, max=4, help="skip files with fewer of the four classes")
    ] = 2,
    max_seconds: Annotated[float, typer.Option(min=10, help="cut longer songs")] = 600.0,
    licence: Annotated[str | None, typer.Option(help="of the files, noted with each song")] = None,
) -> None:
    """Turn MIDI files into songs: parts by class, random presets, SoundFonts and effects."""
    from stemweave.render.collection import SKIPPED
    from stemweave.render.midi_folder import render_midi_folder

    made = render_midi_folder(
        midi_folder,
        data,
        soundfonts=how.soundfonts,
        seed=how.seed,
        sample_rate=how.sample_rate,
        workers=how.pool,
        min_stems=min_stems,
        max_duration_s=max_seconds,
        licence=licence,
        voices=_absolute(how.voices),
    )
    typer.echo(f"{made.songs} songs, {made.hours:.1f} hours → {data}")
    if made.skipped:
        typer.echo(f"{made.skipped} files skipped, reasons in {data / SKIPPED}")


def freedoom(
    data: Data,
    sample_rate: SampleRate = 16000,
    song: Annotated[str | None, typer.Option(help="only this lump, e.g. D_E1M1")] = None,
    stereo: Annotated[bool, typer.Option(help="keep both channels")] = False,
    start: Annotated[float, typer.Option(min=0, help="seconds to leave out")] = 0.0,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="length of an excerpt")] = None,
    mixture: Annotated[bool, typer.Option("--mixture", help="write the sum too")] = False,
    voices: Voices = None,
) -> None:
    """Render the human-written songs of Debian's freedoom package: Freedoom-4, a test set."""
    from stemweave.data.songs import total_hours
    from stemweave.render.freedoom import render_freedoom

    made = render_freedoom(
        data,
        sample_rate=sample_rate,
        only=song,
        stereo=stereo,
        start_s=start,
        length_s=seconds,
        with_mixture=mixture,
        voices=_absolute(voices),
    )
    typer.echo(f"{len(made)} songs, {total_hours(made):.1f} hours → {data}")
