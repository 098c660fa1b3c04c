"""Keys and budgets: made, rotated, revoked and limited, each as a request of whoever is signed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace

from orchestrator.dashboard.forms import read_number
from orchestrator.dashboard.host import DashboardError, DashboardHost
from orchestrator.dashboard.page import Page, PageRequest, Redirect, checked, link
from orchestrator.jsontypes import JsonObject
from orchestrator.storage.account_types import PERMISSIONS

PERIODS = ("total", "month", "day")
_MAY = {
    "inference": "ask models, run pipelines",
    "memory": "remember, recall and forget",
    "feedback": "say how right an answer was",
    "usage": "see what it spent",
    "traces": "see its requests step by step",
    "files": "files and batches",
    "team": "see what all keys of its team did",
    "admin": "manage the organisation",
}
_COUNTS = ("requests_per_minute", "tokens_per_minute", "concurrency")


def has_accounts(host: DashboardHost) -> bool:
    """Whether there are keys to show."""
    return host.accounts is not None


async def keys(page: PageRequest) -> Page:
    """Organisations, teams and keys with their limits and what they spent."""
    return await _shown(page, {})


async def _shown(page: PageRequest, made: JsonObject) -> Page:
    accounts, viewer = page.host.accounts, page.viewer
    assert accounts is not None

    def read() -> JsonObject:
        sees_all = viewer.is_at_least("organisation")
        orgs = [asdict(org) for org in accounts.orgs() if viewer.org in (None, org.id)]
        teams = [asdict(team) for team in accounts.teams(viewer.org) if sees_all or team.id == viewer.team]
        own = [
            asdict(key)
            for key in accounts.keys(viewer.org)
            if sees_all or key.id == viewer.key or (viewer.role == "team" and key.team == viewer.team)
        ]
        return {"orgs": orgs, "teams": teams, "keys": own}

    data = await page.read(read)
    spent = {each.subject: each.spent_usd for each in await page.host.budgets(viewer)}
    data |= {"spent": spent, "can_change": viewer.may("admin"), "is_operator": viewer.role == "operator"}
    names = {each["id"]: each["name"] for each in (*data["orgs"], *data["teams"])}
    extra = {"made": made, "names": names, "permissions": _MAY, "periods": PERIODS, "problem": "", "filled": {}}
    return Page("keys.html", "Keys and budgets", {**data, **({"made": made} if made else {})}, extra)


async def _made(page: PageRequest) -> Page:
    form = page.form
    body: JsonObject = {"name": form.get("name", "").strip(), "org": form.get("org") or page.viewer.org or ""}
    if form.get("team"):
        body["team"] = form["team"]
    chosen = [name for name in PERMISSIONS if form.get(f"may_{name}")]
    if chosen:
        body["permissions"] = chosen
    if (limits := _limits(form)) != {}:
        body["limits"] = limits
    for name in ("models", "scopes"):
        if named := [each.strip() for each in form.get(name, "").split(",") if each.strip()]:
            body[name] = named
    if form.get("expires_in_days", "").strip():
        body["expires_in_days"] = read_number(form["expires_in_days"], "expires_in_days")
    made = checked(await page.host.call(page.viewer, "POST", "/v1/admin/keys", body))
    return await _shown(page, {"name": made["name"], "key": made["key"], "what": "made"})


async def add_key(page: PageRequest) -> Page:
    """Makes a key; its secret stands on this page and nowhere again. What was wrong stands beside the form."""
    try:
        return await _made(page)
    except DashboardError as error:
        if page.wants_json or error.status not in (400, 404, 409):
            raise
        shown = await _shown(page, {})
        return replace(shown, status=error.status, extra={**shown.extra, "problem": error.message, "filled": page.form})


async def change_key(page: PageRequest) -> Page | Redirect:
    """Rotates, revokes or limits a key."""
    id, action = page.names["id"], page.form.get("action", "")
    path = f"/v1/admin/keys/{id}"
    if action == "rotate":
        grace = read_number(page.form.get("grace_hours") or "0", "grace_hours") * 3_600
        made = checked(await page.host.call(page.viewer, "POST", f"{path}/rotate", {"grace_seconds": grace}))
        return await _shown(page, {"name": made["name"], "key": made["key"], "what": "rotated"})
    if action == "revoke":
        checked(await page.host.call(page.viewer, "DELETE", path))
        return Redirect(link("/keys"), "The key is revoked: from now on it opens nothing.")
    if action == "limit":
        checked(await page.host.call(page.viewer, "PATCH", path, {"limits": _limits(page.form, clears=True)}))
        return Redirect(link("/keys"), "The limits are changed.")
    raise DashboardError(400, f"a key cannot be changed by {action[:40]!r}")


async def add_org(page: PageRequest) -> Redirect:
    """Adds an organisation."""
    body = {"name": page.form.get("name", "").strip(), "limits": _limits(page.form)}
    checked(await page.host.call(page.viewer, "POST", "/v1/admin/orgs", body))
    return Redirect(link("/keys"), f"The organisation {body['name']} is added.")


async def add_team(page: PageRequest) -> Redirect:
    """Adds a team to an organisation."""
    org = page.form.get("org") or page.viewer.org or ""
    body = {"name": page.form.get("name", "").strip(), "org": org, "limits": _limits(page.form)}
    checked(await page.host.call(page.viewer, "POST", "/v1/admin/teams", body))
    return Redirect(link("/keys"), f"The team {body['name']} is added.")


async def change_account(page: PageRequest) -> Redirect:
    """Changes the limits of an organisation or a team."""
    kind, id = page.names["kind"], page.names["id"]
    if kind not in ("orgs", "teams"):
        raise DashboardError(404, "there is nothing of that kind", kind="not_found")
    body = {"limits": _limits(page.form, clears=True)}
    checked(await page.host.call(page.viewer, "PATCH", f"/v1/admin/{kind}/{id}", body))
    return Redirect(link("/keys"), "The limits are changed.")


def _limits(form: Mapping[str, str], *, clears: bool = False) -> JsonObject:
    """The limits that a form states; with `clears`, an empty field takes the limit away."""
    found: JsonObject = {}
    if (usd := form.get("usd", "").strip()) != "":
        found["usd"] = read_number(usd, "usd")
    elif clears and "usd" in form:
        found["usd"] = None
    if form.get("period") in PERIODS and ("usd" in found or clears):
        found["period"] = form["period"]
    for name in _COUNTS:
        stated = form.get(name, "").strip()
        if stated:
            found[name] = int(read_number(stated, name))
        elif clears and name in form:
            found[name] = None
    return found
