"""Against servers that are not ours.

Hugging Face's `transformers serve` with a tiny model of random weights, and LiteLLM's proxy in front of it.

`make servers` installs them into build/servers; without it these tests are skipped.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from orchestrator import Budget, Message
from orchestrator.backends.base import Delta, Request
from orchestrator.backends.metering import bill_of, worst_case
from orchestrator.backends.remote import RemoteBackend
from orchestrator.budget import Ledger
from orchestrator.decisions import Question, decider_for
from orchestrator.errors import BackendRejected, BackendUnavailable
from orchestrator.router import ModelProfile
from orchestrator.types import Completion
from tests.support.gateway import running_gateway

BIN = Path(__file__).parents[2] / "build" / "servers" / "bin"
TINY = Path(__file__).parents[1] / "support" / "tiny_model.py"
START_S = 120.0
LITELLM_KEY = "sk-0f6d1c2b9a8e47d5b3c4a1e2f7d8c9b0a1b2c3d4e5f60718293a4b5c6d7e8f90"
ASKED = Request((Message("system", "Be brief."), Message("user", "hi")), "hi", max_tokens=12, temperature=0.0, seed=1)
# What the tiny model reads: a byte is a token, and the template adds the roles.
PROMPT_TOKENS = len("system: Be brief.\nuser: hi\nassistant:")

pytestmark = pytest.mark.skipif(
    not (BIN.parent / ".ready").exists(), reason="make servers installs the servers that these tests run"
)


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def started(command: list[str], port: int, path: str, log: Path, **environment: str) -> subprocess.Popen[bytes]:
    """A server that answers on `path`; its output goes to `log`."""
    quiet = {"HF_HUB_OFFLINE": "1", "NO_PROXY": "*", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "OMP_NUM_THREADS": "1"}
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, **quiet, **environment}, cwd=log.parent
        )
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{port}{path}", timeout=2, trust_env=False).status_code == 200:
                return server
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    server.kill()
    raise RuntimeError(f"no server: {log.read_text(errors='replace')[-2000:]}")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `transformers serve`."""
    folder = tmp_path_factory.mktemp("tiny")
    subprocess.run([BIN / "python", TINY, folder / "model"], check=True, capture_output=True, timeout=120)
    port = free_port()
    command = [
        str(BIN / "transformers"),
        "serve",
        "model",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--device",
        "cpu",
    ]
    server = started(command, port, "/health", folder / "log")
    yield f"http://127.0.0.1:{port}/v1"
    server.terminate()
    server.wait(20)


