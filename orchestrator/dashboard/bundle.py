"""A static site of chosen traces and reports: for a pull request or an incident, readable without any server.

The same templates as the pages, with links between its files. Nothing in it asks for anything outside of its folder.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from pathlib import Path

from orchestrator.dashboard.host import DashboardError, DashboardHost
from orchestrator.dashboard.page import BASE, Page, PageRequest
from orchestrator.dashboard.pages import models, overview, quality, router, traces
from orchestrator.dashboard.rendering import render
from orchestrator.dashboard.static_files import static_files, static_version
from orchestrator.jsontypes import JsonObject

REPORTS = {"overview": overview.overview, "quality": quality.quality, "router": router.router, "models": models.models}
_OWN_LINK = re.compile(rf'(href|src|action)="{BASE}(/[^"]*)"')
_FORM = re.compile(r"<form\b.*?</form>", re.DOTALL)  # nothing is asked of files; texts hold no tag, they are escaped


def write_bundle(
    host: DashboardHost, ids: Sequence[str], out: Path, *, reports: Sequence[str] = tuple(REPORTS), span: str = "30d"
) -> list[Path]:
    """Writes the site; the files that were written.

    Args:
        host: What is shown.
        ids: The traces, by their whole ids.
        out: A folder; it is made, and must be empty if it is there.
        reports: Which of `REPORTS`.
        span: The range of reports, as in an address: `24h`, `7d`.

    Raises:
        DashboardError: A trace is not there, or the folder is not empty.
    """
    if out.exists() and any(out.iterdir()):
        raise DashboardError(409, f"{out} is not empty", remedy="Name another folder")
    return asyncio.run(_write(host, ids, out, reports, span))


async def _write(host: DashboardHost, ids: Sequence[str], out: Path, reports: Sequence[str], span: str) -> list[Path]:
    viewer = host.viewer()
    pages: dict[str, Page] = {}
    for name in reports:
        made = await REPORTS[name](PageRequest(host, viewer, {"range": span}))
        assert isinstance(made, Page)
        pages[name] = made
    for id in ids:
        pages[f"traces/{id}"] = await traces.trace(PageRequest(host, viewer, {}, {"id": id}))
    (out / "traces").mkdir(parents=True)
    (out / "static").mkdir()
    for name, (_, content) in static_files().items():
        (out / "static" / name).write_bytes(content)
    rows = [pages[f"traces/{id}"].data for id in ids]
    pages["index"] = Page("bundle.html", "Bundle", {"traces": rows, "reports": list(reports)})
    return [path for name, page in pages.items() for path in _save(host, pages, name, page, out)]


def _save(host: DashboardHost, pages: dict[str, Page], name: str, page: Page, out: Path) -> list[Path]:
    up = "../" if "/" in name else ""
    around: JsonObject = {
        "title": page.title,
        "viewer": None,
        "pages": [
            {"title": "Contents" if each == "index" else pages[each].title, "path": f"{BASE}/{each}"}
            for each in pages
            if "/" not in each
        ],
        "here": f"{BASE}/{name}",
        "params": {},
        "said": "",
        "now": host.clock(),
        "version": static_version(),
        "origin": "",
        "has_api": False,
        "is_simulated": False,
        "token": "",
    }
    whole = render(page.template, {**page.data, **page.extra, **around, "is_bundle": True})
    html, data = out / f"{name}.html", out / f"{name}.json"
    fixed = _OWN_LINK.sub(lambda found: _relative(found, pages, up), _FORM.sub("", whole))
    html.write_text(fixed, encoding="utf-8")
    data.write_text(json.dumps(page.data, indent=1, default=str), encoding="utf-8")
    return [html, data]


def _relative(found: re.Match[str], pages: dict[str, Page], up: str) -> str:
    """A link within the site; what is not in it leads nowhere."""
    name, _, _ = found[2].strip("/").partition("?")
    if name.startswith("static/"):
        return f'{found[1]}="{up}{name}"'
    if name.endswith(".json") and name.removesuffix(".json") in pages:
        return f'{found[1]}="{up}{name}"'
    return f'{found[1]}="{up}{name or "index"}.html"' if (name or "index") in pages else f'data-was="{name}"'
