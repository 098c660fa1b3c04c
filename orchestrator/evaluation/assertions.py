"""What an answer can be held to, under the names that promptfoo gives; those that run foreign code are left out."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from orchestrator.errors import ConfigError
from orchestrator.evaluation.case import Assertion, Case
from orchestrator.jsontypes import JsonValue
from orchestrator.types import Answer
from orchestrator.verifiers import JsonSchemaVerifier, equivalent

LEAST_SIMILAR = 0.75
RUBRIC, LEAST_JUDGED = "llm-rubric", 0.7


@dataclass(frozen=True, slots=True)
class AnswerGrade:
    """Whether an answer is right, and what it failed."""

    passed: bool
    why: str = ""
    undecided: bool = False
    """It may be right: nobody can tell whether it says the same as what is known."""


Holds = Callable[[Answer, Assertion], bool | Awaitable[bool]]
Judge = Callable[[str, str, str, float], Awaitable[bool | None]]
"""Whether a model finds that an answer satisfies a rubric: (question, answer, rubric, least score in [0, 1]).

`None` where nothing can be read out of what it says.
"""


async def grade(case: Case, answer: Answer, judge: Judge | None = None) -> AnswerGrade:
    """Right where it says the same as one of the targets, if there are any, and every assertion holds.

    Whether two answers say the same is decided by `verifiers.equivalent`: numbers, choices, dates, names and formulas
    in any of their forms; what it cannot decide counts as different, and is marked.
    """
    if answer.abstained:
        return AnswerGrade(False, "no answer")
    failed, undecided = [], False
    found_same = [equivalent(answer.text, target, case.question) for target in case.targets]
    if case.targets and not any(found_same):
        holds = any(target.casefold() in answer.text.casefold() for target in case.targets)
        undecided = holds or any(same.verdict == "unknown" for same in found_same)
        told = "cannot tell whether it says" if undecided else "not"
        failed.append(f"{told} {' or '.join(case.targets)}"[:120])
    counted = [each for each in case.assertions if each.weight > 0]
    found = [await _holds(case, answer, each, judge) for each in counted]
    missed = [each for each, holds in zip(counted, found, strict=True) if holds is None or holds == each.negated]
    if case.threshold is None or _share(counted, missed) < case.threshold:
        failed += map(str, missed)
        undecided |= None in found
    return AnswerGrade(not failed, "; ".join(failed), undecided)


async def _holds(case: Case, answer: Answer, asked: Assertion, judge: Judge | None) -> bool | None:
    if asked.kind == RUBRIC:
        assert judge is not None, "a suite with rubrics names its judge"
        least = LEAST_JUDGED if asked.threshold is None else asked.threshold
        return await judge(case.question, answer.text, str(asked.value), least)
    found = KINDS[asked.kind](answer, asked)
    return found if isinstance(found, bool) else await found


def _share(counted: Sequence[Assertion], missed: Sequence[Assertion]) -> float:
    """What of the weight of all assertions those have that hold, in [0, 1]."""
    weight = sum(each.weight for each in counted)
    return 1.0 - sum(each.weight for each in missed) / weight if weight else 1.0


def _texts(value: JsonValue) -> list[str]:
    """The texts of a list, or of one that is separated by commas."""
    if isinstance(value, list):
        return [str(each) for each in value]
    return [part.strip() for part in str(value).split(",")]


def _equals(answer: Answer, asked: Assertion) -> bool:
    if isinstance(asked.value, dict | list):
        return bool(_json(answer) == asked.value)
    return answer.text.strip() == str(asked.value).strip()


def _pattern(asked: Assertion) -> re.Pattern[str]:
    try:
        return re.compile(str(asked.value))
    except re.error as error:
        raise ConfigError(f"{asked}: no regular expression: {error}", remedy="Mend the pattern") from None


def _json(answer: Answer) -> JsonValue:
    try:
        return json.loads(answer.text)
    except (ValueError, RecursionError):
        return None


async def _is_json(answer: Answer, asked: Assertion) -> bool:
    try:
        json.loads(answer.text)
    except (ValueError, RecursionError):
        return False
    return await _contains_json(answer, asked)


async def _contains_json(answer: Answer, asked: Assertion) -> bool:
    return (await _schema(asked).verify("", answer.text)).passed is True


def _schema(asked: Assertion) -> JsonSchemaVerifier:
    try:
        schema = json.loads(asked.value) if isinstance(asked.value, str) else asked.value
        return JsonSchemaVerifier({} if schema is None else schema)
    except ValueError as error:
        raise ConfigError(f"{asked}: no JSON Schema: {error}", remedy="Write an object, or leave it out") from None


def _limit(asked: Assertion) -> float:
    stated = asked.threshold if asked.threshold is not None else asked.value
    try:
        return float(stated)
    except (TypeError, ValueError):
        raise ConfigError(f"{asked}: the limit is {stated!r}", remedy="Write `threshold: NUMBER`") from None


def _alike(answer: Answer, asked: Assertion) -> bool:
    least = LEAST_SIMILAR if asked.threshold is None else asked.threshold
    return SequenceMatcher(None, answer.text.strip(), str(asked.value).strip()).ratio() >= least


# `cost` is in USD, `latency` in milliseconds, as promptfoo has them; `answer` is what `grade` does with a target.
KINDS: Mapping[str, Holds] = {
    "equals": _equals,
    "contains": lambda answer, asked: str(asked.value) in answer.text,
    "icontains": lambda answer, asked: str(asked.value).casefold() in answer.text.casefold(),
    "contains-all": lambda answer, asked: all(text in answer.text for text in _texts(asked.value)),
    "contains-any": lambda answer, asked: any(text in answer.text for text in _texts(asked.value)),
    "icontains-all": lambda answer, asked: all(t.casefold() in answer.text.casefold() for t in _texts(asked.value)),
    "icontains-any": lambda answer, asked: any(t.casefold() in answer.text.casefold() for t in _texts(asked.value)),
    "starts-with": lambda answer, asked: answer.text.lstrip().startswith(str(asked.value)),
    "regex": lambda answer, asked: _pattern(asked).search(answer.text) is not None,
    "is-json": _is_json,
    "contains-json": _contains_json,
    "levenshtein-ratio": _alike,
    "answer": lambda answer, asked: bool(equivalent(answer.text, str(asked.value))),
    "cost": lambda answer, asked: answer.cost_usd is not None and answer.cost_usd <= _limit(asked),
    "latency": lambda answer, asked: 1_000 * answer.latency_s <= _limit(asked),
    "confidence": lambda answer, asked: answer.confidence >= _limit(asked),
}
NAMES = (*KINDS, RUBRIC)
"""Every kind of assertion."""
_PREPARED: Mapping[str, Callable[[Assertion], object]] = {
    "regex": _pattern,
    **dict.fromkeys(("is-json", "contains-json"), _schema),
    **dict.fromkeys(("cost", "latency", "confidence"), _limit),
}


def check_assertion(asked: Assertion) -> None:
    """Raises `ConfigError` on an assertion that no answer can be held to: that is found out before any is paid for."""
    if asked.kind in _PREPARED:
        _PREPARED[asked.kind](asked)
    elif asked.value in (None, "", []):
        raise ConfigError(f"{asked} says nothing of the answer", remedy="Add `value:`")
