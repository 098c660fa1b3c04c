"""Batches at half the price, against our own gateway's batch API and a server that plays Anthropic's.

Embeddings against the gateway's.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from orchestrator import BackendError, Budget, BudgetExceeded, ConfigError
from orchestrator.backends.batches import batches_of, run_batch
from orchestrator.backends.embeddings import embed
from orchestrator.backends.provider_batches import AnthropicBatches, OpenAIBatches
from orchestrator.backends.remote import RemoteBackend
from orchestrator.budget import Ledger
from orchestrator.errors import BadResponse
from orchestrator.router import ModelProfile
from tests.support.gateway import Provider, reply, running_gateway, served

PROFILE = ModelProfile("m", 2.0, 4.0)
BODIES = {f"r{n}": {"messages": [{"role": "user", "content": f"question {n}"}], "max_tokens": 20} for n in range(3)}


def test_a_batch_of_openais_through_our_own_gateway(tmp_path: Path) -> None:
    """The gateway's batches follow OpenAI's documents; the openai package is run against them elsewhere."""

    async def run(url: str, key: str) -> tuple[Any, Ledger]:
        backend = RemoteBackend(PROFILE, provider="openai", base_url=f"{url}/v1", model="small", key=key)
        batches, ledger = OpenAIBatches(backend), Ledger(Budget(usd=1.0))
        results = await run_batch(backend, BODIES, ledger, batches=batches, poll_s=0.05)
        await batches.aclose()
        await backend.aclose()
        return results, ledger

    with running_gateway(tmp_path) as gateway:
        results, ledger = asyncio.run(run(gateway.url, gateway.new_key(permissions=("inference", "files"))))
    assert [result.id for result in results] == list(BODIES)
    assert all(result.completion["choices"][0]["message"]["content"] == "Paris" for result in results)
    assert ledger.spent_usd == pytest.approx(3 * 0.5 * (20 * 2.0 + 10 * 4.0) / 1e6, abs=2e-9)
    assert ledger.reserved_nano == 0


class Anthropic:
    """Plays Anthropic's batch API: ended at the second look, with one answer, one error and one that expired."""

    def __init__(self) -> None:
        self.looks = 0
        self.cancelled: list[str] = []
        self.looked = asyncio.Event()

    def handle(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        assert request.headers["x-api-key"] == "k"
        if path == "/v1/messages/batches":
            from anthropic.types.messages.batch_create_params import BatchCreateParams
            from pydantic import TypeAdapter

            TypeAdapter(BatchCreateParams).validate_python(json.loads(request.content))
            return httpx.Response(200, json={"id": "b1", "processing_status": "in_progress"})
        if path.endswith("/cancel"):
            self.cancelled.append(path)
            return httpx.Response(200, json={"id": "b1"})
        if path.endswith("/results"):
            message = {
                "content": [{"type": "text", "text": "Paris"}],
                "stop_reason": "end_turn",
                "usage": {"input_tokens": 20, "output_tokens": 10},
            }
            error = {"type": "error", "error": {"type": "invalid_request_error", "message": "no"}}
            rows = [{"type": "expired"}, {"type": "errored", "error": error}, {"type": "succeeded", "message": message}]
            lines = [json.dumps({"custom_id": f"r{n}", "result": row}) for n, row in enumerate(rows)]
            return httpx.Response(200, text="\n".join(lines))
        self.looks += 1
        self.looked.set()
        counts = {"processing": 0, "succeeded": 1, "errored": 1, "canceled": 0, "expired": 1}
        state = {"processing_status": "ended" if self.looks > 1 else "in_progress", "request_counts": counts}
        return httpx.Response(
            200, json={"id": "b1", **state, "results_url": "https://api.anthropic.com/v1/messages/batches/b1/results"}
        )


def claude() -> RemoteBackend:
    return RemoteBackend(PROFILE, provider="anthropic", model="claude-sonnet-5", key="k")


def test_a_batch_of_anthropics_pays_for_what_succeeded() -> None:
    async def run() -> tuple[Any, Ledger]:
        backend, ledger = claude(), Ledger(Budget(usd=1.0))
        batches = AnthropicBatches(backend, httpx.MockTransport(Anthropic().handle))
        results = await run_batch(backend, BODIES, ledger, batches=batches, poll_s=0.001)
        await batches.aclose()
        return results, ledger

    results, ledger = asyncio.run(run())
    assert [result.error for result in results] == ["expired", "no", ""]
    assert ledger.spent_usd == pytest.approx(0.5 * (20 * 2.0 + 10 * 4.0) / 1e6)


def test_a_batch_that_could_overspend_is_not_handed_in_and_a_cancelled_wait_cancels_it() -> None:
    api = Anthropic()
    api.looks = -1_000

    async def run() -> Ledger:
        backend, ledger = claude(), Ledger(Budget(usd=1.0))
        batches = AnthropicBatches(backend, httpx.MockTransport(api.handle))
        with pytest.raises(BudgetExceeded):
            await run_batch(backend, BODIES, Ledger(Budget(usd=1e-6)), batches=batches)
        waiting = asyncio.ensure_future(run_batch(backend, BODIES, ledger, batches=batches, poll_s=0.001))
        await asyncio.wait_for(api.looked.wait(), 10)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await batches.aclose()
        return ledger

    ledger = asyncio.run(run())
    assert api.cancelled == ["/v1/messages/batches/b1/cancel"]
    assert ledger.spent_usd > 0.5 * 3 * 20 * 4.0 / 1e6  # its worst case


def test_the_key_goes_to_no_host_that_only_begins_like_the_providers() -> None:
    asked: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        found = {
            "id": "b1",
            "processing_status": "ended",
            "results_url": "https://api.anthropic.com.example.org/v1/messages/batches/b1/results",
        }
        return httpx.Response(200, json=found)

    async def run() -> None:
        with pytest.raises(BadResponse, match="another address"):
            await run_batch(claude(), BODIES, Ledger(), batches=AnthropicBatches(claude(), httpx.MockTransport(handle)))

    asyncio.run(run())
    assert set(asked) == {"api.anthropic.com"}


def test_an_answer_without_usage_is_booked_at_its_worst_and_never_at_nothing() -> None:
    message = {"content": [{"type": "text", "text": "Paris"}], "stop_reason": "end_turn"}

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/results"):
            rows = [{"custom_id": name, "result": {"type": "succeeded", "message": message}} for name in BODIES]
            return httpx.Response(200, text="\n".join(map(json.dumps, rows)))
        return httpx.Response(200, json={"id": "b1", "processing_status": "ended"})

    async def run() -> Ledger:
        ledger = Ledger(Budget(usd=1.0))
        results = await run_batch(
            claude(), BODIES, ledger, batches=AnthropicBatches(claude(), httpx.MockTransport(handle))
        )
        assert all(result.usage is None for result in results)
        return ledger

    assert asyncio.run(run()).spent_usd > 0.5 * 3 * 20 * 4.0 / 1e6


@pytest.mark.parametrize(("failure", "is_booked"), [(httpx.ReadTimeout, True), (httpx.ConnectError, False)])
def test_a_batch_that_may_have_been_taken_is_booked(failure: type[httpx.TransportError], is_booked: bool) -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        raise failure("gone")

    async def run() -> Ledger:
        ledger = Ledger(Budget(usd=1.0))
        with pytest.raises(BackendError):
            await run_batch(claude(), BODIES, ledger, batches=AnthropicBatches(claude(), httpx.MockTransport(handle)))
        return ledger

    ledger = asyncio.run(run())
    assert (ledger.spent_usd > 0) == is_booked
    assert ledger.reserved_nano == 0


def test_who_takes_no_batches_says_so() -> None:
    with pytest.raises(ConfigError, match="takes no batches"):
        batches_of(RemoteBackend(PROFILE, provider="groq"))


def test_embeddings_of_the_gateway_as_numbers_and_in_order(tmp_path: Path) -> None:
    async def run(url: str, key: str) -> Any:
        backend = RemoteBackend(PROFILE, base_url=f"{url}/v1", model="orchestrator/static", key=key)
        try:
            return await embed(backend, ["a cat", "a dog", "a cat"])
        finally:
            await backend.aclose()

    with running_gateway(tmp_path) as gateway:
        found = asyncio.run(run(gateway.url, gateway.key))
    assert found.vectors.dtype == np.float32
    assert np.allclose(found.vectors[0], found.vectors[2])
    assert not np.allclose(found.vectors[0], found.vectors[1])
    assert found.usage.prefill_tokens > 0


def test_embeddings_come_in_as_many_calls_as_it_takes_and_what_is_missing_is_told() -> None:
    async def play(body: dict[str, Any], send: Any) -> None:
        rows = [{"index": n, "embedding": [float(len(text)), 1.0]} for n, text in enumerate(body["input"])]
        await reply(send, 200, {"data": list(reversed(rows)), "usage": {"prompt_tokens": len(rows)}})

    async def short(body: dict[str, Any], send: Any) -> None:
        await reply(send, 200, {"data": [{"index": 0, "embedding": [1.0]}], "usage": {"prompt_tokens": 1}})

    async def run(url: str, texts: list[str]) -> Any:
        backend = RemoteBackend(PROFILE, base_url=url)
        try:
            return await embed(backend, texts)
        finally:
            await backend.aclose()

    with served(Provider(play)) as url:
        found = asyncio.run(run(url, ["x" * (n % 7) for n in range(3_000)]))
        assert found.vectors.shape == (3_000, 2)
        assert [int(row[0]) for row in found.vectors[:8]] == [0, 1, 2, 3, 4, 5, 6, 0]
        assert found.usage.prefill_tokens == 3_000
        assert asyncio.run(run(url, [])).vectors.shape == (0, 0)
    with served(Provider(short)) as url, pytest.raises(BadResponse, match="no embeddings"):
        asyncio.run(run(url, ["a", "b"]))


def test_a_batch_that_is_refused_is_told_without_the_key() -> None:
    async def run() -> None:
        backend, ledger = claude(), Ledger(Budget(usd=1.0))
        refuse = httpx.MockTransport(lambda _: httpx.Response(401, json={"error": {"message": "bad key k"}}))
        with pytest.raises(BackendError, match=r"bad \*\*\*ey \*\*\*"):
            await run_batch(backend, BODIES, ledger, batches=AnthropicBatches(backend, refuse))
        assert ledger.reserved_nano == ledger.settled_nano == 0

    asyncio.run(run())
