"""How a process ends when a signal asks it to: silently, with 128 + the signal's number.

A signal becomes ``SystemExit``, so every ``finally`` runs. In an import, which would turn that into
an exception of its own, and in workers, whose pool would catch it, the process removes what it was
making (``removing_at_end``) and ends there and then. Signals that were ignored stay ignored.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
PATIENCE_S = 8.0
"""After so long, what a signal should have ended ends at once."""

_removals: dict[Callable[[], None], None] = {}
_pid = os.getpid()
_code: int | None = None


def handle_signals(at_once: bool = False) -> None:
    """From here on signals end this process as the module says; ``at_once``: as a worker ends."""
    global _pid
    _pid = os.getpid()
    for number in SIGNALS:
        if is_heeded(number):
            signal.signal(number, _leave_for if at_once else _end)


def is_heeded(number: int) -> bool:
    """Whether a signal does anything here: those that were ignored stay ignored."""
    return signal.getsignal(number) not in (signal.SIG_IGN, None)


@contextmanager
def handled_signals() -> Iterator[None]:
    """``handle_signals`` in the block; afterwards signals do what they did before.

    What an exception has become on its way does not matter: the block ends with the signal's code.
    """
    global _code
    before = {number: signal.getsignal(number) for number in SIGNALS}
    _code = None
    handle_signals()
    try:
        yield
    except BaseException:
        if _code is not None:
            sys.exit(_code)
        raise
    finally:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)


@contextmanager
def signals_held_back() -> Iterator[None]:
    """In the block no signal arrives; processes that begin in it take none before they say so."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def handle_signals_of_worker() -> None:
    """``handle_signals`` for a process that began with its signals held back."""
    handle_signals(at_once=True)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def removing_at_end(remove: Callable[[], None]) -> None:
    """Call ``remove`` when this process ends, whatever ends it, unless ``kept_at_end`` is first."""
    _removals[remove] = None


def kept_at_end(remove: Callable[[], None]) -> None:
    """Forget what ``removing_at_end`` was given."""
    _removals.pop(remove, None)


@atexit.register
def _remove_all() -> None:
    if os.getpid() == _pid:  # not in a fork, whose parent is still making it
        for remove in reversed(list(_removals)):
            with suppress(Exception):
                remove()


def leave(code: int) -> NoReturn:
    """End at once, with what is half-made removed."""
    _remove_all()
    os._exit(code)


def _leave_for(number: int, _: FrameType | None) -> None:
    leave(128 + number)


def _end(number: int, frame: FrameType | None) -> None:
    global _code
    _code = 128 + number
    for other in SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    if os.getpid() != _pid or _is_importing(frame):
        leave(128 + number)
    if hasattr(signal, "setitimer"):  # for whatever swallows the exception or waits
        signal.signal(signal.SIGALRM, lambda *_: leave(128 + number))
        signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)
    sys.exit(128 + number)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
