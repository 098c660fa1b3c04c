"""A tool over HTTP in a pipeline file: one request, to an address whose host is fixed by the file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from orchestrator.config.tools import HttpOptions, Input
from orchestrator.jsontypes import JsonMapping, JsonObject, JsonValue
from orchestrator.pipeline.errors import ToolFailed
from orchestrator.pipeline.expressions.evaluation import Compute, ExpressionFailed
from orchestrator.pipeline.expressions.templates import OPEN
from orchestrator.pipeline.expressions.types import ANY, TEXT, ValueType, type_of_schema
from orchestrator.pipeline.language.contracts import StepContext, ToolContext
from orchestrator.pipeline.language.validation import validated
from orchestrator.pipeline.tools.tool import Arguments, PipelineTool, StepParameter
from orchestrator.tools.addresses import Allowed
from orchestrator.tools.calling import Caller
from orchestrator.tools.http import HttpCall, Target, effects_of, parameters_of

if TYPE_CHECKING:
    from orchestrator.pipeline.expressions.scope import NameScope


def read(
    name: str, raw: JsonMapping, where: tuple[str | int, ...], loader: ToolContext, scope: NameScope
) -> dict[str, PipelineTool]:
    """The tool of an entry, mistakes told."""
    stated = validated(HttpOptions, raw, where, loader.sources, f"tool '{name}'")
    reached = reach(raw, "http", where, loader, scope)
    if stated is None or reached is None:
        return {}
    schema = loader.schema(stated.gives, (*where, "gives"))
    parameters = parameters_of(stated, input_schemas(stated.parameters, where, loader))
    call = HttpCall(stated.method, parameters, stated.has_effects, stated.timeout, stated.idempotency_header)
    made = HttpTool(reached, call, type_of_schema(schema) if schema is not None else ANY)
    made.options = stated
    return {name: made}


def input_schemas(
    parameters: Mapping[str, Input | str], where: tuple[str | int, ...], loader: ToolContext
) -> dict[str, JsonObject]:
    """The JSON Schemas of the parameters that state one."""
    found: dict[str, JsonObject] = {}
    for name, each in parameters.items():
        if not isinstance(each, str):
            schema = loader.schema(each.schema_, (*where, "parameters", name, "schema"))
            if schema is not None:
                found[name] = schema
    return found


class Reach:
    """Where a tool's requests go: `url` and `headers` may hold variables of the environment."""

    def __init__(
        self, url: Compute, headers: Mapping[str, Compute], hosts: tuple[str, ...] | None, private: bool
    ) -> None:
        self._url = url
        self._headers = headers
        self._hosts = hosts
        self._private = private

    def target(self, values: JsonMapping) -> Target:
        """Where they go, with what is in the environment."""
        try:
            url = str(self._url(values))
            headers = {name: str(compute(values)) for name, compute in self._headers.items()}
        except ExpressionFailed as error:
            raise ToolFailed(f"the tool's address cannot be made: {error.message}", remedy=error.remedy) from None
        hosts = self._hosts or ((urlsplit(url).hostname or "").lower(),)
        return Target(url, headers, Allowed(hosts, self._private))


def reach(
    raw: JsonMapping, field: str, where: tuple[str | int, ...], loader: ToolContext, scope: NameScope
) -> Reach | None:
    """Where a tool goes, checked as far as it is known: the host cannot be made of what a step is given."""
    url = raw.get(field)
    if not isinstance(url, str):
        return None
    only_env = scope.only("env")
    loader.values.type_of(url, (*where, field), only_env, TEXT, shows=False, what="the tool")
    headers = raw.get("headers")
    stated = headers if isinstance(headers, dict) else {}
    for header, value in stated.items():
        loader.values.type_of(value, (*where, "headers", header), only_env, TEXT, shows=False, what="the tool")
    begins_fixed = re.match(r"https?://[^/{}$]+(/|$|\?)", url) or url.startswith(OPEN)
    if "://" in url and not begins_fixed and OPEN not in url.split("/")[2]:
        told = "the host of an address must be fixed: http:// or https://, a name, a path"
        loader.sources.problem((*where, field), "E506", told, "parameters go into the path or the query")
        return None
    if "://" not in url and not url.startswith(OPEN):
        loader.sources.problem((*where, field), "E506", "an address begins with https:// or http://")
        return None
    listed = raw.get("hosts")
    hosts = tuple(str(host).lower() for host in listed) if isinstance(listed, list) else None
    computes = {str(header): loader.values.compute(value) for header, value in stated.items() if isinstance(value, str)}
    return Reach(loader.values.compute(url), computes, hosts, raw.get("private") is True)


class HttpTool(PipelineTool):
    """Calls one address."""

    def __init__(self, reached: Reach, call: HttpCall, gives: ValueType) -> None:
        self._reach = reached
        self._call = call
        self.parameters: Mapping[str, StepParameter] = StepParameter.of(call.parameters)
        self.gives = gives
        self.effects = effects_of(call)

    async def called(self, arguments: Arguments, running: StepContext, caller: Caller) -> JsonValue:
        target = self._reach.target({"env": running.pipeline.env})
        return await self._call.send(target, arguments, caller)
