"""What every tool is, and how the `tools:` of a file are read."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from orchestrator.config.tools import ToolOptions
from orchestrator.jsontypes import JsonMapping, JsonObject, JsonValue
from orchestrator.pipeline.expressions.type_inference import suggestion
from orchestrator.pipeline.expressions.types import ANY, ValueType, type_of_schema
from orchestrator.pipeline.language.contracts import StepContext, ToolContext
from orchestrator.tools import CallContext, Effects, Tool
from orchestrator.tools.calling import Caller, Parameter

if TYPE_CHECKING:
    from orchestrator.pipeline.expressions.scope import NameScope

Arguments = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StepParameter:
    """A parameter with the type that expressions know it by."""

    name: str
    type: ValueType = ANY
    required: bool = False
    schema: JsonObject = field(default_factory=dict)

    @classmethod
    def of(cls, parameters: Mapping[str, Parameter]) -> dict[str, StepParameter]:
        """The parameters of a tool, by name."""
        return {
            name: cls(name, type_of_schema(one.schema) if one.schema else ANY, one.required, one.schema)
            for name, one in parameters.items()
        }


class PipelineTool(ABC):
    """`parameters` is `None` where they are known only when the tool is first called."""

    parameters: Mapping[str, StepParameter] | None
    gives: ValueType
    effects: Effects = "once"
    options: ToolOptions = ToolOptions()

    @property
    def has_effects(self) -> bool:
        """Whether it changes something outside of the run."""
        return self.effects != "none"

    async def call(self, arguments: Arguments, running: StepContext) -> JsonValue:
        """The call of a step. Raises `ToolFailed`.

        A tool with effects that is called again with the same `running.key` does nothing a second time.
        """
        return await self.called(arguments, running, caller_of(running))

    @abstractmethod
    async def called(self, arguments: Arguments, running: StepContext, caller: Caller) -> JsonValue:
        """One of a step's calls. Raises `ToolFailed`."""

    def schema(self) -> JsonObject:
        """The JSON Schema of the arguments, for models."""
        parameters = (self.parameters or {}).values()
        required = [one.name for one in parameters if one.required]
        found: JsonObject = {"type": "object", "properties": {one.name: one.schema for one in parameters}}
        return found | ({"required": required} if required else {})

    async def for_models(self, name: str, running: StepContext) -> tuple[Tool, ...]:
        """The tool as models call it within a step, or the tools that it stands for. Raises `ToolFailed`."""
        known, stated = await self.known(running), self.options

        async def call(arguments: JsonObject, context: CallContext) -> JsonValue:
            played = running.host.played.get(name)
            if played is not None:
                return played()
            caller = replace(caller_of(running), key=context.key, seconds_left=context.seconds_left)
            return await known.called(arguments, running, caller)

        return (
            Tool(
                re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:64],
                call,
                known.schema(),
                known.options.description,
                stated.effects or known.effects,
                stated.needs == "approval",
                stated.timeout,
                stated.max_calls,
            ),
        )

    async def known(self, running: StepContext) -> PipelineTool:
        """The tool with its parameters. Raises `ToolFailed` where they cannot be found out."""
        return self


def caller_of(running: StepContext) -> Caller:
    """A step under way, as tools see it."""
    return Caller(running.key, running.host.client, running.seconds_left, running.redacted)


KINDS: dict[str, str] = {"openapi": "openapi", "http": "http", "sql": "sql", "python": "python", "mcp": "mcp"}


def read_tools(stated: JsonMapping, loader: ToolContext, scope: NameScope) -> dict[str, PipelineTool]:
    """The tools of a file by name, mistakes told; those of an OpenAPI document as NAME.OPERATION."""
    found: dict[str, PipelineTool] = {}
    for name, raw in stated.items():
        where = ("tools", name)
        if not loader.named(where, name, "tool") or not isinstance(raw, dict):
            continue
        kinds = [kind for kind in KINDS if kind in raw]
        if len(kinds) != 1:
            near = next((key for key in raw if suggestion(key, KINDS).startswith("did")), "")
            hint = suggestion(near, KINDS) if near else f"one of: {', '.join(KINDS)}"
            loader.sources.problem(
                (*where, near) if near else where,
                "E108",
                f"tool '{name}' says not what it is, or more than one thing",
                hint,
                key=True,
            )
            continue
        read: Callable[..., dict[str, PipelineTool]] = import_module(
            f"orchestrator.pipeline.tools.{KINDS[kinds[0]]}"
        ).read
        found |= read(name, raw, where, loader, scope)
    return found
