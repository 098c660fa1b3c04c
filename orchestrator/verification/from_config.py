"""Checks that the configuration names: by form, language, safety, and by a model of the fleet as a judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.backends.base import Backend, Request
from orchestrator.backends.metering import bill_of, worst_case
from orchestrator.config.models import ChecksConfig
from orchestrator.errors import ConfigError
from orchestrator.types import Message
from orchestrator.verifiers import (
    Criterion,
    JudgeVerifier,
    LanguageVerifier,
    LengthVerifier,
    PersonalDataVerifier,
    RegexVerifier,
    SafetyVerifier,
    Said,
    Verifier,
)
from orchestrator.verifiers.models.judge import CORRECT, Ask, Price

MAX_TOKENS = 800


def asking(backend: Backend, *, max_tokens: int = MAX_TOKENS) -> tuple[Ask, Price]:
    """How a judge asks this model, and what a prompt may cost at most in USD (`None` for a model without known prices)."""

    async def ask(prompt: str) -> Said:
        asked = request_for(prompt)
        done = await backend.complete(asked)
        return Said(done.text or "", bill_of(backend, done, worst_case(backend, asked)).usd or 0.0)

    def price_usd(prompt: str) -> float | None:
        return worst_case(backend, request_for(prompt)).usd

    def request_for(prompt: str) -> Request:
        return Request((Message("user", prompt),), prompt, max_tokens=max_tokens, temperature=0.0)

    return ask, price_usd


def checks_from_config(config: ChecksConfig, backends: Mapping[str, Backend]) -> list[Verifier]:
    """Raises `ConfigError` on a check that cannot be made, or a judge that is not in the fleet."""
    try:
        return _made(config, backends)
    except ValueError as error:
        raise ConfigError(f"checks: {error}", remedy="See docs/configuration.md") from None


def criteria_of(rubric: str | None, criteria: Mapping[str, str]) -> Sequence[Criterion]:
    """What a judge rates by: a rubric as a whole, or criteria by name. Raises `ValueError` on both."""
    if rubric is not None and criteria:
        raise ValueError("a judge has a rubric or criteria, not both")
    stated = criteria if rubric is None else {"rubric": rubric}
    return [Criterion(name, asks) for name, asks in stated.items()] or CORRECT


def _made(config: ChecksConfig, backends: Mapping[str, Backend]) -> list[Verifier]:
    checks: list[Verifier] = []
    if config.regex is not None:
        checks.append(RegexVerifier(config.regex))
    if config.length is not None:
        checks.append(LengthVerifier(**config.length.model_dump()))
    if config.personal_data:
        checks.append(PersonalDataVerifier())
    if config.safety is not None:
        checks.append(SafetyVerifier(forbidden=config.safety.forbidden, decisive=config.safety.decisive))
    if config.language is not None:
        checks.append(LanguageVerifier(None if config.language == "query" else config.language))
    if config.judge is not None:
        if config.judge.model not in backends:
            raise ConfigError(f"checks.judge: {config.judge.model!r} is not in this fleet", remedy=f"It has: {', '.join(backends)}")
        ask, price_usd = asking(backends[config.judge.model])
        criteria = criteria_of(config.judge.rubric, config.judge.criteria)
        checks.append(JudgeVerifier(ask, criteria, at_least=config.judge.at_least, price_usd=price_usd))
    return checks
