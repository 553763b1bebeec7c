"""Names that every file system can hold, Windows' too, for what inputs of any name become."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata

FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f]|[. ]+$')
"""What Windows allows in no name, or not at the end of one."""
DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\..*)?", re.IGNORECASE)
"""What Windows takes for a device, whatever suffix follows."""
MAX_BYTES = 255
"""Of a name on Linux; others hold as many characters."""
MAX_PLAIN = 50
"""Characters of a name that something is added to."""
SUFFIX = re.compile(r"\.(?=.*[a-z])[a-z0-9]{1,5}", re.IGNORECASE)
"""The end of a name that names a format: not that of ``Symphony no.5`` or ``Mr. Smith``."""


def without_suffix(name: str) -> str:
    """``name`` without the name of its format."""
    stem, suffix = os.path.splitext(name)
    return stem if SUFFIX.fullmatch(suffix) else name


def portable_path(path: str) -> str:
    """A relative path with / whose every name Windows can hold."""
    return "/".join(portable_name(name) for name in path.split("/"))


def portable_name(name: str) -> str:
    """``name`` if Windows can hold it; else one like it, with a part that no other name gives.

    So it is the same in every run, whatever other names there are.
    """
    changed = FORBIDDEN.sub(lambda found: "_" * len(found[0]), name)
    if DEVICE.fullmatch(changed):
        changed = f"_{changed}"
    return name if changed == name else with_end(changed, f"~{_digest(name)}")


def is_plain(name: object) -> bool:
    """Whether ``name`` can be that of a file, before a suffix: no path, not hidden."""
    return (
        isinstance(name, str)
        and 0 < len(name) <= MAX_PLAIN
        and name.isprintable()
        and not name.startswith((".", "-"))
        and name == portable_name(name)
    )


def with_end(name: str, end: str) -> str:
    """``name`` and ``end``, as much of ``name`` as a file system can hold."""
    room = MAX_BYTES - len(end.encode())
    return os.fsencode(name)[:room].decode(errors="ignore") + end


def same_to_some(name: str) -> str:
    """What two names have in common that are one to a file system somewhere."""
    return unicodedata.normalize("NFC", name).casefold()


def _digest(name: str) -> str:
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:6]
