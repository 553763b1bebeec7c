"""The one error that clients see, and how it becomes a response."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute

from stemweave.errors import InputError, OutputError

DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
DISK_FULL = "the server's disk is full: delete projects, or ask whoever runs it"


class Refused(HTTPException):
    """A request that cannot be done: a status and one sentence."""

    def __init__(self, status: int, sentence: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, sentence, headers)


class Problem(BaseModel):
    """Body of every error."""

    detail: str


PROBLEMS: dict[int | str, dict[str, object]] = {
    status: {"model": Problem, "description": description}
    for status, description in {
        400: "unreadable request, or refused host",
        401: "token missing or wrong",
        403: "request of another site",
        404: "no such thing",
        408: "the client stopped sending",
        409: "not possible in this state",
        413: "too large or too long",
        415: "not audio, or not the expected kind of body",
        422: "parameters",
        429: "queue full, or too many wrong tokens",
        501: "not possible with what is installed",
        507: "disk full",
    }.items()
}


FRAMEWORK_SENTENCES = {400: "the body cannot be read", 404: "there is nothing at this address"}
"""For what the framework refuses by itself."""


PYDANTIC_SENTENCES = {
    "missing": "is missing",
    "extra_forbidden": "there is no such parameter",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "has too many digits",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "string_type": "must be text",
    "string_unicode": "must be text in UTF-8",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be an object",
    "model_attributes_type": "must be an object",
    "model_type": "must be an object",
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "string_too_short": "needs at least {min_length} characters",
    "string_too_long": "may have at most {max_length} characters",
    "too_short": "needs at least {min_length} entries",
    "too_long": "may have at most {max_length} entries",
    "literal_error": "must be {expected}",
    "union_tag_invalid": "must be one of {expected_tags}",
    "union_tag_not_found": "is missing",
}


def plain(text: str) -> str:
    """``text`` that can be sent: half a UTF-16 pair, which JSON may hold, is no UTF-8."""
    return text.encode("utf-8", "replace").decode()


def answer_errors(app: FastAPI, headers: dict[str, str]) -> None:
    """Errors of ``app`` become ``{"detail": sentence}``; ``headers`` go on unexpected ones.

    What was given and cannot be used is the client's fault; what cannot be written, the disk's.
    """

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return JSONResponse({"detail": plain(sentence_of(error.errors()[0], error.body))}, 422)

    async def refused(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        sentence = error.detail
        if not isinstance(error, Refused):
            sentence = FRAMEWORK_SENTENCES.get(error.status_code, sentence)
        return JSONResponse({"detail": plain(sentence)}, error.status_code, error.headers)

    async def unusable(request: Request, error: Exception) -> JSONResponse:
        sentence = request.app.state.studio.library.without_paths(str(error))
        return JSONResponse({"detail": plain(sentence)}, 422)

    async def full(request: Request, error: Exception) -> JSONResponse:
        number = getattr(error, "errno", None)
        is_full = number in DISK_ERRORS if number is not None else "full" in str(error)
        if is_full or isinstance(error, OutputError):
            return JSONResponse({"detail": DISK_FULL}, 507)
        raise error

    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": "the server failed; its log says why"}, 500, headers)

    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(InputError, unusable)
    for kind in (OutputError, OSError, OperationalError):
        app.add_exception_handler(kind, full)
    app.add_exception_handler(Exception, unexpected)


def name_methods(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Answers to wrong methods say which are possible on the path.

    The framework names the methods of one route only, and each of ours has one.
    """

    async def wrong_method(request: Request, error: Exception) -> JSONResponse:
        allowed: set[str] = set()
        for route in routes:
            if isinstance(route, APIRoute) and route.path_regex.match(request.url.path):
                allowed |= route.methods or set()
        allowed = allowed or {"GET"}
        if "GET" in allowed:
            allowed.add("HEAD")
        headers = {"allow": ", ".join(sorted(allowed))}
        return JSONResponse({"detail": f"not possible with {request.method}"}, 405, headers)

    app.add_exception_handler(405, wrong_method)


def sentence_of(error: Mapping[str, Any], body: object) -> str:
    """One of pydantic's errors about a request; ``body`` is what was sent."""
    if error["type"] == "json_invalid":
        return "the body is not JSON"
    words = PYDANTIC_SENTENCES.get(error["type"])
    context = dict(error.get("ctx") or {})
    message = words.format(**context) if words else error["msg"]
    if error["type"].startswith("union_tag"):
        name = str(context.get("discriminator", "")).strip("'")
        return f"{_place((*error['loc'], name), body)}: {message}"
    return f"{_place(error['loc'], body)}: {message}"


def _place(loc: Sequence[object], body: object) -> str:
    """Where in the request, without the name of the shape that was tried."""
    parts = [str(part) for part in loc[1:]]
    if parts and isinstance(body, Mapping) and parts[0] == body.get("task") and len(parts) > 1:
        del parts[0]
    return ".".join(parts) or "the body"
