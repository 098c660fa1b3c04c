"""What a verb, a check or a tool sees of the loader, of a run and of a forecast.

Protocols, so that none of them imports who implements it.

`CheckContext` is implemented by `orchestrator.pipeline.loading.check_context`, `StepContext` by
`orchestrator.pipeline.execution.step_context`, `Estimator` by `orchestrator.pipeline.analysis.forecast`, `ToolContext`
by the loader.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from orchestrator.jsontypes import JsonMapping, JsonObject, JsonValue
from orchestrator.pipeline.expressions.types import ANY, ValueType
from orchestrator.pipeline.language.checked import CheckedBlock, CheckedPipeline, CheckedStep
from orchestrator.pipeline.language.estimates import Forecast

if TYPE_CHECKING:
    import httpx

    from orchestrator.agent import RunStore
    from orchestrator.budget import Budget, Ledger
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.pipeline.expressions.evaluation import Compute
    from orchestrator.pipeline.expressions.scope import NameScope
    from orchestrator.pipeline.language.prompts import Prompt
    from orchestrator.pipeline.language.sources import Sources, Where
    from orchestrator.pipeline.language.value_compiler import Values
    from orchestrator.tools import Tool
    from orchestrator.tools.catalog import ToolCatalog
    from orchestrator.trace import Trace
    from orchestrator.verifiers import Verifier


class AnswerCheck(Protocol):
    """One check of a step's answer, with its settings."""

    @property
    def name(self) -> str:
        """The name of the check."""

    def given(self, values: JsonMapping) -> JsonObject:
        """The settings that may hold expressions, with their values."""

    async def verifier(self, running: StepContext) -> Verifier:
        """The verifier that it becomes. Raises `ConfigError` on a check that cannot be made here."""


class CheckContext(Protocol):
    """One step while it is checked: its place, what it can use, and how to tell what is wrong with it."""

    name: str
    where: Where
    scope: NameScope
    depth: int
    types: dict[str, ValueType]
    what: str

    @property
    def blocks(self) -> Mapping[str, CheckedBlock]:
        """The steps within this one, checked, by the names that `inner` gave them."""

    @property
    def models(self) -> Collection[str] | None:
        """The names of the fleet, if it is known."""

    @property
    def tools(self) -> Mapping[str, ToolSignature]:
        """The tools of the file by name."""

    def is_broken(self, tool: str) -> bool:
        """Whether a tool is stated, and what is wrong with it is told there."""

    @property
    def sources(self) -> Sources:
        """The file and those that it names, with what was found to be wrong in them."""

    def problem(self, code: str, message: str, *where: str | int, hint: str = "", key: bool = False) -> None:
        """Tells of a mistake at a place within the step; `key` points at the name of the field, not at its value."""

    def is_read(self, field: str) -> bool:
        """Whether an expression may read this field of what the step gives."""

    def type_of(
        self,
        value: JsonValue,
        *where: str | int,
        wanted: ValueType = ANY,
        shows: bool = True,
        more: Mapping[str, ValueType] | None = None,
    ) -> ValueType:
        """The type of a value that may hold expressions, which are checked.

        `shows`: a secret must not get there. `more` are names that it can use beside what the step can.
        """

    def computed(self, value: JsonValue) -> Compute:
        """A function from the values of names to this value."""

    def assumed(self, guards: set[str]) -> dict[str, ValueType]:
        """The types of the names that a condition guards, where it holds."""

    def name_for(self, field: str, name: str) -> None:
        """Checks a name that a field brings in for the steps within."""

    def raw_at(self, where: Where) -> JsonValue:
        """What stands in the step at a place."""

    def file(self, name: str, *where: str | int) -> tuple[Path, str] | None:
        """The path and text of a file that a field names; `None` after telling what is wrong."""

    def model(self, name: str, *where: str | int) -> None:
        """Tells of a model that the fleet does not have, if the fleet is known."""

    def prompt(self, text: str, given: JsonMapping, *where: str | int) -> Prompt | None:
        """The prompt file that a field names, its variables held against what it is given.

        `None` for a text, or after telling what is wrong.
        """

    def schema(self, stated: str | JsonObject | None, *where: str | int) -> JsonObject | None:
        """A JSON Schema that stands in the file, or in one that it names."""

    def checks(self, stated: Sequence[JsonValue], *where: str | int) -> Sequence[AnswerCheck]:
        """The checks that a field lists."""

    def pipeline(self, name: str, *where: str | int) -> CheckedPipeline | None:
        """The pipeline of another file; `None` after telling what is wrong."""


class ToolContext(Protocol):
    """The loader, as the tools of a file see it."""

    sources: Sources
    values: Values
    allows_python: bool

    def named(self, where: Where, name: str, what: str, scope: NameScope | None = None, *, is_key: bool = True) -> bool:
        """Whether a name can be one, and is free."""

    def schema(self, stated: str | JsonObject | None, where: Where) -> JsonObject | None:
        """A JSON Schema that stands in the file, or in one that it names."""


