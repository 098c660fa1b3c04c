"""What ids are called: organisations, teams and keys by their names, as far as the viewer may see them."""

from __future__ import annotations

from orchestrator.dashboard.page import PageRequest


async def account_names(page: PageRequest) -> dict[str, str]:
    """The name of each organisation, team and key by its id; an id that is not there is shown as it is."""
    accounts, viewer = page.host.accounts, page.viewer
    if accounts is None:
        return {}

    def read() -> dict[str, str]:
        if not viewer.is_at_least("team"):
            own = accounts.key(viewer.key)
            team = [] if own.team is None else [accounts.team(own.team)]
            org = [] if own.org is None else [accounts.org(own.org)]
            return {own.id: own.name, **{t.id: t.name for t in team}, **{o.id: o.name for o in org}}
        orgs = [org for org in accounts.orgs() if viewer.org in (None, org.id)]
        return {
            **{org.id: org.name for org in orgs},
            **{team.id: team.name for team in accounts.teams(viewer.org)},
            **{
                key.id: key.name
                for key in accounts.keys(viewer.org)
                if viewer.role != "team" or key.team == viewer.team
            },
        }

    return await page.read(read)
