"""POST /v1/systemone: typed questions about a state, answered with probabilities and no text.

`orchestrator/complexity` is the local router: a `choice` among models of the fleet is "which is the cheapest that will do", a `score` how hard the
query is, a `noul` (a predicate) whether the cheapest model, or the one named in the question's criteria, answers it rightly. It costs nothing.
Any model of the fleet whose server gives log-probabilities answers any question: the probabilities of the options' letters, not calibrated.

Wire format: SGLang's and Ollama's /v1/systemone of autumn 2026.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import orjson

from orchestrator.backends.base import Request
from orchestrator.backends.openai import usage_of
from orchestrator.gateway.chat import Order
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
PREDICATE = ("yes", "no")
MOST_OPTIONS = 20  # so many log-probabilities do servers give for one token
_LETTERS = "ABCDEFGHIJKLMNOPQRST"


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
    """Each question is a call of one token; the prompts begin alike, so that a prefix cache reads the state once."""
    if body["model"] not in gateway.engine.backends:
        known = ", ".join((COMPLEXITY, *gateway.engine.backends))
        raise Problem(404, f"there is no model {body['model']!r}. There are: {known}", code="model_not_found", param="model")
    answers: dict[str, Any] = {}
    prefill = output = 0
    for name, question in body["questions"].items():
        criteria = question.get("criteria")
        options = list(PREDICATE) if question["type"] == "noul" else list(criteria) if isinstance(criteria, list | dict) else list(LEVELS)
        if len(options) > MOST_OPTIONS:
            raise Problem(404, f"{name}: at most {MOST_OPTIONS} options for a model's log-probabilities", code="too_many_options")
        asked = {
            "model": body["model"],
            "messages": [{"role": "user", "content": _prompt(state, question, options)}],
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": True,
            "top_logprobs": MOST_OPTIONS,
        }
        before = call.tab
        async with Order(gateway, call, "systemone", asked) as order:
            if before is not None:
                order.tab.take_over(before)
            completion = orjson.loads(await order.whole())
        used = usage_of(completion.get("usage")) or Usage()
        prefill, output = prefill + used.prefill_tokens, output + used.output_tokens
        p = _probabilities(completion, options, body["model"])
        if question["type"] == "noul":
            answers[name] = {"noul": round(p[0], 4)}
        elif question["type"] == "choice":
            answers[name] = _choice(dict(zip(options, p, strict=True)))
        else:
            answers[name] = _score(options, p)
    return answers, Usage(prefill, output)


def _prompt(state: str, question: dict[str, Any], options: list[str]) -> str:
    """The state first, so that a prefix cache reads it once for all questions."""
    criteria = question.get("criteria")
    meanings = criteria if isinstance(criteria, dict) else {}
    asked = question.get("instructions") or (criteria if isinstance(criteria, str) else "") or "Which one fits?"
    lines = [
        f"{letter}. {option}" + (f": {meanings[option]}" if option in meanings else "")
        for letter, option in zip(_LETTERS, options, strict=False)
    ]
    return f"{state}\n\n{asked}\n" + "\n".join(lines) + "\nAnswer with one letter."


def _probabilities(completion: dict[str, Any], options: list[str], model: str) -> list[float]:
    """The share of each option's letter among all of them."""
    try:
        first = completion["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        mass = [0.0] * len(options)
        for token in first:
            letter = token["token"].strip().upper()
            if len(letter) == 1 and letter in _LETTERS[: len(options)]:
                mass[_LETTERS.index(letter)] += math.exp(token["logprob"])
        total = sum(mass)
        if total <= 0:
            raise ValueError
    except (KeyError, IndexError, TypeError, ValueError):
        told = f"{model} gives no log-probabilities of the options; choose another model"
        raise Problem(404, told, code="no_logprobs", param="model") from None
    return [value / total for value in mass]


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
