"""Tools of an MCP server in a pipeline file.

A server is a program that is started, or an address that is asked, so it must be allowed as Python functions are. It is
connected when a step first uses it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.config.tools import McpOptions
from orchestrator.errors import ConfigError
from orchestrator.jsontypes import JsonMapping, JsonValue
from orchestrator.pipeline.errors import ToolFailed
from orchestrator.pipeline.expressions.evaluation import Compute
from orchestrator.pipeline.expressions.types import ANY, TEXT
from orchestrator.pipeline.language.contracts import StepContext, ToolContext
from orchestrator.pipeline.language.validation import validated
from orchestrator.pipeline.tools.tool import Arguments, PipelineTool
from orchestrator.tools import CallContext, Tool
from orchestrator.tools.calling import Caller
from orchestrator.tools.catalog import ToolCatalog

if TYPE_CHECKING:
    from orchestrator.pipeline.expressions.scope import NameScope


def read(
    name: str, raw: JsonMapping, where: tuple[str | int, ...], loader: ToolContext, scope: NameScope
) -> dict[str, PipelineTool]:
    """The tools of an entry, mistakes told: one for all of the server's, and those that `only` lists by name."""
    stated = validated(McpOptions, raw, where, loader.sources, f"tool '{name}'")
    if stated is None:
        return {}
    if not loader.allows_python:
        hint = "--allow-python, or Pipeline.load(..., allow_python=True)"
        loader.sources.problem((*where, "mcp"), "E507", "MCP servers are not allowed here", hint, key=True)
        return {}
    computes: dict[tuple[str, str], Compute] = {}
    for part in ("headers", "env"):
        for key, value in getattr(stated.mcp, part).items():
            at = (*where, "mcp", part, key)
            loader.values.type_of(value, at, scope.only("env"), TEXT, shows=False, what="the tool")
            computes[part, key] = loader.values.compute(value)
    server = _Server(name, stated, computes)
    whole = McpTools(server)
    return {name: whole, **{f"{name}.{one}": McpTool(server, one) for one in stated.only or ()}}


class _Server:
    """An entry, connected once for all runs that share a runtime."""

    def __init__(self, name: str, options: McpOptions, computes: dict[tuple[str, str], Compute]) -> None:
        self.name, self.options = name, options
        self._computes = computes

    async def tools(self, running: StepContext) -> dict[str, Tool]:
        """The server's tools by the names that it gives them. Raises `ToolFailed`."""
        values = {"env": running.pipeline.env}
        made = {at: str(compute(values)) for at, compute in self._computes.items()}
        parts = {part: {key: made[part, key] for of, key in made if of == part} for part in ("headers", "env")}
        options = self.options.model_copy(update={"mcp": self.options.mcp.model_copy(update=parts)})
        folder = running.pipeline.path.parent
        catalog = running.host.catalog(
            (str(running.pipeline.path), self.name), lambda: ToolCatalog({self.name: options}, folder)
        )
        try:
            found = await catalog.find([self.name])
        except ConfigError as error:
            raise ToolFailed(error.message, remedy=error.remedy) from error
        return {each.name.removeprefix(f"{self.name}_"): each for each in found}


class McpTool(PipelineTool):
    """One tool of a server."""

    parameters = None
    gives = ANY
    effects = "once"

    def __init__(self, server: _Server, name: str) -> None:
        self._server, self._name = server, name
        self.options = server.options

    async def called(self, arguments: Arguments, running: StepContext, caller: Caller) -> JsonValue:
        made = await self._found(running)
        found = await made.call(dict(arguments), CallContext(caller.key, "", caller.seconds_left))
        return caller.redacted(found)

    async def for_models(self, name: str, running: StepContext) -> tuple[Tool, ...]:
        return (await self._found(running),)

    async def _found(self, running: StepContext) -> Tool:
        found = (await self._server.tools(running)).get(self._name)
        if found is None:
            raise ToolFailed(f"the MCP server {self._server.name} has no tool {self._name!r}", remedy="Check `only`")
        return found


class McpTools(PipelineTool):
    """All tools of a server; only models can call what is known when the server is there."""

    parameters = None
    gives = ANY
    effects = "once"

    def __init__(self, server: _Server) -> None:
        self._server = server
        self.options = server.options

    async def called(self, arguments: Arguments, running: StepContext, caller: Caller) -> JsonValue:
        raise ToolFailed(
            f"{self._server.name} is a whole MCP server", remedy="List its tool under `only`, and call NAME.TOOL"
        )

    async def for_models(self, name: str, running: StepContext) -> tuple[Tool, ...]:
        return tuple((await self._server.tools(running)).values())
