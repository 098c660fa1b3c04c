"""One engine at work, in simulated time.

Steps in which only answers are written follow each other without a change until a request ends, arrives or must make
room, and each takes a little longer than the one before, because the answers grow: their times are an arithmetic
series, so that any number of them is one leap.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.simulation.engine import UNLIMITED, Engine
from orchestrator.simulation.kv_cache import KvCache
from orchestrator.simulation.request import CHUNK_TOKENS, SimulatedOutcome, SimulatedRequest


@dataclass(slots=True)
class Job:
    """A request on its way through an engine."""

    request: SimulatedRequest
    outcome: SimulatedOutcome
    number: int
    arrival_s: float
    written: int = 0  # tokens, before it was last thrown out
    left: int = 0  # of its prompt, to be read
    read: int = 0
    private: int = 0  # tokens of its own in the cache
    shared: tuple[int, ...] = ()
    began: int = 0  # the step that gave its first token since it was last admitted
    life: int = 0  # how often it was thrown out

    @property
    def total(self) -> int:
        """Tokens to be read when it is admitted."""
        return self.request.prompt_tokens + self.written


class SimulatedReplica:
    """Runs an engine. `now` is the end of the last step, in seconds; `chunk_tokens` is the size of shared chunks.

    With `counts_work` each outcome holds what the engine had done when the request was taken up, gave its first token
    and ended: those three of `work`.
    """

    def __init__(
        self, engine: Engine, index: int = 0, *, chunk_tokens: int = CHUNK_TOKENS, counts_work: bool = False
    ) -> None:
        self.engine = engine
        self.index = index
        self.now = 0.0
        self.chunk_tokens = chunk_tokens
        self.cache = KvCache(engine.kv_tokens, chunk_tokens, keeps=engine.prefix_caching)
        self.arriving: deque[Job] = deque()
        self.waiting: deque[Job] = deque()
        self.running: dict[int, Job] = {}  # in the order in which they were admitted
        self.queued_tokens = 0  # of prompts that are not read yet
        self.work = (0.0,) * 5  # steps, prompt tokens, sequences, context tokens, pairs: what `Engine.step` prices
        self._counts_work = counts_work
        self._reading: dict[int, Job] = {}
        self._writing = 0
        self._context = 0
        self._step = 0
        self._planned = 0.0  # when the step that runs was planned
        self._ends: list[tuple[int, int, int, Job]] = []  # (step, number, life, job)
        self._jobs = 0

    @property
    def requests(self) -> int:
        """Requests that wait or run."""
        return len(self.arriving) + len(self.waiting) + len(self.running)

    def submit(self, request: SimulatedRequest) -> SimulatedOutcome:
        """A request arrives; requests arrive in the order of their times."""
        outcome = SimulatedOutcome(request.arrival_s, request.prompt_tokens, request.output_tokens, self.index)
        if request.prompt_tokens + request.output_tokens > self.engine.kv_tokens:
            outcome.refused = "longer than the engine's memory"
            return outcome
        self._jobs += 1
        self.arriving.append(Job(request, outcome, self._jobs, request.arrival_s + self.engine.overhead_s))
        self.queued_tokens += request.prompt_tokens
        return outcome

    def advance(self, until: float) -> None:
        """Works until a moment; a step that has begun before is finished."""
        while self.now < until:
            if not self.running and not self.waiting:
                if not self.arriving or self.arriving[0].arrival_s >= until:
                    self.now = until
                    return
                self.now = self._planned = max(self.now, self.arriving[0].arrival_s)
            self._work(until)

    def drain(self, watched: Sequence[SimulatedOutcome] | None = None) -> float:
        """Works until nothing is left to do, or all of `watched` have ended; when that was."""
        left = len(watched) if watched is not None else -1
        while (self.running or self.waiting or self.arriving) and left:
            if not self.running and not self.waiting:
                self.now = self._planned = max(self.now, self.arriving[0].arrival_s)
            self._work(math.inf)
            while left > 0 and watched is not None and watched[left - 1].has_ended:
                left -= 1
        return self.now

    def _work(self, until: float) -> None:
        """One step that reads prompts, or as many as possible that only write."""
        known = self._planned if self.engine.schedules_ahead else self.now
        while self.arriving and self.arriving[0].arrival_s <= known:
            job = self.arriving.popleft()
            self.waiting.append(job)
            if self._counts_work:
                job.outcome.work = [self.work] * 3
        has_room = self._make_room()
        prefill, attention, read = self._read_prompts(admits=has_room)
        if prefill:
            self._one_step(prefill, attention, read)
        else:
            self._leap(until)
        ends = self._ends
        while ends and ends[0][0] <= self._step:
            _, number, life, job = heapq.heappop(ends)
            if job.life == life and number in self.running:
                self._finish(job)

    def _make_room(self) -> bool:
        """Throws out the youngest requests until each of the others can write a token. False if one was."""
        thrown_out = False
        while self._writing > self.cache.free and len(self.running) > 1:
            _, job = self.running.popitem()
            self._throw_out(job)
            thrown_out = True
        return not thrown_out

    def _throw_out(self, job: Job) -> None:
        if self._reading.pop(job.number, None) is None:
            written = self._step - job.began
            job.written += written
            job.private += written
            self._writing -= 1
            self._context -= job.total
        self.cache.release(job.shared, job.private, ("again", job.number))
        job.private, job.shared, job.read = 0, (), 0
        self.queued_tokens += job.total - job.left
        job.left = job.total
        job.life += 1
        job.outcome.preemptions += 1
        self.waiting.appendleft(job)

    def _read_prompts(self, *, admits: bool) -> tuple[int, float, list[Job]]:
        """(tokens read in this step, pairs of tokens for attention, requests whose prompts are read to the end)."""
        budget = self.engine.token_budget - self._writing
        prefill, attention, ended = 0, 0.0, []
        reading = iter(list(self._reading.values()))
        while budget > 0:
            job = next(reading, None) or (self._admitted() if admits else None)
            if job is None:
                break
            chunk = min(job.left, budget)
            attention += chunk * (job.read + chunk / 2)
            job.read += chunk
            job.left -= chunk
            prefill, budget = prefill + chunk, budget - chunk
            if not job.left:
                ended.append(job)
        self.queued_tokens -= prefill
        return prefill, attention, ended

    def _admitted(self) -> Job | None:
        """The next request in line, if all of its prompt that is not cached fits; the room is taken."""
        if not self.waiting or len(self.running) >= self.engine.max_sequences:
            return None
        job, cache = self.waiting[0], self.cache
        total, chunks = job.total, job.request.chunks
        cached = min(cache.cached_chunks(chunks), (total - 1) // self.chunk_tokens)  # the last token is always read
        held, shared = chunks[:cached], cached * self.chunk_tokens
        if total - shared + cache.need(held) + self._writing > cache.free:
            return None
        self.waiting.popleft()
        again = min(cache.take_back(job.number), total - shared - 1) if job.life else 0
        if job.request.is_read and not job.life:
            again = total - shared - 1
        cache.share(held)
        cache.take(total - shared)
        job.shared, job.private = held, total - shared
        job.read, job.left = shared + again, total - shared - again
        self.queued_tokens -= job.read
        self.running[job.number] = self._reading[job.number] = job
        if not job.life:
            job.outcome.scheduled_s, job.outcome.cached_tokens = self.now, shared
        return job

    def _one_step(self, prefill: int, attention: float, read: list[Job]) -> None:
        writing = self._writing
        if self._counts_work:
            self._count_work(1, prefill, writing, self._context, attention)
        self._pass(self.engine.step(prefill, attention, writing, self._context), 1)
        for job in read:
            del self._reading[job.number]
            self._publish(job)
            job.began = self._step - 1
            self.cache.take(1)
            self._writing += 1
            self._context += job.total + 1
            if not job.life or math.isnan(job.outcome.first_token_s):
                job.outcome.first_token_s = self.now
                if self._counts_work:
                    job.outcome.work[1] = self.work
            ends = job.began + max(job.request.output_tokens - job.written, 1)
            heapq.heappush(self._ends, (ends, job.number, job.life, job))

    def _publish(self, job: Job) -> None:
        """What was read of shared chunks is there for others."""
        whole = job.request.chunks[: job.request.prompt_tokens // self.chunk_tokens]
        new = whole[len(job.shared) :]
        if new and self.engine.prefix_caching:
            job.private -= len(new) * self.chunk_tokens
            self.cache.give(len(new) * self.chunk_tokens)
            self.cache.share(new)
            job.shared = whole

    def _leap(self, until: float) -> None:
        """As many steps of writing alone as nothing changes in."""
        writing, engine = self._writing, self.engine
        if not writing:  # who was thrown out is admitted in the next step
            self._planned = self.now
            return
        steps = min(self._ends[0][0] - self._step, max(self.cache.free // writing, 1))
        first_s = engine.step(0, 0.0, writing, self._context)
        growth_s = engine.context_token_s * writing  # each step takes so much longer than the one before
        if self.arriving and not self.waiting:
            until = min(until, self.arriving[0].arrival_s)
        steps = max(min(steps, _steps_within(until - self.now, first_s, growth_s)), 1)
        before_last = (steps - 1) * first_s + growth_s * (steps - 1) * (steps - 2) / 2
        began = self.now
        if self._counts_work:
            grown = writing * steps * (steps - 1) / 2
            self._count_work(steps, 0, writing * steps, self._context * steps + grown, 0.0)
        self._pass(steps * first_s + growth_s * steps * (steps - 1) / 2, steps)
        self._planned = began + before_last

    def _count_work(self, steps: int, prefill: int, sequences: int, context: float, attention: float) -> None:
        one, two, three, four, five = self.work
        self.work = (one + steps, two + prefill, three + sequences, four + context, five + attention)

    def _pass(self, seconds: float, steps: int) -> None:
        self._planned = self.now
        self.now += seconds
        self._step += steps
        tokens = self._writing * steps
        self._context += tokens
        if tokens:
            self.cache.take(tokens)

    def _finish(self, job: Job) -> None:
        del self.running[job.number]
        written = self._step - job.began
        self._writing -= 1
        self._context -= job.total + written
        self.cache.release(job.shared, job.private + written, ("done", job.number))
        job.outcome.last_token_s = self.now
        if self._counts_work:
            job.outcome.work[2] = self.work


def _steps_within(seconds: float, first_s: float, growth_s: float) -> int:
    """The fewest steps that take at least so many seconds."""
    if seconds <= first_s:
        return 1
    if seconds == math.inf:
        return UNLIMITED
    if growth_s <= first_s * 1e-12:
        return math.ceil(seconds / first_s)
    half = first_s - growth_s / 2
    return math.ceil((math.sqrt(half * half + 2 * growth_s * seconds) - half) / growth_s)
