"""A request of a client that is known: whose key it shows, what it costs, and how its answer comes about."""

from __future__ import annotations

from orchestrator.gateway.accounts.principals import Principal
from orchestrator.gateway.accounts.request_account import RequestAccount
from orchestrator.gateway.chat.provenance import Provenance
from orchestrator.gateway.http.request import HttpRequest, Receive, Scope, Send


class ClientRequest(HttpRequest):
    """`principal` is set when its key was looked up, `tab` and `facts` when it is known what is asked for."""

    __slots__ = ("facts", "principal", "tab")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(scope, receive, send)
        self.principal: Principal
        self.tab: RequestAccount | None = None
        self.facts: Provenance | None = None

    async def before_end(self) -> None:
        """What was billed beyond what was held outlives this process."""
        if self.tab is not None:
            await self.tab.posted()
