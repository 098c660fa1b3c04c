"""One completion under way: what was asked, by whom, under which limits, and what becomes known of it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from orchestrator.budget import Budget
from orchestrator.gateway.accounts.request_account import RequestAccount
from orchestrator.gateway.chat.options import Options
from orchestrator.gateway.chat.provenance import Provenance
from orchestrator.gateway.chat.request import ChatRequest
from orchestrator.jsontypes import JsonObject
from orchestrator.types.recall_limits import RecallLimits


@dataclass(slots=True)
class ChatJob:
    """One completion under way. `deadline` is a reading of `time.monotonic`."""

    tab: RequestAccount
    asked: ChatRequest
    options: Options
    facts: Provenance
    budget: Budget
    deadline: float
    recall_limits: RecallLimits | None = None

    @property
    def left_s(self) -> float:
        """Seconds until the deadline; negative after it."""
        return self.deadline - time.monotonic()

    def details(self) -> JsonObject | None:
        """The field `orchestrator` of a reply; `None` where the caller does not ask for it."""
        if not self.options.details:
            return None
        return self.facts.as_dict(cost_usd=self.tab.cost_usd, request_id=self.tab.id, explain=self.options.explain)
