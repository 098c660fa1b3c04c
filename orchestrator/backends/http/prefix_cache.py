"""Which prefixes of a prompt are worth keeping at the provider.

Those that will be read again often enough to pay for writing them.

Writing a prefix of t tokens to a cache costs t * (write - input) more than reading it; each time that it is read again
saves t * (input - cached). So it pays where the expected number of reads within its lifetime exceeds (write - input) /
(input - cached): 0.28 for five minutes at Anthropic's prices, 1.1 for an hour. Reads are expected as they were seen:
this file remembers the prefixes that went by (as hashes), how soon each came back, and how often those of its kind do.
Providers that cache by themselves need no mark; for them it only foresees how much of a prompt is cached.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal

from orchestrator.backends.dialects.dialect import text_of
from orchestrator.backends.http.replicas import prefix_hash
from orchestrator.jsontypes import JsonObject
from orchestrator.providers.provider import Provider
from orchestrator.router.profile import CACHE_WRITE_1H_FACTOR, CACHE_WRITE_FACTOR, ModelProfile
from orchestrator.tokens.estimate import fewest_tokens

CacheMode = Literal["auto", "off", "5m", "1h"]
MAX_PREFIXES = 4_096
MAX_MARKS = 4
PRIOR_REUSED, PRIOR_SEEN = 0.5, 3.5  # nothing is written to a cache before something of its kind came back
_NAMES = {5: "5m", 60: "1h", 720: "1h"}


@dataclass(frozen=True, slots=True)
class CachePlan:
    """Marks: (index of the message at whose end the prefix ends, lifetime).

    `key` tells a provider which calls share a prefix; "" for none.
    """

    marks: tuple[tuple[int, str], ...] = ()
    key: str = ""


@dataclass(slots=True)
class _Kind:
    """How often prefixes of one kind came back within each lifetime (minutes)."""

    seen: float = 0.0
    reused: dict[int, float] = field(default_factory=dict)

    def p_reuse(self, minutes: int) -> float:
        return (self.reused.get(minutes, 0.0) + PRIOR_REUSED) / (self.seen + PRIOR_SEEN)


@dataclass(slots=True)
class _Prefix:
    kind: _Kind
    tokens: int
    last_s: float
    sightings: float = 1.0
    reused: dict[int, float] = field(default_factory=dict)
    kept_until_s: float = 0.0


class PrefixMemory:
    """What was asked of one model lately. `clock` in seconds."""

    def __init__(
        self,
        provider: Provider,
        profile: ModelProfile,
        mode: CacheMode = "auto",
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._provider = provider
        self._profile = profile
        self._mode = mode
        self._clock = clock
        self._prefixes: OrderedDict[bytes, _Prefix] = OrderedDict()
        self._kinds = {"rules": _Kind(), "turn": _Kind()}
        self._least_chars = provider.least_cached_tokens  # a character is at most four bytes, and those are a token
        self._marks = provider.cache in ("anthropic", "openai", "gemini") and mode != "off"

    def plan(self, body: JsonObject) -> CachePlan | None:
        """What to mark in a request, which is remembered; `None` for nothing.

        A request that its caller marked is left as it is.
        """
        if self._mode == "off" or self._provider.cache == "none":
            return None
        messages = body["messages"]
        if self._provider.cache != "openai" and _chars(messages) < self._least_chars:
            return None  # too short for any cache
        ends = _prefixes(messages, body.get("cache_salt") or "")
        seen = self._remember(ends)
        if not self._marks or "prompt_cache_key" in body or _is_marked(messages):
            return None
        key = f"o{prefix_hash(body):016x}" if self._provider.cache == "openai" else ""
        marks = self._chosen(ends, seen)
        return CachePlan(marks, key) if marks or key else None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is remembered yet."""
        return not self._prefixes

    def expected_cached_tokens(self, messages: Sequence[JsonObject], salt: str = "") -> int:
        """About how many tokens of a prompt its provider still holds for those who send this salt.

        Nothing is remembered.
        """
        now = self._clock()
        held = 0
        for digest, _, tokens in _prefixes(messages, salt):
            prefix = self._prefixes.get(digest)
            lasts_s = 60.0 * self._provider.cache_minutes[0]
            if prefix is None or now - prefix.last_s > max(lasts_s, prefix.kept_until_s - prefix.last_s):
                break
            held = tokens
        return held if held >= self._provider.least_cached_tokens else 0

    def _remember(self, ends: list[tuple[bytes, str, int]]) -> list[_Prefix]:
        now = self._clock()
        found: list[_Prefix] = []
        for digest, kind_name, tokens in ends:
            prefix = self._prefixes.get(digest)
            kind = self._kinds[kind_name]
            if prefix is None:
                prefix = self._prefixes[digest] = _Prefix(kind, tokens, now)
                kind.seen += 1
            else:
                for minutes in self._provider.cache_minutes:
                    if now - prefix.last_s <= 60 * minutes:
                        prefix.reused[minutes] = prefix.reused.get(minutes, 0.0) + 1
                        if prefix.sightings == 1:
                            kind.reused[minutes] = kind.reused.get(minutes, 0.0) + 1
                prefix.sightings += 1
                prefix.last_s = now
                self._prefixes.move_to_end(digest)
            found.append(prefix)
        while len(self._prefixes) > MAX_PREFIXES:
            self._prefixes.popitem(last=False)
        return found

    def _chosen(self, ends: list[tuple[bytes, str, int]], seen: list[_Prefix]) -> tuple[tuple[int, str], ...]:
        """The marks that pay, at most four.

        The first, because most requests share it, and the last ones, because they hold the longest prefixes.
        """
        found: list[tuple[int, str]] = []
        longest = max(self._provider.cache_minutes)
        marked_tokens = 0
        for index, ((_, _, tokens), prefix) in enumerate(zip(ends, seen, strict=True)):
            if tokens < self._provider.least_cached_tokens:
                continue
            minutes = self._fixed() or self._worth(prefix, tokens - marked_tokens, longest)
            if minutes:
                prefix.kept_until_s = self._clock() + 60 * minutes
                longest = minutes  # a longer lifetime may not stand behind a shorter one
                marked_tokens = tokens
                found.append((index, _NAMES.get(minutes, "")))
        return tuple(found if len(found) <= MAX_MARKS else [found[0], *found[1 - MAX_MARKS :]])

    def _fixed(self) -> int:
        """The lifetime that was stated, in minutes."""
        stated = {"5m": 5, "1h": 60}.get(self._mode, 0)
        return min(self._provider.cache_minutes, key=lambda minutes: abs(minutes - stated)) if stated else 0

    def _worth(self, prefix: _Prefix, tokens: int, longest: int) -> int:
        """The lifetime (minutes) under which keeping `tokens` more pays best; 0 where none does."""
        best, best_usd = 0, 0.0
        for minutes in self._provider.cache_minutes:
            if minutes > longest or (
                self._provider.cache == "gemini"
            ):  # its caches cost rent: only where they are asked for
                continue
            usd = tokens * self._gain_per_token(self._expected_reads(prefix, minutes), minutes)
            if usd > best_usd:
                best, best_usd = minutes, usd
        return best

    def _gain_per_token(self, reads: float, minutes: int) -> float:
        p = self._profile
        fresh = p.input_usd_per_mtok or 1.0
        cached = fresh * 0.1 if p.cached_usd_per_mtok is None else p.cached_usd_per_mtok
        for_long = minutes >= 60
        stated = p.cache_write_1h_usd_per_mtok if for_long else p.cache_write_usd_per_mtok
        write = fresh * (CACHE_WRITE_1H_FACTOR if for_long else CACHE_WRITE_FACTOR) if stated is None else stated
        return reads * (fresh - cached) - (write - fresh)

    def _expected_reads(self, prefix: _Prefix, minutes: int) -> float:
        """Each read extends the lifetime, so reads go on until one comes too late.

        P / (1 - p), where p is the share of sightings that were followed by another in time. What was never seen again
        counts as its kind does.
        """
        prior = prefix.kind.p_reuse(minutes)
        p = (prefix.reused.get(minutes, 0.0) + 2 * prior) / (prefix.sightings - 1 + 2)
        return p / max(1.0 - p, 0.02)


