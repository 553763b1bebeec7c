"""News of jobs, from the worker's thread to the event streams that wait for them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Feed:
    """Wakes whoever follows a job. ``changed`` may be called from any thread."""

    def __init__(self) -> None:
        self._followers: dict[str, set[tuple[asyncio.AbstractEventLoop, asyncio.Event]]] = {}
        self._lock = threading.Lock()
        self.closed = False

    def close(self) -> None:
        """The server stops: whoever follows a job wakes up and ends."""
        self.closed = True
        self.changed()

    def changed(self, job_id: str | None = None) -> None:
        """One job has news; None: perhaps all, as the queue has moved."""
        with self._lock:
            names = self._followers if job_id is None else (job_id,)
            woken = [follower for name in names for follower in self._followers.get(name, ())]
        for loop, event in woken:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    @contextmanager
    def following(self, job_id: str) -> Iterator[asyncio.Event]:
        """An event that is set at each change of the job while the block runs."""
        follower = asyncio.get_running_loop(), asyncio.Event()
        with self._lock:
            self._followers.setdefault(job_id, set()).add(follower)
        try:
            yield follower[1]
        finally:
            with self._lock:
                self._followers[job_id].discard(follower)
                if not self._followers[job_id]:
                    del self._followers[job_id]
