"""Decisions: four ways to get probabilities, one contract; calibrated before they are believed.

Paid like every call.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator import BackendError, Budget, BudgetExceeded, ConfigError, Orchestrator
from orchestrator.backends.remote import RemoteBackend
from orchestrator.backends.testing.simulated import SimulatedBackend, SimulatedModel
from orchestrator.decisions import Decision, ProbabilityCalibration, Question, fit_calibration
from orchestrator.decisions.calibration import load_calibrations, save_calibration
from orchestrator.errors import InvalidQuery
from orchestrator.router import ModelProfile
from tests.support.gateway import Provider, completion, reply, served

QUESTIONS = {
    "spam": Question("Is this spam?"),
    "kind": Question("What is it?", "choice", {"bill": "asks for money", "news": ""}),
    "tone": Question("How kind is it?", "score", {"rude": "", "plain": "", "kind": ""}),
}
BELIEVED = ProbabilityCalibration(1.0, 0.0, 1.0, 100, 100)


def systemone(body: dict[str, Any]) -> dict[str, Any]:
    """As transformers' server answers (5.x)."""
    assert body["questions"]["spam"] == {"type": "noul", "instructions": "Is this spam?"}
    assert body["questions"]["kind"]["criteria"] == {"bill": "asks for money", "news": "news"}
    answers = {
        "spam": {"type": "noul", "noul": 0.8},
        "kind": {"type": "choice", "choice": "bill", "confidence": 0.4, "probabilities": {"bill": 0.7, "news": 0.3}},
        "tone": {
            "type": "score",
            "score": 0.5,
            "legend": {"0": "rude"},
            "confidence": 0.2,
            "probabilities": {"0": 0.6, "1": 0.3, "2": 0.1},
        },
    }
    return {"model": body["model"], "answers": answers, "usage": {"input_tokens": 90, "output_tokens": 0}}


def decisions(body: dict[str, Any]) -> dict[str, Any]:
    """As OpenAI's types describe it (openai 3.54)."""
    from openai.types.decision_create_params import DecisionCreateParams
    from pydantic import TypeAdapter

    TypeAdapter(DecisionCreateParams).validate_python(body)
    rows = [{"value": "bill", "probability": 0.7}, {"value": "news", "probability": 0.3}]
    levels = [
        {"label": name, "probability": p, "value": i}
        for i, (name, p) in enumerate([("rude", 0.6), ("plain", 0.3), ("kind", 0.1)])
    ]
    answers = [
        {"type": "predicate", "name": "spam", "probability": 0.8},
        {"type": "choice", "name": "kind", "choice": "bill", "confidence": 0.7, "probabilities": rows},
        {"type": "score", "name": "tone", "score": 0.5, "confidence": 0.6, "probabilities": levels},
    ]
    details = {
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
    return {
        "model": body["model"],
        "answers": answers,
        "usage": {"input_tokens": 90, "output_tokens": 0, "total_tokens": 90, **details},
    }


def logprobs(body: dict[str, Any]) -> dict[str, Any]:
    """As any chat model answers that gives log-probabilities."""
    assert (body.get("max_tokens") or body.get("max_completion_tokens"), body["logprobs"]) == (1, True)
    told = {"spam": (0.8, 0.2), "What": (0.7, 0.3), "kind": (0.6, 0.3, 0.1)}
    p = next(value for word, value in told.items() if word in body["messages"][0]["content"].split("\n\n")[1])
    done = completion("A", prompt=30, output=1)
    top = [{"token": letter, "logprob": math.log(each)} for letter, each in zip("ABC", p, strict=False)]
    done["choices"][0]["logprobs"] = {"content": [{"token": "A", "logprob": -0.1, "top_logprobs": top}]}
    return done


@contextmanager
def server(*, native: Any = None, chat: Any = logprobs, status: int = 404) -> Iterator[Provider]:
    async def play(body: dict[str, Any], send: Any) -> None:
        if not provider.paths[-1].endswith("/chat/completions"):
            await reply(send, 200, native(body)) if native is not None else await reply(
                send, status, {"error": {"message": "no such path"}}
            )
            return
        await reply(send, 200, chat(body))

    provider = Provider(play)
    with served(provider) as url:
        provider.url = url
        yield provider


def backend(name: str, url: str, **prices: float) -> RemoteBackend:
    return RemoteBackend(ModelProfile("m", prices.get("price", 1.0), 2.0), provider=name, base_url=url, model="m-1")


def decided(asked: RemoteBackend, questions: dict[str, Question] | None = None, **options: Any) -> Any:
    async def run() -> Any:
        async with Orchestrator({"m": asked}, **{"calibrations": {"m": BELIEVED}, **options}) as orchestrator:
            return await orchestrator.decide("Pay now!", questions or QUESTIONS)

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("provider", "native", "path"),
    [("sglang", systemone, "/systemone"), ("openai", decisions, "/decisions"), ("vllm", None, "/chat/completions")],
)
def test_the_same_answer_from_every_kind_of_server(provider: str, native: Any, path: str) -> None:
    with server(native=native) as upstream:
        found = decided(backend(provider, upstream.url))
    assert set(upstream.paths) == {path}
    spam, kind, tone = (found.answers[name] for name in QUESTIONS)
    assert spam.p == pytest.approx(0.8)
    assert dict(kind.probabilities) == pytest.approx({"bill": 0.7, "news": 0.3})
    assert (kind.choice, tone.choice) == ("bill", "rude")
    assert tone.score == pytest.approx(0.25)
    assert found.usage.prefill_tokens == 90
    assert all(answer.is_calibrated for answer in found.answers.values())


