"""One operation of the API: where it is, who may call it, what it takes and gives. The OpenAPI document is made of these, and so are the checks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from orchestrator.gateway.app import Gateway
    from orchestrator.gateway.http.request import Call

Handler = Callable[["Gateway", "Call", Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter of the address. `schema` is a JSON Schema of a string, integer, number or boolean."""

    name: str
    schema: dict[str, Any]
    description: str = ""
    required: bool = False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`path` may hold names in braces. `body` and `answer` name schemas (of schemas.yaml); `permission=None` is open to everybody; `streams` says
    that the answer may be a stream of events; `errors` are statuses beside those that every operation may give.
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