def marked(messages: list[JsonObject], plan: CachePlan) -> list[JsonObject]:
    """The messages with `cache_control` at the end of each prefix that is to be kept."""
    out = list(messages)
    for index, ttl in plan.marks:
        message = out[index]
        content = message.get("content")
        parts = (
            [{"type": "text", "text": content}]
            if isinstance(content, str) and content
            else list(content)
            if isinstance(content, list)
            else []
        )
        if parts:
            parts[-1] = {**parts[-1], "cache_control": {"type": "ephemeral"} | ({"ttl": "1h"} if ttl == "1h" else {})}
            out[index] = {**message, "content": parts}
    return out


def cache_salt_of(scope: str, stated: str = "") -> str:
    """The salt of a scope's prefixes: one for each user of each tenant, over all sessions.

    What the caller states keeps them apart further.
    """
    owner = "/".join(scope.split("/")[:2])
    return blake2b(f"{owner}\x00{stated}".encode("utf-8", "replace"), digest_size=16).hexdigest()


def _prefixes(messages: Sequence[JsonObject], salt: str) -> list[tuple[bytes, str, int]]:
    """(hash, kind, tokens) of the prefix that ends with each message."""
    digest, size = blake2b(salt.encode("utf-8", "replace"), digest_size=12), 0
    found: list[tuple[bytes, str, int]] = []
    is_rules = True
    for message in messages:
        is_rules = is_rules and message["role"] in ("system", "developer")
        content = message.get("content")
        text = content if isinstance(content, str) else text_of(content) or repr(content)
        encoded = text.encode("utf-8", "replace")
        digest.update(message["role"].encode() + b"\x00" + encoded + b"\x01")
        size += len(encoded)
        found.append((digest.digest(), "rules" if is_rules else "turn", fewest_tokens(size)))
    return found


def _chars(messages: Sequence[JsonObject]) -> int:
    return sum(
        len(content) if isinstance(content := message.get("content"), str) else len(text_of(content))
        for message in messages
    )


def _is_marked(messages: Sequence[JsonObject]) -> bool:
    return any(
        "cache_control" in part or "prompt_cache_breakpoint" in part
        for message in messages
        if isinstance(message.get("content"), list)
        for part in message["content"]
        if isinstance(part, dict)
    )
