"""Methods of `Orchestrator` by the names that they had in version 0.1.

They work for one release, with a `DeprecationWarning`.
"""

from __future__ import annotations

import warnings
from typing import Any

from orchestrator._deprecated import REMOVED_IN
from orchestrator.budget import Ledger
from orchestrator.engine.plan import Plan
from orchestrator.trace import Trace
from orchestrator.types import Answer, Completion


class OldMethods:
    """Hands each old name on to the new one."""

    async def carry_out(self, plan: Plan, trace: Trace, ledger: Ledger | None = None) -> Answer:
        """Now `execute`."""
        answer: Answer = await self._now("carry_out", "execute")(plan, trace, ledger)
        return answer

    async def took(self, plan: Plan, completion: Completion, cost_usd: float | None, trace: Trace) -> Answer:
        """Now `record_draft`."""
        answer: Answer = await self._now("took", "record_draft")(plan, completion, cost_usd, trace)
        return answer

    @property
    def takes_note(self) -> bool:
        """Now `has_observers`."""
        return bool(self._now("takes_note", "has_observers"))

    @property
    def asks_plainly(self) -> bool:
        """Now `can_relay_single`."""
        return bool(self._now("asks_plainly", "can_relay_single"))

    def _now(self, old: str, new: str) -> Any:
        message = f"Orchestrator.{old} is now {new}; the old name goes in orchestrator {REMOVED_IN}"
        warnings.warn(message, DeprecationWarning, stacklevel=3)
        return getattr(self, new)
