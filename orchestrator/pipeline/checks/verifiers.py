"""Checks at work: the verifiers that the settings of `checks.py` become when a step runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from orchestrator.backends.metering import Bill, metered
from orchestrator.errors import BudgetExceeded
from orchestrator.jsontypes import JsonMapping, JsonValue
from orchestrator.pipeline.expressions.evaluation import Compute, ExpressionFailed
from orchestrator.pipeline.language.contracts import StepContext
from orchestrator.verification.registry import NEED_MODELS, make_check
from orchestrator.verifiers import (
    GroundingVerifier,
    JsonSchemaVerifier,
    Source,
    Verdict,
    Verifier,
    find_json,
    price_of,
)

Given = Mapping[str, Any]


class Holds:
    """Passes answers for which a condition of the file holds.

    `value` is the answer's JSON in it, `text` the answer itself.
    """

    name = "holds"

    def __init__(self, holds: Compute, values: JsonMapping, says: str) -> None:
        self._holds, self._values, self._says = holds, values, says

    async def verify(self, query: str, candidate: str) -> Verdict:
        """Evaluates the condition on the answer's text and JSON."""
        try:
            value = find_json(candidate)
        except ValueError:
            value = None
        try:
            holds = self._holds({**self._values, "text": candidate, "value": value})
        except ExpressionFailed as error:
            return Verdict(self.name, 0.0, False, f"{self._says}: {error.message}"[:500], decisive=True)
        return Verdict(
            self.name, 1.0 if holds is True else 0.0, holds is True, "" if holds is True else self._says, decisive=True
        )


class Abstaining:
    """A check that cannot be made here, and says why."""

    def __init__(self, name: str, why: str) -> None:
        self.name, self._why = name, why

    async def verify(self, query: str, candidate: str) -> Verdict:
        """Abstains, with the reason."""
        return Verdict.abstain(self.name, self._why)


def _source(numbered: tuple[int, Any]) -> Source:
    index, item = numbered
    if isinstance(item, Mapping):
        told = ", ".join(str(item[name]) for name in ("time", "speaker", "source") if item.get(name))
        return Source(
            str(item.get("id", index)), f"{told}: {item.get('text', '')}" if told else str(item.get("text", ""))
        )
    return Source(str(index), str(item))


async def _cites(options: Any, given: Given, running: StepContext) -> Verifier:
    return GroundingVerifier(list(map(_source, enumerate(given["sources"]))), cite_all=options.every)


async def _judge(options: Any, given: Given, running: StepContext) -> Verifier:
    engine = await running.engine()
    name = given.get("model")
    if name is None:
        able = [b.profile for b in engine.backends.values() if b.profile.name not in ("calculator", "extractive")]
        if not able:
            return Abstaining("judge", "there is no model that could judge")
        name = max(able, key=lambda profile: profile.skill or 0.0).name
    settings = {
        "model": name,
        "rubric": options.text or given.get("rubric"),
        "criteria": options.criteria,
        "at_least": options.at_least,
    }
    return make_check("judge", settings, engine.backends)


async def _json(options: Any, given: Given, running: StepContext) -> Verifier:
    return JsonSchemaVerifier(options.read)


async def _holds(options: Any, given: Given, running: StepContext) -> Verifier:
    return Holds(options.compute, running.values, options.says)


async def _tests(options: Any, given: Given, running: StepContext) -> Verifier:
    return make_check("tests", {"tests": [str(test) for test in given["pass"]]}, {})


MAKERS: dict[str, Callable[[Any, Given, StepContext], Awaitable[Verifier]]] = {
    "json": _json,
    "holds": _holds,
    "cites": _cites,
    "judge": _judge,
    "tests": _tests,
}
"""Checks that need more of a step than their settings. All others are made of their settings alone."""


async def verifier_of(name: str, options: JsonValue, given: Given, running: StepContext) -> Verifier:
    """The verifier that a check becomes, its expressions filled in.

    Raises `ConfigError` on one that cannot be made here.
    """
    if name in MAKERS:
        return await MAKERS[name](options, given, running)
    return make_check(
        name, {**options.settings(), **given}, (await running.engine()).backends if name in NEED_MODELS else {}
    )


async def verdict_of(verifier: Verifier, question: str, text: str, running: StepContext) -> Verdict:
    """One verdict, paid from the step's account where it costs something."""
    worst_usd = price_of(verifier, question, text)
    if worst_usd == 0:
        return await verifier.verify(question, text)
    try:
        held = running.purse.reserve(usd=worst_usd)
    except BudgetExceeded as error:
        return Verdict.abstain(verifier.name, error.message)
    found, _ = await metered(
        running.purse, held, lambda: verifier.verify(question, text), lambda verdict: Bill(verdict.cost_usd)
    )
    return found
