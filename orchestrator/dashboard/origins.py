"""Where a request comes from, and where somebody may be sent."""

from __future__ import annotations

from starlette.requests import Request

from orchestrator.dashboard.host import DashboardError
from orchestrator.dashboard.page import BASE


def next_address(request: Request) -> str:
    """Where to go after signing in, as the address states it; "" where it states nothing of ours."""
    wanted = request.query_params.get("next", "")
    return wanted if is_own_address(wanted) else ""


def is_own_address(address: str) -> bool:
    """Whether an address lies within the dashboard: nobody is sent elsewhere after signing in."""
    return (address == BASE or address.startswith(f"{BASE}/")) and "\\" not in address and "//" not in address


def check_origin(request: Request) -> str:
    """Where a form comes from, as the browser says. Raises `DashboardError` (403) where that is another site."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin")
    is_foreign = origin is not None and origin.partition("://")[2] != request.headers.get("host", "")
    if site not in ("same-origin", "none") or is_foreign:
        raise DashboardError(403, "this form comes from another site", kind="forbidden")
    return site


def is_https(request: Request) -> bool:
    """Whether the browser speaks HTTPS, to us or to a proxy in front."""
    return request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"


def check_local(request: Request) -> None:
    """A local store is shown to this machine alone, whatever name another site may give to it (DNS rebinding)."""
    host = request.headers.get("host", "").rpartition(":")[0] or request.headers.get("host", "")
    if host.strip("[]") not in ("127.0.0.1", "localhost", "::1"):
        raise DashboardError(421, "this is shown at localhost only", kind="forbidden")
