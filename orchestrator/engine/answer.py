"""How a search ends for the caller: an answer with its receipt, or an error that says why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from orchestrator.backends.base import Backend, Request
from orchestrator.budget import Ledger
from orchestrator.errors import BackendError, BudgetExceeded, NoAdequateModel, OrchestratorError
from orchestrator.fleet.build import WHAT_TO_ADD
from orchestrator.router import Route
from orchestrator.search.controller import SearchResult
from orchestrator.search.recording import Recording
from orchestrator.search.state import SearchState
from orchestrator.trace import Trace
from orchestrator.types import Answer, Receipt, Usage

if TYPE_CHECKING:
    from orchestrator.memory import Recall

NO_ANSWER_P = 0.02  # that nothing, or "I do not know", was the right answer
MAX_SAID_CHARS = 120


def build_answer(
    recall: Recall | None,
    route: Route,
    result: SearchResult,
    usage: Usage,
    record: Recording | None,
    ledger: Ledger,
    trace: Trace,
    *,
    reference: str | None,
) -> Answer:
    """The answer of a search that has candidates.

    `reference` is the model that the receipt compares with, if one is named.
    """
    state = result.state
    index = state.leader if state.leader is not None else len(state.candidates) - 1
    best = state.candidates[index]
    confidence = 0.0 if best.ruled_out else NO_ANSWER_P if state.non_answer(index) is not None else state.confidence
    cost = None if ledger.price_unknown else ledger.spent_usd
    trace.search = record
    trace.finish(model=best.model, confidence=confidence, cost_usd=cost, stopped=result.stopped)
    trace.emit("answered", model=best.model, confidence=confidence, cost_usd=cost)
    return Answer(
        "" if result.abstained else best.text,
        confidence,
        best.model,
        cost,
        trace.now_s(),
        result.partial,
        result.stopped,
        best.completion.citations or _cited(best.text, recall),
        recall.items if recall else (),
        route,
        state.candidates,
        usage,
        any(candidate.completion.simulated for candidate in state.candidates),
        trace,
        _receipt(route, reference, cost, ledger.calls),
        result.abstained,
        () if result.abstained else best.calls,
    )


def _cited(text: str, recall: Recall | None) -> tuple[str, ...]:
    """The recalled records that a text cites (`[m:12]`), in its order; a number that was not recalled cites nothing."""
    if recall is None:
        return ()
    from orchestrator.memory.text.support import cited_in  # there is a memory, so it is loaded already

    there = {item.record.id: item.record.citation for item in recall.items}
    return tuple(dict.fromkeys(there[found] for found in cited_in(text) if found in there))


async def explain_no_answer(
    backends: Mapping[str, Backend], request: Request, route: Route, result: SearchResult, trace: Trace
) -> OrchestratorError:
    """The error that tells most about a search without candidates."""
    if result.stopped == "the deadline passed":
        return BudgetExceeded(
            "the deadline passed before any model answered", limit="seconds", remedy="Allow more seconds"
        )
    budget_errors = [error for error in result.errors if isinstance(error, BudgetExceeded)]
    backend_errors = [error for error in result.errors if isinstance(error, BackendError)]
    if budget_errors and not backend_errors and not result.state.candidates:
        return budget_errors[0]
    if len(backend_errors) == 1 and len(result.tried) == 1 and not result.state.candidates:
        return backend_errors[0]
    said = {c.model: _what_was_said(result.state, index) for index, c in enumerate(result.state.candidates)}
    tried = {option.model: option.rejected for option in route.options if option.excluded} | dict(result.tried) | said
    for option in route.options:
        if option.p_success == 0.0:  # it could tell that it cannot answer: now it says why, which is free
            tried[option.model] = (await backends[option.model].complete(request)).note or option.rejected
    why = "; ".join(f"{name}: {reason}" for name, reason in tried.items())
    if said:
        remedy = "Ask again, ask for something else, or allow other models: these gave nothing that can be used"
        return NoAdequateModel(
            f"no model gave an answer ({why})", remedy=remedy, tried=tried, trace=trace, has_failed=True
        )
    if result.errors and not budget_errors:  # there are models; they failed
        remedy = "Ask again; orchestrator doctor looks at the models' servers"
        if not backend_errors:  # an error of Python: it is in the backend's own code
            remedy = f"Mend the backend of {', '.join(result.tried)}: the log holds the traceback"
        told = f"no model answered ({why})"
        return NoAdequateModel(told, remedy=remedy, tried=tried, trace=trace, has_failed=True, failures=backend_errors)
    resting = [weighed.model for weighed in route.weighed if "available" in weighed.broken]
    if resting and not budget_errors:
        told = f"no model can be asked at the moment ({why})"
        remedy = "Ask again in some seconds; orchestrator doctor looks at the models' servers"
        return NoAdequateModel(told, remedy=remedy, tried=tried, trace=trace, has_failed=True)
    if budget_errors:
        why, remedy = f"no affordable model for this query ({why})", budget_errors[-1].remedy
    else:
        why, remedy = f"no adequate model for this query ({why})", WHAT_TO_ADD
    return NoAdequateModel(why, remedy=remedy, tried=tried, trace=trace)


def _what_was_said(state: SearchState, index: int) -> str:
    kind, text = state.non_answer(index), " ".join(state.candidates[index].text.split())
    told = {
        "empty": "it said nothing",
        "filtered": "its provider withheld the answer",
        "error": "its server sent an error as the answer",
    }
    return told.get(kind or "", f"it is no answer ({kind})") + (f": {text[:MAX_SAID_CHARS]!r}" if text else "")


def _receipt(route: Route, reference: str | None, cost_usd: float | None, calls: int) -> Receipt:
    compared = next((o for o in route.options if o.model == reference), None) or max(
        route.options, key=lambda o: (o.cost_usd != 0.0, o.p_success)
    )
    return Receipt(compared.model, compared.cost_usd, cost_usd, calls)
