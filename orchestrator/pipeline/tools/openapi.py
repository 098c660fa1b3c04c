"""Tools from an OpenAPI document (3.0 and 3.1).

Each operation by its `operationId`, with the parameters and the answer that it states.

A document in a file is read when the pipeline loads; one behind an address only when its first tool is called, so that
loading needs no network.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from pydantic import Field

from orchestrator.config.yaml_loader import load_located
from orchestrator.errors import ConfigError
from orchestrator.jsontypes import JsonMapping, JsonObject
from orchestrator.pipeline.errors import ToolFailed
from orchestrator.pipeline.expressions.evaluation import Compute
from orchestrator.pipeline.expressions.templates import OPEN
from orchestrator.pipeline.expressions.type_inference import suggestion
from orchestrator.pipeline.expressions.types import ANY, ValueType, type_of_schema
from orchestrator.pipeline.language.contracts import StepContext, ToolContext
from orchestrator.pipeline.language.validation import validated
from orchestrator.pipeline.tools.http import READING, HttpTool, Reach, Reaching, reach, request
from orchestrator.pipeline.tools.tool import Arguments, Parameter, PipelineTool

if TYPE_CHECKING:
    from orchestrator.pipeline.expressions.scope import NameScope

METHODS = ("get", "head", "post", "put", "patch", "delete")
MAX_OPERATIONS = 2_000


class OpenApiOptions(Reaching):
    """Tools of an OpenAPI document."""

    openapi: str
    """The document: a file, or an address."""
    base_url: str | None = None
    """Where the API is; default: the document's first server, or where the document was."""
    only: list[str] | None = Field(default=None, min_length=1)
    """Only these operations."""


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
    document = _parsed(found[1], stated.openapi)
    if isinstance(document, str):
        loader.sources.problem((*where, "openapi"), "E507", document)
        return {}
    url = stated.base_url or next((s.get("url") for s in document.get("servers", ()) if isinstance(s, dict)), None)
    reached = (
        reach({**raw, "url": url}, "url" if stated.base_url is None else "base_url", where, loader, scope)
        if url
        else None
    )
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
    return {f"{name}.{one}": _Operation(reached, each, stated) for one, each in chosen.items()}


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


class Operation:
    """One operation of a document."""

    def __init__(self, method: str, path: str, parameters: Mapping[str, Parameter], gives: ValueType) -> None:
        self.method = method
        self.path = path
        self.parameters = parameters
        self.gives = gives


class _Operation(HttpTool):
    def __init__(self, base: Reach, operation: Operation, options: OpenApiOptions) -> None:
        changes = operation.method not in READING
        super().__init__(
            _Below(base, operation.path), operation.method, operation.parameters, operation.gives, changes, options
        )


class _Below(Reach):
    """A path of an API."""

    def __init__(self, base: Reach, path: str) -> None:
        self._base, self._path = base, path

    def stated(self, values: JsonMapping) -> Any:
        url, headers, allowed = self._base.stated(values)
        return url.rstrip("/") + self._path, headers, allowed


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
        url, headers, allowed = self.reached.stated(values)
        document = await request(running, allowed, "GET", url, headers, {}, None, self.options.timeout, False)
        if not isinstance(document, dict) or not isinstance(document.get("paths"), dict):
            raise ToolFailed(f"{url} is no OpenAPI document", remedy="Check the address")
        server = next((s.get("url") for s in document.get("servers", ()) if isinstance(s, dict)), None) or "/"
        base = str(self._base(values)) if self._base is not None else urljoin(url, str(server))
        there = _Fixed(base, headers, allowed)
        return {name: _Operation(there, each, self.options) for name, each in operations_of(document).items()}


class _Fixed(Reach):
    def __init__(self, url: str, headers: dict[str, str], allowed: Any) -> None:
        self._stated = (url, headers, allowed)

    def stated(self, values: JsonMapping) -> Any:
        url, headers, allowed = self._stated
        return url, dict(headers), allowed


