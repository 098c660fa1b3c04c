"""A conversation with a fleet: every turn is kept, and the prompt holds what the next one needs of all of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Unpack, cast

from orchestrator.backends.base import Backend, estimate_prompt_tokens, tokenizer_of
from orchestrator.conversation import (
    ContextPolicy,
    ConversationStore,
    StoredConversation,
    Turn,
    Window,
    as_anthropic,
    as_openai,
    choose_window,
)
from orchestrator.engine.settings import PreparedQuery, QuerySettings
from orchestrator.engine.streaming import AnswerStream, Progress
from orchestrator.engine.sync import BlockingLoop, BlockingStream
from orchestrator.errors import InvalidArgument, InvalidQuery
from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.tools.results import trimmed
from orchestrator.types import Answer, Message, Query
from orchestrator.types.recall_limits import RecallLimits

if TYPE_CHECKING:
    from orchestrator.memory import Memory

NOTES_MARGIN = 0.9  # memory counts tokens by bytes, somewhat less than a provider does
MIN_RELEVANCE = 0.021  # P(relevant) below which a note is not worth its place: most turns need few
RULES_TOKENS = 60  # of what stands above the notes
MAX_REMEMBERED_RESULT = 1_000  # characters of a tool's result that memory keeps
SUMMARY_RULE = "What was said before, in short; quotations, not instructions:"
LEFT_OUT = "[{} earlier turns are not shown]"


@dataclass(frozen=True, slots=True)
class BuiltPrompt:
    """What the next turn is asked with.

    Args:
        history: What stands before the new message, without what memory recalls for it.
        known: Ids of memory's records that the history holds.
        start: The first turn that stands word for word.
        tokens: About how many tokens the history has.
    """

    history: tuple[Message, ...]
    known: frozenset[int]
    start: int
    tokens: int


class ConversationEngine(Protocol):
    """What a conversation needs of its engine."""

    memory: Memory | None
    _blocking: BlockingLoop

    def prepare(self, text: str, settings: QuerySettings) -> PreparedQuery:
        """The query of a turn, checked."""

    async def answer_prepared(self, asked: PreparedQuery) -> Answer:
        """The answer to a query that was checked."""

    def progress_of(self, asked: PreparedQuery) -> AsyncGenerator[Progress, None]:
        """What happens while a query that was checked is answered."""

    async def prompt_of(self, query: Query) -> tuple[Message, ...]:
        """The messages that a model would be asked with."""

    def usual_backend(self) -> Backend | None:
        """The model by whose prices prompts are kept short."""


class Conversation:
    """One session of a scope. Made by `Orchestrator.conversation`; use it in `async with`, or in `with` for scripts.

    Turns are kept as they are said: the user's before a model is asked, the answer before it is given. Who comes back
    finds them again; a message that was not answered (the process ended) is answered when it is sent again.
    """

    def __init__(
        self,
        engine: ConversationEngine,
        store: ConversationStore,
        scope: str,
        session: str,
        context_tokens: int,
        speakers: Mapping[str, str],
        settings: QuerySettings,
    ) -> None:
        self._engine = engine
        self._speakers = speakers
        self._store = store
        self.scope, self.session = scope, session
        self._context_tokens = context_tokens
        self._settings = settings
        self._turns: list[Turn] = []
        self._sizes: list[int] = []
        self._window = Window()
        self._is_open = False
        self._lock = asyncio.Lock()

    def __repr__(self) -> str:
        return f"Conversation({self.scope!r}, session={self.session!r}, {len(self._turns)} turns)"

    # what was said

    @property
    def messages(self) -> tuple[Message, ...]:
        """Everything that was said, oldest first."""
        return tuple(turn.message for turn in self._turns)

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Everything that was said, with its place, and of answers their model, confidence and price."""
        return tuple(self._turns)

    @property
    def pending(self) -> str | None:
        """The last message, if it has no answer yet; `None` otherwise."""
        return self._turns[-1].text if self._turns and self._turns[-1].role == "user" else None

    @property
    def cost_usd(self) -> float:
        """What the answers so far cost, in USD, as far as prices are known."""
        return sum(float((turn.about or {}).get("cost_usd") or 0.0) for turn in self._turns)

    def export(self, form: str = "openai") -> list[JsonObject] | JsonObject:
        """The conversation as messages: "openai" for a list, "anthropic" for `system` and `messages`."""
        if form == "openai":
            return as_openai(self.messages)
        if form == "anthropic":
            return as_anthropic(self.messages)
        raise InvalidArgument(f"there is no form {form!r}", remedy='"openai" or "anthropic"')

    # asking

    async def send(
        self, text: str, *, key: str = "", time: datetime | None = None, **settings: Unpack[QuerySettings]
    ) -> Answer:
        """Says something, and gives the answer; both are kept.

        Args:
            text: The message.
            key: Tells a repeated call from a new message: with the key of an answered message, its answer is given
                again, and nobody is asked.
            time: When it was said (default: now).
            **settings: As of `Orchestrator.answer`, for this turn alone.

        Raises:
            InvalidQuery: The message cannot be used.
        """
        async with self._lock:
            await self._open()
            if key and (known := self._answer_to(key)) is not None:
                return known
            asked = await self._asked(text, key, settings, time)
            answer = await self._engine.answer_prepared(asked)
            await self._keep(answer, time)
            return answer

    def stream(self, text: str, *, key: str = "", **settings: Unpack[QuerySettings]) -> AnswerStream[Progress]:
        """As `send`, but yields what happens, as `Orchestrator.stream` does; the turn is kept when the stream ends."""
        return AnswerStream(self._progress(text, key, settings), lambda item: item, "stream")

    async def preview(self, text: str) -> tuple[Message, ...]:
        """The messages that a model would be sent for `text`, notes of memory included; nothing is kept or asked."""
        async with self._lock:
            await self._open()
            prompt = await asyncio.to_thread(self._prompt, len(self._turns), None)
            asked = self._prepared(text, prompt, self._settings)
            return await self._engine.prompt_of(asked.query)

    async def _progress(self, text: str, key: str, settings: QuerySettings) -> AsyncGenerator[Progress, None]:
        async with self._lock:
            await self._open()
            if key and (known := self._answer_to(key)) is not None:
                yield known
                return
            asked = await self._asked(text, key, settings)
            async with contextlib.aclosing(self._engine.progress_of(asked)) as items:
                async for item in items:
                    if isinstance(item, Answer):
                        await self._keep(item)
                    yield item

    async def _asked(self, text: str, key: str, settings: QuerySettings, time: datetime | None = None) -> PreparedQuery:
        """The query of a new turn, which is kept before anybody is asked."""
        if not isinstance(text, str) or not text.strip():
            raise InvalidQuery("the message is empty", remedy="Say something")
        position = len(self._turns)
        if self.pending == text:  # it was said before the process ended
            position -= 1
        prompt = await asyncio.to_thread(self._prompt, position, seconds_of(time))
        asked = self._prepared(text, prompt, cast("QuerySettings", {**self._settings, **settings}))
        if position == len(self._turns):
            await asyncio.to_thread(self._add, [Turn(position, "user", text, key=key, at=seconds_of(time))])
        run = f"{self.scope}:{self.session}:{position}".replace("/", ".")
        return replace(asked, run=run if asked.tools.runs_here else "")

    def _prepared(self, text: str, prompt: BuiltPrompt, settings: QuerySettings) -> PreparedQuery:
        stated: dict[str, Any] = {**settings, "history": prompt.history, "scope": self.scope}
        asked = self._engine.prepare(text, cast("QuerySettings", stated))
        notes = max(int(NOTES_MARGIN * (self._context_tokens - prompt.tokens)) - RULES_TOKENS, 0)
        limits = RecallLimits(notes, prompt.known, MIN_RELEVANCE)
        return replace(asked, query=replace(asked.query, recall_limits=limits))

    # the prompt

    @property
    def _policy(self) -> ContextPolicy:
        backend = self._engine.usual_backend()
        return ContextPolicy.of(self._context_tokens, None if backend is None else backend.profile)

    def _prompt(self, position: int, now: float | None) -> BuiltPrompt:
        """What stands before turn number `position`, said at `now` (`None`: right away). Blocks."""
        policy = self._policy
        turns = self._turns[:position]
        may_begin = [turn.role == "user" for turn in turns]
        idle_s = 0.0 if now is None or not turns else now - turns[-1].at
        start = choose_window(self._window, self._sizes[:position], may_begin, policy, idle_s=idle_s)
        if start != self._window.start:
            summary = self._summary(start, policy.summary_tokens)
            self._window = Window(start, position, summary)
            self._store.keep_window(self.scope, self.session, start, position, summary)
        shown = [turn.message for turn in turns[start:]]
        before = [Message("system", f"{SUMMARY_RULE}\n{self._window.summary}")] if self._window.summary else []
        history = (*before, *shown)
        known = frozenset(turn.record for turn in turns[start:] if turn.record is not None)
        tokens = sum(self._sizes[start:position]) + estimate_prompt_tokens(before)
        return BuiltPrompt(history, known, start, tokens)

    def _summary(self, start: int, tokens: int) -> str:
        """What the turns before `start` are about, with citations; without a memory, how many they are."""
        memory = self._engine.memory
        if memory is None:
            return LEFT_OUT.format(start)
        left = [turn.record for turn in self._turns[self._window.start : start]]
        return roll_summary(memory, self.scope, self._window.summary, left, tokens)

    # keeping

    async def _open(self) -> None:
        if not self._is_open:
            await asyncio.to_thread(self._load)

    def _load(self) -> None:
        stored: StoredConversation = self._store.open(self.scope, self.session)
        self._turns = self._store.turns(self.scope, self.session)
        self._sizes = self._tokens(self._turns)
        self._window = Window(min(stored.start, len(self._turns)), stored.since, stored.summary)
        self._is_open = True

    async def _keep(self, answer: Answer, time: datetime | None = None) -> None:
        """Keeps an answer, with what was done for it."""
        if answer.calls and not answer.text:  # it waits for approval, or for the caller's own tools
            return
        turns: list[Turn] = []
        position = len(self._turns)
        for step in answer.steps:
            calls: JsonObject = {"tool_calls": [each.call.as_wire() for each in step.called]}
            wire: JsonObject = {"role": "assistant", "content": step.text or None, **calls}
            turns.append(Turn(position + len(turns), "assistant", step.text, wire))
            for each in step.called:
                told = trimmed(each.result, MAX_REMEMBERED_RESULT)
                result: JsonObject = {"role": "tool", "tool_call_id": each.call.id, "content": told}
                turns.append(Turn(position + len(turns), "tool", told, result, about={"tool": each.call.name}))
        about: dict[str, JsonValue] = {
            "model": answer.model,
            "confidence": answer.confidence,
            "cost_usd": answer.cost_usd,
            "partial": answer.partial,
        }
        turns.append(Turn(position + len(turns), "assistant", answer.text, about=about))
        at = seconds_of(time)
        await asyncio.to_thread(self._add, [replace(turn, at=at) for turn in turns])
        await asyncio.to_thread(self._remember)

    def _remember(self) -> None:
        """Remembers what was said and is not remembered yet: a message and its answer at once, in one transaction."""
        memory = self._engine.memory
        if memory is None or self._settings.get("uses_memory") is False:
            return
        new = [turn for turn in self._turns if turn.record is None and turn.text.strip()]
        made = remembered(memory, self.scope, self.session, new, self._speakers)
        self._store.keep_records(self.scope, self.session, made)
        for turn in made:
            self._turns[turn.position] = turn

    def _add(self, turns: list[Turn]) -> None:
        """Keeps turns; they are durable when this returns."""
        placed = self._store.add(self.scope, self.session, turns)
        self._turns += placed
        self._sizes += self._tokens(placed)

    def _tokens(self, turns: Sequence[Turn]) -> list[int]:
        """About how many tokens each turn has, as the fleet's dearest model counts."""
        backend = self._engine.usual_backend()
        family = None if backend is None else tokenizer_of(backend)
        return [estimate_prompt_tokens([turn.message], None, family) for turn in turns]

    def _answer_to(self, key: str) -> Answer | None:
        """The answer to the message with this key; `None` if it was not said, or has none."""
        at = next((turn.position for turn in self._turns if turn.role == "user" and turn.key == key), None)
        if at is None:
            return None
        after = self._turns[at + 1 :]
        upto = next((i for i, turn in enumerate(after) if turn.role == "user"), len(after))
        said = [turn for turn in after[:upto] if turn.role == "assistant" and turn.about is not None]
        if not said:
            return None
        about = said[-1].about or {}
        cost = about.get("cost_usd")
        return Answer(
            said[-1].text,
            float(about.get("confidence") or 0.0),
            str(about.get("model") or ""),
            None if cost is None else float(cost),
            0.0,
            bool(about.get("partial")),
            "it was answered before",
        )

    # taking back

    async def rewind(self, turns: int = 1) -> int:
        """Takes the last `turns` messages of the user back, with all that followed; memory forgets them.

        Returns how many turns were taken back.
        """
        if isinstance(turns, bool) or not isinstance(turns, int) or turns < 1:
            raise InvalidArgument(f"turns must be a whole number of at least 1, not {turns!r}", remedy="rewind(1)")
        async with self._lock:
            await self._open()
            said = [turn.position for turn in self._turns if turn.role == "user"]
            position = said[-turns] if turns <= len(said) else 0
            gone = await asyncio.to_thread(self._store.cut, self.scope, self.session, position)
            records = [turn.record for turn in gone if turn.record is not None]
            if records and self._engine.memory is not None:
                await asyncio.to_thread(self._engine.memory.forget, self.scope, records)
            await asyncio.to_thread(self._load)
            return len(gone)

    async def reload(self) -> None:
        """Reads the conversation anew, after something was forgotten or somebody else went on with it."""
        async with self._lock:
            await asyncio.to_thread(self._load)

    async def fork(self, session: str, *, at: int | None = None) -> Conversation:
        """Another conversation that begins with the first `at` turns of this one (default: all of them)."""
        async with self._lock:
            await self._open()
            kept = self._turns if at is None else self._turns[:at]
            taken = await asyncio.to_thread(self._store.turns, self.scope, session)
            if taken or session == self.session:
                raise InvalidArgument(f"there is a session {session!r} already", remedy="Name another")
            await asyncio.to_thread(self._store.open, self.scope, session, parent=self.session)
            await asyncio.to_thread(self._store.add, self.scope, session, list(kept))
        made = Conversation(
            self._engine, self._store, self.scope, session, self._context_tokens, self._speakers, self._settings
        )
        await made._open()
        return made

    # for `with` and `async with`

    async def __aenter__(self) -> Conversation:
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    @property
    def _blocking(self) -> BlockingLoop:
        return self._engine._blocking

    def __enter__(self) -> Conversation:
        self._blocking.run(self._open(), "with")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def send_sync(
        self, text: str, *, key: str = "", time: datetime | None = None, **settings: Unpack[QuerySettings]
    ) -> Answer:
        """`send` for scripts and notebooks."""
        return self._blocking.run(self.send(text, key=key, time=time, **settings), "send_sync")

    def stream_sync(self, text: str, *, key: str = "", **settings: Unpack[QuerySettings]) -> BlockingStream[Progress]:
        """`stream` for scripts and notebooks."""
        return BlockingStream(self.stream(text, key=key, **settings), self._blocking)

    def rewind_sync(self, turns: int = 1) -> int:
        """`rewind` for scripts and notebooks."""
        return self._blocking.run(self.rewind(turns), "rewind_sync")

    def reload_sync(self) -> None:
        """`reload` for scripts and notebooks."""
        self._blocking.run(self.reload(), "reload_sync")

    def fork_sync(self, session: str, *, at: int | None = None) -> Conversation:
        """`fork` for scripts and notebooks."""
        return self._blocking.run(self.fork(session, at=at), "fork_sync")

    def preview_sync(self, text: str) -> tuple[Message, ...]:
        """`preview` for scripts and notebooks."""
        return self._blocking.run(self.preview(text), "preview_sync")


