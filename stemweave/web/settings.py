"""Settings of ``stemweave serve``, checked."""

from __future__ import annotations

import ipaddress
import math
from dataclasses import dataclass
from pathlib import Path

from stemweave.errors import InputError

MIN_TOKEN_LENGTH = 8


@dataclass(frozen=True)
class Settings:
    """Limits and places of one server.

    Attributes:
        data: the only folder that is written to.
        host, port: address to listen at.
        token: what clients must show; None: nothing.
        allowed_hosts: names, besides the loopback ones, under which a proxy reaches a server that
            listens on loopback.
        max_minutes: longest piece, uploaded or made.
        max_mb: largest upload in 10⁶ bytes.
        max_queue: most jobs that wait.
        keep_days: projects are deleted so long after they were last used.
        min_free_mb: an upload is refused if it would leave less than this on the disk.
        stall_s: a client that sends nothing for so long is cut off.
        upload_s: longest time for one upload.
    """

    data: Path
    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    max_minutes: float = 10.0
    max_mb: float = 200.0
    max_queue: int = 20
    keep_days: float = 7.0
    min_free_mb: float = 200.0
    stall_s: float = 30.0
    upload_s: float = 1800.0

    def __post_init__(self) -> None:
        """Raise ``InputError`` for what cannot be served or would be open to everyone."""
        for name in ("max_minutes", "max_mb", "keep_days"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"--{name.replace('_', '-')} must be positive, not {value}")
        if self.token is not None and len(self.token) < MIN_TOKEN_LENGTH:
            raise InputError(f"--token must have at least {MIN_TOKEN_LENGTH} characters")
        if self.token is None and not self.on_loopback:
            raise InputError(
                f"--host {self.host} can be reached from other machines: give a --token that users "
                "must know, or listen on 127.0.0.1"
            )
        if self.token is None and self.allowed_hosts:
            raise InputError("--allow-host makes the studio public: give a --token, too")

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return is_loopback(self.host)

    @property
    def max_bytes(self) -> int:
        return round(self.max_mb * 1e6)

    @property
    def max_seconds(self) -> float:
        return self.max_minutes * 60


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine, under a name that no one else can give away."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
