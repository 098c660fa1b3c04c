"""Several policies on the same requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from orchestrator.errors import InvalidArgument
from orchestrator.jsontypes import JsonObject
from orchestrator.simulation.engine import Engine
from orchestrator.simulation.fleet import simulate
from orchestrator.simulation.fleet_file import FleetFile
from orchestrator.simulation.report import chart_svg, table
from orchestrator.simulation.request import SimulatedOutcome, SimulatedRequest
from orchestrator.simulation.sizing import Simulated, Sized, needed_replicas, simulated_slice, smallest
from orchestrator.simulation.summary import SimulationSummary, summarize
from orchestrator.simulation.trace import read_trace

BUSY_GAP_S = 600.0
MAX_REPLICAS = 4_096  # that a trace is played on, each of which is simulated


@dataclass(frozen=True, slots=True)
class PolicyResult:
    """What one policy does: on `replicas`, of which `simulated_replicas` were simulated."""

    policy: str
    replicas: int
    simulated_replicas: int
    summary: SimulationSummary
    meets_targets: bool | None
    usd_per_hour: float | None
    outcomes: Sequence[SimulatedOutcome] = field(default=(), repr=False)

    def as_dict(self) -> JsonObject:
        """JSON values."""
        names = ("policy", "replicas", "simulated_replicas", "meets_targets", "usd_per_hour")
        return {name: getattr(self, name) for name in names} | self.summary.as_dict()


@dataclass(frozen=True, slots=True)
class PolicyComparison:
    """A simulation of several policies. `what` says of what, `notes` what else should be known."""

    what: str
    results: tuple[PolicyResult, ...]
    notes: tuple[str, ...] = ()

    def table(self) -> list[str]:
        """Lines for a terminal."""
        return table([(each.policy, each.replicas, each.summary, each.usd_per_hour) for each in self.results])

    def chart(self) -> str:
        """Times to first token, as SVG."""
        return chart_svg({each.policy: each.outcomes for each in self.results})

    def as_dict(self) -> JsonObject:
        """JSON values."""
        results = [each.as_dict() for each in self.results]
        return {"what": self.what, "policies": results, "notes": list(self.notes)}


def compare_on_trace(
    file: FleetFile, engine: Engine, path: Path, *, speed: float = 1.0, seed: int = 0
) -> PolicyComparison:
    """What a fleet would have done with the requests of a trace, `speed` times as fast.

    Raises `InvalidArgument` on a file that is no trace, or that asks for what no fleet can do.
    """
    if (file.replicas or 0) > MAX_REPLICAS:
        told = f"a trace is played on at most {MAX_REPLICAS:,} replicas, not {file.replicas:,}"
        raise InvalidArgument(told, remedy="Give fewer, or --rate: of a large fleet a slice is simulated")
    trace = read_trace(path)
    requests = [replace(each, arrival_s=each.arrival_s / speed) for each in trace.requests]
    results = [_on_requests(file, engine, policy, requests, seed) for policy in file.policies]
    notes = [f"{trace.skipped} rows were left out; the first: {trace.first_skipped}"] if trace.skipped else []
    gap = max((after.arrival_s - before.arrival_s for before, after in pairwise(requests)), default=0.0)
    if gap > BUSY_GAP_S:
        notes.append(f"the trace has a gap of {gap:,.0f} s without requests")
    notes += _missed(results)
    what = f"{len(requests):,} requests over {requests[-1].arrival_s:,.0f} s from {path.name}"
    return PolicyComparison(what, tuple(results), tuple(notes))


def compare_on_rate(file: FleetFile, engine: Engine, rate: float, seconds: float, *, seed: int = 0) -> PolicyComparison:
    """What a fleet would do with so many requests a second of the file's workload.

    Raises `InvalidArgument` where nothing can be answered, or no fleet meets the targets.
    """
    workload = file.workload.as_workload(file.chunk_tokens)
    results = []
    for policy in file.policies:
        fleet = file.as_fleet(engine, policy, file.replicas or file.least_replicas(policy))
        if file.replicas is None:
            sized, outcomes = needed_replicas(workload, fleet, rate, seconds, file.targets, seed=seed)
        else:
            sized, outcomes = simulated_slice(workload, fleet, rate, seconds, file.targets, seed=seed)
        results.append(_result(file, policy, sized, outcomes))
    sliced = next((each for each in results if each.simulated_replicas < each.replicas), None)
    notes = _missed(results)
    if sliced is not None:
        notes.append(f"a slice of {sliced.simulated_replicas} of {sliced.replicas:,} replicas was simulated")
    told = f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"
    return PolicyComparison(f"{told} requests a second for {seconds:,.0f} s", tuple(results), tuple(notes))


def _missed(results: Sequence[PolicyResult]) -> list[str]:
    return [f"{each.policy} does not meet the targets" for each in results if each.meets_targets is False]


def _on_requests(
    file: FleetFile, engine: Engine, policy: str, requests: Sequence[SimulatedRequest], seed: int
) -> PolicyResult:
    def tried(replicas: int) -> Simulated:
        outcomes = simulate(requests, file.as_fleet(engine, policy, replicas), seed=seed)
        return Sized.of(replicas, replicas, _summary(outcomes), file.targets), outcomes

    least = file.least_replicas(policy)
    found = tried(file.replicas) if file.replicas is not None else smallest(tried, least, least, file.targets)
    return _result(file, policy, *found)


def _summary(outcomes: Sequence[SimulatedOutcome]) -> SimulationSummary:
    found = summarize(outcomes)
    if found is None:
        raise InvalidArgument("no request fits into the engine's memory", remedy="Look at kv_tokens and the lengths")
    return found


def _result(file: FleetFile, policy: str, sized: Sized, outcomes: Sequence[SimulatedOutcome]) -> PolicyResult:
    price = file.replica_usd_per_hour
    return PolicyResult(
        policy,
        sized.replicas,
        sized.simulated_replicas,
        sized.summary,
        sized.meets_targets if file.targets else None,
        None if price is None else price * sized.replicas,
        outcomes,
    )
