"""The methods of `Orchestrator` that concern memory: what is remembered, recalled, summed up and forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from orchestrator.engine.calls import tells_mistakes
from orchestrator.engine.parts import EngineParts
from orchestrator.engine.sync import blocking
from orchestrator.engine.trace_log import LOCAL_ORG
from orchestrator.errors import ConfigError, InvalidArgument, InvalidQuery
from orchestrator.fleet.memory import writer_of

if TYPE_CHECKING:
    from orchestrator.memory import Forgotten, Memory, Recall, Record, Summary
    from orchestrator.memory.record import RecordId


class MemoryMethods(EngineParts):
    """What an engine does with its memory.

    Each blocks no event loop, and raises `ConfigError` when there is no memory.
    """

    @tells_mistakes()
    async def remember(
        self,
        text: str,
        scope: str = "default",
        *,
        speaker: str = "",
        time: datetime | None = None,
        session: str = "",
        source: str = "",
    ) -> Record:
        """Stores one text durably. Raises `ConfigError` when there is no memory."""
        memory = self.need_memory()
        if time is not None and not isinstance(time, datetime):
            raise InvalidArgument(f"time must be a datetime, not {time!r:.40}", remedy="datetime.fromisoformat(...)")
        return await asyncio.to_thread(
            memory.remember, text, scope, speaker=speaker, time=time, session=session, source=source
        )

    @tells_mistakes()
    async def recall(self, query: str, scope: str = "default", *, token_budget: int | None = None) -> Recall:
        """The facts that a query needs, packed into `token_budget` tokens."""
        if not isinstance(query, str):
            raise InvalidQuery(f"the query must be text, not {type(query).__name__}", remedy="Pass a str")
        budget = self._planner.defaults.memory_tokens if token_budget is None else token_budget
        return await asyncio.to_thread(self.need_memory().recall, query, scope, token_budget=budget)

    @tells_mistakes()
    async def summarize(
        self,
        scope: str = "default",
        *,
        session: str | None = None,
        token_budget: int = 300,
        models: Sequence[str] | None = None,
    ) -> Summary:
        """What a scope, or one session of it, is about: telling sentences of its records, with citations.

        With `models`, written by the cheapest adequate of them, and kept as far as the records that it cites support
        it.
        """
        writer = (
            None
            if models is None
            else writer_of(self.answer, self._query("summary", scope, models), asyncio.get_running_loop())
        )
        summarize = self.need_memory().summarize
        return await asyncio.to_thread(summarize, scope, session=session, token_budget=token_budget, writer=writer)

    @tells_mistakes()
    async def forget(self, scope: str, ids: Iterable[RecordId] | None = None) -> Forgotten:
        """Deletes records of a scope for good.

        Those of `ids` (12 or "m:12"), or all of them and the decisions logged for the scope; conversations lose them,
        too.
        """
        from orchestrator.memory.record import record_number

        numbers = None if ids is None else [record_number(each) for each in ids]
        receipt = await asyncio.to_thread(self.need_memory().forget, scope, numbers)
        if self.storage is not None:
            await asyncio.to_thread(self.storage.conversations.forget, scope, numbers)
        if ids is None and self._executor.online is not None:
            await asyncio.to_thread(self._executor.online.log.forget, scope=scope)
        if ids is None and self._executor.students is not None:
            await asyncio.to_thread(self._executor.students.forget, scope)
        if self.traces is not None:
            await asyncio.to_thread(self.traces.flush)
            await asyncio.to_thread(self.traces.requests.forget_texts, LOCAL_ORG, scope)
        return receipt

    remember_sync = blocking(remember)
    recall_sync = blocking(recall)
    summarize_sync = blocking(summarize)
    forget_sync = blocking(forget)

    def need_memory(self) -> Memory:
        """The memory. Raises `ConfigError` when there is none."""
        if self.memory is None:
            raise ConfigError(
                "this orchestrator has no memory",
                remedy='Pass memory="memory.db", or set memory.path in the configuration',
            )
        return self.memory
