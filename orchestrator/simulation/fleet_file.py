"""The file that `orchestrator simulate` reads: an engine, how many of it, how requests are placed, what is asked.

Mistakes are told with file, line and column.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from orchestrator.config.fields import Price, Strict
from orchestrator.config.file_loader import load_file
from orchestrator.config.problems import FieldMistake
from orchestrator.errors import InvalidArgument, did_you_mean
from orchestrator.simulation.engine import UNLIMITED, Engine
from orchestrator.simulation.fleet import POLICIES, TRANSFER_TOKEN_S, SimulatedFleet
from orchestrator.simulation.learn import MAX_OBSERVED, LearnedEngine, learn_engine
from orchestrator.simulation.request import CHUNK_TOKENS
from orchestrator.simulation.sizing import check_targets
from orchestrator.simulation.trace import read_trace
from orchestrator.simulation.workload import Length, Workload

Count = Annotated[int, Field(ge=1, le=10**9)]
Tokens = Annotated[int, Field(ge=1, le=10_000_000)]
Policy = Literal["random", "round_robin", "least_loaded", "session", "cache_aware", "precise", "disaggregated"]


class EngineConfig(Strict):
    """An engine: its numbers, or a log of its requests from which they are learned."""

    learn: str | None = None
    """A trace with the times of first and last tokens (JSON lines or CSV), beside this file."""
    step_s: Price | None = None
    prefill_token_s: Price = 0.0
    sequence_s: Price = 0.0
    context_token_s: Price = 0.0
    attention_s: Price = 0.0
    token_budget: Count = 2_048
    max_sequences: Count | None = None
    kv_tokens: Count | None = None
    schedules_ahead: bool = False
    prefix_caching: bool = True
    overhead_s: Price = 0.0

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.learn is None) == (self.step_s is None):
            raise ValueError("an engine has its numbers (step_s, ...), or `learn:` with a trace of its requests")
        return self

    def as_engine(self, step_s: float) -> Engine:
        """The engine as it is stated, with seconds of a step."""
        stated = self.model_dump(exclude={"learn", "step_s", "max_sequences", "kv_tokens"})
        return Engine(
            step_s=step_s,
            max_sequences=self.max_sequences or UNLIMITED,
            kv_tokens=self.kv_tokens or UNLIMITED,
            **stated,
        )


class WorkloadConfig(Strict):
    """What is asked, where no trace says it (`--rate`)."""

    prompt_tokens: Tokens = 1_000
    """The median; without `prompt_tokens_p90` all prompts are so long."""
    prompt_tokens_p90: Tokens | None = None
    output_tokens: Tokens = 250
    output_tokens_p90: Tokens | None = None
    groups: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    """How many different beginnings requests share."""
    shared_tokens: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    turns: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 1.0
    """How many requests a conversation has, on average."""
    pause_s: Price = 30.0

    @model_validator(mode="after")
    def _can_be(self) -> Self:
        for name in ("prompt_tokens", "output_tokens"):
            stated = getattr(self, f"{name}_p90")
            if stated is not None and stated < getattr(self, name):
                raise ValueError(f"{name}_p90 is less than {name}, which is the median")
        return self

    def as_workload(self, chunk_tokens: int) -> Workload:
        """What is asked."""
        return Workload(
            Length(self.prompt_tokens, self.prompt_tokens_p90 or self.prompt_tokens),
            Length(self.output_tokens, self.output_tokens_p90 or self.output_tokens),
            **self.model_dump(include={"groups", "shared_tokens", "turns", "pause_s"}),
            chunk_tokens=chunk_tokens,
        )


class FleetFile(Strict):
    """A fleet to be simulated."""

    engine: EngineConfig
    replicas: Count | None = None
    """How many; without it, the fewest that meet the targets are found."""
    policies: Annotated[list[Policy], Field(min_length=1)] = ["least_loaded", "cache_aware"]
    prefill_replicas: Annotated[int, Field(ge=0)] = 0
    transfer_token_s: Price = TRANSFER_TOKEN_S
    chunk_tokens: Annotated[int, Field(ge=16, le=1_000_000)] = CHUNK_TOKENS
    replica_usd_per_hour: Price | None = None
    targets: dict[str, Price] = {}
    """Such as `ttft_p95_s: 1.0`; also per_token_ and latency_, with mean, p50, p90, p95, p99."""
    workload: WorkloadConfig = WorkloadConfig()

    @model_validator(mode="after")
    def _can_be(self) -> Self:
        try:
            check_targets(self.targets)
        except InvalidArgument as error:
            raise FieldMistake(str(error), "targets") from None
        if self.replicas is None and not self.targets:
            raise ValueError("say how many replicas there are, or `targets:` that decide it, such as ttft_p95_s: 1.0")
        return self

    def with_options(self, replicas: int | None, policies: Sequence[str]) -> FleetFile:
        """The file with what a command states instead. Raises `InvalidArgument` on an unknown policy."""
        for policy in policies:
            if policy not in POLICIES:
                told = did_you_mean(policy, POLICIES)
                raise InvalidArgument(f"there is no policy {policy!r}", remedy=told)
        changes = {"replicas": replicas or self.replicas, "policies": list(policies) or self.policies}
        return self.model_copy(update=changes)

    def least_replicas(self, policy: str) -> int:
        """The fewest replicas that a policy can have."""
        return max(2, self.prefill_replicas + 1) if policy == "disaggregated" else 1

    def as_fleet(self, engine: Engine, policy: str, replicas: int) -> SimulatedFleet:
        """The fleet with one of its policies."""
        return SimulatedFleet(
            engine,
            replicas,
            policy,
            prefill_replicas=self.prefill_replicas if policy == "disaggregated" else 0,
            transfer_token_s=self.transfer_token_s,
            chunk_tokens=self.chunk_tokens,
        )


def load_fleet(path: Path) -> FleetFile:
    """Reads the file. Raises `ConfigError` with every mistake and its place."""
    return load_file(path, FleetFile, starts_with="engine", page="docs/simulate.md")


def engine_of(fleet: FleetFile, beside: Path) -> tuple[Engine, LearnedEngine | None]:
    """The engine, learned where the file says so. Raises `InvalidArgument` on a trace without times."""
    stated = fleet.engine
    if stated.learn is None:
        return stated.as_engine(stated.step_s or 0.0), None
    path = beside.parent / stated.learn
    trace = read_trace(path)
    if not trace.observed:
        raise InvalidArgument(
            f"{path} says when requests came, not when their tokens did",
            remedy="Add first_token_s and last_token_s, or ttft_s and latency_s, to each row",
        )
    seen = trace.observed[:MAX_OBSERVED]
    taken = {id(each.request) for each in seen}
    learned = learn_engine(seen, [each for each in trace.requests if id(each) not in taken])
    return learned.engine, learned
