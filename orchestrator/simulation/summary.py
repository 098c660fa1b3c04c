"""What a simulation says in numbers: means and percentiles, throughput, how much was cached, what it would cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.jsontypes import JsonObject
from orchestrator.simulation.request import SimulatedOutcome

PERCENTILES = (50, 90, 95, 99)


@dataclass(frozen=True, slots=True)
class Spread:
    """The mean and the percentiles of one time, in seconds."""

    mean: float
    p50: float
    p90: float
    p95: float
    p99: float

    @classmethod
    def of(cls, seconds: np.ndarray) -> Spread:
        """Of at least one number."""
        found = np.percentile(seconds, PERCENTILES)
        return cls(float(seconds.mean()), *(float(value) for value in found))

    def as_dict(self) -> JsonObject:
        """JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class SimulationSummary:
    """A simulation in numbers. `is_simulation` is there so that nobody takes them for measurements.

    Attributes:
        requests: How many were answered.
        refused: How many were longer than an engine's memory.
        seconds: From the first arrival to the last token.
        ttft_s: Time to first token.
        per_token_s: Time between two tokens of an answer.
        latency_s: Time to last token.
        requests_per_s: Answered in a second.
        output_tokens_per_s: Tokens written in a second.
        cached_share: Share of the prompts' tokens that were cached.
        preemptions: How often a request was thrown out for want of memory.
        is_simulation: Always true.
    """

    requests: int
    refused: int
    seconds: float
    ttft_s: Spread
    per_token_s: Spread
    latency_s: Spread
    requests_per_s: float
    output_tokens_per_s: float
    cached_share: float
    preemptions: int
    is_simulation: bool = True

    def as_dict(self) -> JsonObject:
        """JSON values."""
        found: JsonObject = {name: getattr(self, name) for name in self.__slots__}
        return found | {name: found[name].as_dict() for name in ("ttft_s", "per_token_s", "latency_s")}


def summarize(outcomes: Sequence[SimulatedOutcome]) -> SimulationSummary | None:
    """The numbers of a simulation; `None` where nothing was answered."""
    answered = [each for each in outcomes if not each.refused]
    if not answered:
        return None
    last = max(each.last_token_s for each in answered)
    seconds = max(last - min(each.arrival_s for each in answered), 1e-9)
    return SimulationSummary(
        requests=len(answered),
        refused=len(outcomes) - len(answered),
        seconds=seconds,
        ttft_s=Spread.of(np.array([each.ttft_s for each in answered])),
        per_token_s=Spread.of(np.array([each.per_token_s for each in answered])),
        latency_s=Spread.of(np.array([each.latency_s for each in answered])),
        requests_per_s=len(answered) / seconds,
        output_tokens_per_s=sum(each.output_tokens for each in answered) / seconds,
        cached_share=sum(each.cached_tokens for each in answered) / sum(each.prompt_tokens for each in answered),
        preemptions=sum(each.preemptions for each in answered),
    )
