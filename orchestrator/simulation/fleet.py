"""Many engines behind one router, in simulated time: requests are placed as they arrive, by one of several policies."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from orchestrator.errors import InvalidArgument
from orchestrator.serving.placement import ReplicaLoad, ReplicaSpeeds, placement_s
from orchestrator.serving.prefix_index import PrefixIndex
from orchestrator.simulation.engine import Engine
from orchestrator.simulation.replica import SimulatedReplica
from orchestrator.simulation.request import CHUNK_TOKENS, SimulatedOutcome, SimulatedRequest

POLICIES = ("random", "round_robin", "least_loaded", "session", "cache_aware", "precise", "disaggregated")
MANY_AT_ONCE = 64
TRANSFER_TOKEN_S = 4e-6  # 0.33 MB of keys and values a token over 80 GB/s


@dataclass(frozen=True, slots=True)
class SimulatedFleet:
    """Replicas of one model, and how requests are placed on them.

    Attributes:
        engine: What each replica is.
        replicas: How many there are.
        policy: One of `POLICIES`. `cache_aware` foresees from what it has sent what is cached, `precise` is told by the
            engines, `disaggregated` reads prompts on some replicas and writes answers on others.
        prefill_replicas: Of a disaggregated fleet, those that read prompts.
        transfer_token_s: Seconds for handing one token's keys and values from one replica to another.
        expected_output: Tokens that the router expects of an answer: it does not know how long one will be.
        index_chunks: How many chunks of a replica `cache_aware` remembers; 0 for as many as the engine holds.
        chunk_tokens: Tokens of each chunk that requests may share.
    """

    engine: Engine
    replicas: int = 1
    policy: str = "cache_aware"
    prefill_replicas: int = 0
    transfer_token_s: float = TRANSFER_TOKEN_S
    expected_output: int = 256
    index_chunks: int = 0
    chunk_tokens: int = CHUNK_TOKENS

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise InvalidArgument(f"there is no policy {self.policy!r}", remedy=f"Use one of {', '.join(POLICIES)}")
        if self.replicas < 1 or (self.policy == "disaggregated" and self.replicas < 2):
            raise InvalidArgument(
                f"a fleet with the policy {self.policy} cannot have {self.replicas} replicas",
                remedy="Give at least 1, or 2 where some read prompts and others write answers",
            )
        if not 0 <= self.prefill_replicas < self.replicas:
            raise InvalidArgument(
                f"{self.prefill_replicas} of {self.replicas} replicas cannot read prompts alone",
                remedy="Leave at least one replica to write answers",
            )


Choose = Callable[[SimulatedRequest], int]


def simulate(requests: Sequence[SimulatedRequest], fleet: SimulatedFleet, *, seed: int = 0) -> list[SimulatedOutcome]:
    """What would come of each request, in their order, which is the order of their arrivals.

    Raises `InvalidArgument` where a request arrives before the one before it.
    """
    if any(after.arrival_s < before.arrival_s for before, after in pairwise(requests)):
        raise InvalidArgument("requests do not come in the order of their arrivals", remedy="Sort them by arrival_s")
    if fleet.policy == "disaggregated":
        return _disaggregated(requests, fleet)
    return FleetRun(fleet, seed=seed).answer(requests)


class FleetRun:
    """A fleet at work: requests are placed one after the other. Not for the policy `disaggregated`."""

    def __init__(self, fleet: SimulatedFleet, *, seed: int = 0) -> None:
        self._replicas = _replicas(fleet, fleet.replicas)
        self._choose = _chooser(fleet, self._replicas, seed)

    def place(self, request: SimulatedRequest) -> SimulatedOutcome:
        """A request arrives, not before the one before it. What comes of it is told once the simulation is there."""
        for replica in self._replicas:
            replica.advance(request.arrival_s)
        return self._replicas[self._choose(request)].submit(request)

    def drain(self) -> float:
        """Finishes all that is there; when the last of it has ended, in seconds."""
        return max(replica.drain() for replica in self._replicas)

    def answer(self, requests: Sequence[SimulatedRequest]) -> list[SimulatedOutcome]:
        """Places all of them and finishes them."""
        outcomes = [self.place(request) for request in requests]
        self.drain()
        return outcomes


def _replicas(fleet: SimulatedFleet, count: int) -> list[SimulatedReplica]:
    return [SimulatedReplica(fleet.engine, index, chunk_tokens=fleet.chunk_tokens) for index in range(count)]


def _chooser(fleet: SimulatedFleet, replicas: list[SimulatedReplica], seed: int) -> Choose:
    if fleet.policy == "random":
        rng = random.Random(seed)
        return lambda request: rng.randrange(len(replicas))
    if fleet.policy == "round_robin":
        turns = iter(range(2**62))
        return lambda request: next(turns) % len(replicas)
    if fleet.policy == "session":
        return _SessionPlaces(replicas)
    if fleet.policy == "least_loaded":
        return lambda request: _least_loaded(replicas)
    return _Placement(fleet, replicas)


def _least_loaded(replicas: list[SimulatedReplica]) -> int:
    return min(replicas, key=lambda replica: (replica.requests, replica.index)).index


class _SessionPlaces:
    """The first request of a session goes where least is to be done, the others follow it."""

    def __init__(self, replicas: list[SimulatedReplica]) -> None:
        self._replicas = replicas
        self._places: dict[str, int] = {}

    def __call__(self, request: SimulatedRequest) -> int:
        if not request.session:
            return _least_loaded(self._replicas)
        if request.session not in self._places:
            self._places[request.session] = _least_loaded(self._replicas)
        return self._places[request.session]


class _Placement:
    """Where a request costs least, as the gateway places them."""

    def __init__(self, fleet: SimulatedFleet, replicas: list[SimulatedReplica]) -> None:
        engine = fleet.engine
        self._speeds = speeds_of(engine)
        self._written = float(fleet.expected_output)
        self._replicas = replicas
        held = min(engine.kv_tokens // fleet.chunk_tokens, 2**20)
        self._index = None
        if fleet.policy == "cache_aware":
            size = fleet.index_chunks or held
            self._index = PrefixIndex(len(replicas), max_chunks=size * len(replicas))

    def __call__(self, request: SimulatedRequest) -> int:
        best, least_s = 0, float("inf")
        prompt, chunks = float(request.prompt_tokens), request.chunks
        for replica in self._replicas:
            running = len(replica.running)
            load = ReplicaLoad(replica.queued_tokens, running, replica.requests - running, replica.cache.use)
            cost_s = placement_s(
                load, self._speeds, prompt, replica.chunk_tokens * self._held(replica, chunks), self._written
            )
            if cost_s < least_s:
                best, least_s = replica.index, cost_s
        if self._index is not None:
            self._index.record(best, chunks)
        return best

    def _held(self, replica: SimulatedReplica, chunks: tuple[int, ...]) -> int:
        if self._index is None:
            return replica.cache.cached_chunks(chunks)
        return self._index.matched(replica.index, chunks)


def speeds_of(engine: Engine) -> ReplicaSpeeds:
    """What the router knows of an engine."""
    return ReplicaSpeeds(engine.prefill_token_s, engine.sequence_s)


def _disaggregated(requests: Sequence[SimulatedRequest], fleet: SimulatedFleet) -> list[SimulatedOutcome]:
    """Prompts are read on the first replicas; what they hold of a prompt then moves to one of the others."""
    readers = fleet.prefill_replicas or balanced_readers(requests, fleet)
    reading = replace(fleet, policy="cache_aware", replicas=readers, prefill_replicas=0)
    writing = replace(fleet, policy="least_loaded", replicas=fleet.replicas - readers, prefill_replicas=0)
    read = FleetRun(reading).answer([replace(each, output_tokens=1) for each in requests])
    handed = sorted(
        (done.first_token_s + fleet.transfer_token_s * each.prompt_tokens, number)
        for number, (each, done) in enumerate(zip(requests, read, strict=True))
        if not done.refused and each.output_tokens > 1
    )
    handed_over = [
        replace(requests[number], arrival_s=at, output_tokens=requests[number].output_tokens - 1, is_read=True)
        for at, number in handed
    ]
    written = FleetRun(writing).answer(handed_over)
    for (_, number), outcome in zip(handed, written, strict=True):
        read[number].last_token_s = outcome.last_token_s
        read[number].refused = outcome.refused
        read[number].preemptions += outcome.preemptions
    for request, outcome in zip(requests, read, strict=True):
        outcome.output_tokens = request.output_tokens
    return read


def balanced_readers(requests: Sequence[SimulatedRequest], fleet: SimulatedFleet) -> int:
    """How many replicas should read prompts, so that they are as busy as those that write answers."""
    engine = fleet.engine
    prompts = sum(each.prompt_tokens for each in requests)
    outputs = sum(each.output_tokens for each in requests)
    held = max((prompts + outputs) / max(len(requests), 1), 1.0)
    at_once = max(min(engine.max_sequences, engine.kv_tokens / held, MANY_AT_ONCE), 1.0)
    read_s = prompts * engine.prefill_token_s
    written_s = outputs * (engine.step_s / at_once + engine.sequence_s + engine.context_token_s * held)
    share = read_s / max(read_s + written_s, 1e-12)
    return min(max(round(share * fleet.replicas), 1), fleet.replicas - 1)
