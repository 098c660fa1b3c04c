"""Ask the fleet from a page: the search as it thinks, two configurations side by side, comparisons that are kept."""

from __future__ import annotations

from collections.abc import AsyncIterator

import orjson

from orchestrator.config.names import STRATEGY_NAMES
from orchestrator.dashboard.forms import read_number
from orchestrator.dashboard.host import DashboardError, DashboardHost
from orchestrator.dashboard.page import Page, PageRequest, Redirect, link
from orchestrator.jsontypes import JsonObject

MAX_CHARS = 200_000
SHOWN = 30


def can_ask(host: DashboardHost) -> bool:
    """Whether models can be asked from a page."""
    return not host.is_local and host.engine is not None


async def playground(page: PageRequest) -> Page:
    """The form, and the comparisons that this key kept."""
    engine = page.host.engine
    models = ["auto", *(f"auto:{name}" for name in ("cheap", "best")), *(engine.backends if engine is not None else ())]
    models = [name for name in models if name.startswith("auto") or page.viewer.may_use(name)]
    saved = await page.read(lambda: page.host.comparisons.of(page.viewer.key, limit=SHOWN))
    shown = next((each for each in saved if each["id"] == page.params.get("saved")), None)
    data: JsonObject = {"models": models, "strategies": list(STRATEGY_NAMES), "saved": saved, "shown": shown}
    return Page("playground.html", "Playground", data)


async def ask(page: PageRequest) -> AsyncIterator[bytes]:
    """The answer as server-sent events, with the search's progress between them."""
    return page.host.stream(page.viewer, "/v1/chat/completions", _body(page))


def _body(page: PageRequest) -> JsonObject:
    """The request that a form stands for. Raises `DashboardError`."""
    form = page.form
    question = form.get("question", "").strip()
    if not question or len(question) > MAX_CHARS:
        raise DashboardError(400, "write a question first" if not question else "the question is too long")
    options: JsonObject = {"events": True, "explain": True}
    if form.get("scope", "").strip():
        options["scope"] = form["scope"].strip()
    if form.get("strategy"):
        options["strategy"] = form["strategy"]
    for name in ("quality", "max_cost_usd"):
        if form.get(name, "").strip():
            value = read_number(form[name], name)
            options["budget" if name == "max_cost_usd" else name] = {"usd": value} if name == "max_cost_usd" else value
    messages = [{"role": "system", "content": form["system"]}] if form.get("system", "").strip() else []
    return {
        "model": form.get("model") or "auto",
        "messages": [*messages, {"role": "user", "content": question}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "orchestrator": options,
    }


async def save(page: PageRequest) -> Redirect:
    """Keeps a comparison: what was asked of whom, and what came of it."""
    try:
        content = orjson.loads(page.form.get("comparison", ""))
    except orjson.JSONDecodeError:
        raise DashboardError(400, "this is no comparison") from None
    if not _is_comparison(content) or len(page.form["comparison"]) > MAX_CHARS:
        raise DashboardError(400, "this is no comparison, or too long a one")
    id = await page.read(lambda: page.host.comparisons.add(page.viewer.key, content))
    return Redirect(link("/playground", saved=id), "The comparison is kept.")


def _is_comparison(content: object) -> bool:
    """Whether it is as the page's script makes it: a question, and what two panels held."""
    if not isinstance(content, dict) or not isinstance(content.get("question"), str):
        return False
    panels = [content.get(name) for name in ("a", "b")]
    return all(panel is None or isinstance(panel, dict) for panel in panels)


async def delete(page: PageRequest) -> Redirect:
    """Deletes a comparison of this key."""
    await page.read(lambda: page.host.comparisons.delete(page.viewer.key, page.names["id"]))
    return Redirect(link("/playground"), "The comparison is deleted.")
