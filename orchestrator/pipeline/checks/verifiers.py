"""Checks at work: the verifiers that the settings of `checks.py` become when a step runs."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from orchestrator.backends.metering import Bill, metered
from orchestrator.errors import BudgetExceeded, ConfigError
from orchestrator.pipeline.expressions.evaluation import Compute, ExpressionFailed
from orchestrator.pipeline.language.contracts import StepContext
from orchestrator.verification.from_config import asking, criteria_of
from orchestrator.verifiers import (
    GroundingVerifier,
    JsonSchemaVerifier,
    JudgeVerifier,
    LanguageVerifier,
    LengthVerifier,
    PersonalDataVerifier,
    RegexVerifier,
    SafetyVerifier,
    Source,
    UnitTestVerifier,
    Verdict,
    Verifier,
    find_json,
    find_number,
    price_of,
)
from orchestrator.verifiers.answers.arithmetic import NotArithmetic, evaluate

Given = Mapping[str, Any]
_EQUATION = re.compile(r"(?<![\w.,])([-−(]*\d[-−+*/×÷()\s^.,\d]*?)\s*=\s*([-−]?\s*\d[\d,]*(?:\.\d+)?)")
MOST_EQUATIONS = 200


class Arithmetic:
    """Passes answers whose equations (`17 * 23 = 391`) are right; where the question is a sum as a whole, also its result must be."""

    name = "arithmetic"

    async def verify(self, query: str, candidate: str) -> Verdict:
        wrong, right = [], 0
        for told, result in list(_EQUATION.findall(candidate))[:MOST_EQUATIONS]:
            try:
                expected = evaluate(told)
                stated = float(result.replace(",", "").replace("−", "-").replace(" ", ""))
            except (NotArithmetic, ValueError):
                continue
            if not any(sign in told for sign in "+-*/×÷^"):
                continue
            if abs(float(expected) - stated) > 0.5 * 10 ** -_decimals(result):
                wrong.append(f"{told.strip()} is {float(expected):g}, not {result}")
            else:
                right += 1
        try:
            asked = evaluate(query)
        except NotArithmetic:
            asked = None
        if asked is not None:
            found = find_number(candidate)
            if found != asked:
                wrong.append(f"the result is {float(asked):g}")
            else:
                right += 1
        if not wrong and not right:
            return Verdict.abstain(self.name, "there is no arithmetic in it")
        return Verdict(self.name, 0.0 if wrong else 1.0, not wrong, "; ".join(wrong)[:500], decisive=True)


def _decimals(number: str) -> int:
    return len(number.partition(".")[2])


class Holds:
    """Passes answers for which a condition of the file holds. `value` is the answer's JSON in it, `text` the answer itself."""

    name = "holds"

    def __init__(self, holds: Compute, values: Mapping[str, Any], says: str) -> None:
        self._holds, self._values, self._says = holds, values, says

    async def verify(self, query: str, candidate: str) -> Verdict:
        try:
            value = find_json(candidate)
        except ValueError:
            value = None
        try:
            holds = self._holds({**self._values, "text": candidate, "value": value})
        except ExpressionFailed as error:
            return Verdict(self.name, 0.0, False, f"{self._says}: {error.message}"[:500], decisive=True)
        return Verdict(self.name, 1.0 if holds is True else 0.0, holds is True, "" if holds is True else self._says, decisive=True)


class NumberIs:
    name = "number"

    def __init__(self, wanted: Mapping[str, Any]) -> None:
        self._wanted = {name: value for name, value in wanted.items() if value is not None}

    async def verify(self, query: str, candidate: str) -> Verdict:
        found = find_number(candidate)
        if found is None:
            return Verdict(self.name, 0.0, False, "there is no number in it", decisive=True)
        value = float(found)
        holds = {
            "equals": lambda wanted: abs(value - wanted) <= 1e-9 * max(abs(value), abs(wanted), 1.0),
            "at_least": lambda wanted: value >= wanted,
            "at_most": lambda wanted: value <= wanted,
        }
        wrong = [
            f"{value:g}, and {name.replace('_', ' ')} {wanted:g} is asked for"
            for name, wanted in self._wanted.items()
            if not holds[name](wanted)
        ]
        return Verdict(self.name, 0.0 if wrong else 1.0, not wrong, "; ".join(wrong), decisive=True)


