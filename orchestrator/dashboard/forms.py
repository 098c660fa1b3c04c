"""What was filled in on a page."""

from __future__ import annotations

from urllib.parse import parse_qsl

import orjson
from starlette.requests import Request

from orchestrator.dashboard.host import DashboardError

MAX_FORM_BYTES = 1_000_000
MAX_FIELDS = 200


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form. Raises `DashboardError` on one that is too large or no form."""
    raw = b""
    async for part in request.stream():
        raw += part
        if len(raw) > MAX_FORM_BYTES:
            raise DashboardError(413, f"a form holds at most {MAX_FORM_BYTES:,} bytes")
    kind = request.headers.get("content-type", "")
    if kind.startswith("application/json"):
        try:
            found = orjson.loads(raw or b"{}")
        except orjson.JSONDecodeError:
            raise DashboardError(400, "the body is not JSON") from None
        if not isinstance(found, dict):
            raise DashboardError(400, "the body must be a JSON object")
        return {
            str(name): value if isinstance(value, str) else orjson.dumps(value).decode()
            for name, value in found.items()
        }
    try:
        return dict(parse_qsl(raw.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS))
    except ValueError:
        raise DashboardError(400, "this is no form") from None
