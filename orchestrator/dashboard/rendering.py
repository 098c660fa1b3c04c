"""Pages as HTML: templates, the numbers in them, and headers that keep a page from doing what it should not."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, select_autoescape
from markupsafe import Markup

from orchestrator.dashboard import formats
from orchestrator.dashboard.page import BASE, link
from orchestrator.dashboard.times import RANGES, iso_time, shown_time

HERE = Path(__file__).parent
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "font-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


def private_headers() -> dict[str, str]:
    """Headers of a page that nobody but its reader may keep."""
    return {**HEADERS, "cache-control": "no-store"}


@lru_cache(maxsize=1)
def templates() -> Environment:
    """The templates; whatever is written into them is text unless it is marked otherwise."""
    found = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=select_autoescape(default=True),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "usd": formats.usd,
        "seconds": formats.seconds,
        "share": formats.share,
        "count": formats.count,
        "time": shown_time,
        "iso": iso_time,
    }
    found.globals |= {"base": BASE, "link": link, "ranges": list(RANGES), "ago": formats.ago}
    found.globals["parts"] = found.get_template("parts.html").module
    return found


def render(template: str, values: Mapping[str, object]) -> str:
    """A page as HTML."""
    return templates().get_template(template).render(values)


def drawn(svg: str) -> Markup:
    """A chart that is safe to put into a page: its texts were escaped when it was drawn."""
    return Markup(svg)
