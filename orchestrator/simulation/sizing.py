"""How many replicas a load needs, and what that costs: by simulating a slice of the fleet.

A fleet of thousands of replicas is a multiple of a few: each gets its share of the requests, and of the conversations
and shared beginnings with them. So a slice is simulated, whose size is stated, and the rest is multiplication.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from orchestrator.errors import InvalidArgument
from orchestrator.simulation.engine import Engine
from orchestrator.simulation.fleet import SimulatedFleet, simulate
from orchestrator.simulation.request import SimulatedOutcome
from orchestrator.simulation.summary import SimulationSummary, summarize
from orchestrator.simulation.workload import Workload

SLICE = 16
FEWEST = 1_000  # requests that are looked at, at least: a percentile of a few is chance
WARM_SHARE, WARM_GROUPS = 0.25, 5  # of the time, and requests of each shared beginning, before any is looked at
MOST_TIMES = 64
KEEP_TOGETHER = ("cache_aware", "precise", "disaggregated")


@dataclass(frozen=True, slots=True)
class Sized:
    """A fleet and what it does. `simulated_replicas` of `replicas` were simulated, with their share of the load."""

    replicas: int
    simulated_replicas: int
    summary: SimulationSummary
    meets_targets: bool

    @classmethod
    def of(cls, replicas: int, simulated: int, summary: SimulationSummary, targets: Mapping[str, float]) -> Sized:
        """Of a summary."""
        return cls(replicas, simulated, summary, meets(summary, targets))


Simulated = tuple[Sized, list[SimulatedOutcome]]


def meets(summary: SimulationSummary, targets: Mapping[str, float]) -> bool:
    """Whether targets such as `{"ttft_p95_s": 1.0}` hold. Raises `InvalidArgument` on one that is unknown."""
    return not summary.refused and all(_value(summary, name) <= most for name, most in targets.items())


def check_targets(targets: Iterable[str]) -> None:
    """Raises `InvalidArgument` on a target that is unknown."""
    for target in targets:
        _place(target)


def _value(summary: SimulationSummary, target: str) -> float:
    time, percentile = _place(target)
    return float(getattr(getattr(summary, time), percentile))


def _place(target: str) -> tuple[str, str]:
    found = re.fullmatch(r"(ttft|per_token|latency)_(mean|p50|p90|p95|p99)_s", target)
    if found is None:
        raise InvalidArgument(
            f"there is no target {target!r}",
            remedy="Use ttft_, per_token_ or latency_ with mean, p50, p90, p95 or p99: ttft_p95_s",
        )
    return f"{found[1]}_s", found[2]


def simulated_slice(
    workload: Workload,
    fleet: SimulatedFleet,
    rate: float,
    seconds: float,
    targets: Mapping[str, float],
    *,
    seed: int = 0,
) -> Simulated:
    """What a fleet does under so many requests a second: a slice of it is simulated.

    Raises `InvalidArgument` where nothing can be answered.
    """
    simulated = min(fleet.replicas, SLICE)
    share = simulated / fleet.replicas
    groups = workload.groups
    if groups and fleet.policy in KEEP_TOGETHER:  # a slice gets its share of the shared beginnings, too
        groups = max(round(groups * share), 1)
    warm_s = max(seconds * WARM_SHARE, (groups * WARM_GROUPS + FEWEST) / (rate * share))
    lasts_s = max(seconds, FEWEST / (rate * share))
    requests = replace(workload, groups=groups).requests(rate * share, warm_s + lasts_s, seed=seed)
    readers = min(max(round(fleet.prefill_replicas * share), 1), simulated - 1) if fleet.prefill_replicas else 0
    outcomes = simulate(requests, replace(fleet, replicas=simulated, prefill_replicas=readers), seed=seed)
    outcomes = [each for each in outcomes if each.arrival_s >= warm_s]  # caches are cold before
    summary = summarize(outcomes)
    if summary is None:
        raise InvalidArgument(
            "no request of this workload fits into the engine's memory, or none arrives",
            remedy="Look at kv_tokens, the lengths, the rate and the seconds",
        )
    return Sized.of(fleet.replicas, simulated, summary, targets), outcomes


def needed_replicas(
    workload: Workload,
    fleet: SimulatedFleet,
    rate: float,
    seconds: float,
    targets: Mapping[str, float],
    *,
    seed: int = 0,
) -> Simulated:
    """The smallest fleet that meets the targets under so many requests a second.

    Raises `InvalidArgument` where no fleet does.
    """

    def tried(replicas: int) -> Simulated:
        return simulated_slice(workload, replace(fleet, replicas=replicas), rate, seconds, targets, seed=seed)

    return smallest(tried, fleet.replicas, estimated_replicas(workload, fleet.engine, rate), targets)


def smallest(tried: Callable[[int], Simulated], least: int, start: int, targets: Mapping[str, float]) -> Simulated:
    """The smallest number of replicas that meets the targets, found by doubling and halving; at least `least`.

    Raises `InvalidArgument` where sixty-four times as many as were thought do not: a request alone takes longer.
    """
    low, high = least - 1, tried(max(least, start))
    while not high[0].meets_targets:
        low = high[0].replicas
        if low > MOST_TIMES * max(start, least):
            told = ", ".join(f"{name} <= {most:g}" for name, most in targets.items())
            raise InvalidArgument(
                f"{low:,} replicas do not meet {told} either",
                remedy="Relax the targets: a request that is alone takes longer",
            )
        high = tried(2 * low)
    while high[0].replicas - low > max(1, high[0].replicas // 100):
        middle = tried((low + high[0].replicas) // 2)
        if middle[0].meets_targets:
            high = middle
        else:
            low = middle[0].replicas
    return high


def estimated_replicas(workload: Workload, engine: Engine, rate: float) -> int:
    """About how many replicas are busy all the time under a load: where a search begins."""
    prompt, output = workload.prompt.median, workload.output.median
    at_once = min(engine.max_sequences, max(engine.kv_tokens / (prompt + workload.shared_tokens + output), 1), 64)
    context = prompt + workload.shared_tokens + output / 2
    token_s = engine.step_s / at_once + engine.sequence_s + engine.context_token_s * context
    return max(math.ceil(rate * (prompt * engine.prefill_token_s + output * token_s)), 1)
