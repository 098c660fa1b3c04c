"""The tools of a configuration (`tools:` of orchestrator.yaml), by name.

An entry stands for one tool, or for all operations of an OpenAPI document or an MCP server. Nothing is read, imported
or connected before a run uses it.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit
from weakref import WeakKeyDictionary

from orchestrator.config.tools import (
    READING,
    AnyTool,
    HttpOptions,
    Input,
    McpOptions,
    OpenApiOptions,
    PythonOptions,
    Reaching,
    SqlOptions,
    ToolOptions,
)
from orchestrator.config.yaml_loader import load_located
from orchestrator.errors import ConfigError, closest
from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.tools.addresses import Allowed
from orchestrator.tools.calling import Caller, Parameter, arguments_schema
from orchestrator.tools.function import tool
from orchestrator.tools.given_secrets import GivenSecrets
from orchestrator.tools.http import HttpCall, Target, effects_of, parameters_of, request
from orchestrator.tools.importing import imported
from orchestrator.tools.openapi import Operation, first_server, operations_of, read_document
from orchestrator.tools.sql import SqlStatement, is_postgres, statement_parameters
from orchestrator.tools.tool import CallContext, Effects, Tool, ToolFailed

if TYPE_CHECKING:
    import httpx

    from orchestrator.tools.mcp import McpServer

HELP = "See docs/agents.md, Tools of a configuration"
Make = Callable[[JsonObject, CallContext], Awaitable[Any]]


class ToolCatalog:
    """Tools by the names of their entries.

    Args:
        stated: The entries.
        folder: Where relative paths begin (default: the current folder).
    """

    def __init__(self, stated: Mapping[str, AnyTool], folder: Path | None = None) -> None:
        self._stated = dict(stated)
        self._folder = folder or Path()
        self._made: dict[str, tuple[Tool, ...]] = {}
        self._servers: dict[str, McpServer] = {}
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()
        self._secrets = GivenSecrets()
        self._check()

    def __repr__(self) -> str:
        return f"ToolCatalog({', '.join(self._stated)})"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the entries."""
        return tuple(self._stated)

    def require(self, names: Sequence[str]) -> None:
        """Raises `ConfigError` on a name that is no entry."""
        for name in names:
            if name not in self._stated:
                near = closest(name, self.names)
                known = f"There are: {', '.join(self.names)}" if self._stated else "Write it under tools:"
                raise ConfigError(
                    f"the configuration has no tool {name!r}", remedy=f"Did you mean {near!r}?" if near else known
                )

    async def find(self, names: Sequence[str]) -> tuple[Tool, ...]:
        """The tools of some entries, connected. Raises `ConfigError` where one cannot be had."""
        self.require(names)
        found: list[Tool] = []
        for name in names:
            server = self._servers.get(name)
            if server is not None:
                found += self._chosen(server, self._stated[name])
                continue
            if name not in self._made:
                self._made[name] = await self._make(name, self._stated[name])
            found += self._made[name]
        return tuple(found)

    async def aclose(self) -> None:
        """Ends what was started and closes what was opened."""
        servers, self._servers, self._made = list(self._servers.values()), {}, {}
        for server in servers:
            await asyncio.to_thread(server.close)
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    def _check(self) -> None:
        """Raises `ConfigError` on entries that can be seen to be wrong."""
        for name, stated in self._stated.items():
            problem = ""
            if isinstance(stated, SqlOptions):
                statement = SqlStatement.read(stated)
                if isinstance(statement, str):
                    problem = statement
                elif unknown := [each for each in stated.parameters if each not in statement.names]:
                    problem = f"the query has no parameter :{unknown[0]}"
                elif not is_postgres(stated.sql) and not stated.sql.startswith(("sqlite:", "${")):
                    problem = "a database is sqlite:FILE or postgresql://..."
            elif isinstance(stated, PythonOptions) and not re.fullmatch(r"[\w.]+:[\w.]+", stated.python):
                problem = f"{stated.python!r} is no function: write package.module:function"
            if problem:
                raise ConfigError(f"tool {name!r}: {problem}", remedy=HELP)

    # making

    async def _make(self, name: str, stated: ToolOptions) -> tuple[Tool, ...]:
        try:
            if isinstance(stated, HttpOptions):
                return (self._http(name, stated),)
            if isinstance(stated, SqlOptions):
                return (self._sql(name, stated),)
            if isinstance(stated, PythonOptions):
                return (self._python(name, stated),)
            if isinstance(stated, OpenApiOptions):
                return await self._openapi(name, stated)
            assert isinstance(stated, McpOptions)
            return await self._mcp(name, stated)
        except ConfigError:
            raise
        except Exception as error:  # a document may be anything
            told = error.message if isinstance(error, ToolFailed) else f"{error}"
            if not isinstance(error, ToolFailed | ValueError | OSError):
                told = f"it cannot be read: {type(error).__name__}: {error}"
            raise ConfigError(f"tool {name!r}: {told}", remedy=HELP) from error

    def _http(self, name: str, stated: HttpOptions) -> Tool:
        call = HttpCall(
            stated.method,
            parameters_of(stated, self._schemas(name, stated.parameters)),
            stated.has_effects,
            stated.timeout,
            stated.idempotency_header,
        )
        target = self._target(name, self._secrets.filled_in(stated.http), stated)
        return self._tool(name, stated, call.parameters, effects_of(call), self._sending(call, target))

    def _sending(self, call: HttpCall, target: Target) -> Make:
        async def send(arguments: JsonObject, context: CallContext) -> JsonValue:
            return await call.send(target, arguments, self._caller(context))

        return send

    def _sql(self, name: str, stated: SqlOptions) -> Tool:
        statement = SqlStatement.read(stated)
        assert isinstance(statement, SqlStatement)  # it was looked at when the catalog was made
        url = self._secrets.filled_in(stated.sql)
        path = None if is_postgres(url) else self._path(url.removeprefix("sqlite:").removeprefix("//"))

        async def run(arguments: JsonObject, context: CallContext) -> JsonValue:
            return await statement.run(url, arguments, self._caller(context), path)

        parameters = statement_parameters(statement, stated, self._schemas(name, stated.parameters))
        return self._tool(name, stated, parameters, "idempotent" if stated.writes else "none", run)

    def _python(self, name: str, stated: PythonOptions) -> Tool:
        try:
            function = imported(stated.python, self._folder)
        except Exception as error:
            raise ValueError(f"{stated.python} cannot be imported: {type(error).__name__}: {error}"[:300]) from error
        return tool(
            function,
            name=name,
            description=stated.description or None,
            effects=stated.effects or ("once" if stated.changes else "none"),
            needs=stated.needs,
            timeout=stated.timeout,
            max_calls=stated.max_calls,
        )

    async def _openapi(self, name: str, stated: OpenApiOptions) -> tuple[Tool, ...]:
        source = self._secrets.filled_in(stated.openapi)
        if "://" in source:
            target = self._target(name, source, stated)
            caller = Caller("", self._client)
            found = await request(caller, target, "GET", {}, None, timeout_s=stated.timeout, has_effects=False)
            text = found if isinstance(found, str) else json.dumps(found)
        else:
            text = await asyncio.to_thread(self._path(source).read_text, encoding="utf-8")
        document = read_document(text, stated.openapi)
        if isinstance(document, str):
            raise ValueError(document)
        server = first_server(document)
        base = self._secrets.filled_in(stated.base_url) if stated.base_url else urljoin(source, server or "/")
        if "://" not in base:
            raise ValueError(f"{stated.openapi} names no server with an address: write base_url: https://...")
        if stated.base_url is None and "://" in source and _origin(base) != _origin(source):
            raise ValueError(
                f"the document from {_origin(source)} names a server elsewhere, {_origin(base)}: if that is right, "
                f"write base_url: {base}"
            )
        operations = await asyncio.to_thread(operations_of, document)
        unknown = [each for each in stated.only or () if each not in operations]
        if unknown:
            raise ValueError(f"{stated.openapi} has no operation {unknown[0]!r}")
        chosen = {one: each for one, each in operations.items() if stated.only is None or one in stated.only}
        there = self._target(name, base.rstrip("/"), stated)
        return tuple(self._operation(f"{name}_{one}", each, there, stated) for one, each in chosen.items())

    def _operation(self, name: str, operation: Operation, base: Target, stated: OpenApiOptions) -> Tool:
        has_effects = operation.method not in READING
        call = HttpCall(operation.method, operation.parameters, has_effects, stated.timeout, stated.idempotency_header)
        target = Target(base.url + operation.path, base.headers, base.allowed)
        about = stated.model_copy(update={"description": operation.description or stated.description})
        called = re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:64]
        return self._tool(called, about, call.parameters, effects_of(call), self._sending(call, target))

    async def _mcp(self, name: str, stated: McpOptions) -> tuple[Tool, ...]:
        from orchestrator.tools.mcp import McpServer  # anyio, and the extra `mcp` when it is opened

        there = stated.mcp
        server = McpServer(
            name,
            command=there.command,
            url=None if there.url is None else self._secrets.filled_in(there.url),
            env={key: self._secrets.read(value) for key, value in there.env.items()},
            headers={key: self._secrets.read(value) for key, value in there.headers.items()},
            cwd=self._path(there.cwd) if there.cwd else None,
            roots=[self._path(root) for root in there.roots],
            effects=stated.effects,
            needs_approval=stated.needs == "approval",
            timeout=stated.timeout,
        )
        await asyncio.to_thread(server.open)
        self._servers[name] = server
        return self._chosen(server, stated)

    def _tool(
        self, name: str, stated: ToolOptions, parameters: Mapping[str, Parameter], effects: Effects, call: Make
    ) -> Tool:
        return Tool(
            name,
            call,
            arguments_schema(parameters),
            stated.description,
            stated.effects or effects,
            stated.needs == "approval",
            stated.timeout,
            stated.max_calls,
        )

    def _chosen(self, server: McpServer, stated: ToolOptions) -> tuple[Tool, ...]:
        """The tools of a server that its entry lets through, as it lists them now, with the limits of the entry."""
        only = stated.only if isinstance(stated, McpOptions) else None
        chosen = (each for each in server.tools if only is None or server.stated_name(each) in only)
        return tuple(replace(each, call=self._secrets.hiding(each.call), max_calls=stated.max_calls) for each in chosen)

    # what tools need

    def _path(self, name: str) -> Path:
        return (self._folder / name).resolve()

    def _target(self, name: str, url: str, stated: Reaching) -> Target:
        host = (urlsplit(url).hostname or "").lower()
        if not url.startswith(("http://", "https://")) or not host or "{" in url.split("/")[2]:
            raise ValueError("an address begins with https:// or http:// and a host that is fixed")
        headers = {header: self._secrets.read(value) for header, value in stated.headers.items()}
        hosts = tuple(each.lower() for each in stated.hosts) if stated.hosts is not None else (host,)
        return Target(url, headers, Allowed(hosts, stated.private))

    def _schemas(self, name: str, parameters: Mapping[str, str | Input]) -> dict[str, JsonObject]:
        found: dict[str, JsonObject] = {}
        for parameter, each in parameters.items():
            schema = None if isinstance(each, str) else each.schema_
            if isinstance(schema, str):
                text = self._path(schema).read_text(encoding="utf-8")
                schema = json.loads(text) if schema.endswith(".json") else load_located(text, schema).value
            if schema is not None:
                found[parameter] = schema
        return found

    def _caller(self, context: CallContext) -> Caller:
        return Caller(context.key, self._client, context.seconds_left, self._secrets.redacted)

    def _client(self) -> httpx.AsyncClient:
        import httpx  # heavy: 60 ms

        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            self._clients[loop] = httpx.AsyncClient(follow_redirects=False, trust_env=False)
        return self._clients[loop]


def _origin(url: str) -> str:
    """Scheme, host and port of an address (RFC 6454)."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2].lower()}"
