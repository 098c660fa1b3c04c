"""Who is asked before a tool that needs approval is called."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from orchestrator.errors import InvalidArgument
from orchestrator.jsontypes import JsonObject

Decision = bool | Literal["yes", "no", "always"]


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """What is to be approved: the call of `tool` with `arguments`, in the run `run`; `id` is that of the call."""

    tool: str
    arguments: JsonObject
    run: str
    id: str


Approve = Callable[[ApprovalRequest], Decision | Awaitable[Decision]]
"""Decides about one call: yes (or true), no, or always: then this tool is not asked about again in the run."""


async def decide(approve: Approve, request: ApprovalRequest) -> Decision:
    """What somebody decides, as "yes", "no" or "always". Raises `InvalidArgument` on anything else."""
    found = approve(request)
    decision = await found if inspect.isawaitable(found) else found
    if isinstance(decision, bool):
        return "yes" if decision else "no"
    if decision in ("yes", "no", "always"):
        return decision
    raise InvalidArgument(
        f"approve gave {decision!r:.60} for {request.tool}", remedy='Return True, False, "yes", "no" or "always"'
    )
