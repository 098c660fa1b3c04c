"""Fallbacks: models that are asked one after the other when those that were routed to have failed."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.budget import Ledger
from orchestrator.engine.parts import EngineParts
from orchestrator.engine.settings import PreparedQuery
from orchestrator.errors import BackendError, InvalidArgument, NoAdequateModel
from orchestrator.search.live_text import LiveText
from orchestrator.trace import Trace
from orchestrator.types import Answer


async def answer_with_fallbacks(
    engine: EngineParts,
    asked: PreparedQuery,
    trace: Trace,
    *,
    within: Ledger | None = None,
    live: LiveText | None = None,
) -> Answer:
    """The answer of the models that are routed to, else of the first fallback that gives one.

    All of it is paid from one account, which may be `within` another. Raises what the last model raised; a spent budget
    ends it at once, because no other model helps against that.
    """
    fallbacks = engine.fallbacks if asked.fallbacks is None else asked.fallbacks
    query = asked.query
    if fallbacks:
        first = frozenset(engine.backends if query.models is None else query.models) - frozenset(fallbacks)
        if not first:
            raise InvalidArgument(
                "every model that may answer is a fallback", remedy="Leave at least one model out of fallbacks"
            )
        query = replace(query, models=first)
    plan = await engine.plan(query, trace, budget=asked.budget, strategy=asked.strategy)
    ledger = Ledger(plan.budget, within=within)
    waiting = [replace(query, models=frozenset((name,))) for name in fallbacks]
    while True:
        try:
            return await engine.execute(plan, trace, ledger, live)
        except (BackendError, NoAdequateModel) as error:
            if not waiting or (live is not None and live.must_keep):
                raise
            reason = error.message
        query = waiting.pop(0)
        trace.emit("fallback", model=next(iter(query.models or ())), reason=reason)
        plan = await engine.plan(query, trace, budget=asked.budget, strategy=asked.strategy)
