"""Whose requests and usage a key is told of: its own, its team's, its organisation's, or everybody's."""

from __future__ import annotations

import asyncio

from orchestrator.gateway.accounts.principals import Principal
from orchestrator.gateway.errors import GatewayError
from orchestrator.jsontypes import JsonObject
from orchestrator.storage.account_types import NoAccount
from orchestrator.storage.accounts import Accounts


async def usage_of(accounts: Accounts, principal: Principal, query: JsonObject) -> str | None:
    """Whose usage is told: the caller's organisation's; to the operator that of the asked one, or of all (`None`).

    Raises `GatewayError` (403) where another organisation's is asked for, whether there is one or not.
    """
    if "org" not in query:
        return None if principal.is_operator else principal.org
    try:
        asked = (await asyncio.to_thread(accounts.org_called, query["org"])).id
    except NoAccount:
        if principal.is_operator:
            raise
        asked = ""
    if not principal.is_operator and asked != principal.org:
        raise _refused("org", "this key is told of its own organisation alone", "the operator's key")
    return asked


def requests_of(principal: Principal, query: JsonObject) -> dict[str, str]:
    """Whose requests are told, as columns with their values: those of the asked key.

    Of its own alone to a key that neither manages its organisation nor sees its team: it may not ask for another's.
    """
    asked = {"key": query["key"]} if query.get("key") else {}
    if principal.may("admin"):
        return asked
    if principal.seen_team is not None:
        return {"team": principal.seen_team, **asked}
    if asked and query["key"] != principal.key:
        raise _refused("key", "this key is told of its own requests alone", "one that may 'admin'")
    return {"key": principal.key}


def is_among(found: JsonObject, only: dict[str, str]) -> bool:
    """Whether a request is one of those that `requests_of` tells of."""
    return all(found[name] == value for name, value in only.items())


def _refused(param: str, told: str, key: str) -> GatewayError:
    message = f"{told}: leave out {param!r}, or ask with {key}"
    return GatewayError(403, message, code="permission_denied", param=param, should_retry=False)