class Abstaining:
    """A check that cannot be made here, and says why."""

    def __init__(self, name: str, why: str) -> None:
        self.name, self._why = name, why

    async def verify(self, query: str, candidate: str) -> Verdict:
        return Verdict.abstain(self.name, self._why)


def _source(numbered: tuple[int, Any]) -> Source:
    index, item = numbered
    if isinstance(item, Mapping):
        told = ", ".join(str(item[name]) for name in ("time", "speaker", "source") if item.get(name))
        return Source(str(item.get("id", index)), f"{told}: {item.get('text', '')}" if told else str(item.get("text", "")))
    return Source(str(index), str(item))


async def _arithmetic(options: Any, given: Given, running: StepContext) -> Verifier:
    return Arithmetic()


async def _cites(options: Any, given: Given, running: StepContext) -> Verifier:
    return GroundingVerifier(list(map(_source, enumerate(given["sources"]))), cite_all=options.every)


async def _judge(options: Any, given: Given, running: StepContext) -> Verifier:
    engine = await running.engine()
    name = given.get("model")
    if name is not None and name not in engine.backends:
        raise ConfigError(f"the judge {name!r} is not in this fleet", remedy=f"It has: {', '.join(engine.backends)}")
    if name is None:
        able = [b.profile for b in engine.backends.values() if b.profile.name not in ("calculator", "extractive")]
        if not able:
            return Abstaining("judge", "there is no model that could judge")
        name = max(able, key=lambda profile: profile.skill or 0.0).name
    ask, price_usd = asking(engine.backends[name])
    criteria = criteria_of(options.text or given.get("rubric"), options.criteria)
    return JudgeVerifier(ask, criteria, at_least=options.at_least, price_usd=price_usd)


async def _json(options: Any, given: Given, running: StepContext) -> Verifier:
    return JsonSchemaVerifier(options.read)


async def _holds(options: Any, given: Given, running: StepContext) -> Verifier:
    return Holds(options.compute, running.values, options.says)


async def _regex(options: Any, given: Given, running: StepContext) -> Verifier:
    return RegexVerifier(options.pattern, whole=options.whole)


async def _length(options: Any, given: Given, running: StepContext) -> Verifier:
    return LengthVerifier(min_words=options.min_words, max_words=options.max_words, max_chars=options.max_chars)


async def _language(options: Any, given: Given, running: StepContext) -> Verifier:
    try:
        return LanguageVerifier(None if options.of == "query" else options.of)
    except (ImportError, ValueError) as error:
        raise ConfigError(f"the check of the language cannot be made: {error}", remedy="Install the extra `language`") from None


async def _personal_data(options: Any, given: Given, running: StepContext) -> Verifier:
    return PersonalDataVerifier()


async def _safety(options: Any, given: Given, running: StepContext) -> Verifier:
    return SafetyVerifier(forbidden=options.forbidden, decisive=options.decisive)


async def _number(options: Any, given: Given, running: StepContext) -> Verifier:
    return NumberIs(given)


async def _tests(options: Any, given: Given, running: StepContext) -> Verifier:
    try:
        return UnitTestVerifier([str(test) for test in given["pass"]])
    except ValueError as error:
        raise ConfigError(f"tests: {error}", remedy="Each test is an expression that is true, or an assert") from None


MAKERS: dict[str, Callable[[Any, Given, StepContext], Awaitable[Verifier]]] = {
    "arithmetic": _arithmetic,
    "json": _json,
    "holds": _holds,
    "regex": _regex,
    "length": _length,
    "number": _number,
    "language": _language,
    "personal_data": _personal_data,
    "safety": _safety,
    "cites": _cites,
    "tests": _tests,
    "judge": _judge,
}
"""What becomes of the settings of a check, with their expressions filled in. Raise `ConfigError` on a check that cannot be made here."""


async def verdict_of(verifier: Verifier, question: str, text: str, running: StepContext) -> Verdict:
    """One verdict, paid from the step's account where it costs something."""
    worst_usd = price_of(verifier, question, text)
    if worst_usd == 0:
        return await verifier.verify(question, text)
    try:
        held = running.purse.reserve(usd=worst_usd)
    except BudgetExceeded as error:
        return Verdict.abstain(verifier.name, error.message)
    found, _ = await metered(running.purse, held, lambda: verifier.verify(question, text), lambda verdict: Bill(verdict.cost_usd))
    return found
