"""Wrong tokens, counted for each client: whoever gives many has to wait before the next one."""

from __future__ import annotations

import ipaddress
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from stemweave.web.errors import Refused

FREE_ATTEMPTS = 5
LONGEST_WAIT_S = 60.0
FORGOTTEN_AFTER_S = 900.0
MAX_CLIENTS = 10_000


@dataclass
class _Record:
    wrong: int = 0
    last_s: float = 0.0

    def blocked_until_s(self) -> float:
        if self.wrong < FREE_ATTEMPTS:
            return 0.0
        return self.last_s + min(2.0 ** (self.wrong - FREE_ATTEMPTS), LONGEST_WAIT_S)


class Attempts:
    """Five wrong tokens are free; then each doubles the wait, from one second to a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._records: dict[str, _Record] = {}  # the latest failure last

    def check_allowed(self, client: str) -> None:
        """Raise ``Refused`` if ``client`` has to wait, before its next token is looked at."""
        record = self._records.get(_network(client))
        left_s = record.blocked_until_s() - self._clock() if record else 0.0
        if left_s > 0:
            seconds = math.ceil(left_s)
            raise Refused(
                429,
                f"too many wrong tokens: wait {seconds} s before the next one",
                {"retry-after": str(seconds)},
            )

    def failed(self, client: str) -> None:
        """Note a wrong token."""
        network, now_s = _network(client), self._clock()
        record = self._records.pop(network, None)
        if record is None or now_s - record.last_s > FORGOTTEN_AFTER_S:
            record = _Record()
        record.wrong, record.last_s = record.wrong + 1, now_s
        self._records[network] = record
        if len(self._records) > MAX_CLIENTS:
            del self._records[next(iter(self._records))]

    def succeeded(self, client: str) -> None:
        """Forget the failures of ``client``."""
        self._records.pop(_network(client), None)


def _network(client: str) -> str:
    """The client's address; of IPv6 the half that one household has."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    if address.version == 4:
        return client
    return str(ipaddress.ip_network((address, 64), strict=False))
