"""Which of several servers of one model a call goes to: where it ends soonest for what it costs the others.

That is weighed by what a server probably holds of the prompt, what it has still to read, and what it works on: as far
as it tells (`EngineLoad`), else by what was sent to it (serving/placement.py). Among servers that cost about the same,
consistent hashing decides (Mirrokni, Thorup & Zadimoghaddam 2018), so that several gateways agree, and a server that
comes or goes moves only its own prefixes. Prefill-heavy and decode-heavy calls may have pools of their own
(disaggregated serving, Zhong et al. 2024).
"""

from __future__ import annotations

import bisect
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal
from urllib.parse import urlsplit

from orchestrator.backends.dialects.dialect import stated_limit, text_of
from orchestrator.backends.http.circuit_breaker import CircuitBreaker
from orchestrator.backends.http.concurrency_limit import AdaptiveLimit
from orchestrator.errors import BackendUnavailable
from orchestrator.jsontypes import JsonObject
from orchestrator.serving.engine_load import EngineLoad
from orchestrator.serving.placement import ReplicaLoad, ReplicaSpeeds, placement_s
from orchestrator.serving.prefix_index import PrefixIndex
from orchestrator.serving.prompt_chunks import CHUNK_TOKENS, prompt_chunks
from orchestrator.tokens.estimate import estimate_message

Pool = Literal["any", "prefill", "decode"]
endpoints_allowed: ContextVar[frozenset[str]] = ContextVar("endpoints_allowed", default=frozenset())
"""The servers that this request may go to, `host:port` each; empty for all."""
call_priority: ContextVar[int | None] = ContextVar("call_priority", default=None)
"""What servers of vLLM and SGLang are told of how urgent this request's calls are; `None` for what its body says."""
SPARE, EQUAL_S = 1.25, 0.02  # what is cheaper by less than this is not worth leaving a server for
FRESH_S = 5.0  # for so long what a server told is believed
MANY_TOKENS, PARTED, SLOW = 20_000.0, 0.5, 0.98
POINTS = 100
PREFIX_CHARS = 2_048
PREFILL_HEAVY = 8.0  # tokens read for each one written


@dataclass(slots=True)
class Replica:
    """One server, and what is known of how it does. `prefill_tokens` and `cached_tokens` are sums over its calls.

    `told` is what it said of its load at `told_s`, `read_s` when it will have read all that was sent to it (both by the
    monotonic clock). `foreseen_tokens` are what was thought to be cached, of the calls that `agrees` compares.
    """

    base_url: str
    pool: Pool = "any"
    breaker: CircuitBreaker = field(default_factory=CircuitBreaker)
    limit: AdaptiveLimit = field(default_factory=AdaptiveLimit)
    calls: int = 0
    prefill_tokens: int = 0
    cached_tokens: int = 0
    told: EngineLoad = field(default_factory=EngineLoad)
    told_s: float = -math.inf
    read_s: float = 0.0
    foreseen_tokens: float = 0.0
    found_tokens: float = 0.0
    kv_events: str = ""

    def compare(self, foreseen: float, found: int) -> None:
        """Notes what a call was thought to find in the cache, and what it found; older calls count less."""
        self.foreseen_tokens = SLOW * self.foreseen_tokens + foreseen
        self.found_tokens = SLOW * self.found_tokens + found

    @property
    def agrees(self) -> bool:
        """Whether about as much is cached as is foreseen: what is told of many tokens, not of a few."""
        return self.foreseen_tokens < MANY_TOKENS or self.found_tokens > PARTED * self.foreseen_tokens

    def unread_s(self, now: float) -> float:
        """How long it will read what was sent to it, in seconds; one that answers nobody has read all."""
        return max(self.read_s - now, 0.0) if self.limit.in_flight else 0.0

    def load(self, now: float, prefill_token_s: float) -> ReplicaLoad:
        """What is known of its load at this moment."""
        fresh = self.told if now - self.told_s < FRESH_S else EngineLoad()
        running, waiting = fresh.running or 0.0, fresh.waiting or 0.0
        own = max(self.limit.in_flight - waiting, 0.0)
        queued = self.unread_s(now) / prefill_token_s
        return ReplicaLoad(queued, max(running, own), waiting, fresh.cache_use or 0.0)

    @property
    def hit_rate(self) -> float:
        """Share of the tokens read that came from its cache, in [0, 1]."""
        return self.cached_tokens / self.prefill_tokens if self.prefill_tokens else 0.0


