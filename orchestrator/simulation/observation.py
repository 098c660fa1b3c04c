"""Requests that an engine answered, and how far a simulation of an engine is from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from orchestrator.simulation.engine import Engine
from orchestrator.simulation.replica import SimulatedReplica
from orchestrator.simulation.request import SimulatedOutcome, SimulatedRequest

MAX_OTHERS = 2_000
FITTED = ("step_s", "prefill_token_s", "sequence_s", "context_token_s")
WORK = (*FITTED, "attention_s")  # in the order of `SimulatedReplica.work`
FLOOR = 0.1  # of the mean time to first token, so that the shortest do not count most
MEAN_WEIGHT = 3.0
PRIOR = 0.1  # how far a number may be from its guess, which is a factor of e for a tenth of a residual
Array = np.ndarray


@dataclass(frozen=True, slots=True)
class ObservedRequest:
    """A request and when its tokens came, in seconds; NaN for a first token that nobody noted."""

    request: SimulatedRequest
    first_token_s: float
    last_token_s: float


class Observation:
    """What was seen, and how far a simulation of an engine is from it."""

    def __init__(self, observed: Sequence[ObservedRequest], others: Sequence[SimulatedRequest]) -> None:
        self._n = len(observed)
        last = max(each.last_token_s for each in observed)
        beside = [each for each in others if each.arrival_s < last][:MAX_OTHERS]
        requests = [each.request for each in observed] + beside
        self._order = sorted(range(len(requests)), key=lambda number: requests[number].arrival_s)
        self.requests = [requests[number] for number in self._order]
        self.arrival = np.array([each.request.arrival_s for each in observed])
        self.prompt = np.array([each.request.prompt_tokens for each in observed], float)
        self.gaps = np.array([max(each.request.output_tokens - 1, 1) for each in observed], float)
        self._first = np.array([each.first_token_s for each in observed])
        self._last = np.array([each.last_token_s for each in observed])
        self._seen = np.isfinite(self._first)
        guess = self.guess(Engine(1.0, 0.0))
        self._stated = [("sequence_s", guess.sequence_s), ("context_token_s", guess.context_token_s)]
        self._real = self._times(None)

    def guess(self, like: Engine) -> Engine:
        """Numbers to begin with: most of a step is the weights, prompts take as long as they seem to at most."""
        times = (self._last - np.where(self._seen, self._first, self.arrival)) / self.gaps
        per_token = max(float(np.quantile(times, 0.1)), 1e-5)
        soonest = ((self._first - self.arrival) / self.prompt)[self._seen]
        prefill = 0.7 * float(soonest.min()) if self._seen.any() else per_token / 100
        at_once = max(float((self._last - self.arrival).sum() / (self._last.max() - self.arrival.min())), 1.0)
        spread = max(0.2 * per_token / at_once, 1e-9)
        context = float(self.prompt.mean()) + float(self.gaps.mean()) / 2
        return replace(
            like,
            step_s=0.6 * per_token,
            prefill_token_s=max(prefill, 1e-9),
            sequence_s=spread,
            context_token_s=spread / max(context, 1.0),
        )

    def simulate(self, engine: Engine, *, watched: int | None = None) -> list[SimulatedOutcome]:
        """What would have come of all requests: those observed, in their order, then the others.

        With `watched` the simulation ends when so many of them have.
        """
        replica = SimulatedReplica(engine, counts_work=True)
        outcomes = [replica.submit(each) for each in self.requests]
        by_number = dict(zip(self._order, outcomes, strict=True))
        ordered = [by_number[number] for number in range(len(outcomes))]
        replica.drain(None if watched is None else ordered[:watched])
        return ordered

    def peaks(self, engine: Engine) -> tuple[int, float]:
        """The most requests at once, and the most tokens that they hold, as a simulation has them."""
        times = []
        for each in self.simulate(engine):
            tokens = each.prompt_tokens + each.output_tokens / 2
            times += [(each.scheduled_s, 1, tokens), (each.last_token_s, -1, -tokens)]
        running, held, most_running, most_held = 0, 0.0, 0, 0.0
        for _, one, tokens in sorted(time for time in times if math.isfinite(time[0])):
            running, held = running + one, held + tokens
            most_running, most_held = max(most_running, running), max(most_held, held)
        return most_running, most_held

    def errors(self, engine: Engine) -> tuple[float, float, float]:
        """How far the means of time to first token, time per token and latency are off, as shares."""
        pairs = zip(self._times(self.simulate(engine)[: self._n]), self._real, strict=True)
        ttft, per_token, latency = (
            float(ours.mean() / theirs.mean() - 1) if len(theirs) else 0.0 for ours, theirs in pairs
        )
        return ttft, per_token, latency

    def residuals(self, engine: Engine, names: tuple[str, ...] = FITTED) -> tuple[Array, Array]:
        """How far a simulation is from what was seen, and how that changes with the logarithms of `names`.

        Residuals are logarithms of simulated over observed times, of each request and of the means. That times change
        with the numbers of a step is known exactly, as long as the same requests share the same steps: a time is the
        work done in it, priced.
        """
        outcomes = self.simulate(engine, watched=self._n)[: self._n]
        ours = self._times(outcomes)
        work = np.array([each.work or [(0.0,) * 5] * 3 for each in outcomes])  # (requests, begin first last, numbers)
        columns = [WORK.index(name) for name in names]
        prices = np.array([getattr(engine, name) for name in names])
        done = work[:, :, columns] * prices
        seen = self._seen
        slopes = [
            (done[:, 1] - done[:, 0])[seen],
            ((done[:, 2] - done[:, 1]) / self.gaps[:, None])[seen],
            done[:, 2] - done[:, 0],
        ]
        rows = [
            _relative(*three, floor=number == 0)
            for number, three in enumerate(zip(ours, self._real, slopes, strict=False))
        ]
        stated = np.array([PRIOR * math.log(max(getattr(engine, n), 1e-13) / g) for n, g in self._stated])
        priors = np.array([[PRIOR * (name == n) for name in names] for n, _ in self._stated])
        left = np.nan_to_num(np.concatenate([*(row[0] for row in rows), stated]), nan=5.0, posinf=5.0, neginf=-5.0)
        return left, np.nan_to_num(np.concatenate([*(row[1] for row in rows), priors]))

    def _times(self, outcomes: Sequence[SimulatedOutcome] | None) -> tuple[Array, Array, Array]:
        """(times to first token, times per token, latencies), simulated or as observed."""
        first, last = self._first, self._last
        if outcomes is not None:
            first = np.array([each.first_token_s for each in outcomes])
            last = np.array([each.last_token_s for each in outcomes])
        seen = self._seen
        latency = np.maximum(last - self.arrival, 1e-9)
        return (
            np.maximum((first - self.arrival)[seen], 0.0),
            np.maximum(((last - first) / self.gaps)[seen], 1e-9),
            latency,
        )


def _relative(ours: Array, theirs: Array, slopes: Array, *, floor: bool) -> tuple[Array, Array]:
    """Logarithms of ratios, with that of the means below them, and how they change."""
    if not len(theirs):
        return ours, slopes
    least = FLOOR * theirs.mean() if floor else 1e-9
    each = np.log((ours + least) / (theirs + least))
    weight = MEAN_WEIGHT * math.sqrt(len(theirs))
    mean = weight * math.log((ours.mean() + least) / (theirs.mean() + least)) if np.isfinite(ours).all() else 5 * weight
    changes = slopes / (ours + least)[:, None]
    mean_changes = weight * slopes.mean(axis=0) / (ours.mean() + least)
    return np.append(each, mean), np.vstack([changes, mean_changes])
