"""What is legal but unusual in a request, made usual before anything looks at it.

Other addresses of the same operation, HEAD, compressed bodies, browsers from other origins.
"""

from __future__ import annotations

import difflib
import re
import zlib
from collections.abc import Collection, MutableMapping, Sequence
from typing import Any

from orchestrator.gateway.errors import GatewayError
from orchestrator.gateway.http.request import Headers, Scope, Send

_SLASHES = re.compile("/{2,}")
_AZURE = re.compile(r"/openai/deployments/([^/]+)(/.+)")
_EXPOSED = (
    b"x-request-id, x-orchestrator-trace-id, x-orchestrator-model, x-orchestrator-cost-usd, x-orchestrator-confidence,"
    b" retry-after"
)
PREFLIGHT_S = 86_400


def usual_path(path: str) -> tuple[str, str]:
    """(the address of the operation, the model that the address names).

    Without doubled or last slashes, and as Azure's clients write it.
    """
    if "//" in path:
        path = _SLASHES.sub("/", path)
    if len(path) > 1 and path.endswith("/"):
        path = path.rstrip("/") or "/"
    if not path.startswith("/openai/"):
        return path, ""
    found = _AZURE.fullmatch(path)
    if found is not None:
        return f"/v1{found[2]}", found[1]
    return (path.removeprefix("/openai") if path.startswith("/openai/v1/") else path), ""


def nearest_path(path: str, known: Collection[str]) -> str:
    """Where a caller probably wanted to go; "" if nobody can tell."""
    if f"/v1{path}" in known:
        return f"/v1{path}"
    return next(iter(difflib.get_close_matches(path, known, n=1, cutoff=0.75)), "")


def without_body(send: Send) -> Send:
    """For HEAD: the head of the answer to GET."""

    async def sending(message: MutableMapping[str, Any]) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return sending


def unpacked_body(body: bytes, encoding: str, limit: int) -> bytes:
    """A compressed body as it was. Raises `GatewayError` (413, 415, 400)."""
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        message = f"a body compressed by {encoding[:40]!r} is not read: send gzip, deflate, or none"
        raise GatewayError(415, message, code="unsupported_encoding")
    inflate = zlib.decompressobj(wbits=47)
    try:
        found = inflate.decompress(body, limit + 1)
    except zlib.error:
        message = f"the body is not {encoding}, as content-encoding says"
        raise GatewayError(400, message, code="invalid_encoding") from None
    if len(found) > limit:
        message = f"the body is larger than {limit:,} bytes"
        raise GatewayError(413, message, code="request_too_large", headers=((b"connection", b"close"),))
    if not inflate.eof:
        raise GatewayError(400, f"the body is cut off: its {encoding} does not come to an end", code="invalid_encoding")
    return found


def cors_headers(scope: Scope, origins: Sequence[str]) -> Headers:
    """What lets a page of another origin read an answer (Fetch standard, CORS protocol); nothing where it may not."""
    origin = next((value for name, value in scope["headers"] if name == b"origin"), b"")
    if not origin or not ("*" in origins or origin.decode("latin-1") in origins):
        return []
    allowed = b"*" if "*" in origins else origin
    return [
        (b"access-control-allow-origin", allowed),
        (b"vary", b"origin"),
        (b"access-control-expose-headers", _EXPOSED),
    ]


def is_preflight(scope: Scope) -> bool:
    """Whether a browser asks if it may send a request (CORS)."""
    return scope["method"] == "OPTIONS" and any(
        name == b"access-control-request-method" for name, _ in scope["headers"]
    )


async def answer_preflight(scope: Scope, send: Send, headers: Headers) -> None:
    """Says what a browser may send."""
    asked = next(
        (value for name, value in scope["headers"] if name == b"access-control-request-headers"),
        b"authorization, content-type",
    )
    more = [
        (b"access-control-allow-methods", b"GET, POST, PATCH, DELETE"),
        (b"access-control-allow-headers", asked[:1_000]),
        (b"access-control-max-age", b"%d" % PREFLIGHT_S),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": [*headers, *more]})
    await send({"type": "http.response.body", "body": b""})
