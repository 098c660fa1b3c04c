"""Every page, in the order of the navigation."""

from __future__ import annotations

from orchestrator.dashboard.host import DashboardHost
from orchestrator.dashboard.page import PageRoute
from orchestrator.dashboard.pages import (
    audit,
    distillation,
    keys,
    live,
    memory,
    models,
    overview,
    pipelines,
    playground,
    quality,
    router,
    traces,
)


def is_gateway(host: DashboardHost) -> bool:
    """Whether a gateway is behind the pages."""
    return not host.is_local


ROUTES = (
    PageRoute("/", overview.overview, "Overview", permission="usage"),
    PageRoute("/index", overview.overview, permission="usage"),
    PageRoute("/live", live.live, "Live", permission="traces", is_served=is_gateway),
    PageRoute("/traces", traces.traces, "Traces", permission="traces"),
    PageRoute("/traces/{id}", traces.trace, permission="traces"),
    PageRoute("/traces/{id}/replay", traces.replay, permission="traces"),
    PageRoute("/compare", traces.compare, permission="traces"),
    PageRoute("/quality", quality.quality, "Quality", permission="usage"),
    PageRoute("/router", router.router, "Router", permission="traces"),
    PageRoute("/models", models.models, "Models", permission="usage"),
    PageRoute("/memory", memory.memory, "Memory", permission="memory", is_served=memory.has_memory),
    PageRoute("/memory/forget", memory.forget, permission="memory", method="POST", is_served=memory.has_memory),
    PageRoute("/pipelines", pipelines.pipelines, "Pipelines", permission="traces", is_served=pipelines.has_runs),
    PageRoute("/runs/{id}", pipelines.run, permission="traces", is_served=pipelines.has_runs),
    PageRoute("/runs/{id}/change", pipelines.change_run, permission="inference", method="POST", is_served=is_gateway),
    PageRoute("/keys", keys.keys, "Keys and budgets", permission="usage", is_served=keys.has_accounts),
    PageRoute("/keys", keys.add_key, permission="admin", method="POST", is_served=keys.has_accounts),
    PageRoute("/keys/{id}", keys.change_key, permission="admin", method="POST", is_served=keys.has_accounts),
    PageRoute("/accounts/orgs", keys.add_org, role="operator", permission="admin", method="POST", is_served=is_gateway),
    PageRoute("/accounts/teams", keys.add_team, permission="admin", method="POST", is_served=keys.has_accounts),
    PageRoute("/accounts/{kind}/{id}", keys.change_account, permission="admin", method="POST", is_served=is_gateway),
    PageRoute("/distillation", distillation.distillation, "Distillation", role="operator"),
    PageRoute("/playground", playground.playground, "Playground", permission="inference", is_served=playground.can_ask),
    PageRoute(
        "/playground/saved", playground.save, permission="inference", method="POST", is_served=playground.can_ask
    ),
    PageRoute("/playground/saved/{id}", playground.delete, permission="inference", method="POST", is_served=is_gateway),
    PageRoute("/audit", audit.audit, "Audit log", role="organisation", is_served=audit.has_audit),
)
STREAMS = (
    PageRoute("/live/events", live.events, permission="traces", is_served=is_gateway),
    PageRoute("/playground/ask", playground.ask, permission="inference", method="POST", is_served=playground.can_ask),
)
"""Pages that are streams of server-sent events."""
