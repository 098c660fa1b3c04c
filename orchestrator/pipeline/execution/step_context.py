"""One step under way, as its verb sees it.

What it may spend and how long it may take, the engine, and the steps within it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from orchestrator.budget import Budget, Ledger
from orchestrator.jsontypes import JsonMapping, JsonObject, JsonValue
from orchestrator.pipeline.compiled import Block, CompiledPipeline, Node
from orchestrator.pipeline.execution.runtime import Runtime
from orchestrator.pipeline.language.checked import CheckedPipeline
from orchestrator.storage.runs import StoredStep
from orchestrator.trace import Event, Trace

if TYPE_CHECKING:
    from orchestrator.engine.orchestrator import Orchestrator


@dataclass(frozen=True, slots=True)
class ScopeLimits:
    """What steps of one block share.

    The account they spend from, and until when they may work (seconds of the run's clock).
    """

    purse: Ledger
    deadline_s: float | None


class RunView(Protocol):
    """The run that a step belongs to, as far as its steps use it."""

    host: Runtime
    pipeline: CompiledPipeline
    begun: set[str]
    finished: Mapping[str, StoredStep]
    on_event: Callable[[Event], None] | None
    latest: str | None
    simulated: bool

    def now_s(self) -> float:
        """Seconds since the run began."""

    def key_of(self, path: str) -> str:
        """Identifies the step at a path in this run."""

    def emit(self, kind: str, **detail: JsonValue) -> None:
        """Tells whoever looks at the run of something."""

    def redacted(self, value: JsonValue) -> JsonValue:
        """A value without the secrets that it may hold."""

    async def block(self, block: Block, values: JsonObject, prefix: str, around: ScopeLimits) -> None:
        """Runs steps, each when all that it waits for has ended; their values go into `values`."""

    async def one(self, node: Node, values: JsonMapping, path: str, around: ScopeLimits) -> JsonValue:
        """Runs one step, and gives its value."""

    async def called(self, pipeline: CompiledPipeline, inputs: JsonMapping, running: RunningStep) -> JsonValue:
        """Runs another pipeline as a part of this run."""


class RunningStep:
    """One step under way, as its verb sees it."""

    def __init__(self, run: RunView, node: Node, path: str, values: JsonMapping, around: ScopeLimits) -> None:
        self._run = run
        self.node = node
        self.path = path
        self.values = values
        self.around = around
        self.simulated = False
        self.note = ""
        """What whoever looks at the run should know of this step, though it did not fail."""

    @property
    def key(self) -> str:
        """Identifies what this step does in this run: the same when it is tried again, or resumed."""
        return self._run.key_of(self.path)

    @property
    def was_begun(self) -> bool:
        """Whether this run began the step before, in an earlier part or an earlier attempt, and nobody knows how far it
        came.
        """
        return self.path in self._run.begun

    @property
    def host(self) -> Runtime:
        """What all runs share."""
        return self._run.host

    @property
    def pipeline(self) -> CompiledPipeline:
        """The pipeline that the step stands in."""
        return self._run.pipeline

    @property
    def purse(self) -> Ledger:
        """What the step spends from."""
        return self.around.purse

    @property
    def seconds_left(self) -> float | None:
        """How long it may still take; `None` without a limit."""
        end = self.around.deadline_s
        return None if end is None else max(end - self._run.now_s(), 0.0)

    @property
    def budget(self) -> Budget:
        """What is left for the step, as far as it is limited."""
        return Budget(usd=self.purse.remaining_usd(), seconds=self.seconds_left)

    async def engine(self) -> Orchestrator:
        """The engine that answers for this step."""
        return await self._run.host.engine(self.path)

    def trace(self) -> Trace:
        """A trace whose events are the run's, too."""
        if self._run.on_event is None:
            return Trace()
        return Trace(on_event=lambda event: self.emit(event.kind, **event.detail))

    def emit(self, kind: str, **detail: JsonValue) -> None:
        """Tells whoever looks at the run of something."""
        self._run.emit(kind, step=self.path, **detail)

    def answered(self, text: str, *, simulated: bool) -> None:
        """Notes the newest answer of a model: what there is to give if the budget ends the run."""
        self._run.latest = text
        self._run.simulated |= simulated

    def redacted(self, value: JsonValue) -> JsonValue:
        """A value from outside without the secrets that it may hold."""
        return self._run.redacted(value)

    async def block(self, name: str, *, suffix: str = "", more: JsonMapping | None = None) -> JsonValue:
        """Runs the steps within this one, and gives their output."""
        values = await self.inside(name, suffix=suffix, more=more)
        return self.node.blocks[name].output(values)

    async def inside(self, name: str, *, suffix: str = "", more: JsonMapping | None = None) -> JsonObject:
        """Runs the steps within this one, and gives their values by name."""
        values = {**self.values, **(more or {})}
        await self._run.block(self.node.blocks[name], values, f"{self.path}{suffix}.", self.around)
        return values

    async def alone(self, name: str, index: int, values: JsonObject) -> JsonValue:
        """Runs one of the steps within this one."""
        node = self.node.blocks[name].nodes[index]
        value = values[node.name] = await self._run.one(node, values, f"{self.path}.{node.name}", self.around)
        return value

    async def call(self, pipeline: CheckedPipeline, inputs: JsonMapping) -> JsonValue:
        """Runs another pipeline as a part of this run."""
        assert isinstance(pipeline, CompiledPipeline)
        return await self._run.called(pipeline, inputs, self)

    def keeps(self, path: str) -> bool:
        """Whether an earlier part of this run has finished the step at a path."""
        return path in self._run.finished
