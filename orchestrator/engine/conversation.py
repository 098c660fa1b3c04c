"""A conversation with a fleet: every turn is kept, and the prompt holds what the next one needs of all of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Unpack, cast

from orchestrator.agent.journal import new_run_id
from orchestrator.backends.base import Backend
from orchestrator.budget import Budget, Ledger
from orchestrator.conversation import Turn, as_anthropic, as_openai
from orchestrator.conversation.kept import BuiltPrompt, KeptConversation, seconds_of
from orchestrator.engine.calls import tells_mistakes
from orchestrator.engine.settings import SETTINGS, PreparedQuery, QuerySettings
from orchestrator.engine.streaming import AnswerStream, Progress
from orchestrator.engine.sync import BlockingLoop, BlockingStream
from orchestrator.errors import BudgetExceeded, InvalidArgument, InvalidQuery
from orchestrator.jsontypes import JsonObject
from orchestrator.types import Answer, Message, Query

if TYPE_CHECKING:
    from orchestrator.memory import Memory


class ConversationEngine(Protocol):
    """What a conversation needs of its engine."""

    memory: Memory | None
    _blocking: BlockingLoop

    def prepare(self, text: str, settings: QuerySettings) -> PreparedQuery:
        """The query of a turn, checked."""

    async def answer_prepared(self, asked: PreparedQuery, *, within: Ledger | None = None) -> Answer:
        """The answer to a query that was checked, on an account within `within`."""

    def progress_of(self, asked: PreparedQuery, *, within: Ledger | None = None) -> AsyncGenerator[Progress, None]:
        """What happens while a query that was checked is answered, on an account within `within`."""

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
        kept: KeptConversation,
        settings: QuerySettings,
        *,
        total_usd: float | None = None,
    ) -> None:
        self._engine = engine
        self._kept = kept
        self.scope, self.session = kept.scope, kept.session
        self._settings = settings
        self._total_usd = total_usd
        self._account: Ledger | None = None  # of all turns, where these have a limit
        self._lock = asyncio.Lock()

    def __repr__(self) -> str:
        return f"Conversation({self.scope!r}, session={self.session!r}, {len(self._kept.turns)} turns)"

    # what was said

    @property
    def messages(self) -> tuple[Message, ...]:
        """Everything that was said, oldest first."""
        return tuple(turn.message for turn in self._kept.turns)

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Everything that was said, with its place, and of answers their model, confidence and price."""
        return tuple(self._kept.turns)

    @property
    def pending(self) -> str | None:
        """The last message, if it has no answer yet; `None` otherwise."""
        return self._kept.pending

    @property
    def cost_usd(self) -> float:
        """What the answers so far cost, in USD, as far as prices are known."""
        return sum(float((turn.about or {}).get("cost_usd") or 0.0) for turn in self._kept.turns)

    def export(self, form: str = "openai") -> list[JsonObject] | JsonObject:
        """The conversation as messages: "openai" for a list, "anthropic" for `system` and `messages`."""
        if form == "openai":
            return as_openai(self.messages)
        if form == "anthropic":
            return as_anthropic(self.messages)
        raise InvalidArgument(f"there is no form {form!r}", remedy='"openai" or "anthropic"')

    # asking

    @tells_mistakes(SETTINGS)
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
            if key and (known := self._kept.answer_to(key, text)) is not None:
                return known
            asked = await self._asked(text, key, settings, time)
            try:
                answer = await self._engine.answer_prepared(asked, within=self._account)
            except BudgetExceeded as error:
                raise self._explained(error, asked) from error
            await self._keep(answer, time)
            return answer

    def stream(self, text: str, *, key: str = "", **settings: Unpack[QuerySettings]) -> AnswerStream[Progress]:
        """As `send`, but yields what happens, as `Orchestrator.stream` does; the turn is kept when the stream ends."""
        return AnswerStream(self._progress(text, key, settings), lambda item: item, "stream")

    @tells_mistakes()
    async def preview(self, text: str) -> tuple[Message, ...]:
        """The messages that a model would be sent for `text`, notes of memory included; nothing is kept or asked."""
        async with self._lock:
            await self._open()
            prompt = await asyncio.to_thread(self._kept.prompt, len(self._kept.turns), None)
            asked = self._prepared(text, prompt, self._settings)
            return await self._engine.prompt_of(asked.query)

    async def _progress(self, text: str, key: str, settings: QuerySettings) -> AsyncGenerator[Progress, None]:
        async with self._lock:
            await self._open()
            if key and (known := self._kept.answer_to(key, text)) is not None:
                yield known
                return
            asked = await self._asked(text, key, settings)
            async with contextlib.aclosing(self._engine.progress_of(asked, within=self._account)) as items:
                try:
                    async for item in items:
                        if isinstance(item, Answer):
                            await self._keep(item)
                        yield item
                except BudgetExceeded as error:
                    raise self._explained(error, asked) from error

    async def _asked(self, text: str, key: str, settings: QuerySettings, time: datetime | None = None) -> PreparedQuery:
        """The query of a new turn, which is kept before anybody is asked."""
        if not isinstance(text, str) or not text.strip():
            raise InvalidQuery("the message is empty", remedy="Say something")
        position, run = len(self._kept.turns), new_run_id()
        if self.pending == text:  # it was said before the process ended
            position -= 1
            run = (self._kept.turns[position].about or {}).get("run") or run
        prompt = await asyncio.to_thread(self._kept.prompt, position, seconds_of(time))
        asked = self._prepared(text, prompt, cast("QuerySettings", {**self._settings, **settings}))
        if position == len(self._kept.turns):
            turn = Turn(position, "user", text, key=key, about={"run": run}, at=seconds_of(time))
            await asyncio.to_thread(self._kept.add, [turn])
        return replace(asked, run=run if asked.tools.runs_here else "")

    def _prepared(self, text: str, prompt: BuiltPrompt, settings: QuerySettings) -> PreparedQuery:
        stated: dict[str, Any] = {**settings, "history": prompt.history, "scope": self.scope}
        asked = self._engine.prepare(text, cast("QuerySettings", stated))
        limits = prompt.recall_limits(self._kept.context_tokens)
        return replace(asked, query=replace(asked.query, recall_limits=limits))

    # keeping

    async def _open(self) -> None:
        if not self._kept.is_loaded:
            await asyncio.to_thread(self._kept.load)
        if self._account is None and self._total_usd is not None:
            self._account = Ledger(Budget(usd=max(self._total_usd - self.cost_usd, 0.0)))

    def _explained(self, error: BudgetExceeded, asked: PreparedQuery) -> BudgetExceeded:
        """The error of a turn, with the remedy that fits: what ran out may be the conversation's money."""
        left = None if self._account is None else self._account.remaining_usd()
        if (
            error.limit != "usd"
            or error.is_price_unknown
            or left is None
            or (asked.budget.usd is not None and asked.budget.usd <= left)
        ):
            return error
        return BudgetExceeded(
            f"{error.message}: of the {self._total_usd:g} USD of this conversation, {left:.6f} are left",
            limit="usd",
            remedy="Raise total_usd, lower max_tokens, or begin another conversation",
        )

    async def _keep(self, answer: Answer, time: datetime | None = None) -> None:
        """Keeps an answer, with what was done for it."""
        if answer.calls and not answer.text:  # it waits for approval, or for the caller's own tools
            return
        await asyncio.to_thread(self._kept.keep_answer, answer, seconds_of(time))

    # taking back

    @tells_mistakes()
    async def rewind(self, turns: int = 1) -> int:
        """Takes the last `turns` messages of the user back, with all that followed; memory forgets them.

        Returns how many turns were taken back.
        """
        if isinstance(turns, bool) or not isinstance(turns, int) or turns < 1:
            raise InvalidArgument(f"turns must be a whole number of at least 1, not {turns!r}", remedy="rewind(1)")
        async with self._lock:
            await self._open()
            said = [turn.position for turn in self._kept.turns if turn.role == "user"]
            position = said[-turns] if turns <= len(said) else 0
            return len(await asyncio.to_thread(self._kept.cut, position))

    @tells_mistakes()
    async def reload(self) -> None:
        """Reads the conversation anew, after something was forgotten or somebody else went on with it."""
        async with self._lock:
            await asyncio.to_thread(self._kept.load)

    @tells_mistakes()
    async def fork(self, session: str, *, at: int | None = None) -> Conversation:
        """Another conversation that begins with the first `at` turns of this one (default: all of them)."""
        kept = self._kept
        async with self._lock:
            await self._open()
            whole = len(kept.turns)
            if at is not None and (isinstance(at, bool) or not isinstance(at, int) or not 0 <= at <= whole):
                raise InvalidArgument(f"at must be a number of turns, 0 to {whole}, not {at!r}", remedy="Leave it out")
            taken = await asyncio.to_thread(kept.store.turns, self.scope, session)
            if taken or session == self.session:
                raise InvalidArgument(f"there is a session {session!r} already", remedy="Name another")
            forked = await asyncio.to_thread(kept.fork, session, at)
            made = Conversation(self._engine, forked, self._settings, total_usd=self._total_usd)
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
