"""Which requests go into the audit log: whatever an administrator changes, and whatever deletes."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from orchestrator.errors import StorageError
from orchestrator.gateway.api.endpoint import Endpoint
from orchestrator.gateway.chat.client_request import ClientRequest
from orchestrator.jsontypes import JsonMapping, JsonValue
from orchestrator.storage.audit_log import AuditEntry

if TYPE_CHECKING:
    from orchestrator.gateway.api.services import Services

log = logging.getLogger(__name__)


def is_audited(endpoint: Endpoint) -> bool:
    """Whether requests of an operation are noted."""
    return (endpoint.permission == "admin" and endpoint.method != "GET") or endpoint.method == "DELETE"


async def note_action(services: Services, call: ClientRequest, endpoint: Endpoint, asked: JsonValue) -> None:
    """Notes who asked for what, and how it ended; refused ones, too. A stranger without a key is no administrator."""
    principal = getattr(call, "principal", None)
    if principal is None:
        return
    named = asked.get("name", "") if isinstance(asked, dict) else ""
    subject = "/".join(call.params.values()) or str(named)
    org = principal.org
    if principal.is_operator:
        org = await asyncio.to_thread(_org_of, services, call.params, asked if isinstance(asked, dict) else {}) or org
    entry = AuditEntry(
        call.at,
        org,
        principal.key,
        principal.name,
        f"{endpoint.method} {endpoint.path}",
        subject,
        call.status,
        asked if isinstance(asked, dict) else {},
    )
    try:
        await asyncio.shield(asyncio.to_thread(services.audit.add, entry))
    except StorageError as error:
        log.error("an action is not in the audit log: %s", error, extra={"action": entry.action, "by": entry.key})


def _org_of(services: Services, params: JsonMapping, asked: JsonMapping) -> str | None:
    """Whose account an operator's action is about, so that it stands in that organisation's log, too."""
    accounts = services.accounts
    called = {str(value) for value in (*params.values(), asked.get("org"), asked.get("name")) if value}
    owners: dict[str, str | None] = {org.id: org.id for org in accounts.orgs()}
    owners |= {org.name: org.id for org in accounts.orgs()}
    owners |= {team.id: team.org for team in accounts.teams()}
    owners |= {key.id: key.org for key in accounts.keys(None)}
    return next((owner for name in called if (owner := owners.get(name)) is not None), None)
