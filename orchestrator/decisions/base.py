"""Who decides: the contract, and the best way to ask a given model.

A provider with an endpoint for decisions is asked there (`/systemone`, `/decisions`); any other chat model for the
log-probabilities of the options' letters. A server that turns out not to have the endpoint, or a model that does not,
is asked for log-probabilities from then on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from orchestrator.backends.base import Backend
from orchestrator.backends.remote import RemoteBackend
from orchestrator.decisions.openai import OpenAIDecisions
from orchestrator.decisions.question import Decisions, Question
from orchestrator.decisions.systemone import SystemOne
from orchestrator.decisions.token_logprobs import TokenDecisions
from orchestrator.errors import BackendRejected, ConfigError
from orchestrator.router import ModelProfile

_NOT_THERE = frozenset({400, 404, 405, 422, 501})


class DecisionBackend(Protocol):
    """Answers all questions about one state. Errors are `BackendError` subclasses."""

    @property
    def profile(self) -> ModelProfile:
        """What is known of the model that decides."""

    def worst_tokens(self, state: str, questions: Mapping[str, Question]) -> tuple[int, int]:
        """(tokens read, tokens written) at most."""
        ...

    async def decide(
        self, state: str, questions: Mapping[str, Question], *, deadline_s: float | None = None
    ) -> Decisions:
        """Probabilities for every question about a state. Raises a `BackendError`."""


class _WithFallback:
    """The provider's own endpoint as long as it is there."""

    def __init__(self, own: DecisionBackend, tokens: TokenDecisions) -> None:
        self._own: DecisionBackend | None = own
        self._tokens = tokens

    @property
    def profile(self) -> ModelProfile:
        return self._tokens.profile

    def worst_tokens(self, state: str, questions: Mapping[str, Question]) -> tuple[int, int]:
        return self._tokens.worst_tokens(state, questions)

    async def decide(
        self, state: str, questions: Mapping[str, Question], *, deadline_s: float | None = None
    ) -> Decisions:
        if self._own is not None:
            try:
                return await self._own.decide(state, questions, deadline_s=deadline_s)
            except BackendRejected as error:
                if error.status not in _NOT_THERE:
                    raise
                refused = error
            found = await self._tokens.decide(state, questions, deadline_s=deadline_s)
            if refused.status in (404, 405, 501):
                self._own = None
            return found
        return await self._tokens.decide(state, questions, deadline_s=deadline_s)


def can_decide(backend: Backend) -> bool:
    """Whether a model can be asked for probabilities."""
    return isinstance(backend, RemoteBackend) and (backend.provider.decisions is not None or backend.provider.logprobs)


def decider_for(backend: Backend) -> DecisionBackend:
    """How a model of the fleet decides. Raises `ConfigError` for one that gives no probabilities."""
    if not isinstance(backend, RemoteBackend) or not can_decide(backend):
        raise ConfigError(
            f"{backend.profile.name} gives no probabilities",
            remedy="Choose a model whose provider gives log-probabilities",
        )
    tokens = TokenDecisions(backend)
    if backend.provider.decisions == "/systemone":
        return _WithFallback(SystemOne(backend), tokens)
    if backend.provider.decisions == "/decisions":
        return _WithFallback(OpenAIDecisions(backend), tokens)
    return tokens
