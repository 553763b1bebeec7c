"""Standard streams that can be written to whatever becomes of those who read them."""

from __future__ import annotations

import io
import os
import select
import sys
from typing import Any


def open_standard_streams() -> None:
    """Make stdout and stderr streams that always can be written to.

    Whoever reads them may stop, and the disk that they are written to may be full: the files that
    were asked for are made all the same.
    """
    for number in range(3):  # no other file may get the number of a closed one, nor in a worker
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for number, name in ((1, "stdout"), (2, "stderr")):
        encoding = getattr(getattr(sys, name), "encoding", "utf-8")
        buffer = io.BufferedWriter(_Unfailing(number))
        stream = io.TextIOWrapper(buffer, encoding, "backslashreplace", line_buffering=True)
        setattr(sys, name, stream)


class _Unfailing(io.RawIOBase):
    """An open file descriptor; what cannot be written is lost, now and later."""

    def __init__(self, number: int) -> None:
        self._number = number

    def write(self, data: Any) -> int:
        while True:
            try:
                return os.write(self._number, data)
            except BlockingIOError:
                select.select([], [self._number], [])
            except OSError:
                devnull = os.open(os.devnull, os.O_WRONLY)
                os.dup2(devnull, self._number)
                os.close(devnull)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._number)
