"""One operation of the API: where it is, who may call it, what it takes and gives.

The OpenAPI document is made of these, and so are the checks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.gateway.api.services import Services
from orchestrator.gateway.api.validators import Param
from orchestrator.gateway.chat.client_request import ClientRequest

Handler = Callable[[Services, ClientRequest, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`path` may hold names in braces.

    `body` and `answer` name schemas (of schemas.yaml); `permission=None` is open to everybody; `streams` says that the
    answer may be a stream of events; `errors` are statuses beside those that every operation may give; with
    `may_accept` the answer may be 202 and nothing else.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    permission: str | None
    answer: str = ""
    body: str = ""
    body_type: str = "application/json"
    answer_type: str = "application/json"
    status: int = 200
    params: tuple[Param, ...] = ()
    path_schemas: tuple[tuple[str, str], ...] = ()
    streams: bool = False
    dialect: Literal["openai", "anthropic"] = "openai"
    errors: tuple[int, ...] = ()
    may_accept: bool = False