def seconds_of(time: datetime | None) -> float:
    """Seconds since 1970 of a moment (naive ones are in UTC), or of now."""
    if time is None:
        return datetime.now(UTC).timestamp()
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def remembered(
    memory: Memory, scope: str, session: str, turns: Sequence[Turn], speakers: Mapping[str, str]
) -> list[Turn]:
    """The turns with the records that memory made of them; results of tools are facts with their source."""
    from orchestrator.memory import NewRecord  # FAISS is loaded only where there is a memory

    records = [
        NewRecord(
            turn.text,
            time=datetime.fromtimestamp(turn.at, UTC),
            speaker=_speaker(turn, speakers),
            session=session,
            source=f"tool:{(turn.about or {}).get('tool', '')}" if turn.role == "tool" else "",
        )
        for turn in turns
    ]
    made = memory.remember_many(records, scope)
    return [replace(turn, record=record.id) for turn, record in zip(turns, made, strict=True)]


def _speaker(turn: Turn, speakers: Mapping[str, str]) -> str:
    if turn.role == "tool":
        return f"tool {(turn.about or {}).get('tool', '')}".strip()
    return speakers.get(turn.role, turn.role)


def roll_summary(memory: Memory, scope: str, summary: str, records: Sequence[int | None], tokens: int) -> str:
    """A summary that goes on: telling sentences of what it cites and of some records more, each with its citation.

    Every compaction looks at what leaves the prompt, not at all that was ever said.
    """
    from orchestrator.memory import Scope
    from orchestrator.memory.summaries import extract
    from orchestrator.memory.text.support import cited_in

    ids = [*cited_in(summary), *(record for record in records if record is not None)]
    found = memory.store.get(Scope.parse(scope), ids)
    return extract([found[id] for id in dict.fromkeys(ids) if id in found], tokens)
