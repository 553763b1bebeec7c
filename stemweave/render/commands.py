"""``stemweave compose`` and ``stemweave freedoom``: songs of our own and a test set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path, typer.Argument(help="folder for the songs")]


def compose(
    data: Data,
    songs: Annotated[int, typer.Option(min=1, help="number of songs")] = 100,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    first: Annotated[int, typer.Option(min=0, help="index of the first song")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="processes")] = 2,
    sample_rate: Annotated[int, typer.Option(min=8000, help="Hz")] = 16000,
    split: Annotated[str, typer.Option(help="train, validation or test")] = "train",
    soundfont: Annotated[
        list[str] | None, typer.Option(help="file or name; the training set's by default")
    ] = None,
    held_out_grooves: Annotated[
        bool, typer.Option(help="only grooves that training songs never use")
    ] = False,
) -> None:
    """Compose and render songs with mma and fluidsynth."""
    from stemweave.data.songs import total_hours
    from stemweave.render.collection import compose_collection

    made = compose_collection(
        data,
        songs,
        seed=seed,
        soundfonts={name: 1.0 for name in soundfont} if soundfont else None,
        split=split,
        first=first,
        held_out_grooves=held_out_grooves,
        sample_rate=sample_rate,
        workers=workers,
    )
    typer.echo(f"{len(made)} songs, {total_hours(made):.1f} hours → {data}")


def freedoom(
    data: Data,
    sample_rate: Annotated[int, typer.Option(min=8000, help="Hz")] = 16000,
    song: Annotated[str | None, typer.Option(help="only this lump, e.g. D_E1M1")] = None,
    stereo: Annotated[bool, typer.Option(help="keep both channels")] = False,
    start: Annotated[float, typer.Option(min=0, help="seconds to leave out")] = 0.0,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="length of an excerpt")] = None,
    mixture: Annotated[bool, typer.Option("--mixture", help="write the sum too")] = False,
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
    )
    typer.echo(f"{len(made)} songs, {total_hours(made):.1f} hours → {data}")


def register(app: typer.Typer) -> None:
    """Add ``compose`` and ``freedoom`` to the command line."""
    app.command()(compose)
    app.command()(freedoom)
