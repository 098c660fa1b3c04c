"""One HTTP request as a tool: to an address whose host is fixed, and never further than it may go."""

from __future__ import annotations

import asyncio
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from orchestrator.config.tools import READING, HttpOptions, Input
from orchestrator.jsontypes import JsonMapping, JsonObject, JsonValue
from orchestrator.text.excerpt import excerpt
from orchestrator.tools.addresses import Allowed
from orchestrator.tools.calling import Caller, Parameter, percent_encoded, placed
from orchestrator.tools.tool import Effects, ToolFailed
from orchestrator.types.format import as_text

if TYPE_CHECKING:
    import httpx

MAX_BYTES = 10_000_000
REPEATABLE = ("PUT", "DELETE")  # RFC 9110, section 9.2.2
RETRYABLE = frozenset((408, 425, 429, 500, 502, 503, 504))
PLACEHOLDER = re.compile(r"\{([A-Za-z][\w.-]*)\}")
_KINDS = {"text": "string", "list": "array"}


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes: an address, its headers, and which hosts are allowed."""

    url: str
    headers: Mapping[str, str]
    allowed: Allowed


@dataclass(frozen=True, slots=True)
class HttpCall:
    """One kind of request.

    Args:
        method: GET, POST and so on.
        parameters: What it takes; `{name}` in the address stands for one.
        has_effects: Whether it changes anything: then the server is told the key of the call.
        timeout_s: The longest that it may take, in seconds.
        idempotency_header: In which header the key goes.
    """

    method: str
    parameters: Mapping[str, Parameter]
    has_effects: bool
    timeout_s: float
    idempotency_header: str = "Idempotency-Key"

    async def send(self, target: Target, arguments: JsonMapping, caller: Caller) -> JsonValue:
        """What the server answers, as JSON if it is. Raises `ToolFailed`."""
        headers = dict(target.headers)
        if self.has_effects:
            headers[self.idempotency_header] = caller.key
        given = placed(self.parameters, arguments)
        url = PLACEHOLDER.sub(lambda match: _in_path(match[1], given["path"]), target.url)
        fixed = {name.lower() for name in headers}
        headers |= {name: as_text(value) for name, value in given["header"].items() if name.lower() not in fixed}
        return await request(
            caller,
            Target(url, headers, target.allowed),
            self.method,
            given["query"],
            given["body"] or None,
            timeout_s=self.timeout_s,
            has_effects=self.has_effects,
        )


def parameters_of(stated: HttpOptions, schemas: Mapping[str, JsonObject]) -> dict[str, Parameter]:
    """What a request takes; `schemas` are those of parameters that state one."""
    in_path = set(PLACEHOLDER.findall(stated.http))
    found: dict[str, Parameter] = {}
    for name, one in stated.parameters.items():
        entry = Input.model_validate({"type": one}) if isinstance(one, str) else one
        reads = stated.method in (*READING, "DELETE")
        place: Any = "path" if name in in_path else "query" if reads else "body"
        schema = schema_of_input(entry, schemas.get(name))
        found[name] = Parameter(name, schema, entry.is_required, place, entry.default)
    for missing in sorted(in_path - found.keys()):
        found[missing] = Parameter(missing, {}, True, "path")
    return found


def schema_of_input(stated: Input, schema: JsonObject | None = None) -> JsonObject:
    """The JSON Schema of a value as an entry states it."""
    kind = _KINDS.get(stated.type, stated.type)
    found: JsonObject = {**(schema or {})} if schema is not None or kind == "any" else {"type": kind}
    if stated.choices is not None:
        found["enum"] = stated.choices
    if stated.description:
        found["description"] = stated.description
    if stated.default is not None:
        found["default"] = stated.default
    return found


def effects_of(call: HttpCall) -> Effects:
    """What a request changes, as its method tells (RFC 9110, section 9.2)."""
    if not call.has_effects:
        return "none"
    return "idempotent" if call.method in REPEATABLE else "once"


def _in_path(name: str, given: JsonMapping) -> str:
    text = as_text(given.get(name, ""))
    if not text:  # without it the address would be another one
        raise ToolFailed(f"the address needs {name!r}", remedy="Give it a value")
    return percent_encoded(text)


async def request(
    caller: Caller,
    target: Target,
    method: str,
    query: JsonMapping,
    body: JsonValue,
    *,
    timeout_s: float,
    has_effects: bool,
) -> JsonValue:
    """Sends one request and reads what comes back, as JSON if it is. Raises `ToolFailed`."""
    import httpx  # heavy: 60 ms

    address, host, extensions = await target.allowed.address(target.url)
    asked: list[tuple[str, Any]] = [
        (name, as_text(each))
        for name, value in query.items()
        for each in (value if isinstance(value, list) else [value])
    ]
    left = caller.seconds_left
    timeout_s = timeout_s if left is None else max(min(timeout_s, left), 0.001)
    client = caller.client()
    sent = client.build_request(
        method,
        httpx.URL(address).copy_merge_params(asked) if asked else address,
        headers={"accept-encoding": "identity", **target.headers, **host},
        json=body,
        extensions={**extensions, "timeout": httpx.Timeout(timeout_s).as_dict()},
    )
    told = str(caller.redacted(f"{method} {plain(target.url)}"))
    try:
        # httpx counts each silence by itself: a server that dribbles would never end
        async with asyncio.timeout(timeout_s):
            reply = await client.send(sent, stream=True)
            try:
                content = await _read(reply)
            finally:
                await reply.aclose()
    except TimeoutError:
        raise ToolFailed(
            f"{told}: no whole answer in {timeout_s:g} s",
            remedy="Raise timeout, or ask for less",
            retryable=True,
            may_have_happened=has_effects,
        ) from None
    except httpx.ConnectError as error:
        raise ToolFailed(f"{told}: no connection: {error}", remedy="Is the server there?", retryable=True) from None
    except httpx.HTTPError as error:
        said = f"{told}: {type(error).__name__} {error}".rstrip()
        raise ToolFailed(said, remedy="Try again", retryable=True, may_have_happened=has_effects) from None
    return _result(reply, content, told, caller)


async def _read(reply: httpx.Response) -> bytes:
    """The content; what a server compresses although it was not asked to is unpacked within the same bound."""
    encoding = reply.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip", "deflate", ""):
        told = f"the answer is compressed in a way that is not read: {encoding[:40]}"
        raise ToolFailed(told, remedy="Ask its operator")
    inflating = None if encoding in ("identity", "") else zlib.decompressobj(wbits=47)
    content = bytearray()
    try:
        async for chunk in reply.aiter_raw():
            content += chunk if inflating is None else inflating.decompress(chunk, MAX_BYTES + 1 - len(content))
            if len(content) > MAX_BYTES:
                raise ToolFailed(f"the answer has more than {MAX_BYTES:,} bytes", remedy="Ask for less")
    except zlib.error as error:
        raise ToolFailed(f"the answer cannot be unpacked: {error}", remedy="Check the server") from None
    return bytes(content)


def _result(reply: httpx.Response, content: bytes, told: str, caller: Caller) -> JsonValue:
    if reply.status_code >= 400 or reply.has_redirect_location:
        raise _refused(reply, content, told, caller)
    if not content:
        return None
    found: JsonValue
    try:
        found = json.loads(content)
    except ValueError:
        if "json" in reply.headers.get("content-type", ""):
            raise ToolFailed(
                f"{told}: the answer is not the JSON that it says it is", remedy="Check the server"
            ) from None
        found = content.decode("utf-8", "replace")
    return caller.redacted(found)


def _refused(reply: httpx.Response, content: bytes, told: str, caller: Caller) -> ToolFailed:
    wait = reply.headers.get("retry-after", "")
    reason = f"answered {reply.status_code}"
    if reply.has_redirect_location:
        reason += " (a redirection, which is not followed)"
    return ToolFailed(
        str(caller.redacted(f"{told} {reason}: {excerpt(content, 300)}"))[:600],
        remedy="Look at what the server says",
        retryable=reply.status_code in RETRYABLE,
        retry_after_s=float(wait) if re.fullmatch(r"\d{1,5}", wait) else None,
    )


def plain(url: str) -> str:
    """An address without what may be secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
