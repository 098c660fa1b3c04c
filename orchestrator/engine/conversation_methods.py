"""The methods of `Orchestrator` that concern conversations."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Mapping
from typing import Unpack

from orchestrator.backends.base import Backend
from orchestrator.budget import Budget, Ledger
from orchestrator.conversation import ConversationStore
from orchestrator.conversation.kept import KeptConversation
from orchestrator.engine.answer_methods import AnswerMethods
from orchestrator.engine.calls import keywords_of, shows_settings
from orchestrator.engine.conversation import Conversation
from orchestrator.engine.settings import SETTINGS, PreparedQuery, QuerySettings
from orchestrator.engine.streaming import Progress
from orchestrator.errors import ConfigError, InvalidArgument
from orchestrator.memory.record import Scope
from orchestrator.storage.database import SqliteDatabase
from orchestrator.trace import Trace
from orchestrator.types import Answer, Message, Query
from orchestrator.types.keywords import unknown_keyword

CONTEXT_TOKENS, MIN_CONTEXT_TOKENS = 8_000, 200
MAX_SESSION_CHARS = 256


class ConversationMethods(AnswerMethods):
    """Conversations of an engine."""

    @shows_settings(SETTINGS)
    def conversation(
        self,
        scope: str = "",
        /,
        *,
        session: str | None = None,
        context_tokens: int = CONTEXT_TOKENS,
        speakers: Mapping[str, str] | None = None,
        total_usd: float | None = None,
        **settings: Unpack[QuerySettings],
    ) -> Conversation:
        """A conversation of `scope`, kept under `session` in the fleet's `storage`, and gone on with where it ended.

        Args:
            scope: Whose it is: `tenant/user` ("default"). What is said is remembered there, and recalled from there.
            session: Its name. Without one it ends with this program.
            context_tokens: The most tokens of a prompt, the new message aside.
            speakers: Names of who speaks, by role, for memory: `{"user": "Ann", "assistant": "Jon"}`.
            total_usd: The most that all turns together may cost, in USD, those of the session before today included;
                `budget` is for each turn.
            **settings: As of `answer`, for every turn that says nothing else.

        Raises:
            ConfigError: A session is named, and the fleet has no storage.
            InvalidBudget: `total_usd` is no amount.
            ScopeError: `scope` is no path of one to three names.

        Example:
            >>> from orchestrator import Orchestrator
            >>> from orchestrator.testing import ScriptedBackend
            >>> with Orchestrator({"small": ScriptedBackend("small", "Hello, Ann.")}) as fleet:
            ...     with fleet.conversation("acme/ann") as chat:
            ...         answer = chat.send_sync("I am Ann.")
            ...         len(chat.messages)
            2
        """
        if not settings.keys() <= _KEYWORDS:
            raise unknown_keyword("conversation", settings, _KEYWORDS)
        if (
            isinstance(context_tokens, bool)
            or not isinstance(context_tokens, int)
            or context_tokens < MIN_CONTEXT_TOKENS
        ):
            raise InvalidArgument(
                f"context_tokens must be a whole number of at least {MIN_CONTEXT_TOKENS}, not {context_tokens!r}",
                remedy=f"context_tokens={CONTEXT_TOKENS}",
            )
        if session is not None and (not isinstance(session, str) or not 0 < len(session) <= MAX_SESSION_CHARS):
            raise InvalidArgument(
                f"session must be a text of at most {MAX_SESSION_CHARS} characters, not {session!r:.80}",
                remedy='session="chat-7"',
            )
        kept = KeptConversation(
            self._conversations(session),
            Scope.parse(scope or settings.get("scope", "default")).path,
            session or secrets.token_hex(8),
            self.memory if settings.get("uses_memory") is not False else None,
            self.usual_backend,
            context_tokens,
            speakers,
        )
        return Conversation(self, kept, settings, total_usd=Budget(usd=total_usd).usd)

    def _conversations(self, session: str | None) -> ConversationStore:
        if self.storage is not None:
            return self.storage.conversations
        if session is not None:
            raise ConfigError(
                f"the session {session!r} cannot be kept: this fleet has no storage",
                remedy='Orchestrator(..., storage="orchestrator.db"), or leave out session',
            )
        return ConversationStore(SqliteDatabase(":memory:"))

    def prepare(self, text: str, settings: QuerySettings) -> PreparedQuery:
        """The query of a turn, checked."""
        return self._asked("send", text, settings)

    async def answer_prepared(self, asked: PreparedQuery, *, within: Ledger | None = None) -> Answer:
        """The answer to a query that was checked, on an account within `within`."""
        return await self._answered(asked, within=within)

    def progress_of(self, asked: PreparedQuery, *, within: Ledger | None = None) -> AsyncGenerator[Progress, None]:
        """What happens while a query that was checked is answered, on an account within `within`."""
        return self._progress(asked, keeps=False, within=within)

    async def prompt_of(self, query: Query) -> tuple[Message, ...]:
        """The messages that a model would be asked with, notes of memory included."""
        plan = await self.plan(query, Trace())
        return plan.request.messages

    def usual_backend(self) -> Backend | None:
        """The model by whose prices a conversation's prompt is kept short: the dearest; `None` where all are free."""
        priced = [each for each in self.backends.values() if each.profile.input_usd_per_mtok]
        return max(priced, key=lambda each: each.profile.input_usd_per_mtok or 0.0, default=None)


_KEYWORDS = keywords_of(ConversationMethods.conversation, SETTINGS)
