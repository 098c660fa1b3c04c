"""How steps ask the engine: a search on the run's account, with the step's own checks; and what of an answer later steps can use."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orchestrator.budget import Budget, Ledger
from orchestrator.errors import OrchestratorError, UnknownModel
from orchestrator.types import Answer, Query
from verifiers import Verifier, find_json

if TYPE_CHECKING:
    from memory import RecalledRecord
    from orchestrator.pipeline.run import Running
    from orchestrator.search.state import Strategy

_NAME = re.compile(r"\b[A-Z][A-Z0-9]*-\d+\b|#\d+\b|\b[A-Z][\w'’]+(?:\s+(?:of\s+|de\s+|van\s+)?[A-Z][\w'’]+)*")
_NO_NAMES = frozenset(
    "The A An It He She They We You I This That These Those There Here If When What Where Who Why How And But Or So As At By For From In Of On To "
    "With No Not Yes My Your His Her Our Their Its Please Thanks Thank Answer Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
)


class NoForm(OrchestratorError):
    """No model gave an answer of the form that was asked for; `last` is the best that there was."""

    code = "no_form"

    def __init__(self, message: str, *, last: str, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.last = last


async def answered(
    running: Running, query: Query, *, strategy: str | Strategy | None, checks: Sequence[Verifier] = (), budget: Budget | None = None
) -> Answer:
    """The engine's answer, paid from the step's account."""
    engine = await running.engine()
    for name in query.models or ():
        if name not in engine.backends:
            raise UnknownModel(f"there is no model {name!r}", remedy=f"This fleet has: {', '.join(engine.backends)}")
    trace = running.trace()
    plan = await engine.plan(query, trace, budget=running.budget & (budget or Budget()), strategy=strategy)
    if checks:
        plan = replace(plan, checks=[*plan.checks, *checks])
    answer = await engine.carry_out(plan, trace, Ledger(plan.budget, within=running.purse))
    running.answered(answer.text, simulated=answer.simulated)
    return answer


def as_value(answer: Answer) -> dict[str, Any]:
    """An answer as later steps see it."""
    chosen = next((candidate for candidate in answer.candidates if candidate.text == answer.text), None)
    verdicts = chosen.verdicts if chosen is not None else ()
    passed = [verdict.passed for verdict in verdicts if verdict.passed is not None]
    return {
        "text": answer.text,
        "confidence": answer.confidence,
        "model": answer.model,
        "verified": bool(passed) and all(passed),
        "partial": answer.partial,
        "abstained": answer.abstained,
        "citations": list(answer.citations) or cited(answer.text),
        "entities": entities(answer.text),
        "cost_usd": answer.cost_usd,
        "seconds": answer.latency_s,
        "simulated": answer.simulated,
    }


def value_of(answer: Answer, what: str) -> Any:
    """The JSON in an answer that had to have a form. Raises `NoForm` with what was wrong with the best one."""
    chosen = next((candidate for candidate in answer.candidates if candidate.text == answer.text), None)
    if chosen is not None and chosen.ruled_out:
        told = next((v.feedback for v in chosen.verdicts if v.decisive and v.passed is False), "")
        raise NoForm(
            f"no model gave {what} of the form that was asked for: {told}"[:600],
            last=answer.text,
            remedy=f"The best one was: {answer.text[:200]!r}. Ask a better model, or loosen the schema or the checks",
        )
    try:
        return find_json(answer.text)
    except ValueError as error:
        raise NoForm(
            f"no model gave {what} as JSON: {error}", last=answer.text, remedy=f"The best one was: {answer.text[:200]!r}"
        ) from None


def entities(text: str) -> list[dict[str, str]]:
    """Names in a text, as far as its letters tell: capitalised words that do not only begin a sentence, and marks like ABC-12 or #7; each once."""
    found: dict[str, None] = {}
    for match in _NAME.finditer(text[:200_000]):
        words = match[0].split()
        while words and words[0] in _NO_NAMES:
            words.pop(0)
        name = " ".join(words)
        begins = re.search(r"(?:^|[.!?:]\s+|\n\s*|[\"“(]\s*)$", text[: match.start()]) is not None
        if name and not (begins and len(words) == 1 and words == match[0].split() and not any(c.isdigit() for c in name)):
            found.setdefault(name)
    return [{"name": name} for name in found]


def cited(text: str) -> list[str]:
    """Sources that a text names in brackets: [m:12], [doc-3]."""
    return list(dict.fromkeys(re.findall(r"\[([\w.-]+:[\w.-]+)\]", text)))


def notes_of(items: object) -> tuple[RecalledRecord, ...]:
    """Recalled records from what a recall step gave, for models that answer from notes."""
    from memory import RecalledRecord, Record
    from memory.documents import read_time

    found = []
    for rank, item in enumerate(items if isinstance(items, list) else (), start=1):
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
