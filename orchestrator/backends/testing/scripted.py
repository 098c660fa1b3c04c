"""A model that says what it is told: for tests and examples of whatever is built on a fleet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from orchestrator.backends.base import Delta, LocalBackend, Request
from orchestrator.errors import BackendUnavailable, InvalidArgument
from orchestrator.router import ModelProfile
from orchestrator.types import Completion, Usage

TEN_EACH = Usage(10, 10)
Reply = str | Completion | Exception | None


class ScriptedBackend(LocalBackend):
    """Gives scripted replies, one a call, the last of them again and again; keeps the requests in `asked`.

    Args:
        name: The name of the model in its fleet.
        replies: Texts, completions or exceptions in the order of the calls, a list of these, or one function from the
            request to any of these. `None` abstains. Without any, every call fails with `BackendUnavailable`.
        seconds: How long a call takes.
        price: USD per million tokens, read and written alike.
        skill: Expected share of right answers, in (0, 1).
        usage: What every call uses.
        delta_chars: A stream gives so many characters at once; the whole text by default.

    Example:
        >>> from orchestrator import Orchestrator
        >>> model = ScriptedBackend("small", "The answer is 42")
        >>> with Orchestrator({"small": model}) as fleet:
        ...     fleet.answer_sync("What is the answer?").text
        'The answer is 42'
        >>> model.asked[0].question
        'What is the answer?'
    """

    def __init__(
        self,
        name: str,
        *replies: Reply | Callable[[Request], Reply] | Sequence[Reply],
        seconds: float = 0.0,
        price: float | None = 1.0,
        skill: float | None = 0.8,
        usage: Usage = TEN_EACH,
        profile: ModelProfile | None = None,
        delta_chars: int | None = None,
    ) -> None:
        if not isinstance(name, str):
            raise InvalidArgument(
                f"the name of a scripted model must be text, not {type(name).__name__}",
                remedy='ScriptedBackend("small", "an answer")',
            )
        if any(isinstance(reply, type) for reply in replies):
            raise InvalidArgument("a reply is a class", remedy='Pass an error itself: BackendUnavailable("down")')
        made = ModelProfile(name, price, price, skill=skill, ttft_s=seconds, tokens_per_s=1e6)
        super().__init__(profile or made)
        self._replies: list[Reply | Callable[[Request], Reply]] = []
        for reply in replies:
            if isinstance(reply, list | tuple):
                self._replies += reply
            else:
                self._replies.append(reply)  # type: ignore[arg-type]
        self._delta_chars = delta_chars
        self.seconds = seconds
        self._usage = usage
        self.asked: list[Request] = []
        self.cancelled = False

    async def complete(self, request: Request) -> Completion:
        """The next reply. Raises it, if it is an exception."""
        self.asked.append(request)
        number = len(self.asked)
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if not self._replies:
            raise BackendUnavailable("out of order", remedy="Give ScriptedBackend some replies")
        reply = self._replies[min(number, len(self._replies)) - 1]
        said = reply(request) if callable(reply) else reply
        if isinstance(said, Exception):
            raise said
        return said if isinstance(said, Completion) else Completion(self.profile.name, said, self._usage)

    async def stream(self, request: Request) -> AsyncIterator[Delta | Completion]:
        """The reply in pieces of `delta_chars` characters, then the completion."""
        done = await self.complete(request)
        text = done.text or ""
        step = self._delta_chars or max(len(text), 1)
        for at in range(0, len(text), step):
            yield Delta(text[at : at + step])
            await asyncio.sleep(0)
        yield done
