"""What `benchmarks.backends` runs in a process of its own, on one core.

`python -m benchmarks.backend_calls KIND PORT SECONDS TRANSPORT`; prints one JSON object.

KIND is `calls` (complete calls with reservation, trace and settlement, 32 in flight), `tensorzero` (the same number of
calls by TensorZero's embedded client; needs the package tensorzero and nothing of ours), `streams` (memory of a
thousand open streams) or `ttft` (seconds to the first token, ours and of a bare socket).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

IN_FLIGHT, WARM_UP = 32, 300
SECONDS = float(sys.argv[3]) if len(sys.argv) > 3 else 4.0
TRANSPORT = sys.argv[4] if len(sys.argv) > 4 else "wire"
STREAMS = 1_000
FIRST_TOKENS = 300
PROMPT = "hello " * 20


async def per_second(one: Any) -> float:
    """Calls of `one` finished per second, with 32 in flight."""
    for _ in range(WARM_UP):
        await one()
    done, end = 0, time.perf_counter() + SECONDS

    async def worker() -> None:
        nonlocal done
        while time.perf_counter() < end:
            await one()
            done += 1

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
    return done / (time.perf_counter() - began)


async def calls(port: int) -> dict[str, Any]:
    from orchestrator import Budget, Message
    from orchestrator.backends.base import Request
    from orchestrator.backends.metering import bill_of, worst_case
    from orchestrator.budget import Ledger
    from orchestrator.trace import Trace

    backend, ledger = _ours(port), Ledger(Budget(usd=1e6))
    request = Request((Message("system", "Be brief."), Message("user", PROMPT)), PROMPT, max_tokens=200)

    async def one() -> None:
        trace = Trace()
        with trace.span("draft", model="mock") as span:
            worst = worst_case(backend, request)
            held = ledger.reserve(usd=worst.usd, tokens=worst.tokens)
            done = await backend.complete(request)
            bill = bill_of(backend, done, worst)
            ledger.settle(held, usd=bill.usd or 0.0, tokens=bill.usage.total_tokens)
            span.attributes.update(
                cost_usd=bill.usd, prefill_tokens=bill.usage.prefill_tokens, output_tokens=bill.usage.output_tokens
            )
        trace.finish()

    rate = await per_second(one)
    assert ledger.reserved_nano == 0
    await backend.aclose()
    return {"per_second": rate}


async def tensorzero(port: int) -> dict[str, Any]:
    import os
    import tempfile

    import tensorzero

    os.environ["MOCK_KEY"] = "none"
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as config:
        config.write(
            "[gateway]\nobservability.enabled = false\n[models.mock]\nrouting = ['p']\n[models.mock.providers.p]\ntype "
            "= 'openai'\n"
            f"model_name = 'mock'\napi_base = 'http://127.0.0.1:{port}/v1'\napi_key_location = 'env::MOCK_KEY'\n"
        )
        config.flush()
        client = await tensorzero.AsyncTensorZeroGateway.build_embedded(config_file=config.name)  # type: ignore[misc]
        asked = {"system": "Be brief.", "messages": [{"role": "user", "content": PROMPT}]}
        params = {"chat_completion": {"max_tokens": 200}}

        async def one() -> None:
            await client.inference(model_name="mock", input=asked, params=params)

        rate = await per_second(one)
    return {"per_second": rate}


async def streams(port: int) -> dict[str, Any]:
    """Memory beyond that of the first ten streams, which bring the imports with them."""
    backend = _ours(port)
    request = _request()

    async def some(count: int) -> tuple[list[Any], int]:
        opened = [backend.stream(request) for _ in range(count)]
        await asyncio.gather(*(anext(stream) for stream in opened))
        return opened, _rss_bytes()

    few, before = await some(10)
    many, after = await some(STREAMS)
    for stream in (*few, *many):
        await stream.aclose()
    await backend.aclose()
    return {"mb": (after - before) / 1e6}


async def ttft(port: int) -> dict[str, Any]:
    backend, request = _ours(port), _request()
    body = json.dumps(
        {"model": "mock", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 200, "stream": True}
    ).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: "
        f"{len(body)}\r\n\r\n"
    ).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    ours, bare = [], []
    for _ in range(FIRST_TOKENS):  # in turn, so that a slow moment of the machine is one of both
        began = time.perf_counter()
        stream = backend.stream(request)
        await anext(stream)
        ours.append(time.perf_counter() - began)
        async for _ in stream:
            pass
        began = time.perf_counter()
        writer.write(head + body)
        first = await reader.readuntil(b"word0")
        bare.append(time.perf_counter() - began)
        if not first.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(first[:80])
        await reader.readuntil(b"0\r\n\r\n")
    writer.close()
    await backend.aclose()
    middle = FIRST_TOKENS // 2
    return {"ours_s": sorted(ours)[middle], "bare_s": sorted(bare)[middle]}


def _ours(port: int) -> Any:
    from orchestrator.backends.http.transport_choice import HttpxTransport
    from orchestrator.backends.remote import RemoteBackend
    from orchestrator.router import ModelProfile

    profile, wire = ModelProfile("mock", 0.5, 1.5), HttpxTransport() if TRANSPORT == "httpx" else None
    return RemoteBackend(
        profile, provider="compatible", base_url=f"http://127.0.0.1:{port}/v1", model="mock", key="none", wire=wire
    )


def _request() -> Any:
    from orchestrator import Message
    from orchestrator.backends.base import Request

    return Request((Message("user", PROMPT),), PROMPT, max_tokens=200)


def _rss_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


KINDS = {"calls": calls, "tensorzero": tensorzero, "streams": streams, "ttft": ttft}

if __name__ == "__main__":
    import uvloop  # for both sides

    print(json.dumps(uvloop.run(KINDS[sys.argv[1]](int(sys.argv[2])))))
