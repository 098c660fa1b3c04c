"""A tool over HTTP: one request, to an address whose host is fixed by the file."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field

from orchestrator.jsontypes import JsonMapping, JsonValue
from orchestrator.pipeline.errors import ToolFailed
from orchestrator.pipeline.expressions.evaluation import Compute, ExpressionFailed
from orchestrator.pipeline.expressions.functions import as_text
from orchestrator.pipeline.expressions.templates import OPEN, percent_encoded
from orchestrator.pipeline.expressions.types import ANY, TEXT, ValueType, type_of_schema
from orchestrator.pipeline.language.contracts import StepContext, ToolContext
from orchestrator.pipeline.language.document import Input, InputKind
from orchestrator.pipeline.language.fields import Seconds, Strict
from orchestrator.pipeline.language.validation import validated
from orchestrator.pipeline.tools.addresses import Allowed
from orchestrator.pipeline.tools.tool import Arguments, Parameter, PipelineTool

if TYPE_CHECKING:
    from orchestrator.pipeline.expressions.scope import NameScope

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
READING = ("GET", "HEAD")
MAX_BYTES = 10_000_000
RETRYABLE = frozenset((408, 425, 429, 500, 502, 503, 504))
_PLACEHOLDER = re.compile(r"\{([A-Za-z]\w*)\}")


class Reaching(Strict):
    """What tools over HTTP have in common."""

    hosts: list[str] | None = None
    """Which hosts it may speak to; default: that of its address."""
    private: bool = False
    """It may speak to addresses of the own network."""
    headers: dict[str, str] = {}
    timeout: Seconds = 30.0
    idempotency_header: str = "Idempotency-Key"
    """In which header a server is told that a request is the same as an earlier one
    (draft-ietf-httpapi-idempotency-key-header).
    """


class HttpOptions(Reaching):
    """A tool that is one HTTP request."""

    http: str
    """The address; {name} stands for a parameter."""
    method: Method = "GET"
    parameters: dict[str, InputKind | Input] = {}
    gives: Annotated[dict[str, Any] | str | None, Field()] = None
    """A JSON Schema of what comes back, or the file of one."""
    changes: bool | None = None
    """Whether it changes anything; default: GET and HEAD do not, the others do."""


def read(
    name: str, raw: JsonMapping, where: tuple[str | int, ...], loader: ToolContext, scope: NameScope
) -> dict[str, PipelineTool]:
    """The tool of an entry, mistakes told."""
    stated = validated(HttpOptions, raw, where, loader.sources, f"tool '{name}'")
    reached = reach(raw, "http", where, loader, scope)
    if stated is None or reached is None:
        return {}
    schema = loader.schema(stated.gives, (*where, "gives"))
    in_path = set(_PLACEHOLDER.findall(stated.http))
    parameters = {one: _parameter(one, each, stated.method, in_path) for one, each in stated.parameters.items()}
    for missing in in_path - parameters.keys():
        parameters[missing] = Parameter(missing, ANY, True, "path")
    gives = type_of_schema(schema) if schema is not None else ANY
    changes = stated.method not in READING if stated.changes is None else stated.changes
    return {name: HttpTool(reached, stated.method, parameters, gives, changes, stated)}


def _parameter(name: str, stated: Input | str, method: str, in_path: set[str]) -> Parameter:
    one = Input.model_validate({"type": stated}) if isinstance(stated, str) else stated
    kinds = {"text": "string", "list": "array"}
    type_ = ANY if one.type == "any" else type_of_schema({"type": kinds.get(one.type, one.type)})
    place = "path" if name in in_path else "query" if method in ("GET", "HEAD", "DELETE") else "body"
    return Parameter(name, type_, one.is_required, place, one.default)


class Reach:
    """Where a tool's requests go: `url` and `headers` may hold variables of the environment."""

    def __init__(
        self, url: Compute, headers: Mapping[str, Compute], hosts: tuple[str, ...] | None, private: bool
    ) -> None:
        self._url = url
        self._headers = headers
        self._hosts = hosts
        self._private = private

    def stated(self, values: JsonMapping) -> tuple[str, dict[str, str], Allowed]:
        """(the address, headers, which hosts are allowed)."""
        try:
            url = str(self._url(values))
            headers = {name: str(compute(values)) for name, compute in self._headers.items()}
        except ExpressionFailed as error:
            raise ToolFailed(f"the tool's address cannot be made: {error.message}", remedy=error.remedy) from None
        hosts = self._hosts or ((urlsplit(url).hostname or "").lower(),)
        return url, headers, Allowed(hosts, self._private)


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

    def __init__(
        self,
        reached: Reach,
        method: str,
        parameters: Mapping[str, Parameter],
        gives: ValueType,
        changes: bool,
        options: Reaching,
    ) -> None:
        self._reach = reached
        self._method = method
        self.parameters: Mapping[str, Parameter] = parameters
        self.gives = gives
        self.has_effects = changes
        self._options = options

    async def call(self, arguments: Arguments, running: StepContext) -> JsonValue:
        url, headers, allowed = self._reach.stated({"env": running.pipeline.env})
        if self.has_effects:
            headers[self._options.idempotency_header] = running.key
        given = {one.name: arguments.get(one.name, one.default) for one in self.parameters.values()}
        in_place: dict[str, dict[str, Any]] = {"query": {}, "header": {}, "body": {}, "path": {}}
        for one in self.parameters.values():
            if given[one.name] is not None:
                in_place[one.place][one.name] = given[one.name]
        url = _PLACEHOLDER.sub(lambda match: _in_path(match[1], in_place["path"]), url)
        headers |= {name: as_text(value) for name, value in in_place["header"].items()}
        return await request(
            running,
            allowed,
            self._method,
            url,
            headers,
            in_place["query"],
            in_place["body"] or None,
            self._options.timeout,
            self.has_effects,
        )


