"""A model of the fleet as a judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.backends.base import Backend, Request
from orchestrator.backends.metering import bill_of, worst_case
from orchestrator.errors import ConfigError
from orchestrator.jsontypes import JsonMapping
from orchestrator.types import Message
from orchestrator.verifiers import Criterion, JudgeVerifier, ModelReply
from orchestrator.verifiers.models.judge import CORRECT, Ask, Price

MAX_TOKENS = 800


def judge_of(settings: JsonMapping, backends: Mapping[str, Backend]) -> JudgeVerifier:
    """A judge by its settings: `model`, and `rubric` or `criteria`, and `at_least`.

    Raises `ConfigError`, `ValueError`.
    """
    model = settings["model"]
    if model not in backends:
        raise ConfigError(f"checks.judge: {model!r} is not in this fleet", remedy=f"It has: {', '.join(backends)}")
    ask, price_usd = asking(backends[model])
    criteria = criteria_of(settings.get("rubric"), settings.get("criteria") or {})
    return JudgeVerifier(ask, criteria, at_least=settings.get("at_least", 0.7), price_usd=price_usd)


def asking(backend: Backend, *, max_tokens: int = MAX_TOKENS) -> tuple[Ask, Price]:
    """How a judge asks this model, and what a prompt may cost at most in USD (`None` for a model without known
    prices).
    """

    async def ask(prompt: str) -> ModelReply:
        asked = request_for(prompt)
        done = await backend.complete(asked)
        return ModelReply(done.text or "", bill_of(backend, done, worst_case(backend, asked)).usd or 0.0)

    def price_usd(prompt: str) -> float | None:
        return worst_case(backend, request_for(prompt)).usd

    def request_for(prompt: str) -> Request:
        return Request((Message("user", prompt),), prompt, max_tokens=max_tokens, temperature=0.0)

    return ask, price_usd


def criteria_of(rubric: str | None, criteria: Mapping[str, str]) -> Sequence[Criterion]:
    """What a judge rates by: a rubric as a whole, or criteria by name. Raises `ValueError` on both."""
    if rubric is not None and criteria:
        raise ValueError("a judge has a rubric or criteria, not both")
    stated = criteria if rubric is None else {"rubric": rubric}
    return [Criterion(name, asks) for name, asks in stated.items()] or CORRECT
