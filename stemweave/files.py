"""Files and folders that appear whole or not at all, and the one error that users see."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path


class InputError(Exception):
    """Something the user gave is wrong; the message is one sentence that says what to do."""


class OutputError(InputError):
    """A result could not be written, whatever the input: other inputs would fare no better."""


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A private place for a file or folder that becomes ``path`` when the block ends well.

    A file replaces an older one. A folder that somebody else finished in the meantime stays: makers
    of one name make the same. What killed processes left behind goes when its name is made again.
    """
    folder = path.parent / ".partial"
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                folder.mkdir()
            private = Path(tempfile.mkdtemp(prefix=f"{path.name}@{maker()}@", dir=folder))
            break
        except FileNotFoundError:  # another process has just removed the empty folder
            continue
        except OSError as error:
            raise writing_failed(path, error) from error
    partial = private / path.name
    try:
        yield partial
        try:
            partial.replace(path)
        except OSError:
            if not path.is_dir():
                raise
    finally:
        shutil.rmtree(private, ignore_errors=True)
        remove_left(folder, path.name)
        with suppress(OSError):
            folder.rmdir()


def maker() -> str:
    """This process, as names of what it makes have it."""
    return f"{socket.gethostname()}@{os.getpid()}"


def remove_left(folder: Path, name: str) -> None:
    """Remove what killed processes of this machine began in ``folder`` for ``name``."""
    begun: list[Path] = []
    if Path("/proc/self").exists():
        with suppress(FileNotFoundError):  # another process has just removed the empty folder
            begun.extend(folder.glob("*@*@*@*"))
    for left in begun:
        its_name, host, pid, _ = left.name.rsplit("@", 3)
        if (its_name, host) != (name, socket.gethostname()) or Path(f"/proc/{pid}").exists():
            continue
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def writing_failed(path: Path, error: BaseException) -> OutputError:
    """The sentence for a file that could not be written."""
    reason = getattr(error, "strerror", None) or getattr(error, "error_string", None) or str(error)
    return OutputError(f"cannot write {path}: {reason or 'the disk may be full'}".rstrip(". "))


def require_absent(paths: Sequence[Path], overwrite: bool) -> None:
    """Raise ``InputError`` for the first of ``paths`` that exists, unless ``overwrite``."""
    for path in paths:
        if path.exists() and not overwrite:
            raise InputError(f"{path} exists: choose another --out or pass --overwrite")
