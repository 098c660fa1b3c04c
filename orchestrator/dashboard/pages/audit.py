"""What administrators did."""

from __future__ import annotations

from orchestrator.dashboard.host import DashboardHost
from orchestrator.dashboard.names import account_names
from orchestrator.dashboard.page import Page, PageRequest, link

SHOWN = 100


def has_audit(host: DashboardHost) -> bool:
    """Whether there is an audit log."""
    return host.audit is not None


async def audit(page: PageRequest) -> Page:
    """The newest entries, of the viewer's organisation or of all."""
    log = page.host.audit
    assert log is not None
    before = page.number("before")
    found = await page.read(lambda: log.recent(page.viewer.org, limit=SHOWN, before=before))
    following = link("/audit", before=f"{found[-1]['at']:.6f}") if len(found) == SHOWN else None
    data = {"entries": found, "next": following, "names": await account_names(page)}
    return Page("audit.html", "Audit log", data)
