"""``stemweave data check``: what a data set holds, and a list of its songs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stemweave.cli.options import names_in
from stemweave.errors import InputError
from stemweave.io.files import appearing, require_absent
from stemweave.io.jobs import Workers
from stemweave.stems import STEMS

MAX_PROCESSES = 256
"""Of one machine, that a command may begin."""
ProcessesOption = Annotated[
    int, typer.Option("--workers", min=1, max=MAX_PROCESSES, help="processes")
]
RayOption = Annotated[
    str | None,
    typer.Option(help="run on Ray: local, auto (the cluster that is running) or its HOST:PORT"),
]

app = typer.Typer(no_args_is_help=True, help="Look at and prepare data sets of multi-track music.")


@app.command()
def check(
    data: Annotated[Path, typer.Argument(help="folder of a data set")],
    stems: Annotated[str, typer.Option(help="wanted stems")] = ",".join(STEMS),
    require_all: Annotated[
        bool, typer.Option("--require-all", help="skip songs that lack one of them")
    ] = False,
    min_seconds: Annotated[float, typer.Option(min=0, help="skip shorter songs")] = 1.0,
    quick: Annotated[
        bool, typer.Option("--quick", help="read no audio: silence and damage are not noticed")
    ] = False,
    layout: Annotated[
        str | None, typer.Option(help="package.module:function of your own that finds the songs")
    ] = None,
    workers: ProcessesOption = 2,
    manifest: Annotated[
        Path | None, typer.Option(help="write the list of usable songs here, for training")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace the list")] = False,
) -> None:
    """Print the songs that can be used, those that cannot and why, and hours by stem and split."""
    from stemweave.data.checking import decoded, report
    from stemweave.data.readers import read_data
    from stemweave.data.songs import manifest_line

    names = _names(stems)
    if manifest is not None:
        require_absent([manifest], overwrite)
    findings = read_data(
        data, names, require_all=require_all, min_duration_s=min_seconds, layout=layout
    )
    if not quick:
        findings = decoded(findings, require_all, Workers(workers))
    typer.echo(report(findings, names))
    if not findings.songs:
        raise InputError(f"no song of {data} can be used")
    if manifest is not None:
        lines = [manifest_line(song, manifest.parent) for song in findings.songs]
        with appearing(manifest) as partial:
            partial.write_text("".join(lines))
        typer.echo(f"{len(lines)} songs → {manifest}")


@app.command()
def pack(
    data: Annotated[Path, typer.Argument(help="folder of a data set, or a list of songs")],
    out: Annotated[Path, typer.Argument(help="folder for the shards")],
    shard_mb: Annotated[float, typer.Option(min=0.001, help="size of a shard in MB")] = 512,
    stems: Annotated[str, typer.Option(help="wanted stems")] = ",".join(STEMS),
    workers: ProcessesOption = 2,
    ray: RayOption = None,
) -> None:
    """Pack songs into tar shards (WebDataset), for training from object storage."""
    from stemweave.data.checking import decoded
    from stemweave.data.readers import read_data
    from stemweave.data.songs import total_hours
    from stemweave.data.tar_cache import imported_webdataset
    from stemweave.data.tar_pack import pack_songs

    imported_webdataset()
    findings = decoded(read_data(data.absolute(), _names(stems)), workers=Workers(workers, ray))
    for skipped in findings.skipped:
        typer.echo(f"skipped {skipped.folder}: {skipped.reason}", err=True)
    if not findings.songs:
        raise InputError(f"no song of {data} can be used")
    shards = pack_songs(findings.songs, out, shard_mb=shard_mb, workers=Workers(workers, ray))
    gigabytes = sum(path.stat().st_size for path in shards) / 1e9
    hours = total_hours(findings.songs)
    typer.echo(
        f"{len(findings.songs)} songs, {hours:.1f} hours → {len(shards)} shards, "
        f"{gigabytes:.2f} GB in {out}"
    )


def _names(stems: str) -> list[str]:
    names = [name for name in names_in(stems) if name]
    if not names:
        raise InputError("--stems needs at least one name, e.g. --stems bass,drums")
    return names
