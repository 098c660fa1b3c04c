"""Asks every configuration the same examples, side by side, until what is expected of them is decided."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from orchestrator.backends.metering import worst_case
from orchestrator.budget import Budget, Ledger
from orchestrator.config.models import Config, load_config
from orchestrator.engine.orchestrator import Orchestrator
from orchestrator.engine.plan import Plan
from orchestrator.engine.settings import QuerySettings, read_settings
from orchestrator.errors import BackendError, ConfigError, OrchestratorError
from orchestrator.evaluation.assertions import RUBRIC, AnswerGrade, Judge, grade
from orchestrator.evaluation.case import Case
from orchestrator.evaluation.dataset import read_cases
from orchestrator.evaluation.money import SuiteMoney, SuiteMoneySpent
from orchestrator.evaluation.result import (
    ExpectationResult,
    PairedComparison,
    ScoredAnswer,
    VariantResult,
    compare,
    judge_expectations,
)
from orchestrator.evaluation.suite import Suite, VariantConfig
from orchestrator.trace import Trace
from orchestrator.verification.judging import asking
from orchestrator.verifiers import Criterion, JudgeVerifier

Ask = Callable[[Orchestrator, VariantConfig, Case], Awaitable[ScoredAnswer]]
FIRST_LOOK, LOOK_EVERY = 30, 10  # examples
SHARE_OF_ALL = 0.02  # of a suite's money, for a question of a configuration without a budget
DRAFTS_OF_ONE, DRAFTS_OF_SEARCH = 2, 12  # of the dearest model, for such a question: one draft may be asked for twice


@dataclass(frozen=True)
class SuiteResult:
    """What came of a suite: `of` examples there were, and why no more were asked."""

    suite: Suite
    of: int
    results: tuple[VariantResult, ...]
    comparisons: tuple[PairedComparison, ...]
    judged: tuple[ExpectationResult, ...]
    usd: float
    stopped: str

    @property
    def passed(self) -> bool:
        """Whether every expectation is met."""
        return all(each.standing == "met" for each in self.judged)


def suite_cases(suite: Suite) -> list[Case]:
    """The examples of a suite, in an order drawn by its seed: a run that ends early has then seen a fair sample.

    Raises `ConfigError`.
    """
    rng = np.random.default_rng(suite.seed)
    found: list[Case] = []
    for number, data in enumerate(suite.data):
        cases = read_cases(suite.folder / data.file, prompt=data.prompt)
        drawn = rng.permutation(len(cases))[: data.sample]
        prefix = f"{number + 1}:" if len(suite.data) > 1 else ""
        found += [replace(cases[index], id=f"{prefix}{cases[index].id}") for index in drawn.tolist()]
    return [found[index] for index in rng.permutation(len(found)).tolist()]


async def evaluate(suite: Suite, *, on_asked: Callable[[int, int], None] = lambda done, of: None) -> SuiteResult:
    """Runs a suite. `on_asked` is told how many examples were asked, and of how many.

    Raises `ConfigError` on files that cannot be used. An answer that fails counts as wrong, with its error.
    """
    cases = suite_cases(suite)
    needs_judge = any(each.kind == RUBRIC for case in cases for each in case.assertions)
    async with AsyncExitStack() as stack:
        engines: dict[str, Orchestrator] = {}
        for name, variant in suite.variants.items():
            engines[name] = await stack.enter_async_context(_engine(suite, variant))
        money = SuiteMoney(suite.usd)
        judge = _judge_of(suite, engines, money) if needs_judge else None
        ask = partial(_ask, judge=judge, money=money, at_once=asyncio.Semaphore(suite.at_once))
        return await _rounds(suite, cases, engines, ask, money, on_asked)


async def _rounds(
    suite: Suite,
    cases: Sequence[Case],
    engines: dict[str, Orchestrator],
    ask: Ask,
    money: SuiteMoney,
    on_asked: Callable[[int, int], None],
) -> SuiteResult:
    rows: dict[str, list[ScoredAnswer]] = {name: [] for name in engines}
    asked, stopped = 0, "all examples were asked"
    variants = suite.variants
    while asked < len(cases):
        some = cases[asked : asked + (LOOK_EVERY if asked else FIRST_LOOK)]
        found, short = await _answers([[ask(engines[name], variants[name], case) for name in engines] for case in some])
        for of_case in found:
            for name, row in zip(engines, of_case, strict=True):
                rows[name].append(row)
        asked += len(found)
        on_asked(asked, len(cases))
        if short is not None:
            if not asked:
                told = "no example can be answered by all configurations"
                raise ConfigError(f"{told}: {short.message}", remedy=short.remedy)
            stopped = f"the budget is spent: {short.message}"
            break
        if suite.stop_early and asked < len(cases) and _is_decided(suite, rows):
            stopped = f"every expectation was decided after {asked} of {len(cases)} examples"
            break
    results = [VariantResult(name, tuple(found)) for name, found in rows.items()]
    return SuiteResult(
        suite,
        len(cases),
        tuple(results),
        tuple(compare(results[0], results[1:])),
        tuple(judge_expectations(results[0], results, suite.expect, suite.confidence)),
        money.ledger.spent_usd,
        stopped,
    )


async def _answers(
    asking: Sequence[Sequence[Awaitable[ScoredAnswer]]],
) -> tuple[list[list[ScoredAnswer]], SuiteMoneySpent | None]:
    """What every configuration said to the first examples, all that come before one that there was no money for."""
    each = len(asking[0])
    done = await asyncio.gather(*(one for of_case in asking for one in of_case), return_exceptions=True)
    rows: list[list[ScoredAnswer]] = []
    for place in range(0, len(done), each):
        row: list[ScoredAnswer] = []
        for answer in done[place : place + each]:
            if isinstance(answer, SuiteMoneySpent):
                return rows, answer
            if isinstance(answer, BaseException):
                raise answer
            row.append(answer)
        rows.append(row)
    return rows, None


def _is_decided(suite: Suite, rows: dict[str, list[ScoredAnswer]]) -> bool:
    """Whether more examples could change nothing: only what is shown with confidence may end a run."""
    if not suite.expect or not all(each.is_of_quality and each.certain for each in suite.expect):
        return False
    results = [VariantResult(name, tuple(found)) for name, found in rows.items()]
    judged = judge_expectations(results[0], results, suite.expect, suite.confidence)
    return all(each.standing != "not shown" for each in judged)


async def _ask(
    engine: Orchestrator,
    variant: VariantConfig,
    case: Case,
    *,
    judge: Judge | None,
    money: SuiteMoney,
    at_once: asyncio.Semaphore,
) -> ScoredAnswer:
    """One answer, graded. Raises `SuiteMoneySpent` where the suite's money is short; errors are in the answer."""
    settings: QuerySettings = {"messages": list(case.messages)}
    if case.scope is not None:
        settings["scope"] = case.scope
    if variant.system is not None:
        settings["system"] = variant.system
    if variant.models is not None:
        settings["models"] = variant.models
    async with at_once:
        own: Ledger | None = None
        trace, began = Trace(), time.perf_counter()
        try:
            asked = read_settings(None, settings, engine.backends, engine.tools, engine.catalog)
            plan = await engine.plan(asked.query, trace, budget=asked.budget)
            async with money.room(_may_cost(engine, plan, money.limit), plan.budget) as own:
                began = time.perf_counter()
                answer = await engine.execute(plan, trace, own)
        except OrchestratorError as error:
            usd = own.spent_usd if own is not None else 0.0
            seconds = time.perf_counter() - began
            return ScoredAnswer(case, "", False, error.message, usd, seconds, 0.0, "", error.code)
        try:
            found = await grade(case, answer, judge)
        except BackendError as error:
            found = AnswerGrade(False, f"the judge gave no grade: {error.message}", undecided=True)
    return ScoredAnswer(
        case,
        answer.text,
        found.passed,
        found.why,
        answer.cost_usd,
        answer.latency_s,
        answer.confidence,
        answer.model,
        undecided=found.undecided,
    )