class Replicas:
    """All servers of one model. Raises `ValueError` without any.

    `prefill_tokens_per_s` is how fast one of them reads; `clock` is monotonic, in seconds.
    """

    def __init__(
        self,
        replicas: Sequence[Replica],
        *,
        prefill_tokens_per_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not replicas:
            raise ValueError("a model needs the address of at least one server")
        self.all = list(replicas)
        self._clock = clock
        self._speeds = ReplicaSpeeds(1 / prefill_tokens_per_s) if prefill_tokens_per_s else ReplicaSpeeds()
        self.index = PrefixIndex(len(self.all))
        points = sorted(
            (_hash(f"{replica.base_url}#{point}".encode()), index)
            for index, replica in enumerate(self.all)
            for point in range(POINTS)
        )
        self._points = [point for point, _ in points]
        self._owners = [owner for _, owner in points]

    def choose(
        self,
        body: JsonObject,
        *,
        expected_output: float,
        without: Replica | None = None,
        among: Collection[str] = (),
        pool: Pool | None = None,
    ) -> Placed:
        """The server for a call, and how much of the prompt it probably holds.

        One whose circuit is open is chosen only when all are.

        Args:
            body: The call, as a chat completion.
            expected_output: Tokens that the answer will have, as far as known.
            without: A server that is chosen only when there is no other.
            among: Addresses (`host:port`) that may be chosen; empty for all.
            pool: Which of the pools; `None` for the one that the lengths of prompt and answer speak for.

        Raises:
            BackendUnavailable: None of `among` serves this model.
        """
        if len(self.all) == 1 and not among:
            return Placed(self.all[0], 0.0)
        now, speeds = self._clock(), self._speeds
        prompt, written = read_tokens(body), _written(body, expected_output)
        able = self._able(pool or _heavier(prompt, written), without, among)
        chunks = prompt_chunks(_texts(body), str(body.get("cache_salt") or ""))
        costs: dict[int, float] = {}
        held: dict[int, float] = {}
        for number in able:
            replica = self.all[number]
            held[number] = min(self.index.matched(number, chunks) * CHUNK_TOKENS, prompt)
            load = replica.load(now, speeds.prefill_token_s)
            costs[number] = placement_s(load, speeds, prompt, held[number], written)
        chosen = self._about_cheapest(costs, prefix_hash(body))
        self.index.record(chosen, chunks)
        replica = self.all[chosen]
        fresh_s = speeds.prefill_token_s * max(prompt - held[chosen], 0.0)
        replica.read_s = now + replica.unread_s(now) + fresh_s
        return Placed(replica, held[chosen])

    def _able(self, wanted: Pool, without: Replica | None, among: Collection[str]) -> list[int]:
        """Places of the servers that may be chosen."""
        every = range(len(self.all))
        able = [n for n in every if not among or endpoint_of(self.all[n].base_url) in among]
        if not able:
            raise BackendUnavailable(
                f"none of the endpoints that the request allows serves this model: {', '.join(sorted(among))[:200]}",
                remedy="Look at the header x-gateway-destination-endpoint-subset",
            )
        able = [n for n in able if self.all[n].pool in ("any", wanted)] or able
        able = [n for n in able if self.all[n] is not without] or able
        return [n for n in able if not self.all[n].breaker.is_open] or able

    def _about_cheapest(self, costs: Mapping[int, float], prefix: int) -> int:
        """The first on the ring that costs about as little as any."""
        most = SPARE * min(costs.values()) + EQUAL_S
        at = bisect.bisect(self._points, prefix)
        for step in range(len(self._owners)):
            number = self._owners[(at + step) % len(self._owners)]
            if costs.get(number, math.inf) <= most:
                return number
        raise AssertionError  # the cheapest is on the ring

    def note_cached(self, replica: Replica, foreseen: float, found: int) -> bool:
        """Notes what a call found in a server's cache. Whether foreseen and found have just parted."""
        agreed = replica.agrees
        replica.compare(foreseen, found)
        if agreed and not replica.agrees:
            number = self.all.index(replica)  # it holds less than was thought: forget sooner
            self.index.resize(number, self.index.size(number) // 2)
            return True
        return False

    @property
    def is_available(self) -> bool:
        """Whether any server of the model may be asked."""
        return any(not replica.breaker.is_open for replica in self.all)

    @property
    def hit_rate(self) -> float:
        """Share of all tokens read that came from a cache, in [0, 1]."""
        read = sum(replica.prefill_tokens for replica in self.all)
        return sum(replica.cached_tokens for replica in self.all) / read if read else 0.0


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a call goes; `cached_tokens` of its prompt are probably held there."""

    replica: Replica
    cached_tokens: float


def endpoint_of(base_url: str) -> str:
    """`host:port` of an address, as the Gateway API inference extension names endpoints."""
    split = urlsplit(base_url)
    return f"{split.hostname}:{split.port or (443 if split.scheme == 'https' else 80)}"


def _texts(body: JsonObject) -> Iterator[str]:
    for message in body.get("messages", ()):
        yield f"{message.get('role')}\x01{text_of(message.get('content'))}"


def _written(body: JsonObject, expected_output: float) -> float:
    most = stated_limit(body)
    return expected_output if most is None else min(expected_output, float(most))


def prefix_hash(body: JsonObject) -> int:
    """The same for all turns of a conversation, and for all questions about one long text that stands first."""
    digest = blake2b(str(body.get("cache_salt") or "").encode("utf-8", "replace"), digest_size=8)
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
    return _heavier(read_tokens(body), _written(body, expected_output))


def _heavier(read: float, written: float) -> Pool:
    return "prefill" if read > PREFILL_HEAVY * max(written, 1.0) else "decode"


def read_tokens(body: JsonObject) -> float:
    """About how many tokens a body has to read."""
    return float(sum(estimate_message(text_of(message.get("content"))) for message in body.get("messages", ())))


def _hash(key: bytes) -> int:
    return int.from_bytes(blake2b(key, digest_size=8).digest())
