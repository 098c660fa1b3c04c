"""POST /v1/systemone: typed questions about a state, answered with probabilities and no text.

`orchestrator/complexity` is the local router: a `choice` among models of the fleet is "which is the cheapest that will
do", a `score` how hard the query is, a `noul` (a predicate) whether the cheapest model, or the one named in the
question's criteria, answers it rightly. It costs nothing. Any model of the fleet whose provider has such an endpoint
itself, or gives log-probabilities, answers any question (`orchestrator.decisions`).

Wire format: SGLang's and Ollama's /v1/systemone of autumn 2026.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from orchestrator.decisions import Decision, Question
from orchestrator.decisions.complexity import COMPLEXITY, LEVELS
from orchestrator.decisions.question import MAX_OPTIONS as MAX_LABELS
from orchestrator.decisions.token_logprobs import MAX_OPTIONS
from orchestrator.errors import BackendError, BackendRejected, InvalidQuery
from orchestrator.gateway.accounts.request_account import RequestAccount
from orchestrator.gateway.api.endpoint import Endpoint
from orchestrator.gateway.chat.client_request import ClientRequest
from orchestrator.gateway.errors import GatewayError
from orchestrator.jsontypes import JsonObject
from orchestrator.types import Usage

if TYPE_CHECKING:
    from orchestrator.gateway.api.services import Services

TIMEOUT_S = 120.0


async def decide(services: Services, call: ClientRequest, body: JsonObject) -> None:
    """OpenAI's decisions: probabilities instead of text."""
    state = body["state"] if isinstance(body["state"], str) else orjson.dumps(body["state"]).decode()
    if body["model"] == COMPLEXITY:
        answers, usage = await _locally(services, call, state, body["questions"])
    else:
        answers, usage = await _by_model(services, call, body, state)
    tokens = {"input_tokens": usage.prefill_tokens, "output_tokens": usage.output_tokens}
    await call.reply_json({"model": body["model"], "answers": answers, "usage": tokens})


async def _locally(services: Services, call: ClientRequest, state: str, asked: JsonObject) -> tuple[JsonObject, Usage]:
    tab = call.tab = RequestAccount(services.limiter, call, "systemone", COMPLEXITY)
    decider = services.engine.deciders.local
    try:
        questions = {name: _question(_about_a_model(question), most=MAX_LABELS) for name, question in asked.items()}
        await tab.hold(0.0, decider.worst_tokens(state, questions)[0])
        found = await decider.decide(state, questions)
    except InvalidQuery as error:
        raise GatewayError(404, error.message, code="unknown_option") from None
    tab.settle(decider.profile, found.usage)
    tab.served.model = COMPLEXITY
    return {name: _told(decision) for name, decision in found.answers.items()}, found.usage


def _choice(p: dict[str, float]) -> JsonObject:
    best = max(p, key=lambda option: p[option])
    return {
        "choice": best,
        "confidence": round(p[best], 4),
        "probabilities": {option: round(value, 4) for option, value in p.items()},
    }


def _score(legend: list[str], p: list[float]) -> JsonObject:
    mean = sum(index * value for index, value in enumerate(p)) / max(len(p) - 1, 1)
    return {
        "score": round(mean, 4),
        "confidence": round(max(p), 4),
        "legend": legend,
        "probabilities": [round(value, 4) for value in p],
    }


def _about_a_model(asked: JsonObject) -> JsonObject:
    """A predicate whose criteria name the model that it is about."""
    return {**asked, "instructions": asked["criteria"]} if isinstance(asked.get("criteria"), str) else asked


async def _by_model(services: Services, call: ClientRequest, body: JsonObject, state: str) -> tuple[JsonObject, Usage]:
    """Asked at the provider's own endpoint for decisions, or for log-probabilities.

    The numbers are calibrated as far as examples allow.
    """
    model, engine = body["model"], services.engine
    if model not in engine.backends:
        known = ", ".join((COMPLEXITY, *engine.backends))
        raise GatewayError(
            404, f"there is no model {model!r}. There are: {known}", code="model_not_found", param="model"
        )
    if not call.principal.may_use(model):
        raise GatewayError(
            403,
            f"this key may not use the model {model!r}",
            code="model_not_allowed",
            param="model",
            should_retry=False,
        )
    if model not in engine.deciders.names:
        raise GatewayError(
            404, f"{model} gives no log-probabilities; choose another model", code="no_logprobs", param="model"
        )
    try:
        questions = {name: _question(asked) for name, asked in body["questions"].items()}
    except InvalidQuery as error:
        raise GatewayError(404, error.message, code="too_many_options") from None
    tab = call.tab = RequestAccount(services.limiter, call, "systemone", model)
    decider = engine.deciders.of(model)
    read, written = decider.worst_tokens(state, questions)
    await tab.hold(decider.profile.worst_usd(read, written), read + written)
    try:
        found = await decider.decide(state, questions, deadline_s=TIMEOUT_S)
    except BackendError as error:
        tab.failed(error)
        if isinstance(error, BackendRejected) and error.status is None:
            told = f"{model} gives no log-probabilities of the options; choose another model"
            raise GatewayError(404, told, code="no_logprobs", param="model") from None
        raise
    tab.settle(decider.profile, found.usage)
    tab.served.model = model
    return {name: _told(decision) for name, decision in found.answers.items()}, found.usage


def _question(asked: JsonObject, *, most: int = MAX_OPTIONS) -> Question:
    criteria = asked.get("criteria")
    ask = asked.get("instructions") or (criteria if isinstance(criteria, str) else "")
    if asked["type"] == "noul":
        return Question(ask)
    options = (
        {name: told or "" for name, told in criteria.items()}
        if isinstance(criteria, dict)
        else dict.fromkeys(criteria if isinstance(criteria, list) else LEVELS, "")
    )
    if len(options) > most:
        raise InvalidQuery(f"at most {most} options for a model's log-probabilities")
    return Question(ask, asked["type"], options)


def _told(decision: Decision) -> JsonObject:
    if decision.kind == "predicate":
        found = {"noul": round(decision.p, 4)}
    elif decision.kind == "choice":
        found = _choice(dict(decision.probabilities))
    else:
        found = _score(list(decision.probabilities), list(decision.probabilities.values()))
    return found | {"calibrated": decision.is_calibrated}


ENDPOINTS = (
    Endpoint(
        "POST",
        "/v1/systemone",
        decide,
        "Answer typed questions with probabilities",
        "inference",
        body="DecisionRequest",
        answer="Decisions",
    ),
)
