"""Of what all share, nobody takes all.

Requests whose bodies are being read, and the bytes of bodies in memory, by organisation and in all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from orchestrator.gateway.accounts.quota_leases import Account
from orchestrator.gateway.errors import GatewayError

FEW = 8  # at once are no trouble
SHARE = 4  # one organisation has at most a fourth of what there is


class Shares:
    """`most_requests` at once and `most_bytes` of bodies, of one process."""

    def __init__(self, most_requests: int, most_bytes: int) -> None:
        self._most_requests, self._most_bytes = max(most_requests // SHARE, FEW), most_bytes
        self._reading: dict[str, int] = {}
        self._bytes: Counter[str] = Counter()
        self.bytes = 0

    def enter(self, org: str, chain: Sequence[Account] = ()) -> None:
        """Counts a request whose body comes in, until `leave`.

        An organisation that may have few calls at once has few of these. Raises `GatewayError`.
        """
        reading = self._reading.get(org, 0)
        if reading >= FEW:
            limits = [account.limits.concurrency for account in chain if account.limits.concurrency is not None]
            allowed = min([self._most_requests, *(2 * most + FEW for most in limits)])
            if reading >= allowed:
                raise _too_much(429, f"{allowed} requests of this organisation are sending their bodies already")
        self._reading[org] = reading + 1

    def leave(self, org: str) -> None:
        """A request of the organisation has read its body."""
        self._reading[org] -= 1
        if not self._reading[org]:
            del self._reading[org]

    def take(self, org: str, size: int, largest: int) -> None:
        """Counts a body of `size` bytes, until `give_back`.

        Raises `GatewayError` if they are too many; one of the `largest` size always fits alone.
        """
        own = self._bytes[org]
        if own and own + size > max(self._most_bytes // SHARE, largest):
            raise GatewayError(
                429,
                "the bodies of this organisation's requests take too much memory at once",
                code="rate_limit_exceeded",
                retry_after_s=1.0,
            )
        if self.bytes and self.bytes + size > max(self._most_bytes, largest):
            raise _too_much(503, "the bodies of all requests take too much memory at once")
        self._bytes[org] += size
        self.bytes += size

    def give_back(self, org: str, size: int) -> None:
        """The bytes of a body are no longer in memory."""
        self.bytes -= size
        self._bytes[org] -= size
        if not self._bytes[org]:
            del self._bytes[org]


def _too_much(status: int, told: str) -> GatewayError:
    return GatewayError(status, told, code="rate_limit_exceeded" if status == 429 else "overloaded", retry_after_s=1.0)
