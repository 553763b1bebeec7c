"""What is wrong with the parameters of a request, in the API's own words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SENTENCES = {
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


def sentence_of(error: Mapping[str, Any], body: object) -> str:
    """One of pydantic's errors about a request; ``body`` is what was sent."""
    if error["type"] == "json_invalid":
        return "the body is not JSON"
    words = SENTENCES.get(error["type"])
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
