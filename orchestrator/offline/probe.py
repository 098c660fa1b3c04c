"""A small benchmark of one model, over the wire.

How long it reads, how fast it writes, what its prefix cache saves, how much of its context it uses.

The time to the first token is fitted as a line over the length of prompts that no cache knows. The effective context is
the longest prompt in which the model still finds a fact wherever it stands (needle in a haystack; Kamradt 2023, Hsieh
et al. 2024). Every call is reserved and settled.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from orchestrator.backends.base import Backend, Delta, Request
from orchestrator.backends.metering import bill_of, worst_case
from orchestrator.budget import Ledger
from orchestrator.errors import BackendError, BudgetExceeded
from orchestrator.fleet.measured_profiles import Measured
from orchestrator.types import Completion, Message

LENGTHS = (128, 512, 2_048, 8_192)
REPEATS = 3
DECODE_TOKENS = 128
CACHED_LENGTH = 4_096
HAYSTACKS = (128, 512, 2_048, 8_192, 32_768, 131_072)
POSITIONS = (0.0, 0.25, 0.5, 0.75, 1.0)
FOUND_SHARE = 0.8
MIN_RISE = 0.2  # of the mean time: a line that rises less says nothing about reading
CHARS_PER_TOKEN = 4.0  # at first: every answer's usage tells it better
MIN_COUNTED = 100  # tokens of a prompt that says how many characters one has
_WORDS = (
    "river stone window garden letter winter bridge market candle forest silver morning quiet travel paper island "
    "copper summer"
).split()


@dataclass(frozen=True, slots=True)
class ProbePoint:
    """One measurement.

    What was done with a prompt of so many tokens, and the seconds, or the share of needles found.
    """

    what: str
    tokens: int
    value: float


class Probe:
    """Measures one model; `found` is what was measured so far, so that nothing is lost where it is stopped.

    `longest` bounds the prompts, in tokens (default: what the profile says of its context), `seconds` the whole;
    `report` is told of every point. Lengths are the provider's own: how many characters a token has is learned from the
    usage of each answer.
    """

    def __init__(
        self,
        backend: Backend,
        ledger: Ledger,
        *,
        longest: int | None = None,
        seconds: float | None = None,
        rng: random.Random | None = None,
        report: Callable[[ProbePoint], None] = lambda point: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._backend = backend
        self._ledger = ledger
        self._longest = min(longest or backend.profile.context_tokens, backend.profile.context_tokens)
        self._rng = rng or random.Random()
        self._report = report
        self._clock = clock
        self._until = None if seconds is None else clock() + seconds
        self._chars_per_token = CHARS_PER_TOKEN
        self.found = Measured()
        self.simulated = backend.profile.simulated
        """Whether any answer came from a simulated model."""

    async def run(self, *, context: bool = True) -> Measured:
        """Everything, until the money or the time is used up: what could not be measured stays `None`.

        Raises `BackendError` if the model cannot be asked, `BudgetExceeded` where nothing at all was measured.
        """
        try:
            await self.reading()
            await self.writing()
            await self.caching()
            if context:
                await self.context()
        except BudgetExceeded as error:
            if self.found.ttft_s is None:
                raise
            self._report(ProbePoint(f"stopped: {error.message}", 0, 0.0))
        return self.found

    def _note(self, found: Measured) -> None:
        self.found = replace(found, measured_at=datetime.now(UTC).strftime("%Y-%m-%d"))

    async def reading(self) -> None:
        """Seconds to the first token of an empty prompt, and tokens read per second."""
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
            self._report(ProbePoint("first token", int(points[-1][0]), points[-1][1]))
            ttft_s, tokens_per_s = line(points)
            self._note(replace(self.found, ttft_s=ttft_s, prefill_tokens_per_s=tokens_per_s))

    async def writing(self) -> None:
        """Tokens written per second, after the first."""
        done = await self._ask("Write a long story about a sailor. Do not stop early.", DECODE_TOKENS)
        seconds = done.latency_s - _first_s(done)
        if done.usage.output_tokens < 8 or seconds <= 0:
            return
        speed = (done.usage.output_tokens - 1) / seconds
        self._report(ProbePoint("tokens a second", done.usage.output_tokens, speed))
        self._note(replace(self.found, tokens_per_s=speed))

    async def caching(self) -> None:
        """The share of the time to the first token that a known prefix saves, and the tokens that the provider says it
        had cached.
        """
        length = min(CACHED_LENGTH, self._longest // 2)
        prefix = self._filler(length)
        first = await self._ask(prefix + "\n\nReply with the word yes.", 4)
        again = [await self._ask(prefix + f"\n\nReply with the word {word}.", 4) for word in ("no", "maybe", "never")]
        before, after = _first_s(first), statistics.median(_first_s(done) for done in again)
        gain = max(1.0 - after / before, 0.0) if before > 0 else None
        cached = max(done.usage.cached_tokens for done in again)
        self._report(ProbePoint("cache saves", cached, gain or 0.0))
        self._note(replace(self.found, cache_gain=gain, cached_tokens=cached))

    async def context(self) -> None:
        """The longest prompt in which it finds four needles of five, wherever they stand.

        In steps of four, then once between the last that did and the first that did not. Nothing is noted where it
        finds too few even in the shortest.
        """
        is_bounded = (
            self._longest < self._backend.profile.context_tokens
        )  # by its caller: more may be found in longer prompts
        lengths = (*[size for size in HAYSTACKS if size < self._longest * 0.9], int(self._longest * 0.9))
        good = 0
        for length in lengths:
            if await self._finds_most(length):
                good = length
                if is_bounded and length == lengths[-1]:
                    self._note(replace(self.found, effective_context_tokens=None))
                    self._report(
                        ProbePoint(
                            "all were found up to the bound that was set: the effective context is larger, and not "
                            "noted",
                            0,
                            0.0,
                        )
                    )
                continue
            between = int((good * length) ** 0.5)
            if good and between > good * 1.2:
                await self._finds_most(between)
            break

    async def _finds_most(self, length: int) -> bool:
        """Whether enough needles are found in prompts of about so many tokens.

        The real length is noted, if they are.
        """
        found, tokens = 0, list[int]()
        for tried, position in enumerate(POSITIONS):
            if found + len(POSITIONS) - tried < FOUND_SHARE * len(POSITIONS):
                break  # the rest cannot make up for it
            searched = await self._searched(length, position)
            if searched is not None:
                tokens.append(searched[0])
                found += searched[1]
        share = found / len(POSITIONS)
        real = int(statistics.median(tokens)) if tokens else length
        self._report(ProbePoint("needles found", real, share))
        if share < FOUND_SHARE:
            return False
        self._note(replace(self.found, effective_context_tokens=real))
        return True

    async def _searched(self, length: int, position: float) -> tuple[int, bool] | None:
        """(tokens of the prompt, whether its needle was found).

        `None` where the prompt is longer than the model takes.
        """
        code = str(self._rng.randrange(100_000, 1_000_000))
        lines = self._filler(length).split("\n")
        lines.insert(round(position * len(lines)), f"The code of the lighthouse is {code}.")
        try:
            done = await self._ask(
                "\n".join(lines) + "\n\nWhat is the code of the lighthouse? Reply with the number alone.", 16
            )
        except BackendError as error:
            if error.status in (400, 413, 422):
                return None
            raise
        return done.usage.prefill_tokens, code in (done.text or "")

    async def _ask(self, prompt: str, max_tokens: int) -> Completion:
        """One streamed call, paid. Raises `BudgetExceeded` where the money or the time is used up."""
        left_s = None if self._until is None else self._until - self._clock()
        if left_s is not None and left_s <= 0:
            raise BudgetExceeded("the time for it is over", limit="seconds", remedy="Allow more seconds")
        request = Request((Message("user", prompt),), prompt, max_tokens=max_tokens, temperature=0.0, deadline_s=left_s)
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
            if isinstance(error, BackendError) and self._until is not None and self._clock() >= self._until:
                raise BudgetExceeded("the time for it is over", limit="seconds", remedy="Allow more seconds") from None
            raise
        assert done is not None  # a stream ends with its completion
        self.simulated = self.simulated or done.simulated
        bill = bill_of(self._backend, done, worst)
        self._ledger.settle(
            held, usd=bill.usd or 0.0, tokens=bill.usage.total_tokens, output_tokens=bill.usage.output_tokens
        )
        if done.usage.prefill_tokens >= MIN_COUNTED and not done.usage.estimated:
            self._chars_per_token = len(prompt) / done.usage.prefill_tokens
        if done.ttft_s is None and done.latency_s == 0.0:
            done = replace(done, latency_s=time.perf_counter() - began)
        return done

    def _filler(self, tokens: int) -> str:
        """About so many tokens of words that no cache has seen, in lines."""
        words: list[str] = [f"Note {self._rng.randrange(10**9)}:"]
        size = 0
        while size < tokens * self._chars_per_token:
            word = self._rng.choice(_WORDS)
            words.append(word + (".\n" if self._rng.random() < 0.1 else " "))
            size += len(word) + 1
        return "".join(words)


def line(points: Sequence[tuple[float, float]]) -> tuple[float, float | None]:
    """(seconds at nothing, tokens per second) of the line through (tokens, seconds), by least squares.

    No speed if longer took hardly longer.
    """
    mean_x, mean_y = statistics.fmean(x for x, _ in points), statistics.fmean(y for _, y in points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
    if slope * (max(x for x, _ in points) - min(x for x, _ in points)) < MIN_RISE * mean_y:
        return mean_y, None
    return max(mean_y - slope * mean_x, 0.0), 1 / slope


def _first_s(done: Completion) -> float:
    return done.latency_s if done.ttft_s is None else done.ttft_s