@pytest.fixture(scope="module")
def litellm(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of LiteLLM's proxy in front of it."""
    folder, port = tmp_path_factory.mktemp("litellm"), free_port()
    listed = [{"model_name": "tiny", "litellm_params": {"model": "openai/model", "api_base": tiny, "api_key": "none"}}]
    settings = {"drop_params": True, "num_retries": 0, "telemetry": False}
    (folder / "config.yaml").write_text(yaml.safe_dump({"model_list": listed, "litellm_settings": settings}))
    command = [
        str(BIN / "litellm"),
        "--config",
        str(folder / "config.yaml"),
        "--port",
        str(port),
        "--host",
        "127.0.0.1",
    ]
    server = started(command, port, "/health/liveliness", folder / "log", LITELLM_MASTER_KEY=LITELLM_KEY)
    yield f"http://127.0.0.1:{port}/v1"
    server.terminate()
    server.wait(20)


def backend(url: str, provider: str, model: str) -> RemoteBackend:
    return RemoteBackend(
        ModelProfile("m", 1.0, 2.0), provider=provider, base_url=url, model=model, key=LITELLM_KEY, attempts=1
    )


async def both(asked: RemoteBackend, request: Request = ASKED) -> tuple[Completion, str, Completion, Ledger]:
    """The same request whole and streamed, both paid."""
    ledger = Ledger(Budget(usd=1.0))
    worst = worst_case(asked, request)
    texts: list[str] = []
    streamed: Completion | None = None
    try:
        held = ledger.reserve(usd=worst.usd, tokens=worst.tokens)
        whole = await asked.complete(request)
        bill = bill_of(asked, whole, worst)
        ledger.settle(held, usd=bill.usd or 0.0, tokens=bill.usage.total_tokens)
        async for piece in asked.stream(request):
            if isinstance(piece, Delta):
                texts.append(piece.text)
            else:
                streamed = piece
    finally:
        await asked.aclose()
    assert streamed is not None
    return whole, "".join(texts), streamed, ledger


def test_whole_and_streamed_answers_agree_to_the_token(tiny: str) -> None:
    whole, text, streamed, ledger = asyncio.run(both(backend(tiny, "transformers", "model")))
    assert whole.usage == streamed.usage
    assert not whole.usage.estimated
    assert whole.usage.prefill_tokens == PROMPT_TOKENS
    assert whole.usage.output_tokens == 12
    assert whole.finish_reason == streamed.finish_reason == "length"
    assert text == streamed.text
    assert streamed.ttft_s is not None
    assert ledger.spent_usd == pytest.approx((PROMPT_TOKENS * 1.0 + 12 * 2.0) / 1e6, abs=2e-9)


def test_a_field_that_it_does_not_know_is_not_sent_and_would_be_refused(tiny: str) -> None:
    async def chat(provider: str) -> Any:
        asked = backend(tiny, provider, "model")
        try:
            body = {
                "messages": [{"role": "user", "content": "hi"}],
                "max_tokens": 4,
                "prompt_cache_key": "k",
                "unheard_of": 1,
            }
            return await asked.chat(body)
        finally:
            await asked.aclose()

    assert asyncio.run(chat("transformers"))["usage"]["completion_tokens"] == 4
    with pytest.raises(BackendRejected, match="unheard_of") as caught:
        asyncio.run(chat("compatible"))
    assert caught.value.status == 422


def test_it_decides_by_its_own_endpoint(tiny: str) -> None:
    async def run() -> Any:
        asked = backend(tiny, "transformers", "model")
        try:
            return await decider_for(asked).decide(
                "Pay now!",
                {"kind": Question("What is it?", "choice", {"bill": "asks for money", "news": "tells what is new"})},
            )
        finally:
            await asked.aclose()

    found = asyncio.run(run())
    assert sum(found.answers["kind"].probabilities.values()) == pytest.approx(1.0)
    assert found.usage.prefill_tokens > 20
    assert found.usage.output_tokens == 0


def test_a_stream_that_is_left_leaves_the_server_well(tiny: str) -> None:
    async def run() -> str | None:
        asked = backend(tiny, "transformers", "model")
        stream = asked.stream(Request(ASKED.messages, "hi", max_tokens=200))
        await anext(stream)
        await stream.aclose()
        assert asked.upstream.replicas.all[0].limit.in_flight == 0
        again = await asked.complete(ASKED)
        await asked.aclose()
        return again.text

    assert asyncio.run(run())


def test_through_litellms_proxy(litellm: str) -> None:
    whole, text, streamed, ledger = asyncio.run(
        both(backend(litellm, "compatible", "tiny"), Request(ASKED.messages, "hi", max_tokens=12))
    )
    assert whole.usage.prefill_tokens == PROMPT_TOKENS
    assert whole.usage.output_tokens == 12
    assert not whole.usage.estimated
    assert streamed.text == text
    assert streamed.usage.prefill_tokens > 0
    assert ledger.reserved_nano == 0


def test_errors_of_litellms_proxy_are_understood(litellm: str) -> None:
    async def ask(model: str) -> None:
        asked = backend(litellm, "compatible", model)
        try:
            await asked.complete(ASKED)
        finally:
            await asked.aclose()

    with pytest.raises((BackendRejected, BackendUnavailable)) as caught:
        asyncio.run(ask("no-such-model"))
    assert caught.value.status in (400, 404)
    assert "no-such-model" in str(caught.value)


def test_behind_our_gateway_by_openais_own_client(tiny: str, tmp_path: Path) -> None:
    from openai import OpenAI

    priced = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 2.0}
    models = {"tiny": {"provider": "transformers", "base_url": tiny, "model": "model", **priced}}
    with running_gateway(tmp_path, models=models) as gateway:
        client = OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0)
        stream = client.chat.completions.create(
            model="tiny",
            messages=[{"role": "user", "content": "hi"}],
            max_tokens=9,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = list(stream)
        usage = next(chunk.usage for chunk in reversed(chunks) if chunk.usage is not None)
        assert usage.completion_tokens == 9
        (used,) = gateway.get("/v1/usage").json()["data"]
        assert used["output_tokens"] == 9
        assert used["cost_usd"] == pytest.approx((usage.prompt_tokens * 1.0 + 9 * 2.0) / 1e6)
