"""What administrators did."""

from __future__ import annotations

from orchestrator.dashboard.host import DashboardHost
from orchestrator.dashboard.names import account_names
from orchestrator.dashboard.page import Page, PageRequest, link
from orchestrator.dashboard.times import read_moment

SHOWN = 100


def has_audit(host: DashboardHost) -> bool:
    """Whether there is an audit log."""
    return host.audit is not None


async def audit(page: PageRequest) -> Page:
    """The newest entries, of the viewer's organisation or of all."""
    log = page.host.audit
    assert log is not None
    stated = page.params.get("before", "").partition("_")
    before = (read_moment(stated[0], "before"), stated[2]) if stated[0] else None
    found = await page.read(lambda: log.recent(page.viewer.org, limit=SHOWN, before=before))
    following = link("/audit", before=f"{found[-1]['at']!r}_{found[-1]['id']}") if len(found) == SHOWN else None
    data = {"entries": found, "next": following, "names": await account_names(page)}
    return Page("audit.html", "Audit log", data)
