"""What commands say: sentences for people or, with ``--json``, one object a line for programs.

Options set it up (``options``): ``-q``, ``--json`` and ``--verbose``.
"""

from __future__ import annotations

import io
import json
import os
import select
import sys
from typing import Any

from stemweave.errors import ExistsError, InputError


class Console:
    """What this command says, and how."""

    quiet = as_json = verbose = False

    def reset(self) -> None:
        """As before any option."""
        self.quiet = self.as_json = self.verbose = False

    def say(self, text: str) -> None:
        """A sentence on stdout, for people."""
        if not (self.quiet or self.as_json):
            print(text)

    def give(self, result: dict[str, Any], text: str) -> None:
        """A result: an object of JSON, or ``text``."""
        if self.as_json:
            print(json.dumps(result))
        else:
            self.say(text)

    def remark(self, text: str) -> None:
        """A sentence that belongs to no result."""
        if not self.quiet:
            print(text, file=sys.stderr if self.as_json else sys.stdout)

    def say_device(self, name: str) -> None:
        """Which device was chosen, on stderr; that it is the CPU only interests who is looking."""
        if self.draws_bars or not (self.quiet or name == "cpu"):
            print(f"device: {name}", file=sys.stderr)

    def complain(self, problem: str, trace: str | None = None) -> None:
        """One sentence on stderr, whatever the options; with ``--verbose`` where it arose."""
        if self.verbose and trace is not None:
            print(trace, end="", file=sys.stderr)
        print(f"error: {problem}", file=sys.stderr)

    @property
    def draws_bars(self) -> bool:
        """Whether progress is drawn."""
        return not self.quiet and sys.stderr is not None and sys.stderr.isatty()


console = Console()
"""Of this process."""


def sentence(error: InputError) -> str:
    """What a command says of an error: its message, and the option that helps."""
    if isinstance(error, ExistsError):
        return f"{error}: choose another place, or pass --overwrite"
    return str(error)


def open_standard_streams() -> None:
    """Make stdout and stderr streams that always can be written to.

    Whoever reads them may stop, and the disk that they are written to may be full: the files that
    were asked for are made all the same.
    """
    for number in range(3):  # no other file may get the number of a closed one
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
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
