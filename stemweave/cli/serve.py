"""``stemweave serve``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from stemweave.cli.options import Device, Model
from stemweave.errors import InputError
from stemweave.models.devices import AUTO


def serve(
    data: Annotated[
        Path, typer.Option(help="folder for audio and the database; nothing else is written to")
    ] = Path("studio"),
    host: Annotated[str, typer.Option(help="address; others than 127.0.0.1 need --token")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one")] = 8000,
    token: Annotated[
        str | None, typer.Option(envvar="STEMWEAVE_TOKEN", help="what users must know to get in")
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="name under which a proxy on this machine is known, e.g. studio.org"),
    ] = None,
    max_minutes: Annotated[float, typer.Option(help="longest piece")] = 10.0,
    max_mb: Annotated[float, typer.Option(help="largest upload")] = 200.0,
    max_queue: Annotated[int, typer.Option(min=1, help="most jobs that wait")] = 20,
    keep_days: Annotated[float, typer.Option(help="projects are deleted so long after use")] = 7.0,
    model: Model = None,
    device: Device = AUTO,
) -> None:
    """Serve the studio: a page and an HTTP API."""
    from stemweave.web.settings import Settings

    settings = Settings(
        data=data,
        host=host,
        port=port,
        token=token,
        allowed_hosts=tuple(name.lower() for name in allow_host or ()),
        max_minutes=max_minutes,
        max_mb=max_mb,
        max_queue=max_queue,
        keep_days=keep_days,
    )
    # diffusers imports onnxruntime where there is one, which would keep an id of this machine in
    # the home folder
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        from stemweave.web.server import serve as run
    except ImportError as error:
        raise InputError("serve needs more packages: pip install 'stemweave[web]'") from error
    run(settings, model, device)
