"""A small benchmark of one model, over the wire: how long it reads, how fast it writes, what its prefix cache saves, how much of its context it uses.

The time to the first token is fitted as a line over the length of prompts that no cache knows. The effective context is the longest prompt in which
the model still finds a fact wherever it stands (needle in a haystack; Kamradt 2023, Hsieh et al. 2024). Every call is reserved and settled.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from orchestrator.backends.base import Backend, Delta, Request
from orchestrator.backends.billing import bill_of, worst_case
from orchestrator.backends.measured import Measured
from orchestrator.budget import Ledger
from orchestrator.errors import BackendError, BudgetExceeded
from orchestrator.types import Completion, Message

LENGTHS = (128, 1_024, 4_096, 8_192)
REPEATS = 3
DECODE_TOKENS = 128
CACHED_LENGTH = 4_096
HAYSTACKS = (2_048, 8_192, 32_768, 65_536, 131_072)
POSITIONS = (0.0, 0.25, 0.5, 0.75, 1.0)
FOUND_SHARE = 0.8
LEAST_RISE = 0.2  # of the mean time: a line that rises less says nothing about reading
CHARS_PER_TOKEN = 4
_WORDS = (
    "river stone window garden letter winter bridge market candle forest silver morning quiet travel paper island copper summer".split()
)


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement: what was done with a prompt of so many tokens, and the seconds, or the share of needles found."""

    what: str
    tokens: int
    value: float


class Probe:
    """`longest` bounds the prompts (default: what the profile says of its context); `report` is told of every point."""

    def __init__(
        self,
        backend: Backend,
        ledger: Ledger,
        *,
        longest: int | None = None,
        rng: random.Random | None = None,
        report: Callable[[Point], None] = lambda point: None,
    ) -> None:
        self._backend = backend
        self._ledger = ledger
        self._longest = min(longest or backend.profile.context_tokens, backend.profile.context_tokens)
        self._rng = rng or random.Random()
        self._report = report
        self.simulated = backend.profile.simulated
        """Whether any answer came from a simulated model."""

    async def run(self, *, context: bool = True) -> Measured:
        """Everything, until the budget is used up: what could not be measured stays `None`. Raises `BackendError` if the model cannot be asked."""
        ttft = prefill = speed = gain = effective = cached = None
        try:
            ttft, prefill = await self.reading()
            speed = await self.writing()
            gain, cached = await self.caching()
            effective = await self.context() if context else None
        except BudgetExceeded as error:
            if ttft is None:
                raise
            self._report(Point(f"stopped: {error.message}", 0, 0.0))
        return Measured(ttft, prefill, speed, effective, gain, cached, datetime.now(UTC).strftime("%Y-%m-%d"))

    async def reading(self) -> tuple[float, float | None]:
        """(seconds to the first token of an empty prompt, tokens read per second)."""
        points: list[tuple[float, float]] = []
        for length in LENGTHS:
            if length > self._longest // 2:
                break
            seconds: list[float] = []
            read: list[int] = []
            for _ in range(REPEATS):
                done = await self._ask(self._filler(length) + "\n\nReply with the word yes.", 4)
                seconds.append(_first_s(done))
                read.append(done.usage.prefill_tokens)
            points.append((statistics.median(read), statistics.median(seconds)))
            self._report(Point("first token", int(points[-1][0]), points[-1][1]))
        return line(points)

    async def writing(self) -> float | None:
        """Tokens written per second, after the first."""
        done = await self._ask("Write a long story about a sailor. Do not stop early.", DECODE_TOKENS)
        seconds = done.latency_s - _first_s(done)
        if done.usage.output_tokens < 8 or seconds <= 0:
            return None
        speed = (done.usage.output_tokens - 1) / seconds
        self._report(Point("tokens a second", done.usage.output_tokens, speed))
        return speed

    async def caching(self) -> tuple[float | None, int | None]:
        """(share of the time to the first token that a known prefix saves, tokens that the provider says it had cached)."""
        length = min(CACHED_LENGTH, self._longest // 2)
        prefix = self._filler(length)
        first = await self._ask(prefix + "\n\nReply with the word yes.", 4)
        again = [await self._ask(prefix + f"\n\nReply with the word {word}.", 4) for word in ("no", "maybe", "never")]
        before, after = _first_s(first), statistics.median(_first_s(done) for done in again)
        gain = max(1.0 - after / before, 0.0) if before > 0 else None
        cached = max(done.usage.cached_tokens for done in again)
        self._report(Point("cache saves", cached, gain or 0.0))
        return gain, cached

    async def context(self) -> int | None:
        """The longest prompt in which it finds four needles of five, wherever they stand; `None` if it finds too few even in the shortest."""
        effective: int | None = None
        for length in (*[size for size in HAYSTACKS if size < self._longest * 0.9], int(self._longest * 0.9)):
            found = [await self._finds(length, position) for position in POSITIONS]
            share = sum(found) / len(found)
            self._report(Point("needles found", length, share))
            if share < FOUND_SHARE:
                break
            effective = length
        return effective

    async def _finds(self, length: int, position: float) -> bool:
        code = str(self._rng.randrange(100_000, 1_000_000))
        lines = self._filler(length).split("\n")
        lines.insert(round(position * len(lines)), f"The code of the lighthouse is {code}.")
        try:
            done = await self._ask("\n".join(lines) + "\n\nWhat is the code of the lighthouse? Reply with the number alone.", 16)
        except BackendError as error:
            if error.status in (400, 413, 422):
                return False  # longer than it takes
            raise
        return code in (done.text or "")

    async def _ask(self, prompt: str, max_tokens: int) -> Completion:
        """One streamed call, paid."""
        request = Request((Message("user", prompt),), prompt, max_tokens=max_tokens, temperature=0.0)
        worst = worst_case(self._backend, request)
        held = self._ledger.reserve(usd=worst.usd, tokens=worst.tokens)
        done: Completion | None = None
        began = time.perf_counter()
        try:
            async for piece in self._backend.stream(request):
                if not isinstance(piece, Delta):
                    done = piece
        except BaseException as error:
            self._ledger.failed(held, error)
            raise
        assert done is not None  # a stream ends with its completion
        self.simulated = self.simulated or done.simulated
        bill = bill_of(self._backend, done, worst)
        self._ledger.settle(held, usd=bill.usd or 0.0, tokens=bill.usage.total_tokens)
        if done.ttft_s is None and done.latency_s == 0.0:
            from dataclasses import replace

            done = replace(done, latency_s=time.perf_counter() - began)
        return done

    def _filler(self, tokens: int) -> str:
        """About so many tokens of words that no cache has seen, in lines."""
        words: list[str] = [f"Note {self._rng.randrange(10**9)}:"]
        size = 0
        while size < tokens * CHARS_PER_TOKEN:
            word = self._rng.choice(_WORDS)
            words.append(word + (".\n" if self._rng.random() < 0.1 else " "))
            size += len(word) + 1
        return "".join(words)


def line(points: Sequence[tuple[float, float]]) -> tuple[float, float | None]:
    """(seconds at nothing, tokens per second) of the line through (tokens, seconds), by least squares; no speed if longer took hardly longer."""
    mean_x, mean_y = statistics.fmean(x for x, _ in points), statistics.fmean(y for _, y in points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
    if slope * (max(x for x, _ in points) - min(x for x, _ in points)) < LEAST_RISE * mean_y:
        return mean_y, None
    return max(mean_y - slope * mean_x, 0.0), 1 / slope


def _first_s(done: Completion) -> float:
    return done.latency_s if done.ttft_s is None else done.ttft_s
