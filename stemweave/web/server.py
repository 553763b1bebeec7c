"""The server process: loads the model, listens, and says where."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from stemweave.files import InputError
from stemweave.loading import load_model
from stemweave.web.app import create_app
from stemweave.web.runner import Runner
from stemweave.web.settings import Settings

MAX_CONNECTIONS = 512


def serve(settings: Settings, model: str | None, device: str) -> None:
    """Serve until interrupted.

    Raises:
        InputError: if the address, the data folder, the model or the device cannot be used.
    """
    listener = listen(settings.host, settings.port)
    try:
        settings.data.mkdir(parents=True, exist_ok=True)
        runner = Runner(load_model(model, device), Path(model).name if model else "bundled")
        app = create_app(settings, runner)
    except OSError as error:
        raise InputError(f"--data {settings.data} cannot be used: {error.strerror}") from error
    host, port = listener.getsockname()[:2]
    print(f"Stemweave studio at http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)
    config = uvicorn.Config(
        app,
        http=protocol(settings.stall_s),
        ws="none",
        log_level="warning",
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=3,
    )
    uvicorn.Server(config).run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, before the model is loaded: a wrong port should show at once."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot listen at {host} port {port}: {reason}") from error
    return listener


def protocol(patience_s: float) -> type[H11Protocol]:
    """HTTP/1.1 that closes connections on which no request is complete after ``patience_s``.

    uvicorn has a limit only for the time between two requests.
    """

    class Patient(H11Protocol):
        patience: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._forget()
            super().connection_lost(exc)

        def _watch(self) -> None:
            """The clock runs from the first byte of a request's head to its last."""
            if self.conn.their_state is not h11.IDLE:
                self._forget()
            elif self.patience is None:
                self.patience = self.loop.call_later(patience_s, self.transport.close)

        def _forget(self) -> None:
            if self.patience is not None:
                self.patience.cancel()
                self.patience = None

    return Patient
