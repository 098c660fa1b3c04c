"""`tool`: calls one of the tools that the file declares. Its parameters stand beside it, or under `with`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, PrivateAttr

from orchestrator.jsontypes import JsonMapping, JsonValue
from orchestrator.pipeline.expressions.type_inference import suggestion
from orchestrator.pipeline.expressions.types import ANY, OBJECT, ValueType
from orchestrator.pipeline.language.contracts import CheckContext, StepContext, ToolSignature
from orchestrator.pipeline.language.fields import ExpressionType
from orchestrator.pipeline.language.step import Step
from orchestrator.pipeline.language.validation import field_names


class ToolStep(Step):
    """Calls a tool, and gives what it answers."""

    model_config = ConfigDict(extra="allow")
    verb: ClassVar[str] = "tool"
    tool: str
    """Its name under `tools:`, or `NAME.OPERATION`; its parameters are fields beside it."""
    with_: Annotated[dict[str, Any], ExpressionType(OBJECT)] = Field(default={}, alias="with")
    """Parameters whose names are those of other fields."""
    _tool: Any = PrivateAttr(None)
    _arguments: dict[str, Any] = PrivateAttr(default_factory=dict)

    @property
    def has_effects(self) -> bool:
        return self._tool is None or bool(self._tool.has_effects)

    def gives(self, at: CheckContext) -> ValueType:
        stated = dict(self.model_extra or {})
        types = {name: at.type_of(value, name) for name, value in stated.items()}
        types |= {name: at.type_of(value, "with", name) for name, value in self.with_.items()}
        self._arguments = {name: at.computed(value) for name, value in stated.items()}
        tool = self._tool = at.tools.get(self.tool)
        if tool is None:
            if not at.is_broken(self.tool):
                hint = suggestion(self.tool, at.tools) or "declare it under tools:"
                at.problem("E502", f"there is no tool '{self.tool}'", "tool", hint=hint)
            return ANY
        if tool.parameters is not None:
            self._hold(at, tool, stated, types)
        gives: ValueType = tool.gives
        return gives

    def _hold(self, at: CheckContext, tool: ToolSignature, stated: JsonMapping, types: Mapping[str, ValueType]) -> None:
        """Holds the arguments against the tool's parameters."""
        parameters = tool.parameters or {}
        for name, given in types.items():
            where = (name,) if name in stated else ("with", name)
            if name not in parameters:
                hint = suggestion(name, [*parameters, *(field_names(type(self)) if name in stated else ())])
                at.problem("E503", f"{self.tool} has no parameter '{name}'", *where, hint=hint, key=True)
            elif not given.fits(parameters[name].type):
                at.problem(
                    "E503",
                    f"the parameter '{name}' of {self.tool} is a {parameters[name].type}, and this is a {given}",
                    *where,
                )
            elif given.missing and parameters[name].required:
                at.problem(
                    "E205",
                    f"the parameter '{name}' of {self.tool} may be null: {given.missing}",
                    *where,
                    hint="add ?? and what to take instead",
                )
        for name, parameter in parameters.items():
            if parameter.required and name not in types:
                at.problem("E503", f"{self.tool} needs the parameter '{name}'", "tool", hint=f"write {name}: ...")

    async def perform(self, running: StepContext, given: JsonMapping) -> JsonValue:
        arguments = {
            **{name: compute(running.values) for name, compute in self._arguments.items()},
            **(given.get("with") or {}),
        }
        played = running.host.played.get(self.tool)
        if played is not None:
            return played()
        running.emit("tool_called", tool=self.tool)
        tool: ToolSignature = self._tool
        return await tool.call(arguments, running)
