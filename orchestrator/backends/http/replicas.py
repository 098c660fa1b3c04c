"""Which of several servers of one model a call goes to.

The one that holds its prefix, unless that one has more than its share to do.

Consistent hashing with bounded loads (Mirrokni, Thorup & Zadimoghaddam 2018): a server that comes or goes moves only
its own prefixes, and none gets more than `SPARE` times the mean load. Prefill-heavy and decode-heavy calls may have
pools of their own (disaggregated serving, Zhong et al. 2024).
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal

from orchestrator.backends.dialects.dialect import stated_limit, text_of
from orchestrator.backends.http.circuit_breaker import CircuitBreaker
from orchestrator.backends.http.concurrency_limit import AdaptiveLimit
from orchestrator.jsontypes import JsonObject
from orchestrator.tokens.estimate import estimate_message

Pool = Literal["any", "prefill", "decode"]
SPARE = 1.25
POINTS = 100
PREFIX_CHARS = 2_048
PREFILL_HEAVY = 8.0  # tokens read for each one written


@dataclass(slots=True)
class Replica:
    """One server, and what is known of how it does. `prefill_tokens` and `cached_tokens` are sums over its calls."""

    base_url: str
    pool: Pool = "any"
    breaker: CircuitBreaker = field(default_factory=CircuitBreaker)
    limit: AdaptiveLimit = field(default_factory=AdaptiveLimit)
    calls: int = 0
    prefill_tokens: int = 0
    cached_tokens: int = 0

    @property
    def hit_rate(self) -> float:
        """Share of the tokens read that came from its cache, in [0, 1]."""
        return self.cached_tokens / self.prefill_tokens if self.prefill_tokens else 0.0


class Replicas:
    """All servers of one model. Raises `ValueError` without any."""

    def __init__(self, replicas: Sequence[Replica]) -> None:
        if not replicas:
            raise ValueError("a model needs the address of at least one server")
        self.all = list(replicas)
        points = sorted(
            (_hash(f"{replica.base_url}#{point}".encode()), index)
            for index, replica in enumerate(self.all)
            for point in range(POINTS)
        )
        self._points = [point for point, _ in points]
        self._owners = [owner for _, owner in points]

    def choose(self, body: JsonObject, *, expected_output: float, without: Replica | None = None) -> Replica:
        """The server for a call; one whose circuit is open only when all are."""
        if len(self.all) == 1:
            return self.all[0]
        wanted = weight_of(body, expected_output)
        able = [r for r in self.all if r.pool in ("any", wanted)] or self.all
        able = [r for r in able if r is not without] or able
        able = [r for r in able if not r.breaker.is_open] or able
        most = math.ceil(SPARE * (sum(r.limit.in_flight for r in able) + 1) / len(able))
        at = bisect.bisect(self._points, prefix_hash(body))
        for step in range(len(self._owners)):
            replica = self.all[self._owners[(at + step) % len(self._owners)]]
            if replica in able and replica.limit.in_flight < most:
                return replica
        return min(able, key=lambda r: r.limit.in_flight)

    @property
    def is_available(self) -> bool:
        """Whether any server of the model may be asked."""
        return any(not replica.breaker.is_open for replica in self.all)

    @property
    def hit_rate(self) -> float:
        """Share of all tokens read that came from a cache, in [0, 1]."""
        read = sum(replica.prefill_tokens for replica in self.all)
        return sum(replica.cached_tokens for replica in self.all) / read if read else 0.0


def prefix_hash(body: JsonObject) -> int:
    """The same for all turns of a conversation, and for all questions about one long text that stands first."""
    digest = blake2b(digest_size=8)
    for message in body["messages"]:
        text = text_of(message.get("content"))
        digest.update(text[:PREFIX_CHARS].encode("utf-8", "replace"))
        if message["role"] == "user":
            break
    return int.from_bytes(digest.digest())


def weight_of(body: JsonObject, expected_output: float) -> Pool:
    """Whether reading or writing is the larger part of a call.

    Both by a rule of thumb for the ratio of their speeds.
    """
    read = read_tokens(body)
    most = stated_limit(body)
    written = expected_output if most is None else min(expected_output, float(most))
    return "prefill" if read > PREFILL_HEAVY * max(written, 1.0) else "decode"


def read_tokens(body: JsonObject) -> float:
    """About how many tokens a body has to read."""
    return float(sum(estimate_message(text_of(message.get("content"))) for message in body.get("messages", ())))


def _hash(key: bytes) -> int:
    return int.from_bytes(blake2b(key, digest_size=8).digest())
