"""What deciders over HTTP share: the model, what a call may read at most, and one call of an endpoint for decisions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

import orjson

from orchestrator.backends.http.retry import with_retries
from orchestrator.backends.provider_errors import too_slow
from orchestrator.backends.remote import RemoteBackend
from orchestrator.backends.usage import usage_in
from orchestrator.decisions.question import Question
from orchestrator.errors import BadResponse
from orchestrator.jsontypes import JsonObject
from orchestrator.router import ModelProfile
from orchestrator.text.excerpt import excerpt
from orchestrator.tokens.estimate import bound_tokens, estimate_tokens, family_of
from orchestrator.types import Usage

TOKENS_EACH = 16  # around each question


async def posted(
    backend: RemoteBackend, path: str, body: JsonObject, deadline_s: float | None
) -> tuple[JsonObject, Usage | None]:
    """The answer, a JSON object. Raises `BackendError`."""
    upstream = backend.upstream

    async def once(left_s: float) -> bytes:
        try:
            async with asyncio.timeout(left_s):
                return await (await upstream.post(path, body, timeout_s=left_s)).read()
        except TimeoutError:
            raise too_slow(upstream.where) from None

    content = await with_retries(once, deadline_s=deadline_s, budget=upstream.retries)
    try:
        payload = orjson.loads(content)
    except orjson.JSONDecodeError:
        payload = None
    if not isinstance(payload, dict) or "answers" not in payload:
        raise BadResponse(
            f"{upstream.where}: the answer holds no decisions: {excerpt(content)}", remedy="Check the server"
        )
    return payload, usage_in(payload)


class OverHttp:
    """A model that is asked for decisions over HTTP.

    `reads_each` says that the state is read once for each question.
    """

    reads_each = True

    def __init__(self, backend: RemoteBackend) -> None:
        self._backend = backend

    @property
    def profile(self) -> ModelProfile:
        """What is known of the model that decides."""
        return self._backend.profile

    def worst_tokens(self, state: str, questions: Mapping[str, Question]) -> tuple[int, int]:
        """(tokens read, tokens written) at most."""
        read = self._read_tokens(state, questions, bound_tokens)
        return read + TOKENS_EACH * (len(questions) + 1), 2 * len(questions)

    def estimated(self, state: str, questions: Mapping[str, Question]) -> Usage:
        """For a server that tells no usage."""
        family = family_of(self._backend.upstream.model)
        return Usage(self._read_tokens(state, questions, partial(estimate_tokens, family=family)), estimated=True)

    def _read_tokens(self, state: str, questions: Mapping[str, Question], count: Callable[[str], int]) -> int:
        asked = "\n".join(
            f"{q.ask}\n" + "\n".join(f"{name}: {told} - " for name, told in q.options.items())
            for q in questions.values()
        )
        return (len(questions) if self.reads_each else 1) * count(state) + count(asked)