class ToolSignature(Protocol):
    """What a step must know of a tool before it is called.

    `parameters` is `None` where they are known only when it is first called.
    """

    @property
    def parameters(self) -> Mapping[str, ToolParameter] | None:
        """The parameters by name; `None` where they are not known yet."""

    @property
    def gives(self) -> ValueType:
        """What the tool gives."""

    @property
    def has_effects(self) -> bool:
        """Whether it changes something outside of the run."""

    async def call(self, arguments: JsonMapping, running: StepContext) -> JsonValue:
        """Raises `ToolFailed`.

        A tool with effects that is called again with the same `running.key` does nothing a second time.
        """

    async def for_models(self, name: str, running: StepContext) -> tuple[Tool, ...]:
        """The tool as models call it within a step, or the tools that it stands for. Raises `ToolFailed`."""


class ToolParameter(Protocol):
    """One parameter of a tool."""

    @property
    def name(self) -> str:
        """The name of the parameter."""

    @property
    def type(self) -> ValueType:
        """What it takes."""

    @property
    def required(self) -> bool:
        """Whether it must be given."""


class RuntimeContext(Protocol):
    """What the steps of all runs share. `tool_stubs` are values given instead of calling tools."""

    log_scope: str
    scope_of: Callable[[str], str]
    played: dict[str, Callable[[], Any]]

    @property
    def agent_runs(self) -> RunStore | None:
        """Where runs of models that use tools are kept; `None` where runs are not kept."""

    def catalog(self, of: tuple[str, str], make: Callable[[], ToolCatalog]) -> ToolCatalog:
        """What is connected for a file's entry: made once, closed with the runtime."""

    def client(self) -> httpx.AsyncClient:
        """The connections of tools. Redirects are not followed: they could lead where a tool may not go."""


class StepContext(Protocol):
    """One step under way, as its verb sees it.

    What it may spend and how long it may take, the engine, and the steps within it.
    """

    path: str
    values: Mapping[str, Any]
    simulated: bool
    note: str

    @property
    def node(self) -> CheckedStep:
        """The step itself, as it was checked."""

    @property
    def key(self) -> str:
        """Identifies what this step does in this run: the same when it is tried again, or resumed."""

    @property
    def was_begun(self) -> bool:
        """Whether this run began the step before, in an earlier part or an earlier attempt, and nobody knows how far it
        came.
        """

    @property
    def host(self) -> RuntimeContext:
        """What all runs share."""

    @property
    def pipeline(self) -> CheckedPipeline:
        """The pipeline that the step stands in."""

    @property
    def purse(self) -> Ledger:
        """What the step spends from."""

    @property
    def seconds_left(self) -> float | None:
        """How long it may still take; `None` without a limit."""

    @property
    def budget(self) -> Budget:
        """What is left for the step, as far as it is limited."""

    async def engine(self) -> Orchestrator:
        """The engine that answers for this step."""

    def trace(self) -> Trace:
        """A trace whose events are the run's, too."""

    def emit(self, kind: str, **detail: JsonValue) -> None:
        """Tells whoever looks at the run of something."""

    def answered(self, text: str, *, simulated: bool) -> None:
        """Notes the newest answer of a model: what there is to give if the budget ends the run."""

    def redacted(self, value: JsonValue) -> JsonValue:
        """A value from outside without the secrets that it may hold."""

    async def block(self, name: str, *, suffix: str = "", more: JsonMapping | None = None) -> JsonValue:
        """Runs the steps within this one, and gives their output."""

    async def inside(self, name: str, *, suffix: str = "", more: JsonMapping | None = None) -> JsonObject:
        """Runs the steps within this one, and gives their values by name."""

    async def alone(self, name: str, index: int, values: JsonObject) -> JsonValue:
        """Runs one of the steps within this one."""

    async def call(self, pipeline: CheckedPipeline, inputs: JsonMapping) -> JsonValue:
        """Runs another pipeline as a part of this run."""

    def keeps(self, path: str) -> bool:
        """Whether an earlier part of this run has finished the step at a path."""


class Estimator(Protocol):
    """A forecast as one step's verb sees it."""

    def of_search(self, step: JsonValue, strategy: str, models: Sequence[str] | None) -> Forecast:
        """One search by a strategy over some models (all of the fleet when `None`)."""

    def of_block(self) -> Forecast:
        """The steps within the step, once."""

    def of_map(self, step: JsonValue, at_once: int) -> Forecast:
        """The steps within it for every item of the field `map`."""

    def of_loop(self, most: int, has_end: bool) -> Forecast:
        """The steps within it, at most so many rounds."""

    def of_branch(self) -> Forecast:
        """One of the arms."""

    def of_pipeline(self, called: CheckedPipeline) -> Forecast:
        """Another pipeline."""
