"""/v1/systemone.

Typed questions answered with probabilities, by the local router for nothing or by a model's log-probabilities.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import Provider, Running, Send, completion, reply, running_gateway, served

LOCAL = "orchestrator/complexity"
EASY, HARD = (
    "What is 2 + 2?",
    "Prove that every compact Riemannian manifold of constant sectional curvature is a quotient of a model space.",
)


def decide(gateway: Running, state: Any, questions: dict[str, Any], model: str = LOCAL) -> dict[str, Any]:
    answered = gateway.post("/v1/systemone", {"model": model, "state": state, "questions": questions})
    assert answered.status_code == 200, answered.text
    found: dict[str, Any] = answered.json()["answers"]
    return found


def test_the_local_router_decides_for_nothing(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway:
        questions = {
            "hard": {"type": "score"},
            "level": {"type": "choice", "criteria": ["easy", "medium", "hard"]},
            "which": {"type": "choice", "criteria": ["small", "large"]},
            "enough": {"type": "noul", "criteria": "small"},
        }
        easy, hard = decide(gateway, EASY, questions), decide(gateway, HARD, questions)
        for name in ("hard", "level", "which"):
            p = hard[name]["probabilities"]
            assert sum(p.values() if isinstance(p, dict) else p) == pytest.approx(1.0, abs=1e-3)
        assert easy["hard"]["score"] < hard["hard"]["score"]
        assert easy["enough"]["noul"] > hard["enough"]["noul"]
        assert hard["which"]["probabilities"]["large"] > easy["which"]["probabilities"]["large"]
        assert list(hard["level"]["probabilities"]) == ["easy", "medium", "hard"]
        assert gateway.provider.bodies == []
        (used,) = gateway.get("/v1/usage").json()["data"]
        assert (used["model"], used["cost_usd"]) == (LOCAL, 0.0)


def test_labels_may_stand_without_a_word_about_them(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway:
        question = {"which": {"type": "choice", "criteria": {"easy": None, "medium": None, "hard": None}}}
        assert set(decide(gateway, EASY, question)["which"]["probabilities"]) == {"easy", "medium", "hard"}


def test_a_server_without_decisions_is_well_and_is_asked_for_log_probabilities(tmp_path: Path) -> None:
    async def play(body: dict[str, Any], send: Send) -> None:
        if "state" in body:
            await reply(send, 501, {"error": {"message": "not implemented"}})
            return
        done = completion("A", prompt=50, output=1)
        top = [{"token": token, "logprob": math.log(p)} for token, p in (("A", 0.7), ("B", 0.3))]
        done["choices"][0]["logprobs"] = {"content": [{"token": "A", "logprob": -0.4, "top_logprobs": top}]}
        await reply(send, 200, done)

    upstream = Provider(play)
    with served(upstream) as url:
        models = {
            "m": {
                "provider": "llamacpp",
                "base_url": f"{url}/v1",
                "input_usd_per_mtok": 1.0,
                "output_usd_per_mtok": 2.0,
            }
        }
        with running_gateway(tmp_path, models=models) as gateway:
            for _ in range(8):
                asked = {"model": "m", "state": EASY, "questions": {"q": {"type": "choice", "criteria": ["yes", "no"]}}}
                answer = gateway.post("/v1/systemone", asked)
                assert answer.status_code == 200, answer.text
                assert gateway.chat(model="m").status_code == 200  # its breaker is closed
    assert sum("state" in body for body in upstream.bodies) == 1


def test_a_calculator_counts_only_where_it_can_answer(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway:
        which = {"which": {"type": "choice", "criteria": ["calculator", "large"]}}
        assert decide(gateway, EASY, which)["which"]["choice"] == "calculator"
        assert decide(gateway, HARD, which)["which"]["choice"] == "large"


def test_a_model_decides_by_its_log_probabilities(tmp_path: Path) -> None:
    async def play(body: dict[str, Any], send: Send) -> None:
        assert (body["max_tokens"], body["logprobs"]) == (1, True)
        top = [
            {"token": token, "logprob": math.log(p)} for token, p in (("A", 0.3), (" B", 0.5), ("b", 0.1), ("Z", 0.1))
        ]
        done = completion("B", prompt=50, output=1)
        done["choices"][0]["logprobs"] = {"content": [{"token": "B", "logprob": -0.5, "top_logprobs": top}]}
        await reply(send, 200, done)

    with running_gateway(tmp_path, play) as gateway:
        questions = {
            "spam": {"type": "noul", "instructions": "Is this spam?"},
            "kind": {"type": "choice", "criteria": {"bill": "asks for money", "news": "tells what is new"}},
        }
        answers = decide(gateway, {"subject": "Act now"}, questions, "small")
        # What is stated, 1/3 and 2/3, is believed by half its log-odds as long as nobody has held it against known
        # answers.
        assert answers["spam"]["noul"] == pytest.approx(1 / (1 + math.sqrt(2)), abs=1e-3)
        assert answers["spam"]["calibrated"] is False
        assert answers["kind"]["choice"] == "news"
        assert answers["kind"]["probabilities"]["news"] == pytest.approx(math.sqrt(2) / (1 + math.sqrt(2)), abs=1e-3)
        assert "news: tells what is new" in gateway.provider.bodies[1]["messages"][0]["content"]
        (used,) = gateway.get("/v1/usage").json()["data"]
        assert (used["requests"], used["prefill_tokens"], used["output_tokens"]) == (1, 100, 2)
        assert used["cost_usd"] == pytest.approx(100e-6 + 4e-6)


def test_what_cannot_be_decided_is_told(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway:
        ask = {"q": {"type": "noul"}}
        for model, code in (("nothing", "model_not_found"), ("small", "no_logprobs")):
            refused = gateway.post("/v1/systemone", {"model": model, "state": "x", "questions": ask})
            assert (refused.status_code, refused.json()["error"]["code"]) == (404, code)
        many = {"q": {"type": "choice", "criteria": [f"option {n}" for n in range(21)]}}
        assert (
            gateway.post("/v1/systemone", {"model": "small", "state": "x", "questions": many}).json()["error"]["code"]
            == "too_many_options"
        )
        assert (
            gateway.post(
                "/v1/systemone", {"model": LOCAL, "state": "x", "questions": {"q": {"type": "maybe"}}}
            ).status_code
            == 400
        )