def test_a_server_without_the_endpoint_is_asked_for_log_probabilities_from_then_on() -> None:
    async def run(url: str) -> None:
        async with Orchestrator({"m": backend("sglang", url)}) as orchestrator:
            for _ in range(2):
                assert (await orchestrator.decide("Pay now!", {"spam": QUESTIONS["spam"]})).answers["spam"].p > 0.5

    with server() as upstream:
        asyncio.run(run(upstream.url))
    assert [path.rpartition("/")[2] for path in upstream.paths] == ["systemone", "completions", "completions"]


def test_numbers_that_nobody_checked_are_believed_by_half_and_say_so() -> None:
    with server(native=systemone) as upstream:
        spam = decided(backend("sglang", upstream.url), calibrations={}).answers["spam"]
    assert not spam.is_calibrated
    assert spam.p == pytest.approx(2 / 3)  # odds of 4, square root


def test_an_overconfident_model_is_found_out_by_examples() -> None:
    rng = random.Random(3)
    stated, truths = [], []
    for _ in range(400):
        right = rng.random() < 0.7  # it says 0.97 or 0.03 and is right seven times in ten
        truth = rng.random() < 0.5
        p = 0.97 if truth == right else 0.03
        stated.append(Decision("predicate", {"yes": p, "no": 1 - p}))
        truths.append("yes" if truth else "no")
    fitted = fit_calibration(stated, truths)
    sure = fitted.apply(Decision("predicate", {"yes": 0.97, "no": 0.03})).p
    assert 0.62 < sure < 0.78
    assert fitted.covers("predicate")
    assert not fitted.covers("choice")
    choices = [Decision("choice", {"a": 0.98, "b": 0.01, "c": 0.01})] * 100
    shrunk = fit_calibration(choices, ["a"] * 60 + ["b"] * 20 + ["c"] * 20).apply(choices[0])
    assert shrunk.p == pytest.approx(0.6, abs=0.08)
    with pytest.raises(ValueError, match="not an option"):
        fit_calibration(choices[:1], ["d"])


def test_calibrations_are_kept_and_a_broken_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    assert load_calibrations(path) == {}
    save_calibration(path, "m", BELIEVED)
    save_calibration(path, "other", ProbabilityCalibration())
    assert load_calibrations(path) == {"m": BELIEVED, "other": ProbabilityCalibration()}
    path.write_text('{"m": {"scael": 1}}')
    with pytest.raises(ConfigError, match="orchestrator calibrate"):
        load_calibrations(path)


def test_a_budget_that_does_not_hold_the_worst_case_asks_nobody() -> None:
    with server(native=systemone) as upstream, pytest.raises(BudgetExceeded):
        decided(backend("sglang", upstream.url), budget=Budget(usd=1e-6))
    assert upstream.paths == []


