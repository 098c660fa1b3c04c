"""The served fleet as real clients see it: the openai package, our own backend, and callers that send nonsense."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import openai
import pytest

from orchestrator import Message, Orchestrator
from orchestrator.backends.base import Delta, Request
from orchestrator.backends.remote import RemoteBackend
from orchestrator.backends.testing.fleet_server import FleetApp, running_server
from orchestrator.backends.testing.recorded import RecordedAnswer, RecordedModel
from orchestrator.backends.testing.simulated import SimulatedModel, SimulatedProblem
from orchestrator.router import ModelProfile
from orchestrator.types import Completion

QUESTION = "How many lamps do 3 crates of 12 hold?"
PROFILE = ModelProfile("sim", 1.0, 2.0, skill=0.95, ttft_s=0.0, tokens_per_s=1e6, simulated=True)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    simulated = SimulatedModel(PROFILE, {QUESTION: SimulatedProblem(QUESTION, "36", -5.0)})
    recorded = RecordedModel(ModelProfile("rec", 1.0, 2.0), {QUESTION: RecordedAnswer("#### 36", 21, 7)})
    with running_server(FleetApp([simulated, recorded], time_scale=0)) as address:
        yield address


def test_the_openai_client_reads_answers_usage_and_models(url: str) -> None:
    with openai.OpenAI(base_url=url, api_key="unused") as client:
        answer = client.chat.completions.create(model="rec", messages=[{"role": "user", "content": QUESTION}])
        assert answer.choices[0].message.content == "#### 36"
        assert answer.usage is not None
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (21, 7, 28)
        assert [model.id for model in client.models.list()] == ["sim", "rec"]


def test_the_openai_client_reads_the_stream_with_its_usage(url: str) -> None:
    with openai.OpenAI(base_url=url, api_key="unused") as client:
        messages = [{"role": "user", "content": QUESTION}]
        chunks = list(
            client.chat.completions.create(
                model="sim", messages=messages, stream=True, stream_options={"include_usage": True}
            )  # type: ignore[call-overload]
        )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert "The answer is 36" in text
    assert chunks[-1].usage.completion_tokens > 0
    assert chunks[-2].choices[0].finish_reason == "stop"


def test_errors_reach_the_openai_client_as_its_own(url: str) -> None:
    with openai.OpenAI(base_url=url, api_key="unused", max_retries=0) as client:
        with pytest.raises(openai.NotFoundError, match="this server has: sim, rec"):
            client.chat.completions.create(model="gpt-9", messages=[{"role": "user", "content": "hello"}])
        with pytest.raises(openai.NotFoundError, match="no recorded answer"):
            client.chat.completions.create(model="rec", messages=[{"role": "user", "content": "something else"}])


def test_a_simulation_says_so_in_text_json_and_header(url: str) -> None:
    body = {"model": "sim", "messages": [{"role": "user", "content": QUESTION}]}
    response = httpx.post(f"{url}/chat/completions", json=body, trust_env=False)
    assert response.headers["x-orchestrator-simulated"] == "true"
    assert response.json()["simulated"] is True
    assert "[simulated]" in response.json()["choices"][0]["message"]["content"]
    real = httpx.post(f"{url}/chat/completions", json=body | {"model": "rec"}, trust_env=False)
    assert "simulated" not in real.text
    assert "x-orchestrator-simulated" not in real.headers


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"", 400), (b"not json", 400), (b"[]", 400), (b'{"messages": []}', 400),
    (b'{"model": "sim", "messages": [{"role": "user"}]}', 400),
     (b"[" * 100_000, 400), (b'{"model": "none", "messages": [{"role": "user", "content": "x"}]}', 404)],
)  # fmt: skip
def test_nonsense_gets_an_error_object(url: str, content: bytes, status: int) -> None:
    response = httpx.post(f"{url}/chat/completions", content=content, trust_env=False)
    assert response.status_code == status
    assert response.json()["error"]["message"]


def test_other_endpoints(url: str) -> None:
    assert httpx.get(url.removesuffix("/v1") + "/health", trust_env=False).json() == {"status": "ok"}
    assert httpx.get(f"{url}/nothing", trust_env=False).status_code == 404


def test_our_backend_streams_from_it(url: str) -> None:
    async def run() -> list[Delta | Completion]:
        backend = RemoteBackend(PROFILE, base_url=url, model="sim")
        pieces = [piece async for piece in backend.stream(Request((Message("user", QUESTION),), QUESTION))]
        await backend.aclose()
        return pieces

    *deltas, last = asyncio.run(run())
    assert isinstance(last, Completion)
    assert "".join(piece.text for piece in deltas if isinstance(piece, Delta)) == last.text
    assert len(deltas) > 1
    assert last.simulated
    assert not last.usage.estimated


def test_the_engine_marks_an_answer_that_a_server_calls_simulated(url: str) -> None:
    unmarked = ModelProfile("sim", 1.0, 2.0)  # nothing on our side says that it is a simulation; the server does
    with Orchestrator({"sim": RemoteBackend(unmarked, base_url=url, model="sim")}) as orchestrator:
        answer = orchestrator.answer_sync(QUESTION)
        assert orchestrator.answer_sync(QUESTION).text == answer.text  # the connection is used again
    assert answer.simulated
    assert answer.cost_usd is not None
    assert answer.cost_usd > 0
