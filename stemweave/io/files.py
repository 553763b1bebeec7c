"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from stemweave.errors import ExistsError, OutputError
from stemweave.io.ends import kept_at_end, removing_at_end, signals_held_back
from stemweave.io.records import RECORD

if sys.platform != "win32":
    import fcntl

PARTIAL = ".partial"
"""Folder, inside a folder for results, of what is being made."""
PATIENCE_S = 1.0
"""For other processes that make or remove the same folders at the same time."""


class InUse(Exception):
    """Another process is making what this one was about to make."""


class Staging:
    """A private folder below ``FOLDER/.partial`` for what becomes a part of ``FOLDER`` when done.

    It goes when it is closed, and folders that were made for it and are empty go with it. What
    killed processes left goes when somebody opens another one in ``FOLDER``: a process holds a lock
    on what is its own for as long as it lives. No name in it grows with what is made.

    Args:
        name: what is being made, if only one process at a time may make it.

    Raises:
        OSError: if the folder cannot be made.
        InUse: if another process is making ``name``.
    """

    def __init__(self, folder: Path, name: str | None = None) -> None:
        self._made = [one for one in (folder, *folder.parents) if not os.path.lexists(one)]
        self._partial = folder / PARTIAL
        try:
            with signals_held_back():
                self._lock, self.path = self._open(name)
                removing_at_end(self.close)
        except BaseException:
            self._remove_folders()
            raise

    def _open(self, name: str | None) -> tuple[int, Path]:
        remove_left(self._partial.parent)
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                self._partial.mkdir(parents=True, exist_ok=True)
                lock = self._partial / f"{_short(name) if name else secrets.token_hex(4)}.lock"
                handle = os.open(lock, os.O_RDWR | os.O_CREAT | (0 if name else os.O_EXCL), 0o666)
            except (FileNotFoundError, FileExistsError):  # another has just removed an empty folder
                if time.monotonic() > deadline_s:
                    raise
                continue
            locked = _locked(handle)
            if locked is None and name:  # locks do not work here: nobody can claim a name
                os.close(handle)
                name = None
                continue
            if locked is not False and os.fstat(handle).st_nlink:
                private = lock.with_suffix("")
                shutil.rmtree(private, ignore_errors=True)
                private.mkdir(mode=0o700)
                return handle, private
            os.close(handle)  # another's, or just removed by who clears up
            if time.monotonic() > deadline_s:
                raise InUse(name)
            time.sleep(0.01)

    def close(self) -> None:
        """Remove what is left of it; once is enough."""
        if self._lock < 0:
            return
        with signals_held_back():
            kept_at_end(self.close)
            shutil.rmtree(self.path, ignore_errors=True)
            self.path.with_suffix(".lock").unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = -1
            remove_left(self._partial.parent)
            self._remove_folders()

    def _remove_folders(self) -> None:
        with suppress(OSError):  # others have put something there
            self._partial.rmdir()
        with suppress(OSError):
            for folder in self._made:
                folder.rmdir()

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *exception: object) -> None:
        self.close()


def staging_in(folder: Path) -> Staging:
    """A ``Staging``; raises ``OutputError`` if there cannot be one."""
    try:
        return Staging(folder)
    except OSError as error:
        raise writing_failed(folder, error) from error


def publish(made: Path, folder: Path) -> None:
    """Give the folder ``made`` its name; if there is such a folder, its files join those in it.

    Raises:
        OSError: if it cannot be done.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        made.rename(folder)  # fails if there is one that holds anything
        return
    except OSError as error:
        if not folder.is_dir() and error.errno != errno.EXDEV:
            raise
    folder.mkdir(exist_ok=True)
    for path in sorted(made.iterdir(), key=lambda path: path.name != RECORD):  # whose they are
        try:
            path.replace(folder / path.name)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            with appearing(folder / path.name) as partial:  # it is a link to another file system
                shutil.copyfile(path, partial)


def remove_left(folder: Path) -> None:
    """Remove what killed processes were making in ``folder``, never a living one's."""
    with suppress(OSError):
        for lock in (folder / PARTIAL).glob("*.lock"):
            with suppress(OSError):
                handle = os.open(lock, os.O_RDWR)
                try:
                    if _locked(handle):
                        shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                        lock.unlink()
                finally:
                    os.close(handle)
        (folder / PARTIAL).rmdir()  # if there is nothing left in it


def _locked(handle: int) -> bool | None:
    """Whether this process has the lock on an open file now; None if there is no telling."""
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return None
    return True


def _short(name: str) -> str:
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:16]


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A private place for a file or folder that becomes ``path`` when the block ends well.

    A file replaces an older one. A folder that somebody else finished in the meantime stays: makers
    of one name make the same.

    Raises:
        OutputError: if it cannot be written.
    """
    with staging_in(path.parent) as private:
        partial = private / path.name
        try:
            yield partial
            try:
                partial.replace(path)
            except OSError:
                if not (partial.is_dir() and path.is_dir()):
                    raise
        except OSError as error:
            if error.filename is None or is_below(error.filename, private):
                raise writing_failed(path, error) from error
            raise


def as_umask_says(path: Path) -> None:
    """Give a file, or all files below a folder, the rights of a new one: safetensors' are 0600."""
    mask = os.umask(0)
    os.umask(mask)
    for one in [path, *path.rglob("*")]:
        if one.is_file():
            one.chmod(0o666 & ~mask)


def writing_failed(path: Path, error: BaseException) -> OutputError:
    """The sentence for a file that could not be written."""
    reason = getattr(error, "strerror", None) or getattr(error, "error_string", None) or str(error)
    return OutputError(f"cannot write {path}: {reason or 'the disk may be full'}".rstrip(". "))


def is_below(name: str | bytes, folder: Path) -> bool:
    """Whether an error's file is in ``folder``."""
    return Path(os.fsdecode(name)).is_relative_to(folder)


def path_problem(error: OSError) -> str:
    """The sentence for a file or folder that cannot be used; it names it."""
    reason = (error.strerror or str(error)).lower()
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if name is not None]
    return f"{' → '.join(map(str, names))}: {reason}" if names else reason


def require_writable(folder: Path) -> None:
    """Raise ``OutputError`` if nothing can be written to ``folder``, before any work is done."""
    staging_in(folder).close()


def require_absent(paths: Sequence[Path], overwrite: bool) -> None:
    """Raise ``ExistsError`` for the first of ``paths`` that exists, unless ``overwrite``."""
    for path in paths:
        if os.path.lexists(path) and not overwrite:
            raise ExistsError(f"{path} exists")
