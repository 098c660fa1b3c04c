"""What was filled in on a page."""

from __future__ import annotations

from urllib.parse import parse_qsl

import orjson
from starlette.requests import Request

from orchestrator.dashboard.host import DashboardError
from orchestrator.dashboard.page import MOST

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


def read_number(stated: str, name: str) -> float:
    """A number of at least 0 from a field. Raises `DashboardError` (400) on what could be read in two ways, too."""
    try:
        value = float(stated) if "," not in stated and "_" not in stated else -1.0
    except ValueError:
        value = -1.0
    if not 0 <= value < MOST:
        told = f"{name} must be a number of at least 0, not {stated[:40]!r}"
        raise DashboardError(400, told, remedy="Write 1000.5: a point for decimals, nothing between thousands")
    return value
