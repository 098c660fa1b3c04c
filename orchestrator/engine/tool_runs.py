"""Answers that use tools: one query becomes a run of searches, with the tools' results between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from orchestrator.agent.journal import RunRecord
from orchestrator.agent.loop import AgentLoop
from orchestrator.budget import Budget, Ledger
from orchestrator.engine.parts import EngineParts
from orchestrator.engine.settings import PreparedQuery
from orchestrator.tools import ToolSet
from orchestrator.trace import Event
from orchestrator.types import Answer, Query

NO_TOOLS = ToolSet()


class ToolRunMethods(EngineParts):
    """Runs that use tools."""

    async def _answered(self, asked: PreparedQuery, *, within: Ledger | None = None) -> Answer:
        """Answers one query, without calling tools."""
        raise TypeError(f"{type(self).__name__} must define _answered()")

    async def _with_tools(
        self, asked: PreparedQuery, *, within: Ledger | None, on_event: Callable[[Event], None] | None
    ) -> Answer:
        """The answer of a run. Raises as `answer`, and `ConfigError` where the run cannot be gone on with."""
        asked = replace(asked, tools=await asked.tools.connected())
        record = await self._record(asked)
        if self.telemetry is None:
            return await self._run(asked, record, within, on_event)
        with self.telemetry.tool_run(record.id, on_event) as tell:
            return await self._run(asked, record, within, tell)

    async def _run(
        self,
        asked: PreparedQuery,
        record: RunRecord,
        within: Ledger | None,
        on_event: Callable[[Event], None] | None,
    ) -> Answer:
        async def ask(query: Query, budget: Budget, ledger: Ledger) -> Answer:
            step = replace(asked, query=query, budget=budget, tools=NO_TOOLS, reads=None)
            return await self._answered(step, within=ledger)

        loop = AgentLoop(
            asked.query,
            asked.tools,
            ask,
            record,
            self.budget & asked.budget,
            within,
            asked.approve,
            dict(asked.decided),
            asked.limits,
            on_event,
        )
        try:
            async with record.working():
                answer = await loop.answer()
        except BaseException as error:
            await record.end("cancelled" if not isinstance(error, Exception) else "failed", None, str(error)[:500])
            raise
        return answer if asked.reads is None else replace(answer, reads=asked.reads)

    async def _record(self, asked: PreparedQuery) -> RunRecord:
        if asked.record is not None:
            return asked.record
        query = asked.query
        about = {
            "query": query.text,
            "scope": query.scope,
            "history": [[message.role, message.content] for message in (*query.history, *query.continued)],
            "tools": list(asked.tools.names),
        }
        if self.storage is None:
            return self._unkept.open(asked.run, about, must_exist=bool(asked.decided))
        return await self.storage.runs.open(asked.run, about)
