"""Tools from an OpenAPI document in a pipeline file.

A document in a file is read when the pipeline loads; one behind an address only when its first tool is called, so that
loading needs no network.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from orchestrator.config.tools import READING, OpenApiOptions
from orchestrator.jsontypes import JsonMapping, JsonValue
from orchestrator.pipeline.errors import ToolFailed
from orchestrator.pipeline.expressions.evaluation import Compute
from orchestrator.pipeline.expressions.templates import OPEN
from orchestrator.pipeline.expressions.type_inference import suggestion
from orchestrator.pipeline.expressions.types import ANY, type_of_schema
from orchestrator.pipeline.language.contracts import StepContext, ToolContext
from orchestrator.pipeline.language.validation import validated
from orchestrator.pipeline.tools.http import HttpTool, Reach, reach
from orchestrator.pipeline.tools.tool import Arguments, PipelineTool, caller_of
from orchestrator.tools.calling import Caller
from orchestrator.tools.http import HttpCall, Target, request
from orchestrator.tools.openapi import Operation, first_server, operations_of, read_document

if TYPE_CHECKING:
    from orchestrator.pipeline.expressions.scope import NameScope


def read(
    name: str, raw: JsonMapping, where: tuple[str | int, ...], loader: ToolContext, scope: NameScope
) -> dict[str, PipelineTool]:
    """The tools of the document's operations, mistakes told."""
    stated = validated(OpenApiOptions, raw, where, loader.sources, f"tool '{name}'")
    if stated is None:
        return {}
    if "://" in stated.openapi or OPEN in stated.openapi:
        return _later(name, stated, raw, where, loader, scope)
    found = loader.sources.file((*where, "openapi"), stated.openapi)
    if found is None:
        return {}
    document = read_document(found[1], stated.openapi)
    if isinstance(document, str):
        loader.sources.problem((*where, "openapi"), "E507", document)
        return {}
    url = stated.base_url or first_server(document)
    field = "url" if stated.base_url is None else "base_url"
    reached = reach({**raw, "url": url}, field, where, loader, scope) if url else None
    if reached is None:
        loader.sources.problem(
            (*where, "openapi"),
            "E507",
            f"{stated.openapi} names no server with an address",
            "write base_url: https://...",
            key=True,
        )
        return {}
    operations = operations_of(document)
    for index, wanted in enumerate(stated.only or ()):
        if wanted not in operations:
            told = f"{stated.openapi} has no operation '{wanted}'"
            loader.sources.problem((*where, "only", index), "E507", told, suggestion(wanted, operations))
    chosen = {one: each for one, each in operations.items() if stated.only is None or one in stated.only}
    return {f"{name}.{one}": _operation(reached, each, stated) for one, each in chosen.items()}


def _later(
    name: str,
    stated: OpenApiOptions,
    raw: JsonMapping,
    where: tuple[str | int, ...],
    loader: ToolContext,
    scope: NameScope,
) -> dict[str, PipelineTool]:
    """Tools whose document is behind an address: only those that `only` lists are known by name."""
    reached = reach(raw, "openapi", where, loader, scope)
    if reached is None:
        return {}
    if stated.only is None:
        told = "a document behind an address is read only when a tool is called: say which operations there are"
        loader.sources.problem((*where, "openapi"), "E507", told, "write only: [name, ...]", key=True)
        return {}
    base = None
    if stated.base_url is not None:
        base = loader.values.compute(stated.base_url)
        loader.values.type_of(stated.base_url, (*where, "base_url"), scope.only("env"), shows=False, what="the tool")
    remote = _Remote(reached, stated, base)
    return {f"{name}.{one}": _RemoteOperation(remote, one) for one in stated.only}


def _operation(base: Reach, operation: Operation, options: OpenApiOptions) -> HttpTool:
    changes = operation.method not in READING
    call = HttpCall(operation.method, operation.parameters, changes, options.timeout, options.idempotency_header)
    made = HttpTool(_Below(base, operation.path), call, type_of_schema(operation.gives) if operation.gives else ANY)
    made.options = options.model_copy(update={"description": operation.description or options.description})
    return made


class _Below(Reach):
    """A path of an API."""

    def __init__(self, base: Reach, path: str) -> None:
        self._base, self._path = base, path

    def target(self, values: JsonMapping) -> Target:
        found = self._base.target(values)
        return Target(found.url.rstrip("/") + self._path, found.headers, found.allowed)


class _Remote:
    """A document behind an address, fetched once."""

    def __init__(self, reached: Reach, options: OpenApiOptions, base: Compute | None) -> None:
        self.reached = reached
        self.options = options
        self._base = base
        self._lock = asyncio.Lock()
        self._operations: dict[str, HttpTool] | None = None

    async def operation(self, name: str, running: StepContext) -> HttpTool:
        async with self._lock:
            if self._operations is None:
                self._operations = await self._fetched(running)
        if name not in self._operations:
            raise ToolFailed(
                f"the API has no operation {name!r}", remedy=suggestion(name, self._operations) or "Check `only`"
            )
        return self._operations[name]

    async def _fetched(self, running: StepContext) -> dict[str, HttpTool]:
        values = {"env": running.pipeline.env}
        target, caller = self.reached.target(values), caller_of(running)
        seconds = self.options.timeout
        document = await request(caller, target, "GET", {}, None, timeout_s=seconds, has_effects=False)
        if not isinstance(document, dict) or not isinstance(document.get("paths"), dict):
            raise ToolFailed(f"{target.url} is no OpenAPI document", remedy="Check the address")
        server = first_server(document) or "/"
        base = str(self._base(values)) if self._base is not None else urljoin(target.url, server)
        there = _Fixed(Target(base, target.headers, target.allowed))
        return {name: _operation(there, each, self.options) for name, each in operations_of(document).items()}


class _Fixed(Reach):
    def __init__(self, target: Target) -> None:
        self._target = target

    def target(self, values: JsonMapping) -> Target:
        return self._target


class _RemoteOperation(PipelineTool):
    """Whether it changes anything is not known before, so it is taken to."""

    parameters = None
    gives = ANY
    effects = "once"

    def __init__(self, remote: _Remote, name: str) -> None:
        self._remote, self._name = remote, name
        self.options = remote.options

    async def known(self, running: StepContext) -> PipelineTool:
        return await self._remote.operation(self._name, running)

    async def called(self, arguments: Arguments, running: StepContext, caller: Caller) -> JsonValue:
        tool = await self._remote.operation(self._name, running)
        unknown = next((name for name in arguments if name not in tool.parameters), None)
        if unknown is not None:
            raise ToolFailed(
                f"{self._name} has no parameter {unknown!r}",
                remedy=suggestion(unknown, tool.parameters) or "Check the API",
            )
        return await tool.called(arguments, running, caller)
