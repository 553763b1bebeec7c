"""What commands say: sentences for people or, with ``--json``, one object a line for programs.

Options set it up (``options``): ``-q``, ``--json`` and ``--verbose``.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from stemweave.errors import ExistsError, InputError


class Console:
    quiet = as_json = verbose = False

    def reset(self) -> None:
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
        return not self.quiet and sys.stderr is not None and sys.stderr.isatty()


console = Console()
"""Of this process."""


def sentence(error: InputError) -> str:
    """What a command says of an error: its message, and the option that helps."""
    if isinstance(error, ExistsError):
        return f"{error}: choose another place, or pass --overwrite"
    return str(error)
