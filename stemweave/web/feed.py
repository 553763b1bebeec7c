"""News of jobs and projects, from any thread to the event streams that wait for them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Feed:
    """Wakes whoever follows a job or project. ``changed`` may be called from any thread."""

    def __init__(self) -> None:
        self._followers: dict[str, set[tuple[asyncio.AbstractEventLoop, asyncio.Event]]] = {}
        self._lock = threading.Lock()
        self.closed = False

    def close(self) -> None:
        """The server stops: whoever follows something wakes up and ends."""
        self.closed = True
        self.changed()

    def changed(self, *topics: str) -> None:
        """The jobs and projects with these ids have news; without ids all may have some."""
        with self._lock:
            names = topics or tuple(self._followers)
            woken = [follower for name in names for follower in self._followers.get(name, ())]
        for loop, event in woken:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    @contextmanager
    def following(self, topic: str) -> Iterator[asyncio.Event]:
        """An event that is set at each change of ``topic``, an id, while the block runs."""
        follower = asyncio.get_running_loop(), asyncio.Event()
        with self._lock:
            self._followers.setdefault(topic, set()).add(follower)
        try:
            yield follower[1]
        finally:
            with self._lock:
                self._followers[topic].discard(follower)
                if not self._followers[topic]:
                    del self._followers[topic]
