"""``stemweave import`` (published checkpoints → a model folder) and ``average``, ``compress``."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from stemweave.cli.options import names_in


def import_model(
    checkpoint: Annotated[Path, typer.Argument(help="MSG-LD checkpoint (.ckpt)")],
    out: Annotated[Path, typer.Argument(help="model folder to write")],
    vae: Annotated[Path | None, typer.Option(help="MusicLDM's vae-ckpt.ckpt")] = None,
    vocoder: Annotated[Path | None, typer.Option(help="MusicLDM's hifigan-ckpt.ckpt")] = None,
    musicldm: Annotated[
        str | None, typer.Option(help="folder or hub id with vae/ and vocoder/ of MusicLDM")
    ] = None,
    stems: Annotated[str, typer.Option(help="names in order")] = "bass,drums,guitar,piano",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace OUT")] = False,
) -> None:
    """Turn published weights into a model folder for --model."""
    from stemweave.errors import InputError
    from stemweave.io.files import require_absent, staging_in, writing_failed

    require_absent([out], overwrite)
    if out.is_file():
        raise InputError(f"{out} is a file: name a folder for the model")
    from safetensors import SafetensorError

    from stemweave.checkpoints.importer import LICENCE_NOTE, import_checkpoint

    names = tuple(names_in(stems))
    if not all(names) or len(set(names)) < len(names):
        raise InputError(f"--stems {stems!r}: give every stem a name of its own")
    pipe = import_checkpoint(
        str(checkpoint), vae=vae, vocoder=vocoder, musicldm=musicldm, stems=names
    )
    try:
        with staging_in(out.parent) as private:
            made = private / out.name
            pipe.save_pretrained(made)
            (made / "LICENCE.txt").write_text(LICENCE_NOTE + "\n")
            if out.exists():
                shutil.rmtree(out)
            made.rename(out)
    except (OSError, SafetensorError) as error:
        raise writing_failed(out, error) from error
    typer.echo(f"{out}\n{LICENCE_NOTE}")


def average(
    parts: Annotated[
        list[str], typer.Argument(help="FOLDER=SHARE of each, e.g. runs/a/export=0.7")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="folder to write")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace OUT")] = False,
) -> None:
    """Average the weights of trained parts of one kind, e.g. two denoisers."""
    from stemweave.errors import InputError
    from stemweave.io.files import require_absent

    require_absent([out], overwrite)
    shares = {}
    for part in parts:
        folder, _, number = part.rpartition("=")
        try:
            share = float(number)
        except ValueError:
            share = 0.0
        if not folder or not 0 < share < float("inf"):
            raise InputError(f"average takes FOLDER=SHARE with a share above 0, not {part!r}")
        shares[Path(folder)] = share
    if len(shares) < 2:
        raise InputError("average takes at least two folders")
    from stemweave.checkpoints.part import average_parts

    average_parts(shares, out)
    typer.echo(str(out))


def compress(
    part: Annotated[Path, typer.Argument(help="folder of a trained part")],
    out: Annotated[Path, typer.Option("--out", "-o", help="folder to write")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace OUT")] = False,
) -> None:
    """Halve a part's file: large layers in eight bits."""
    from stemweave.io.files import require_absent

    require_absent([out], overwrite)
    from stemweave.checkpoints.part import compress_part

    compress_part(part, out)
    typer.echo(str(out))
