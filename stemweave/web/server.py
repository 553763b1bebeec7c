"""The server process: loads the model, listens, and says where."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h11
import uvicorn
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from stemweave.errors import InputError
from stemweave.io.ends import is_heeded
from stemweave.model import load_model
from stemweave.models.devices import device_name
from stemweave.web.app import create_app
from stemweave.web.feed import Feed
from stemweave.web.runner import Runner
from stemweave.web.settings import Settings

MAX_CONNECTIONS = 512
GRACE_S = 2
"""Answers under way have so long to end when the server stops."""


def serve(settings: Settings, model: str | None, device: str) -> None:
    """Serve until interrupted; on stderr is said which device computes, unless it is the CPU.

    Raises:
        InputError: if the address, the data folder, the model or the device cannot be used.
    """
    listener = listen(settings.host, settings.port)
    try:
        settings.data.mkdir(parents=True, exist_ok=True)
        pipe = load_model(model, device)
        runner = Runner(pipe, Path(model).name if model else "bundled")
        app = create_app(settings, runner)
    except OSError as error:
        raise InputError(f"--data {settings.data} cannot be used: {error.strerror}") from error
    if pipe.compute_device.type != "cpu":
        print(f"device: {device_name(pipe.compute_device)}", file=sys.stderr)
    host, port = listener.getsockname()[:2]
    print(f"Stemweave studio at http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)
    StudioServer(app, app.state.studio.feed, settings.stall_s).run(sockets=[listener])


class StudioServer(uvicorn.Server):
    """uvicorn that ends without a traceback while pages are open and downloads under way."""

    def __init__(self, app: ASGIApp, feed: Feed, stall_s: float) -> None:
        async def quiet(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await app(scope, receive, send)
            except asyncio.CancelledError:
                if not self.should_exit:
                    raise

        super().__init__(
            uvicorn.Config(
                quiet,
                http=protocol(stall_s),
                ws="none",
                log_level="warning",
                server_header=False,
                timeout_graceful_shutdown=GRACE_S + 3,
            )
        )
        self._feed = feed

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the event streams at once, and what else is still sent after a moment."""
        self._feed.close()
        asyncio.get_running_loop().call_later(GRACE_S, self._cut)
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn's, and a closed terminal (SIGHUP) ends the server as SIGTERM does."""
        with super().capture_signals():  # at its end the signals that came are raised again
            hangup = getattr(signal, "SIGHUP", None)
            is_main = threading.current_thread() is threading.main_thread()
            if hangup is None or not (is_main and is_heeded(hangup)):
                yield
                return
            before = signal.signal(hangup, self.handle_exit)
            try:
                yield
            finally:
                signal.signal(hangup, before)

    def _cut(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()


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

    uvicorn has a limit only for the time between two requests, and refuses in plain text.
    """

    class Patient(H11Protocol):
        patience: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > MAX_CONNECTIONS:
                self.app = _busy
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._forget()
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            body = json.dumps({"detail": "this is no HTTP request"}).encode()
            headers = [("content-type", "application/json"), ("connection", "close")]
            for event in (
                h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event))
            self.transport.close()

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


async def _busy(scope: Scope, receive: Receive, send: Send) -> None:
    headers = {"connection": "close", "retry-after": "5"}
    busy = JSONResponse({"detail": "too many clients at once: try again soon"}, 503, headers)
    await busy(scope, receive, send)
