"""The admin API: organisations, teams, keys, limits, models, reload.

A key with `admin` manages its own organisation; the operator's, all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, TypeVar

from orchestrator.gateway.api.endpoint import Endpoint
from orchestrator.gateway.api.validators import Param
from orchestrator.gateway.chat.client_request import ClientRequest
from orchestrator.gateway.errors import GatewayError
from orchestrator.jsontypes import JsonObject
from orchestrator.storage.account_types import (
    DEFAULT_PERMISSIONS,
    AccountError,
    AccountLimits,
    Key,
    NewKey,
    NoAccount,
    Org,
    Team,
)

if TYPE_CHECKING:
    from orchestrator.gateway.api.services import Services

T = TypeVar("T")
N = TypeVar("N", Team, Key)
DAY_S = 86_400.0


async def add_org(services: Services, call: ClientRequest, body: JsonObject) -> None:
    """Adds an organisation (operators only)."""
    _operator_only(call)
    await call.reply_json(
        asdict(await _do(services, lambda: services.accounts.add_org(body["name"], _limits(body)))), 201
    )


async def orgs(services: Services, call: ClientRequest, _: object) -> None:
    """Lists the organisations that the key manages."""
    found = [org for org in await _do(services, services.accounts.orgs, changes=False) if _manages(call, org.id)]
    await call.reply_json({"object": "list", "data": [asdict(org) for org in found]})


async def org(services: Services, call: ClientRequest, _: object) -> None:
    """Shows one organisation."""
    await call.reply_json(asdict(await _org(services, call, call.params["id"])))


async def change_org(services: Services, call: ClientRequest, body: JsonObject) -> None:
    """Changes the name or limits of an organisation (operators only)."""
    found = await _org(services, call, call.params["id"])
    _operator_only(call)  # nobody raises the limits that were set for them
    await _do(services, lambda: services.accounts.change("orgs", found.id, _changes(body, found.limits)))
    await call.reply_json(asdict(await _org(services, call, found.id)))


async def add_team(services: Services, call: ClientRequest, body: JsonObject) -> None:
    """Adds a team to an organisation."""
    org = await _org(services, call, body["org"])
    await call.reply_json(
        asdict(await _do(services, lambda: services.accounts.add_team(org.id, body["name"], _limits(body)))), 201
    )


async def teams(services: Services, call: ClientRequest, query: JsonObject) -> None:
    """Lists the teams of an organisation."""
    org = await _asked_org(services, call, query)
    found = [
        team
        for team in await _do(services, lambda: services.accounts.teams(org), changes=False)
        if _manages(call, team.org)
    ]
    await call.reply_json({"object": "list", "data": [asdict(team) for team in found]})


async def team(services: Services, call: ClientRequest, _: object) -> None:
    """Shows one team."""
    await call.reply_json(asdict(await _team(services, call)))


async def change_team(services: Services, call: ClientRequest, body: JsonObject) -> None:
    """Changes the name or limits of a team."""
    found = await _team(services, call)
    if found.id == call.principal.team and "limits" in body:
        _operator_only(call)  # nobody raises the limits that were set for them
    await _do(services, lambda: services.accounts.change("teams", found.id, _changes(body, found.limits)))
    await call.reply_json(asdict(await _team(services, call)))


async def add_key(services: Services, call: ClientRequest, body: JsonObject) -> None:
    """Adds a key; its secret is shown this once."""
    org = await _org(services, call, body["org"])
    team = (
        None
        if body.get("team") is None
        else await _do(services, lambda: services.accounts.team_called(org.id, body["team"]), changes=False)
    )
    permissions = tuple(body.get("permissions", DEFAULT_PERMISSIONS))
    _check_within(call, _limits(body))
    new = NewKey(
        body["name"],
        org.id,
        None if team is None else team.id,
        permissions,
        _tuple(body.get("models")),
        _tuple(body.get("scopes")),
        _limits(body),
        _expiry(services, body),
    )
    key, secret = await _do(services, lambda: services.accounts.add_key(new))
    await call.reply_json({**asdict(key), "key": secret}, 201)


async def keys(services: Services, call: ClientRequest, query: JsonObject) -> None:
    """Lists the keys of an organisation."""
    org = await _asked_org(services, call, query)
    found = [
        key
        for key in await _do(services, lambda: services.accounts.keys(org), changes=False)
        if _manages(call, key.org)
    ]
    await call.reply_json({"object": "list", "data": [asdict(key) for key in found]})


async def key(services: Services, call: ClientRequest, _: object) -> None:
    """Shows one key."""
    await call.reply_json(asdict(await _key(services, call)))


async def change_key(services: Services, call: ClientRequest, body: JsonObject) -> None:
    """Changes what a key may do and spend."""
    found = await _key(services, call)
    changes = _changes(body, found.limits)
    if found.id == call.principal.key and ("limits" in body or "team" in body):
        _operator_only(call)
    if "limits" in changes:
        _check_within(call, changes["limits"])
    if "expires_in_days" in changes:
        del changes["expires_in_days"]
        changes["expires_at"] = _expiry(services, body)
    await _do(services, lambda: services.accounts.change("keys", found.id, changes))
    await call.reply_json(asdict(await _key(services, call)))


async def rotate_key(services: Services, call: ClientRequest, body: JsonObject) -> None:
    """Gives a key a new secret; the old one may go on for a while."""
    found = await _key(services, call)
    if found.revoked_at is not None:
        raise GatewayError(409, "this key was revoked; make a new one", code="key_revoked")
    rotated, secret = await _do(
        services, lambda: services.accounts.rotate_key(found.id, grace_s=body.get("grace_seconds", 0.0))
    )
    await call.reply_json({**asdict(rotated), "key": secret})


async def revoke_key(services: Services, call: ClientRequest, _: object) -> None:
    """Revokes a key."""
    found = await _key(services, call)
    await call.reply_json(asdict(await _do(services, lambda: services.accounts.revoke_key(found.id))))


async def models(services: Services, call: ClientRequest, _: object) -> None:
    """The fleet with its prices and what was observed of it; no address, no key."""
    found = []
    for name, backend in services.engine.backends.items():
        profile = backend.profile
        found.append({**asdict(profile), "name": name, "capabilities": sorted(profile.capabilities)})
    await call.reply_json({"object": "list", "data": found, "using": services.engine.origin})


async def reload(services: Services, call: ClientRequest, _: object) -> None:
    """Reads the configuration again (operators only)."""
    _operator_only(call)
    needs_restart = await services.reload()  # here first: a mistake is told to who asked, and nobody changes over
    await asyncio.to_thread(services.accounts.ask_for_reload)
    services.has_reloaded()
    await call.reply_json({"status": "reloaded"} | ({"needs_restart": needs_restart} if needs_restart else {}))


async def _do(services: Services, work: Callable[[], T], *, changes: bool = True) -> T:
    done = await asyncio.to_thread(work)
    if changes:
        services.keyring.forget()
    return done


def _manages(call: ClientRequest, org: str | None) -> bool:
    return call.principal.is_operator or call.principal.org == org


def _operator_only(call: ClientRequest) -> None:
    if not call.principal.is_operator:
        raise GatewayError(403, "only the operator's key may do this", code="permission_denied", should_retry=False)


async def _org(services: Services, call: ClientRequest, called: str) -> Org:
    """An organisation by its id or its name. One that the caller does not manage is not there for it."""
    found = await _do(services, lambda: services.accounts.org_called(called), changes=False)
    if not _manages(call, found.id):
        raise NoAccount(f"no organisation {called!r}", remedy="Look at the list of organisations")
    return found


async def _asked_org(services: Services, call: ClientRequest, query: JsonObject) -> str | None:
    """The id of the organisation that a list shall be of; `None` for all that the caller manages."""
    return (await _org(services, call, query["org"])).id if "org" in query else None


async def _team(services: Services, call: ClientRequest) -> Team:
    called = call.params["id"]
    teams = await _do(services, services.accounts.teams, changes=False)
    return _only(
        [team for team in teams if called in (team.id, team.name) and _manages(call, team.org)], called, "team"
    )


async def _key(services: Services, call: ClientRequest) -> Key:
    called = call.params["id"]
    keys = await _do(services, services.accounts.keys, changes=False)
    named = [
        key
        for key in keys
        if _manages(call, key.org) and (called == key.id or (called == key.name and key.revoked_at is None))
    ]
    return _only(named, called, "key")


def _only(found: Sequence[N], called: str, what: str) -> N:
    """The one that was called by its id, or by a name that nobody else has. Raises `AccountError`."""
    if not found:
        raise NoAccount(f"no {what} {called!r}", remedy=f"Give its id, or its name; look at the list of {what}s")
    if len(found) > 1 and all(each.id != called for each in found):
        raise AccountError(
            f"{len(found)} {what}s are named {called!r}",
            remedy=f"Give an id: {', '.join(each.id for each in found[:5])}",
        )
    return min(found, key=lambda each: each.id != called)


def _check_within(call: ClientRequest, limits: AccountLimits) -> None:
    """Who has limits gives no key higher ones: it would be a way around them. Raises `GatewayError`."""
    if call.principal.is_operator:
        return
    for account in call.principal.chain:
        if account.what == "organisation":
            continue  # those hold for every key anyway
        for name in ("usd", "requests_per_minute", "tokens_per_minute", "concurrency"):
            own, given = getattr(account.limits, name), getattr(limits, name)
            if own is not None and (given is None or given > own):
                told = f"limits.{name} is at most {own}, the limit of the {account.what} that gives it"
                raise GatewayError(403, told, code="permission_denied", param=f"limits.{name}", should_retry=False)


def _limits(body: JsonObject) -> AccountLimits:
    return AccountLimits(**body.get("limits", {}))


def _changes(body: JsonObject, limits: AccountLimits) -> JsonObject:
    """What is to be changed; limits that are not named stay."""
    changes = dict(body)
    if "limits" in changes:
        changes["limits"] = AccountLimits(**{**asdict(limits), **changes["limits"]})
    return changes


def _expiry(services: Services, body: JsonObject) -> float | None:
    days = body.get("expires_in_days")
    return None if days is None else services.clock() + DAY_S * days


def _tuple(given: list[str] | None) -> tuple[str, ...] | None:
    return None if given is None else tuple(given)


_ID = (("id", "Id"),)
_ORG = (Param("org", {"ref": "Name"}, "Only of this organisation: its id or its name"),)
_TAKEN, _NONE = (404, 409), (404,)
ENDPOINTS = (
    Endpoint(
        "POST",
        "/v1/admin/orgs",
        add_org,
        "Add an organisation",
        "admin",
        body="NewOrg",
        answer="Org",
        status=201,
        errors=(409,),
    ),
    Endpoint("GET", "/v1/admin/orgs", orgs, "Organisations", "admin", answer="OrgList"),
    Endpoint(
        "GET", "/v1/admin/orgs/{id}", org, "One organisation", "admin", answer="Org", path_schemas=_ID, errors=_NONE
    ),
    Endpoint(
        "PATCH",
        "/v1/admin/orgs/{id}",
        change_org,
        "Change its name or limits",
        "admin",
        body="OrgChange",
        answer="Org",
        path_schemas=_ID,
        errors=_TAKEN,
    ),
    Endpoint(
        "POST",
        "/v1/admin/teams",
        add_team,
        "Add a team",
        "admin",
        body="NewTeam",
        answer="Team",
        status=201,
        errors=_TAKEN,
    ),
    Endpoint("GET", "/v1/admin/teams", teams, "Teams", "admin", answer="TeamList", params=_ORG, errors=_NONE),
    Endpoint("GET", "/v1/admin/teams/{id}", team, "One team", "admin", answer="Team", path_schemas=_ID, errors=_NONE),
    Endpoint(
        "PATCH",
        "/v1/admin/teams/{id}",
        change_team,
        "Change its name or limits",
        "admin",
        body="OrgChange",
        answer="Team",
        path_schemas=_ID,
        errors=_TAKEN,
    ),
    Endpoint(
        "POST",
        "/v1/admin/keys",
        add_key,
        "Add a key; it is shown once",
        "admin",
        body="NewKey",
        answer="Key",
        status=201,
        errors=_TAKEN,
    ),
    Endpoint(
        "GET",
        "/v1/admin/keys",
        keys,
        "Keys, without what they are",
        "admin",
        answer="KeyList",
        params=_ORG,
        errors=_NONE,
    ),
    Endpoint(
        "GET",
        "/v1/admin/keys/{id}",
        key,
        "One key, without what it is",
        "admin",
        answer="Key",
        path_schemas=_ID,
        errors=_NONE,
    ),
    Endpoint(
        "PATCH",
        "/v1/admin/keys/{id}",
        change_key,
        "Change what a key may do",
        "admin",
        body="KeyChange",
        answer="Key",
        path_schemas=_ID,
        errors=_TAKEN,
    ),
    Endpoint(
        "POST",
        "/v1/admin/keys/{id}/rotate",
        rotate_key,
        "Give a key a new secret",
        "admin",
        body="Rotation",
        answer="Key",
        path_schemas=_ID,
        errors=_TAKEN,
    ),
    Endpoint(
        "DELETE",
        "/v1/admin/keys/{id}",
        revoke_key,
        "End a key for good",
        "admin",
        answer="Key",
        path_schemas=_ID,
        errors=_NONE,
    ),
    Endpoint("GET", "/v1/admin/models", models, "The fleet", "admin"),
    Endpoint(
        "POST", "/v1/admin/reload", reload, "Read the configuration again", "admin", answer="Status", errors=(400, 409)
    ),
)
