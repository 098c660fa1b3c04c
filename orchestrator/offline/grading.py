"""Grades every model of a fleet on questions whose answers are known: what calibrating the search needs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from orchestrator.backends.local.calculator import CalculatorBackend
from orchestrator.backends.local.extractive import ExtractiveBackend
from orchestrator.budget import Budget, Ledger
from orchestrator.engine.orchestrator import Orchestrator
from orchestrator.errors import BudgetExceeded, ConfigError, InvalidQuery, OrchestratorError
from orchestrator.search.vote_table import GradedQuestion
from orchestrator.trace import Trace
from orchestrator.types import Query
from orchestrator.verifiers import equivalent

AT_ONCE = 8
FORM = 'Write lines like {"question": "What is 6 * 7?", "answer": "42"}'


@dataclass(frozen=True, slots=True)
class GradingExample:
    """A question and its right answer."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class GradedReplies:
    """A question, and for each model what it said, whether that was right, and its tokens (prompt, answer)."""

    question: str
    texts: Mapping[str, str]
    right: Mapping[str, bool]
    tokens: Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Graded:
    """What the fleet did: the questions that every model was asked, what that cost, and how many questions were left
    when the money ran out.

    `failures` are the calls of each model that brought no answer, `why` the reason of the last one, or why it was not
    affordable.
    """

    questions: tuple[GradedQuestion, ...]
    usd: float
    left: int
    failures: dict[str, int]
    why: dict[str, str]
    replies: tuple[GradedReplies, ...] = ()
    """What every model said, in the order of `questions`."""


def read_examples(path: Path) -> list[GradingExample]:
    """A file of JSON lines; of a question that comes again, the first counts.

    Raises `ConfigError` with the line of the first mistake.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}", remedy="Name a file of JSON lines in UTF-8") from None
    found: dict[str, GradingExample] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{path}:{number}: not JSON: {error}", remedy=FORM) from None
        example = _example(row, f"{path}:{number}")
        found.setdefault(example.question, example)
    if not found:
        raise ConfigError(f"{path}: no examples", remedy=FORM)
    return list(found.values())


def _example(row: object, where: str) -> GradingExample:
    if not isinstance(row, dict):
        raise ConfigError(f"{where}: not an object with a question and an answer", remedy=FORM)
    said = []
    for name in ("question", "answer"):
        if name not in row:
            raise ConfigError(f"{where}: the field {name!r} is missing", remedy=FORM)
        value = row[name]
        if not isinstance(value, str | int | float) or value != value or not str(value).strip():
            raise ConfigError(
                f"{where}: the {name} must be text or a number, and cannot be empty: {value!r}"[:300], remedy=FORM
            )
        said.append(str(value).strip())
    try:
        Query.parse(said[0])
    except InvalidQuery as error:
        raise ConfigError(f"{where}: {error.message}", remedy=error.remedy) from None
    return GradingExample(*said)


def models_to_grade(orchestrator: Orchestrator) -> list[str]:
    """The models of a fleet but calculator and extractive, which tell by themselves what they cannot answer.

    Raises `ConfigError` where there is none.
    """
    left_out = CalculatorBackend, ExtractiveBackend
    found = [name for name, backend in orchestrator.backends.items() if not isinstance(backend, left_out)]
    if not found:
        raise ConfigError("this fleet has no model whose answers could be graded", remedy="Add one to `models:`")
    return found


async def grade_fleet(
    orchestrator: Orchestrator,
    examples: Sequence[GradingExample],
    *,
    usd: float,
    on_graded: Callable[[int], None] = lambda _: None,
) -> Graded:
    """Asks every model of `models_to_grade` every question, once and without memory, until `usd` is spent.

    What was graded by then counts.
    An answer is right where `equivalent` is sure that it is the same as the known one: numbers, choices, dates, names
    and other short answers, no essays. A call that fails counts as no answer.
    """
    models = models_to_grade(orchestrator)
    account, gate = Ledger(Budget(usd=usd)), asyncio.Semaphore(AT_ONCE)
    graded: list[GradedQuestion] = []
    replies: list[GradedReplies] = []
    failures = dict.fromkeys(models, 0)
    why: dict[str, str] = {}
    postponed: list[GradingExample] = []

    async def one(example: GradingExample) -> None:
        async with gate:
            if postponed:  # money is short: what calls in flight hold may suffice for this one later
                postponed.append(example)
                return
            if not await grade(example):
                postponed.append(example)

    async def grade(example: GradingExample) -> bool:
        said = await asyncio.gather(*(_ask(orchestrator, model, example.question, account) for model in models))
        why.update({model: reply.why for model, reply in zip(models, said, strict=True) if reply.why})
        if any(reply.text is None for reply in said):
            return False
        texts = {model: reply.text or "" for model, reply in zip(models, said, strict=True)}
        for model, text in texts.items():
            failures[model] += not text
        right = {model: bool(equivalent(text, example.answer, example.question)) for model, text in texts.items()}
        costs = {model: reply.usd for model, reply in zip(models, said, strict=True)}
        expected = {model: reply.expected_usd for model, reply in zip(models, said, strict=True)}
        graded.append(GradedQuestion.of_texts(example.question, texts, right, costs, expected))
        tokens = {model: reply.tokens for model, reply in zip(models, said, strict=True)}
        replies.append(GradedReplies(example.question, texts, right, tokens))
        on_graded(len(graded))
        return True

    await asyncio.gather(*map(one, examples))
    for example in postponed:
        if not await grade(example):
            break
    return Graded(tuple(graded), account.spent_usd, len(examples) - len(graded), failures, why, tuple(replies))


class _Reply(NamedTuple):
    """What a model says, "" where it fails, `None` where it is not affordable.

    What that cost, and was expected to cost.
    """

    text: str | None
    usd: float
    expected_usd: float
    why: str = ""
    tokens: tuple[int, int] = (0, 0)


async def _ask(orchestrator: Orchestrator, model: str, question: str, account: Ledger) -> _Reply:
    trace, ledger = Trace(), Ledger(within=account)
    query = Query.parse(question, models=frozenset((model,)), quality=0.0, uses_memory=False)
    expected_usd: float | None = None
    why, tokens = "", (0, 0)
    try:
        plan = await orchestrator.plan(query, trace, strategy="single")
        expected_usd = next((option.cost_usd for option in plan.route.options if option.model == model), None)
        answer = await orchestrator.execute(plan, trace, ledger)
        text: str | None = answer.text
        tokens = answer.usage.prefill_tokens, answer.usage.output_tokens
    except BudgetExceeded as error:
        text, why = None, error.message
    except OrchestratorError as error:
        text, why = "", error.message
    return _Reply(text, ledger.spent_usd, ledger.spent_usd if expected_usd is None else expected_usd, why, tokens)
