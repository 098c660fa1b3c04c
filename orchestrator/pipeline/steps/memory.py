"""`memory`: recall what a query needs, remember a text, forget, or sum up. Each names the scope whose memory it is."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from orchestrator.config import defaults
from orchestrator.errors import OrchestratorError
from orchestrator.jsontypes import JsonMapping, JsonValue
from orchestrator.pipeline.expressions.types import NUMBER, TEXT, ValueType, list_of, record
from orchestrator.pipeline.language.contracts import CheckContext, StepContext
from orchestrator.pipeline.language.fields import Count, ListField, ScopeField, TextField
from orchestrator.pipeline.language.step import Step

if TYPE_CHECKING:
    from orchestrator.memory import Memory

ITEM = record(id=TEXT, text=TEXT, time=TEXT.maybe("a memory may have no time"), speaker=TEXT, source=TEXT, score=NUMBER)


class MemoryStepFailed(OrchestratorError):
    """Memory refused what a step asked of it."""

    code = "memory"


class _MemoryStep(Step):
    verb: ClassVar[str] = "memory"
    scope: ScopeField = "default"
    """Whose memory: `tenant/user/session`. What is filled in cannot hold a /."""

    async def _memory(self, running: StepContext) -> Memory:
        return (await running.engine()).need_memory()

    async def perform(self, running: StepContext, given: JsonMapping) -> Any:
        import asyncio  # heavy, and not needed to check a file

        from orchestrator.memory import MemoryFailure  # numpy

        memory = await self._memory(running)
        try:
            scope = running.host.scope_of(given.get("scope", self.scope))
            return await asyncio.to_thread(self.done, memory, scope, given, running)
        except (MemoryFailure, KeyError, ValueError) as error:
            raise MemoryStepFailed(str(error), remedy="Check scope and values of the step") from None

    def done(self, memory: Memory, scope: str, given: JsonMapping, running: StepContext) -> Any:
        raise TypeError("a memory step must define done()")


class RecallStep(_MemoryStep):
    """Gives `text` (the facts, packed for a prompt, oldest first), `items` (best first) and `tokens`."""

    memory: Literal["recall"]
    """What is done."""
    query: TextField
    """What is looked for."""
    tokens: Annotated[Count, Field(ge=0)] = defaults.MEMORY_TOKENS
    """How many tokens the text may have."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """At most so many records."""

    def gives(self, at: CheckContext) -> ValueType:
        return record(text=TEXT, items=list_of(ITEM), tokens=NUMBER)

    def done(self, memory: Memory, scope: str, given: JsonMapping, running: StepContext) -> JsonValue:
        """Recalls, and gives the text and the records."""
        found = memory.recall(given["query"], scope, token_budget=self.tokens, limit=self.limit)
        items = [
            {
                "id": item.record.citation,
                "text": item.record.text,
                "time": item.record.time.isoformat() if item.record.time else None,
                "speaker": item.record.speaker,
                "source": item.record.source,
                "score": item.score,
            }
            for item in found.items
        ]
        return {"text": found.text, "items": items, "tokens": found.tokens}


class RememberStep(_MemoryStep):
    """Stores a text; when the step has ended, it is durable.

    Done again in the same run, it stores nothing a second time.
    """

    memory: Literal["remember"]
    """What is done."""
    text: TextField
    """What is remembered."""
    speaker: TextField | None = None
    """Who said it."""
    source: TextField | None = None
    """Where it comes from."""

    @property
    def has_effects(self) -> bool:
        return True

    def gives(self, at: CheckContext) -> ValueType:
        return record(id=TEXT, said=NUMBER)

    def done(self, memory: Memory, scope: str, given: JsonMapping, running: StepContext) -> JsonValue:
        """Remembers, once for each step of a run however often it is tried."""
        mark = f"run:{hashlib.sha256(running.key.encode()).hexdigest()[:16]}"
        if running.was_begun:
            for record_ in memory.export(scope):
                if any(mention.session == mark for mention in memory.mentions(scope, record_.id)):
                    return {"id": record_.citation, "said": record_.said}
        stored = memory.remember(
            given["text"],
            scope,
            speaker=given.get("speaker") or "",
            session=mark,
            source=given.get("source") or running.pipeline.name,
        )
        return {"id": stored.citation, "said": stored.said}


class ForgetStep(_MemoryStep):
    """Deletes memories for good: those of `ids` (as recall gives them), or the whole scope."""

    memory: Literal["forget"]
    """What is done."""
    ids: ListField | None = None
    """The records, as `m:12` or as numbers."""
    everything: bool = False
    """Without `ids`: yes, the whole scope."""

    @property
    def has_effects(self) -> bool:
        return True

    def gives(self, at: CheckContext) -> ValueType:
        if (self.ids is None) != self.everything:
            at.problem("E106", f"{at.what}: say which ids to forget, or everything: true", key=True)
        return record(forgotten=NUMBER, left=NUMBER)

    def done(self, memory: Memory, scope: str, given: JsonMapping, running: StepContext) -> JsonValue:
        """Forgets records, or the whole scope."""
        stated = given.get("ids")
        ids = None if stated is None else [int(str(each).removeprefix("m:")) for each in stated]
        receipt = memory.forget(scope, ids)
        return {"forgotten": len(receipt), "left": receipt.remaining}


class SummarizeStep(_MemoryStep):
    """What a scope is about, in sentences of its memories, with citations. Asks no model."""

    memory: Literal["summarize"]
    """What is done."""
    session: TextField | None = None
    """Only this session of the scope."""
    tokens: Annotated[Count, Field(ge=1)] = 300
    """How many tokens the text may have."""

    def gives(self, at: CheckContext) -> ValueType:
        return record(text=TEXT, sources=list_of(TEXT))

    def done(self, memory: Memory, scope: str, given: JsonMapping, running: StepContext) -> JsonValue:
        """Sums up, and gives text and sources."""
        found = memory.summarize(scope, session=given.get("session"), token_budget=self.tokens)
        return {"text": found.text, "sources": [f"m:{each}" for each in found.sources]}
