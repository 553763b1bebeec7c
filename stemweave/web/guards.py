"""What stands before every request: who may ask, how much they may send, how answers are marked."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import json
import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stemweave.web.errors import Refused
from stemweave.web.settings import Settings, is_loopback

COOKIE = "stemweave_session"
UPLOAD_PATH = "/api/projects"
SESSION_PATH = "/api/session"
MAX_JSON_BYTES = 256 * 1024
MAX_MIDI_BYTES = 2**20
MULTIPART_OVERHEAD_BYTES = 64 * 1024
DRAIN_S = 2.0
"""A refused upload is read on for so long, so that the client sees the answer, not a reset."""
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
ONE_RANGE = re.compile(
    r"bytes=[ \t]*(?:(\d{1,18})-(\d{1,18})?|-\d{1,18})[ \t]*", re.IGNORECASE | re.ASCII
)
FREE_ATTEMPTS = 5
LONGEST_WAIT_S = 60.0
FORGOTTEN_AFTER_S = 900.0
MAX_CLIENTS = 10_000
"""Whose wrong tokens are counted."""
WWW_AUTHENTICATE = {"www-authenticate": 'Bearer realm="stemweave"'}

HEADERS = {
    "content-security-policy": (
        "default-src 'self'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' blob: data:; media-src 'self' blob:; worker-src 'self' blob:; "
        "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


@dataclass
class _Record:
    wrong: int = 0
    last_s: float = 0.0

    def blocked_until_s(self) -> float:
        if self.wrong < FREE_ATTEMPTS:
            return 0.0
        return self.last_s + min(2.0 ** (self.wrong - FREE_ATTEMPTS), LONGEST_WAIT_S)


class Attempts:
    """Five wrong tokens are free; then each doubles the wait, from one second to a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._records: dict[str, _Record] = {}  # the latest failure last

    def check_allowed(self, client: str) -> None:
        """Raise ``Refused`` if ``client`` has to wait, before its next token is looked at."""
        record = self._records.get(_network(client))
        left_s = record.blocked_until_s() - self._clock() if record else 0.0
        if left_s > 0:
            seconds = math.ceil(left_s)
            raise Refused(
                429,
                f"too many wrong tokens: wait {seconds} s before the next one",
                {"retry-after": str(seconds)},
            )

    def failed(self, client: str) -> None:
        network, now_s = _network(client), self._clock()
        record = self._records.pop(network, None)
        if record is None or now_s - record.last_s > FORGOTTEN_AFTER_S:
            record = _Record()
        record.wrong, record.last_s = record.wrong + 1, now_s
        self._records[network] = record
        if len(self._records) > MAX_CLIENTS:
            del self._records[next(iter(self._records))]

    def succeeded(self, client: str) -> None:
        self._records.pop(_network(client), None)


def _network(client: str) -> str:
    """The client's address; of IPv6 the half that one household has."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    if address.version == 4:
        return client
    return str(ipaddress.ip_network((address, 64), strict=False))


def session_of(token: str) -> str:
    """Value of the cookie that stands for ``token`` without giving it away."""
    return hmac.new(token.encode(), b"stemweave session", hashlib.sha256).hexdigest()


def equal(given: str, expected: str) -> bool:
    """Comparison that takes equally long for every wrong guess."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def check_token(given: str, token: str, client: str, attempts: Attempts) -> None:
    """Raise ``Refused`` for a wrong token, or one that comes too soon after several wrong ones."""
    attempts.check_allowed(client)
    if not equal(given, token):
        attempts.failed(client)
        raise Refused(401, "the token is wrong", WWW_AUTHENTICATE)
    attempts.succeeded(client)


def address_of(scope: Scope) -> str:
    """Where a request came from; a proxy on this machine says it in X-Forwarded-For."""
    client = scope.get("client")
    return client[0] if client else ""


class Guard:
    """ASGI middleware: host, origin and token are checked, bodies limited, headers added."""

    def __init__(self, app: ASGIApp, settings: Settings, attempts: Attempts) -> None:
        self._app, self._settings, self._attempts = app, settings, attempts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                body.answered = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                if scope["method"] == "HEAD" and headers.get("content-length") == "0":
                    del headers["content-length"]  # of what is made while it is sent
                headers.setdefault("cache-control", "no-store" if is_api else "no-cache")
            await send(message)

        is_api = scope["path"].startswith("/api/")
        body = Body(receive, self._settings, scope)
        say = in_own_words(send_marked)
        _forget_odd_ranges(scope)
        try:
            self._check(scope, Headers(scope=scope))
            body.check_declared_length()
        except Refused as refused:
            await body.drain()
            await _answer(refused)(scope, receive, say)
            return
        await self._app(scope, body.receive, say)

    def _check(self, scope: Scope, headers: Headers) -> None:
        host = headers.get("host", "")
        if self._settings.on_loopback and not self._knows(host):
            raise Refused(400, f"this server is not known as {host!r}: see --allow-host")
        if scope["method"] not in SAFE_METHODS:
            _check_origin(headers, host)
        if scope["path"].startswith("/api/") and scope["path"] != SESSION_PATH:
            self._check_token(headers, address_of(scope))

    def _knows(self, host: str) -> bool:
        """Whether a request to ``host`` was meant for us: a page may give its name our address."""
        name = _hostname(f"//{host}")
        return name is not None and (is_loopback(name) or name in self._settings.allowed_hosts)

    def _check_token(self, headers: Headers, client: str) -> None:
        token = self._settings.token
        if token is None:
            return
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            morsel = None
        if morsel is not None and equal(morsel.value, session_of(token)):
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and given.strip():
            check_token(given.strip(), token, client, self._attempts)
            return
        raise Refused(401, "this server asks for its token", WWW_AUTHENTICATE)


