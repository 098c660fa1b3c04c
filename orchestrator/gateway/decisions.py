"""POST /v1/systemone: typed questions about a state, answered with probabilities and no text.

`orchestrator/complexity` is the local router: a `choice` among models of the fleet is "which is the cheapest that will do", a `score` how hard the
query is, a `noul` (a predicate) whether the cheapest model, or the one named in the question's criteria, answers it rightly. It costs nothing.
Any model of the fleet whose provider has such an endpoint itself, or gives log-probabilities, answers any question (`orchestrator.decisions`).

Wire format: SGLang's and Ollama's /v1/systemone of autumn 2026.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import orjson

from orchestrator.backends.base import Request
from orchestrator.decisions import Decision, Question
from orchestrator.decisions.tokens import MOST_OPTIONS
from orchestrator.errors import BackendError, BackendRejected, InvalidQuery
from orchestrator.gateway.endpoint import Endpoint
from orchestrator.gateway.http import Call
from orchestrator.gateway.problems import Problem
from orchestrator.gateway.tab import Tab
from orchestrator.types import Message, Usage
from router import ModelProfile

if TYPE_CHECKING:
    from orchestrator.gateway.app import Gateway

COMPLEXITY = "orchestrator/complexity"
LEVELS = ("trivial", "easy", "medium", "hard", "expert")
TIMEOUT_S = 120.0


async def decide(gateway: Gateway, call: Call, body: dict[str, Any]) -> None:
    state = body["state"] if isinstance(body["state"], str) else orjson.dumps(body["state"]).decode()
    if body["model"] == COMPLEXITY:
        answers, usage = await _locally(gateway, call, state, body["questions"])
    else:
        answers, usage = await _by_model(gateway, call, body, state)
    tokens = {"input_tokens": usage.prefill_tokens, "output_tokens": usage.output_tokens}
    await call.reply_json({"model": body["model"], "answers": answers, "usage": tokens})


async def _locally(gateway: Gateway, call: Call, state: str, questions: dict[str, Any]) -> tuple[dict[str, Any], Usage]:
    tab = call.tab = Tab(gateway.limiter, call, "systemone", COMPLEXITY)
    usage = Usage(math.ceil(len(state) / 4))
    await tab.hold(0.0, usage.prefill_tokens)
    engine = gateway.engine
    request = Request((Message("user", state),), state)
    known = {name: p for name, backend in engine.backends.items() if (p := backend.estimate(request)) is not None}
    route = engine.router.route(state, [backend.profile for backend in engine.backends.values()], known=known)
    p_right = {
        option.model: option.p_success for option in sorted(route.options, key=lambda o: math.inf if o.cost_usd is None else o.cost_usd)
    }
    ease = engine.explain(state).ease
    tab.settle(ModelProfile(COMPLEXITY, 0.0, 0.0), usage)
    tab.served.model = COMPLEXITY
    return {name: _local_answer(name, question, p_right, ease) for name, question in questions.items()}, usage


def _local_answer(name: str, question: dict[str, Any], p_right: dict[str, float], ease: float) -> dict[str, Any]:
    criteria = question.get("criteria")
    options = list(criteria) if isinstance(criteria, list | dict) else []
    if question["type"] == "noul":
        model = criteria if isinstance(criteria, str) and criteria in p_right else next(iter(p_right))
        return {"noul": round(p_right[model], 4)}
    if question["type"] == "choice":
        if not set(options) <= p_right.keys():
            if len(options) > len(LEVELS):
                raise Problem(404, f"{name}: {COMPLEXITY} chooses among models of the fleet or at most five levels", code="unknown_option")
            return _choice(dict(zip(options, _levels(ease, len(options)), strict=True)))
        cheapest_adequate, left = {}, 1.0
        for model in p_right:  # cheapest first: it is the cheapest that will do if it will and none before it does
            if model in options:
                cheapest_adequate[model] = left * p_right[model]
                left *= 1 - p_right[model]
        cheapest_adequate[list(cheapest_adequate)[-1]] += left
        return _choice({option: cheapest_adequate[option] for option in options})
    legend = options or list(LEVELS)
    return _score(legend, _levels(ease, len(legend)))


def _levels(ease: float, count: int) -> list[float]:
    """P(each level of difficulty), easiest first: a logistic spread around how hard the query is, in log-odds."""
    bounds = [math.inf, *(2.0 - 4.0 * (i + 1) / count for i in range(count - 1)), -math.inf]

    def above(bound: float) -> float:
        return 0.0 if bound == math.inf else 1.0 if bound == -math.inf else 1 / (1 + math.exp(2 * (bound - ease)))

    return [above(bounds[i + 1]) - above(bounds[i]) for i in range(count)]


def _choice(p: dict[str, float]) -> dict[str, Any]:
    best = max(p, key=lambda option: p[option])
    return {"choice": best, "confidence": round(p[best], 4), "probabilities": {option: round(value, 4) for option, value in p.items()}}


def _score(legend: list[str], p: list[float]) -> dict[str, Any]:
    mean = sum(index * value for index, value in enumerate(p)) / max(len(p) - 1, 1)
    return {"score": round(mean, 4), "confidence": round(max(p), 4), "legend": legend, "probabilities": [round(value, 4) for value in p]}


async def _by_model(gateway: Gateway, call: Call, body: dict[str, Any], state: str) -> tuple[dict[str, Any], Usage]:
    """Asked at the provider's own endpoint for decisions, or for log-probabilities; the numbers are calibrated as far as examples allow."""
    model, engine = body["model"], gateway.engine
    if model not in engine.backends:
        known = ", ".join((COMPLEXITY, *engine.backends))
        raise Problem(404, f"there is no model {model!r}. There are: {known}", code="model_not_found", param="model")
    if not call.principal.may_use(model):
        raise Problem(403, f"this key may not use the model {model!r}", code="model_not_allowed", param="model", should_retry=False)
    if model not in engine.deciders.names:
        raise Problem(404, f"{model} gives no log-probabilities; choose another model", code="no_logprobs", param="model")
    try:
        questions = {name: _question(asked) for name, asked in body["questions"].items()}
    except InvalidQuery as error:
        raise Problem(404, error.message, code="too_many_options") from None
    tab = call.tab = Tab(gateway.limiter, call, "systemone", model)
    decider = engine.deciders.of(model)
    read, written = decider.worst_tokens(state, questions)
    await tab.hold(decider.profile.worst_usd(read, written), read + written)
    try:
        found = await decider.decide(state, questions, deadline_s=TIMEOUT_S)
    except BackendError as error:
        tab.failed(error)
        if isinstance(error, BackendRejected) and error.status is None:
            told = f"{model} gives no log-probabilities of the options; choose another model"
            raise Problem(404, told, code="no_logprobs", param="model") from None
        raise
    tab.settle(decider.profile, found.usage)
    tab.served.model = model
    return {name: _told(decision) for name, decision in found.answers.items()}, found.usage


def _question(asked: dict[str, Any]) -> Question:
    criteria = asked.get("criteria")
    ask = asked.get("instructions") or (criteria if isinstance(criteria, str) else "")
    if asked["type"] == "noul":
        return Question(ask)
    options = dict(criteria) if isinstance(criteria, dict) else dict.fromkeys(criteria if isinstance(criteria, list) else LEVELS, "")
    if len(options) > MOST_OPTIONS:
        raise InvalidQuery(f"at most {MOST_OPTIONS} options for a model's log-probabilities")
    return Question(ask, asked["type"], options)


def _told(decision: Decision) -> dict[str, Any]:
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
