"""`agent`: asks the fleet as one, and lets it call tools of the file, until there is an answer."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, PrivateAttr, WithJsonSchema

from orchestrator.jsontypes import JsonMapping, JsonObject, JsonValue
from orchestrator.pipeline.errors import ToolFailed
from orchestrator.pipeline.expressions.type_inference import suggestion
from orchestrator.pipeline.expressions.types import LIST, NUMBER, ValueType, record
from orchestrator.pipeline.language.contracts import CheckContext, Estimator, StepContext, ToolSignature
from orchestrator.pipeline.language.estimates import Forecast
from orchestrator.pipeline.steps.asking import as_value, value_of
from orchestrator.pipeline.steps.prompted import NAMES, Prompted, check_strategy_name
from orchestrator.types import Query

if TYPE_CHECKING:
    from orchestrator.agent.journal import RunRecord
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.engine.settings import PreparedQuery
    from orchestrator.tools import Tool, ToolSet

USUAL_STEPS = 3  # with tools, of a run that nobody has seen yet


class AgentStep(Prompted):
    """Asks the fleet as one; it may call tools of the file, within the step's budget."""

    verb: ClassVar[str] = "agent"
    agent: Annotated[str, WithJsonSchema({"enum": list(NAMES)})]
    """How each of its steps is searched for: a strategy, like `adaptive` or `single`."""
    tools: list[str] = Field(min_length=1)
    """What may be called: names of tools, or of documents and servers for all of theirs."""
    approve: list[str] = []
    """Tools that need approval and have it: a run has nobody who could be asked."""
    models: list[str] | None = Field(default=None, min_length=1)
    """Only these models of the fleet."""
    max_steps: Annotated[int, Field(ge=1, le=200)] = 20
    """The most steps with tools."""

    _tools: dict[str, ToolSignature] = PrivateAttr(default_factory=dict)

    @property
    def has_effects(self) -> bool:
        return any(tool.has_effects for tool in self._tools.values())

    def gives(self, at: CheckContext) -> ValueType:
        check_strategy_name(at, "agent", self.agent)
        for index, name in enumerate(self.models or ()):
            at.model(name, "models", index)
        for field, names in (("tools", self.tools), ("approve", self.approve)):
            for index, name in enumerate(names):
                if not chosen(name, at.tools) and not at.is_broken(name):
                    told = f"there is no tool '{name}'"
                    hint = suggestion(name, at.tools) or "declare it under tools:"
                    at.problem("E502", told, field, index, hint=hint)
        self._tools = {name: one for stated in self.tools for name, one in chosen(stated, at.tools).items()}
        return record(super().gives(at).fields, steps=LIST, calls=NUMBER)

    async def perform(self, running: StepContext, given: JsonMapping) -> JsonValue:
        models = None if self.models is None else frozenset(self.models)
        engine = await running.engine()
        found = await engine.answer_prepared(
            await self._prepared(running, engine, self.query(running, given, models=models)), within=running.purse
        )
        running.answered(found.text, simulated=found.simulated)
        if found.calls:
            raise ToolFailed(
                f"{', '.join(call.name for call in found.calls)} needs approval, and a run has nobody to ask",
                remedy="List it under approve: of the step, or leave out needs: of the tool",
            )
        value: JsonObject = as_value(found)
        called = [each for step in found.steps for each in step.called]
        value["steps"] = [
            {"tool": each.call.name, "arguments": each.call.arguments, "result": each.result, "failed": each.failed}
            for each in called
        ]
        value["calls"] = len(called)
        if self.ready.schema is not None and not found.abstained:
            value["value"] = value_of(found, "an answer")
        return value

    async def _prepared(self, running: StepContext, engine: Orchestrator, query: Query) -> PreparedQuery:
        from orchestrator.agent import RunLimits
        from orchestrator.engine.settings import PreparedQuery
        from orchestrator.tools import ToolSet

        made = [each for name, one in self._tools.items() for each in await one.for_models(name, running)]
        tools = ToolSet([replace(each, needs_approval=False) if self._approves(each) else each for each in made])
        return PreparedQuery(
            query,
            running.budget,
            self.agent,
            lambda event: running.emit(event.kind, **event.detail),
            tools=tools,
            limits=RunLimits(max_steps=self.max_steps),
            record=await self._record(running, query, tools),
            checks=tuple([await check.verifier(running) for check in self.ready.checks]),
        )

    async def _record(self, running: StepContext, query: Query, tools: ToolSet) -> RunRecord | None:
        """Where the steps within this one are kept: what another question began is not gone on with."""
        from orchestrator.agent.journal import digest_of
        from orchestrator.agent.unkept import UnkeptRun

        about: JsonObject = {"query": query.text, "prompt": query.prompt, "tools": list(tools.names)}
        id = hashlib.sha256(f"{running.key} {digest_of(about)}".encode()).hexdigest()[:32]
        runs = running.host.agent_runs
        return UnkeptRun(id) if runs is None else await runs.open(id, about)

    def _approves(self, tool: Tool) -> bool:
        return any(tool.name in (name, name.replace(".", "_")) for name in self.approve)

    def forecast(self, outlook: Estimator) -> Forecast:
        most = self.max_steps + 1
        return outlook.of_search(self, self.agent, self.models).times(
            min(USUAL_STEPS, most), worst=most, rounds=min(USUAL_STEPS, most)
        )


def chosen(name: str, tools: Mapping[str, ToolSignature]) -> dict[str, ToolSignature]:
    """The tools that a name stands for: one, or all operations of a document."""
    if name in tools:
        return {name: tools[name]}
    return {each: tool for each, tool in tools.items() if each.startswith(f"{name}.")}