def test_what_cannot_be_read_is_an_error_and_no_guess() -> None:
    for answers in ({}, {"spam": {"noul": 1.7}}, {"spam": {"noul": "high"}}, {"spam": {"noul": math.nan}}):
        with (
            server(native=lambda _, told=answers: {"answers": told}) as upstream,
            pytest.raises(BackendError, match=r"cannot be read|no decisions"),
        ):
            decided(backend("sglang", upstream.url), {"spam": QUESTIONS["spam"]})
    refusal = {"answers": [{"type": "refusal", "name": "spam"}]}
    with server(native=lambda _: refusal) as upstream, pytest.raises(BackendError, match="declined"):
        decided(backend("openai", upstream.url), {"spam": QUESTIONS["spam"]})


def test_questions_and_models_that_do_not_fit_are_told() -> None:
    with pytest.raises(InvalidQuery, match="2 to 255"):
        Question("Which?", "choice", {"one": ""})
    with pytest.raises(InvalidQuery, match="2 to 10"):
        Question("Which?", "score", {str(n): "" for n in range(11)})
    simulated = SimulatedBackend(SimulatedModel(ModelProfile("sim", 1.0, 1.0, skill=0.5)))
    with Orchestrator({"sim": simulated}) as orchestrator:
        with pytest.raises(ConfigError, match="probabilities"):
            orchestrator.decide_sync("x", {"q": "Is it?"})
        with pytest.raises(InvalidQuery, match="nothing is asked"):
            orchestrator.decide_sync("x", {})


def test_the_router_itself_decides_for_nothing() -> None:
    profiles = [ModelProfile("small", 0.1, 0.1, skill=0.6), ModelProfile("large", 5.0, 5.0, skill=0.95)]
    models = {profile.name: SimulatedBackend(SimulatedModel(profile)) for profile in profiles}
    questions = {
        "which": Question("Which is the cheapest that will do?", "choice", {"small": "", "large": ""}),
        "hard": Question("How hard is it?", "score", {"easy": "", "medium": "", "hard": ""}),
        "enough": Question("small"),
    }
    with Orchestrator(models) as orchestrator:
        easy = orchestrator.decide_sync(
            "What is 2 + 2?", questions, models=["orchestrator/complexity"], budget=Budget(usd=0.0)
        )
        proof = (
            "Prove that every compact Riemannian manifold of constant sectional curvature is a quotient of a model "
            "space."
        )
        hard = orchestrator.decide_sync(proof, questions, models=["orchestrator/complexity"])
        many = {"q": Question("?", "choice", {str(n): "" for n in range(6)})}
        with pytest.raises(InvalidQuery, match="at most five levels"):
            orchestrator.decide_sync("x", many, models=["orchestrator/complexity"])
    assert easy.answers["hard"].score < hard.answers["hard"].score
    assert easy.answers["enough"].p > hard.answers["enough"].p
    assert all(answer.is_calibrated for answer in easy.answers.values())


def test_a_pipeline_decides_by_calibrated_probabilities_in_one_call(tmp_path: Path) -> None:
    from orchestrator.pipeline import Pipeline

    file = tmp_path / "p.yaml"
    file.write_text(
        "version: 1\nname: mail\ninputs: {mail: {type: text}}\nsteps:\n  judge:\n    decide:\n      spam: Is this "
        "spam?\n"
        "      kind: {ask: What is it?, choice: {bill: asks for money, news: ''}}\n"
        "      tone: {ask: How kind is it?, score: [rude, plain, kind]}\n    state: ${inputs.mail}\noutput: ${judge}\n"
    )
    calibration = tmp_path / "c.json"

    async def run(url: str) -> Any:
        async with Orchestrator(
            {"m": backend("sglang", url)}, calibrations=load_calibrations(calibration)
        ) as orchestrator:
            return (await Pipeline.load(file).run({"mail": "Pay now!"}, orchestrator=orchestrator)).output

    save_calibration(calibration, "m", BELIEVED)
    with server(native=systemone) as upstream:
        output = asyncio.run(run(upstream.url))
    assert len(upstream.paths) == 1
    assert output["spam"] == {"p": pytest.approx(0.8), "yes": True}
    assert output["kind"]["choice"] == "bill"
    assert output["tone"]["score"] == pytest.approx(0.25)
    json.dumps(output)