def _in_path(name: str, given: JsonMapping) -> str:
    try:
        return percent_encoded(as_text(given[name]))
    except (KeyError, ExpressionFailed) as error:
        raise ToolFailed(f"the address needs {name!r}: {error}", remedy="Give it a value") from None


async def request(
    running: StepContext,
    allowed: Allowed,
    method: str,
    url: str,
    headers: Mapping[str, str],
    query: JsonMapping,
    body: JsonValue,
    timeout_s: float,
    changes: bool,
) -> JsonValue:
    """Sends one request and reads what comes back, as JSON if it is. Raises `ToolFailed`."""
    import httpx  # heavy: 60 ms

    target, host, extensions = await allowed.address(url)
    asked: list[tuple[str, Any]] = [
        (name, as_text(each))
        for name, value in query.items()
        for each in (value if isinstance(value, list) else [value])
    ]
    left = running.seconds_left
    timeout_s = timeout_s if left is None else max(min(timeout_s, left), 0.001)
    client = running.host.client()
    sent = client.build_request(
        method,
        httpx.URL(target).copy_merge_params(asked) if asked else target,
        headers={**headers, **host},
        json=body,
        extensions={**extensions, "timeout": httpx.Timeout(timeout_s).as_dict()},
    )
    try:
        async with asyncio.timeout(
            timeout_s
        ):  # httpx counts each silence by itself: a server that dribbles would never end
            reply = await client.send(sent, stream=True)
            try:
                content = await _read(reply)
            finally:
                await reply.aclose()
    except TimeoutError:
        told = f"{method} {_plain(url)}: no whole answer in {timeout_s:g} s"
        raise ToolFailed(
            told, remedy="Raise timeout, or ask for less", retryable=True, may_have_happened=changes
        ) from None
    except httpx.ConnectError as error:
        raise ToolFailed(
            f"{method} {_plain(url)}: no connection: {error}", remedy="Is the server there?", retryable=True
        ) from None
    except httpx.HTTPError as error:
        told = f"{method} {_plain(url)}: {type(error).__name__} {error}".rstrip()
        raise ToolFailed(told, remedy="Try again", retryable=True, may_have_happened=changes) from None
    return _result(reply, content, method, url, running)


async def _read(reply: Any) -> bytes:
    content = b""
    async for chunk in reply.aiter_bytes():
        content += chunk
        if len(content) > MAX_BYTES:
            raise ToolFailed(f"the answer has more than {MAX_BYTES:,} bytes", remedy="Ask for less")
    return content


def _result(reply: Any, content: bytes, method: str, url: str, running: StepContext) -> Any:
    told = content[:300].decode("utf-8", "replace")
    if reply.status_code >= 400 or reply.has_redirect_location:
        wait = reply.headers.get("retry-after", "")
        reason = f"answered {reply.status_code}" + (
            " (a redirection, which is not followed)" if reply.has_redirect_location else ""
        )
        raise ToolFailed(
            str(running.redacted(f"{method} {_plain(url)} {reason}: {told}"))[:600],
            remedy="Look at what the server says",
            retryable=reply.status_code in RETRYABLE,
            retry_after_s=float(wait) if re.fullmatch(r"\d{1,5}", wait) else None,
        )
    if not content:
        return None
    try:
        found = json.loads(content)
    except ValueError:
        if "json" in reply.headers.get("content-type", ""):
            raise ToolFailed(
                f"{method} {_plain(url)}: the answer is not the JSON that it says it is", remedy="Check the server"
            ) from None
        found = content.decode("utf-8", "replace")
    return running.redacted(found)


def _plain(url: str) -> str:
    """An address without what may be secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