class Body:
    """A request's body, limited in size and time."""

    def __init__(self, receive: Receive, settings: Settings, scope: Scope) -> None:
        self._receive, self._settings = receive, settings
        self._is_upload = scope["method"] == "POST" and scope["path"] == UPLOAD_PATH
        upload_bytes = settings.max_bytes + MULTIPART_OVERHEAD_BYTES
        other_bytes = MAX_MIDI_BYTES if scope["path"].endswith("/midi") else MAX_JSON_BYTES
        self._max_bytes = upload_bytes if self._is_upload else other_bytes
        self._headers = Headers(scope=scope)
        self._received = 0
        self._complete = False
        self.answered = False
        self._deadline_s = time.monotonic() + settings.upload_s if self._is_upload else math.inf

    def check_declared_length(self) -> None:
        """Raise ``Refused`` if the client says that it will send too much."""
        declared = self._headers.get("content-length", "")
        if declared.isdecimal() and int(declared[:20]) > self._max_bytes:
            raise self._too_large()

    async def receive(self) -> Message:
        """The next message; raises ``Refused`` for clients that are too slow or send too much."""
        if self._complete:
            return await self._receive()
        left_s = min(self._settings.stall_s, self._deadline_s - time.monotonic())
        try:
            message = await asyncio.wait_for(self._receive(), max(left_s, 0))
        except asyncio.TimeoutError:
            self._complete = True
            if self.answered:  # nobody needs what is still missing
                return {"type": "http.disconnect"}
            raise Refused(408, "the upload took too long", {"connection": "close"}) from None
        self._received += len(message.get("body", b""))
        self._complete = not message.get("more_body", False)
        if self._received > self._max_bytes:
            await self.drain()
            raise self._too_large()
        return message

    async def drain(self) -> None:
        """Read on for a moment and throw away what comes."""
        until_s = time.monotonic() + DRAIN_S
        if "expect" in self._headers or not self._has_body():
            return  # the client waits for leave to send, or has nothing to send
        while not self._complete and (left_s := until_s - time.monotonic()) > 0:
            try:
                message = await asyncio.wait_for(self._receive(), left_s)
            except asyncio.TimeoutError:
                return
            self._complete = not message.get("more_body", False)

    def _has_body(self) -> bool:
        length = self._headers.get("content-length", "0")
        return length != "0" or "transfer-encoding" in self._headers

    def _too_large(self) -> Refused:
        if not self._is_upload:
            return Refused(413, "the body is too large")
        return Refused(413, f"this server takes at most {self._settings.max_mb:g} MB at once")


def _check_origin(headers: Headers, host: str) -> None:
    """Other sites may not act here in their visitors' name."""
    origin = headers.get("origin")
    foreign = origin is not None and urlsplit(origin).netloc.lower() != host.lower()
    if foreign or headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Refused(403, "requests of other sites are refused")


def in_own_words(send: Send) -> Send:
    """``send`` that makes the framework's answer to a range beyond the end one of ours."""
    replaced = False

    async def send_words(message: Message) -> None:
        nonlocal replaced
        if message["type"] == "http.response.start" and message["status"] == 416:
            replaced = True
            body = json.dumps({"detail": "the range begins beyond the end of the file"}).encode()
            headers = MutableHeaders(scope=message)
            headers["content-type"], headers["content-length"] = "application/json", str(len(body))
            await send(message)
            await send({"type": "http.response.body", "body": body})
        elif not replaced:
            await send(message)

    return send_words


def _forget_odd_ranges(scope: Scope) -> None:
    """Take a Range header out of the request if it is not one well-formed range of bytes.

    RFC 9110 (14.2) lets a server send everything then, where the framework would answer with 400.
    """
    given = Headers(scope=scope).getlist("range")
    match = ONE_RANGE.fullmatch(given[0]) if len(given) == 1 else None
    if given and (match is None or (match[2] and int(match[2]) < int(match[1]))):
        scope["headers"] = [pair for pair in scope["headers"] if pair[0].lower() != b"range"]


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _answer(refused: Refused) -> JSONResponse:
    return JSONResponse({"detail": refused.detail}, refused.status_code, refused.headers)