def _may_cost(engine: Orchestrator, plan: Plan, limit: float | None) -> float:
    """What one question may use of the suite's money, in USD: as much as its configuration allows it.

    Where that allows any sum, or nearly all of the suite's: a fiftieth of it, and as many drafts of the dearest model
    as a search may want.
    """
    names = plan.query.models or engine.backends
    prices = (worst_case(engine.backends[name], plan.request).usd for name in names)
    dearest = max((usd for usd in prices if usd is not None), default=0.0)
    drafts = DRAFTS_OF_ONE if plan.single_draft_model() is not None else DRAFTS_OF_SEARCH
    ample = max((limit or 0.0) * SHARE_OF_ALL, drafts * dearest)
    return ample if plan.budget.usd is None else min(plan.budget.usd, ample)


def _engine(suite: Suite, variant: VariantConfig) -> Orchestrator:
    config = load_config(suite.folder / variant.config)
    changed: dict[str, Any] = {
        name: value
        for name in ("quality", "strategy", "value_usd", "max_tokens")
        if (value := getattr(variant, name)) is not None
    }
    if variant.memory_tokens is not None and config.memory is not None:
        changed["memory"] = config.memory.model_copy(update={"token_budget": variant.memory_tokens})
    if "strategy" in changed or "quality" in changed:
        changed["search"] = None  # a calibrated policy would decide instead
    unknown = sorted(set(variant.models or ()) - set(config.models))
    if unknown:
        raise ConfigError(f"{variant.config} has no model {unknown[0]!r}", remedy=f"It has: {', '.join(config.models)}")
    updated: Config = config.model_copy(update=changed)
    return Orchestrator.from_config(updated, online=None, traces=None)


def _judge_of(suite: Suite, engines: dict[str, Orchestrator], money: SuiteMoney) -> Judge:
    backends = next(iter(engines.values())).backends
    if suite.judge is None or suite.judge not in backends:
        wrong = "names no judge" if suite.judge is None else f"has no model {suite.judge!r}"
        raise ConfigError(
            f"some examples are held to a rubric, and the suite {wrong}", remedy=f"judge: {next(iter(backends))}"
        )
    ask, price_usd = asking(backends[suite.judge])

    async def judge(question: str, answer: str, rubric: str, least: float) -> bool | None:
        verifier = JudgeVerifier(ask, [Criterion("rubric", rubric)], at_least=least, price_usd=price_usd)
        usd = verifier.price_usd(question, answer)
        async with money.room(usd or 0.0, Budget(), is_paid_for=True) as own:
            held = own.reserve(usd=usd)
            try:
                verdict = await verifier.verify(question, answer)
            except BaseException:
                own.settle_worst_case(held)
                raise
            own.settle(held, usd=verdict.cost_usd)
        return verdict.passed

    return judge