class _RemoteOperation(PipelineTool):
    """Whether it changes anything is not known before, so it is taken to."""

    parameters = None
    gives = ANY
    has_effects = True

    def __init__(self, remote: _Remote, name: str) -> None:
        self._remote, self._name = remote, name

    async def call(self, arguments: Arguments, running: StepContext) -> Any:
        tool = await self._remote.operation(self._name, running)
        unknown = next((name for name in arguments if name not in tool.parameters), None)
        if unknown is not None:
            raise ToolFailed(
                f"{self._name} has no parameter {unknown!r}",
                remedy=suggestion(unknown, tool.parameters) or "Check the API",
            )
        return await tool.call(arguments, running)


def operations_of(document: JsonMapping) -> dict[str, Operation]:
    """The operations of a document by their ids; one without an id is called by its method and path: `get_tickets`."""
    found: dict[str, Operation] = {}
    for path, item in (document.get("paths") or {}).items():
        if not isinstance(item, dict):
            continue
        for method in METHODS:
            stated = item.get(method)
            if isinstance(stated, dict) and len(found) < MAX_OPERATIONS:
                name = str(stated.get("operationId") or _name(method, path))
                found[name] = Operation(
                    method.upper(), str(path), _parameters(document, item, stated), _gives(document, stated)
                )
    return found


def _parameters(document: JsonMapping, item: JsonMapping, stated: JsonMapping) -> dict[str, Parameter]:
    found: dict[str, Parameter] = {}
    for raw in [*(item.get("parameters") or ()), *(stated.get("parameters") or ())]:
        one = _resolved(document, raw)
        if isinstance(one, dict) and one.get("in") in ("path", "query", "header"):
            required = bool(one.get("required")) or one["in"] == "path"
            found[one["name"]] = Parameter(one["name"], _type(document, one.get("schema")), required, one["in"])
    body = _resolved(document, stated.get("requestBody"))
    content = ((body or {}).get("content") or {}).get("application/json") or {}
    schema = _resolved(document, content.get("schema")) or {}
    needed = schema.get("required") or () if (body or {}).get("required") else ()
    for name, each in (schema.get("properties") or {}).items():
        found.setdefault(name, Parameter(name, _type(document, each), name in needed, "body"))
    return found


def _gives(document: JsonMapping, stated: JsonMapping) -> ValueType:
    for status, raw in (stated.get("responses") or {}).items():
        if str(status).startswith("2"):
            answer = _resolved(document, raw) or {}
            content = (answer.get("content") or {}).get("application/json") or {}
            return _type(document, content.get("schema"))
    return ANY


def _type(document: JsonMapping, schema: Any) -> ValueType:
    """Of a schema of the document, whose references point into the document."""
    if not isinstance(schema, dict):
        return ANY
    return type_of_schema(
        {**schema, **{name: document[name] for name in ("components", "definitions") if name in document}}
    )


def _resolved(document: JsonMapping, raw: Any) -> Any:
    for _ in range(10):
        if not (isinstance(raw, dict) and isinstance(raw.get("$ref"), str) and raw["$ref"].startswith("#/")):
            return raw
        found: Any = document
        for part in raw["$ref"][2:].split("/"):
            found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
        raw = found
    return None


def _name(method: str, path: Any) -> str:
    return "_".join([method, *(part.strip("{}") for part in str(path).split("/") if part)])


def _parsed(text: str, name: str) -> JsonObject | str:
    """The document, or what is wrong with it."""
    try:
        found = json.loads(text) if text.lstrip().startswith("{") else load_located(text, name).value
    except (ValueError, ConfigError) as error:
        return f"{name} is neither JSON nor YAML: {error}"[:300]
    if not isinstance(found, dict) or not isinstance(found.get("paths"), dict):
        return f"{name} is no OpenAPI document: it has no paths"
    return found
