"""How steps ask the engine: a search on the run's account, with the step's own checks.

And what of an answer later steps can use.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.backends.base import Backend, Request
from orchestrator.backends.metering import complete_metered, worst_case
from orchestrator.budget import Budget, Ledger
from orchestrator.errors import NoAdequateModel, OrchestratorError, UnknownModel
from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.memory.ingest.documents import read_time
from orchestrator.pipeline.language.contracts import StepContext
from orchestrator.types import Answer, Completion, Query
from orchestrator.verifiers import Verifier, find_json

if TYPE_CHECKING:
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.memory import RecalledRecord
    from orchestrator.search.state import Strategy
    from orchestrator.trace import Trace

UNLIMITED = Budget()
_NAME = re.compile(r"\b[A-Z][A-Z0-9]*-\d+\b|#\d+\b|\b[A-Z][\w'’]+(?:\s+(?:of\s+|de\s+|van\s+)?[A-Z][\w'’]+)*")
_NO_NAMES = frozenset(
    "The A An It He She They We You I This That These Those There Here If When What Where Who Why How And But Or So As "
    "At By For From In Of On To "
    "With No Not Yes My Your His Her Our Their Its Please Thanks Thank Answer Monday Tuesday Wednesday Thursday Friday "
    "Saturday Sunday".split()
)


class NoForm(OrchestratorError):
    """No model gave an answer of the form that was asked for; `last` is the best that there was."""

    code = "no_form"

    def __init__(self, message: str, *, last: str, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.last = last


async def answered(
    running: StepContext,
    query: Query,
    *,
    strategy: str | Strategy | None,
    checks: Sequence[Verifier] = (),
    budget: Budget | None = None,
) -> Answer:
    """The engine's answer, paid from the step's account."""
    engine = await running.engine()
    for name in query.models or ():
        _known(engine, name)
    trace = running.trace()
    plan = await engine.plan(query, trace, budget=running.budget & (budget or Budget()), strategy=strategy)
    if checks:
        plan = replace(plan, checks=[*plan.checks, *checks])
    ledger = Ledger(plan.budget, within=running.purse)
    model = None if plan.fallbacks else plan.single_draft_model()
    if model is None:
        answer = await engine.execute(plan, trace, ledger)
    else:  # nothing is to be searched, and nothing to be believed but the router's estimate
        done, cost = await _drafted(engine.backends[model], plan.request, plan.budget, trace, ledger)
        answer = _answer(done, plan.route.p_success(model), cost, trace)
        if engine.has_observers:
            answer = await engine.record_draft(plan, done, cost, trace)
    running.answered(answer.text, simulated=answer.simulated)
    return answer


async def asked(running: StepContext, query: Query, model: str) -> Answer | None:
    """One draft of one model, without an estimate of how right it is.

    `None` where the fleet does more with an answer than give it.
    """
    engine = await running.engine()
    _known(engine, model)
    if not engine.can_relay_single:
        return None
    trace = running.trace()
    if engine.budget == UNLIMITED:
        budget, ledger = Budget(seconds=running.seconds_left), running.purse
    else:
        budget = engine.budget & running.budget
        ledger = Ledger(budget, within=running.purse)
    done, cost = await _drafted(
        engine.backends[model], engine.request_for(query, are_compared=False), budget, trace, ledger
    )
    running.answered(done.text or "", simulated=done.simulated)
    return _answer(done, done.confidence or 0.0, cost, trace)


def _known(engine: Orchestrator, model: str) -> None:
    if model not in engine.backends:
        raise UnknownModel(f"there is no model {model!r}", remedy=f"This fleet has: {', '.join(engine.backends)}")


async def _drafted(
    backend: Backend, request: Request, budget: Budget, trace: Trace, ledger: Ledger
) -> tuple[Completion, float | None]:
    """One draft and what it cost in USD (`None` if the price is not known)."""
    profile = backend.profile
    if budget.seconds is not None:
        request = replace(request, deadline_s=budget.seconds)
    worst = worst_case(backend, request)
    held = ledger.reserve(usd=worst.usd, tokens=worst.tokens)
    trace.emit("drafting", model=profile.name)
    done, bill = await complete_metered(backend, request, ledger, held)
    if done.text is None:
        why = done.note or "it abstains"
        raise NoAdequateModel(
            f"{profile.name} gives no answer: {why}", remedy="Ask another model", tried={profile.name: why}
        )
    trace.emit(
        "drafted",
        model=profile.name,
        cost_usd=bill.usd,
        seconds=done.latency_s,
        prefill_tokens=bill.usage.prefill_tokens,
        output_tokens=bill.usage.output_tokens,
    )
    return done, bill.usd


def _answer(done: Completion, p: float, cost: float | None, trace: Trace) -> Answer:
    seconds, simulated = trace.now_s(), done.simulated
    return Answer(
        done.text or "",
        p,
        done.model,
        cost,
        seconds,
        False,
        "one draft",
        done.citations,
        usage=done.usage,
        simulated=simulated,
        trace=trace,
    )


def as_value(answer: Answer) -> JsonObject:
    """An answer as later steps see it."""
    chosen = next((candidate for candidate in answer.candidates if candidate.text == answer.text), None)
    verdicts = chosen.verdicts if chosen is not None else ()
    passed = [verdict.passed for verdict in verdicts if verdict.passed is not None]
    stated = answer.as_dict(detail="brief")
    names = ("text", "confidence", "model", "partial", "abstained", "cost_usd", "simulated")
    return {name: stated[name] for name in names} | {
        "verified": bool(passed) and all(passed),
        "citations": list(answer.citations) or cited(answer.text),
        "entities": entities(answer.text),
        "seconds": answer.latency_s,
    }


_BETTER = (
    "Ask a better model, or loosen the schema or the checks; where its server can hold a model to a JSON Schema "
    "(llama.cpp, vLLM, Ollama), say so in the configuration: capabilities: [json]"
)


def value_of(answer: Answer, what: str) -> JsonValue:
    """The JSON in an answer that had to have a form. Raises `NoForm` with what was wrong with the best one."""
    chosen = next((candidate for candidate in answer.candidates if candidate.text == answer.text), None)
    if chosen is not None and chosen.ruled_out:
        told = next((v.feedback for v in chosen.verdicts if v.decisive and v.passed is False), "")
        raise NoForm(
            f"no model gave {what} of the form that was asked for: {told}"[:600],
            last=answer.text,
            remedy=f"The best one was: {answer.text[:200]!r}. {_BETTER}",
        )
    try:
        return find_json(answer.text)
    except ValueError as error:
        raise NoForm(
            f"no model gave {what} as JSON: {error}",
            last=answer.text,
            remedy=f"The best one was: {answer.text[:200]!r}. {_BETTER}",
        ) from None


def entities(text: str) -> list[dict[str, str]]:
    """Names in a text, as far as its letters tell.

    Capitalised words that do not only begin a sentence, and marks like ABC-12 or #7; each once.
    """
    found: dict[str, None] = {}
    for match in _NAME.finditer(text[:200_000]):
        words = match[0].split()
        while words and words[0] in _NO_NAMES:
            words.pop(0)
        name = " ".join(words)
        begins = re.search(r"(?:^|[.!?:]\s+|\n\s*|[\"“(]\s*)$", text[: match.start()]) is not None
        if name and not (
            begins and len(words) == 1 and words == match[0].split() and not any(c.isdigit() for c in name)
        ):
            found.setdefault(name)
    return [{"name": name} for name in found]


def cited(text: str) -> list[str]:
    """Sources that a text names in brackets: [m:12], [doc-3]."""
    return list(dict.fromkeys(re.findall(r"\[([\w.-]+:[\w.-]+)\]", text)))


def notes_of(items: object) -> tuple[RecalledRecord, ...]:
    """Recalled records from what a recall step gave, for models that answer from notes."""
    if not isinstance(items, list) or not items:
        return ()
    from orchestrator.memory import RecalledRecord, Record  # numpy

    found = []
    for rank, item in enumerate(items, start=1):
        if not isinstance(item, Mapping) or not re.fullmatch(r"m:\d+", str(item.get("id"))):
            continue
        time = item.get("time")
        record_ = Record(
            int(str(item["id"])[2:]),
            "pipeline",
            str(item.get("text", "")),
            str(item.get("speaker") or ""),
            read_time(time) if isinstance(time, str) and time else None,
            "",
            str(item.get("source") or ""),
        )
        found.append(RecalledRecord(record_, rank, float(item.get("score") or 0.5)))
    return tuple(found)
