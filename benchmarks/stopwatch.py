"""Time and peak memory of the parts of a run, while it runs as it always does.

Functions are replaced by ones that note when they begin and end. A function inside another counts
for itself alone, so that the parts add up to the whole.
"""

from __future__ import annotations

import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.measuring import forget_peak, peak_mb

Part = tuple[Any, str, str]
"""(object or module, name of its function, name of the part)."""


class Stopwatch:
    """Seconds and, if ``memory``, peak MB of every part; with memory the times are not to be used.

    Attributes:
        seconds: by part, in the order in which parts first began.
        peaks_mb: resident memory at its highest while the part, and none inside it, ran.
    """

    def __init__(self, memory: bool = False) -> None:
        self.memory = memory
        self.seconds: dict[str, float] = defaultdict(float)
        self.peaks_mb: dict[str, float] = defaultdict(float)
        self._stack: list[str] = []
        self._since = 0.0

    def _charge(self) -> None:
        """Count what has passed since the last change for the part that runs."""
        now = time.perf_counter()
        if self._stack:
            self.seconds[self._stack[-1]] += now - self._since
            if self.memory:
                self.peaks_mb[self._stack[-1]] = max(self.peaks_mb[self._stack[-1]], peak_mb())
        if self.memory:
            forget_peak()
        self._since = time.perf_counter()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the block for part ``name``."""
        self._charge()
        self._stack.append(name)
        try:
            yield
        finally:
            self._charge()
            self._stack.pop()

    def watched(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """``function``, counted for part ``name``."""

        @functools.wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            with self.part(name):
                return function(*arguments, **options)

        return call

    @contextmanager
    def watching(self, parts: Sequence[Part], rest: str) -> Iterator[None]:
        """Count every call of ``parts`` in the block, and all else in it for ``rest``."""
        originals = [(owner, name, getattr(owner, name)) for owner, name, _ in parts]
        try:
            for owner, name, label in parts:
                setattr(owner, name, self.watched(getattr(owner, name), label))
            with self.part(rest):
                yield
        finally:
            for owner, name, original in originals:
                setattr(owner, name, original)
