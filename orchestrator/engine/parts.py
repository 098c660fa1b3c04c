"""What an engine is made of, as its methods see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.backends.base import Backend
from orchestrator.budget import Budget
from orchestrator.decisions.service import Deciders
from orchestrator.engine.execute import Executor
from orchestrator.engine.planner import Planner
from orchestrator.errors import UnknownModel
from orchestrator.router import Router
from orchestrator.router.speed import Speeds
from orchestrator.types import Answer, Query

if TYPE_CHECKING:
    from orchestrator.memory import Memory


class EngineParts:
    """The parts that `Orchestrator` sets up, and the query that they all begin with."""

    backends: dict[str, Backend]
    router: Router
    memory: Memory | None
    budget: Budget
    deciders: Deciders
    _planner: Planner
    _executor: Executor
    _speeds: Speeds

    async def answer(self, query: str | bytes | Query) -> Answer:
        """Answers a query: a summary is written by this."""
        raise TypeError(f"{type(self).__name__} must define answer()")

    def _query(self, text: object, scope: str = "default", models: Sequence[str] | None = None, **wishes: Any) -> Query:
        """The query that a caller's words stand for. Raises `InvalidQuery`, `UnknownModel`."""
        for name in models or ():
            if name not in self.backends:
                raise UnknownModel(f"unknown model {name!r}", remedy=f"This fleet has: {', '.join(self.backends)}")
        return Query.parse(text, scope=scope, models=None if models is None else frozenset(models), **wishes)
