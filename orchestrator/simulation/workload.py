"""Traffic made by rule: so many requests a second, of lengths as stated, some with beginnings that others share."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from orchestrator.errors import InvalidArgument
from orchestrator.simulation.request import CHUNK_TOKENS, SimulatedRequest

MAX_REQUESTS = 1_000_000
NINETIETH = 1.2815515655446004  # of the normal distribution


@dataclass(frozen=True, slots=True)
class Length:
    """Tokens, distributed log-normally. `p90` equal to `median` means that all are the same."""

    median: float
    p90: float

    def draw(self, rng: random.Random) -> int:
        """A number of tokens, at least 1."""
        spread = math.log(max(self.p90, self.median) / self.median) / NINETIETH
        return max(round(self.median * math.exp(spread * rng.gauss(0.0, 1.0))), 1)


@dataclass(frozen=True, slots=True)
class Workload:
    """What is asked.

    Attributes:
        prompt: Tokens of a prompt, without what it shares.
        output: Tokens of an answer.
        groups: How many different beginnings there are; 0 for none.
        shared_tokens: How long each of them is.
        turns: How many requests a conversation has on average; each begins with all that was said before.
        pause_s: Mean time between an answer and the next turn.
        chunk_tokens: Tokens of a piece of what is shared.
    """

    prompt: Length
    output: Length
    groups: int = 0
    shared_tokens: int = 0
    turns: float = 1.0
    pause_s: float = 30.0
    chunk_tokens: int = CHUNK_TOKENS

    def requests(self, rate: float, seconds: float, *, seed: int = 0) -> list[SimulatedRequest]:
        """Requests that arrive at `rate` a second (a Poisson process) for so many seconds.

        Raises `InvalidArgument` where that are more than a million.
        """
        if not 0 < rate * seconds <= MAX_REQUESTS:
            raise InvalidArgument(
                f"{rate:g} requests a second for {seconds:g} s are {rate * seconds:,.0f} requests",
                remedy=f"Simulate 1 to {MAX_REQUESTS:,}: a shorter time, or a part of the fleet",
            )
        rng = random.Random(seed)
        found: list[SimulatedRequest] = []
        at, number = 0.0, 0
        while True:
            at += rng.expovariate(rate / self.turns)
            if at > seconds:
                break
            number += 1
            found += self._conversation(rng, at, number, seconds)
        found.sort(key=lambda request: request.arrival_s)
        return found

    def _conversation(self, rng: random.Random, at: float, number: int, seconds: float) -> list[SimulatedRequest]:
        group = rng.randrange(self.groups) if self.groups else -1
        shared = self.shared_tokens if self.groups else 0
        chunks = [group * 1_000_000 + piece for piece in range(shared // self.chunk_tokens)]
        own = -number * 1_000_000  # negative numbers are this conversation's
        found, said = [], shared
        while at <= seconds:
            prompt, output = said + self.prompt.draw(rng), self.output.draw(rng)
            whole = prompt // self.chunk_tokens
            chunks += [own - piece for piece in range(len(chunks), whole)]
            found.append(SimulatedRequest(at, prompt, output, tuple(chunks[:whole]), f"c{number}"))
            if rng.random() >= 1 - 1 / self.turns:
                break
            said = prompt + output
            at += rng.expovariate(1 / max(self.pause_s, 1e-9)) + output * 0.02
        return found
