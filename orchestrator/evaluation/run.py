"""Asks every configuration the same examples, side by side, until what is expected of them is decided."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from orchestrator.budget import Budget, Ledger
from orchestrator.config.models import Config, load_config
from orchestrator.engine.orchestrator import Orchestrator
from orchestrator.engine.settings import QuerySettings, read_settings
from orchestrator.errors import BudgetExceeded, ConfigError, OrchestratorError
from orchestrator.evaluation.assertions import RUBRIC, Judge, grade
from orchestrator.evaluation.case import Case
from orchestrator.evaluation.dataset import read_cases
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
        ledger = Ledger(Budget(usd=suite.usd))
        judge = _judge_of(suite, engines, ledger) if needs_judge else None
        ask = partial(_ask, judge=judge, ledger=ledger, gate=asyncio.Semaphore(suite.at_once))
        return await _rounds(suite, cases, engines, ask, ledger, on_asked)


async def _rounds(
    suite: Suite,
    cases: Sequence[Case],
    engines: dict[str, Orchestrator],
    ask: Ask,
    ledger: Ledger,
    on_asked: Callable[[int, int], None],
) -> SuiteResult:
    rows: dict[str, list[ScoredAnswer]] = {name: [] for name in engines}
    asked, stopped = 0, "all examples were asked"
    variants = suite.variants
    while asked < len(cases):
        some = cases[asked : asked + (LOOK_EVERY if asked else FIRST_LOOK)]
        try:
            found = await asyncio.gather(
                *(ask(engines[name], variants[name], case) for case in some for name in engines)
            )
        except BudgetExceeded as error:
            stopped = f"the budget is spent: {error.message}"
            break
        for place, row in enumerate(found):
            rows[list(engines)[place % len(engines)]].append(row)
        asked += len(some)
        on_asked(asked, len(cases))
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
        ledger.spent_usd,
        stopped,
    )


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
    ledger: Ledger,
    gate: asyncio.Semaphore,
) -> ScoredAnswer:
    settings: QuerySettings = {"messages": list(case.messages)}
    if case.scope is not None:
        settings["scope"] = case.scope
    if variant.system is not None:
        settings["system"] = variant.system
    if variant.models is not None:
        settings["models"] = variant.models
    async with gate:
        own: Ledger | None = None
        trace = Trace()
        try:
            asked = read_settings(None, settings, engine.backends, engine.tools, engine.catalog)
            plan = await engine.plan(asked.query, trace, budget=asked.budget)
            own = Ledger(plan.budget, within=ledger)
            answer = await engine.execute(plan, trace, own)
        except OrchestratorError as error:
            if isinstance(error, BudgetExceeded) and _is_the_suites(ledger, engine.budget):
                raise
            usd = own.spent_usd if own is not None else 0.0
            return ScoredAnswer(case, "", False, error.message, usd, 0.0, 0.0, "", error.code)
        found = await grade(case, answer, judge)
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


def _is_the_suites(ledger: Ledger, of_query: Budget) -> bool:
    """Whether the suite's money is short, and not that of one query."""
    left = ledger.remaining_usd()
    return left is not None and (of_query.usd is None or left < of_query.usd)


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


def _judge_of(suite: Suite, engines: dict[str, Orchestrator], ledger: Ledger) -> Judge:
    backends = next(iter(engines.values())).backends
    if suite.judge is None or suite.judge not in backends:
        wrong = "names no judge" if suite.judge is None else f"has no model {suite.judge!r}"
        raise ConfigError(
            f"some examples are held to a rubric, and the suite {wrong}", remedy=f"judge: {next(iter(backends))}"
        )
    ask, price_usd = asking(backends[suite.judge])

    async def judge(question: str, answer: str, rubric: str, least: float) -> bool:
        verifier = JudgeVerifier(ask, [Criterion("rubric", rubric)], at_least=least, price_usd=price_usd)
        held = ledger.reserve(usd=verifier.price_usd(question, answer))
        try:
            verdict = await verifier.verify(question, answer)
        except BaseException:
            ledger.settle_worst_case(held)
            raise
        ledger.settle(held, usd=verdict.cost_usd)
        return verdict.passed is True

    return judge
