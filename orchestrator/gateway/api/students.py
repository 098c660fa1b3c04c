"""What students in use do: for operators, since queries of all tenants go through them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from orchestrator.distill.status import student_status, students_status
from orchestrator.gateway.api.endpoint import Endpoint
from orchestrator.gateway.chat.client_request import ClientRequest
from orchestrator.gateway.errors import GatewayError

if TYPE_CHECKING:
    from orchestrator.gateway.api.services import Services
    from orchestrator.storage.student_log import StudentLog


async def students(services: Services, call: ClientRequest, _: object) -> None:
    """Lists students: share of traffic, saving, agreement, history."""
    kept = _kept(services, call)
    found = [] if kept is None else await asyncio.to_thread(students_status, kept)
    await call.reply_json({"object": "list", "data": found})


async def student(services: Services, call: ClientRequest, _: object) -> None:
    """Shows one student."""
    name, kept = call.params["name"], _kept(services, call)
    if kept is None or name not in await asyncio.to_thread(kept.students):
        raise GatewayError(404, f"no student {name!r} is known", code="not_found", should_retry=False)
    await call.reply_json(await asyncio.to_thread(student_status, kept, name))


def _kept(services: Services, call: ClientRequest) -> StudentLog | None:
    if not call.principal.is_operator:
        raise GatewayError(403, "only the operator's key may do this", code="permission_denied", should_retry=False)
    return services.engine.student_log


ENDPOINTS = (
    Endpoint("GET", "/v1/admin/students", students, "Students in use", "admin", answer="StudentList"),
    Endpoint(
        "GET",
        "/v1/admin/students/{name}",
        student,
        "One student",
        "admin",
        answer="Student",
        path_schemas=(("name", "Name"),),
        errors=(404,),
    ),
)
