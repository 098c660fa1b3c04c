"""Several servers of one model that speak as vLLM does, on real sockets: their load, caches, pools and priorities."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from orchestrator.backends.http.load_reports import LoadReports
from orchestrator.backends.http.replicas import Replica, Replicas, endpoints_allowed
from orchestrator.backends.http.server_group import ServerGroup
from orchestrator.backends.remote import RemoteBackend
from orchestrator.errors import BackendUnavailable
from orchestrator.router import ModelProfile
from orchestrator.serving.prompt_chunks import CHUNK_TOKENS
from tests.support.gateway import completion, read_body, reply, running_gateway, served, settled

PROFILE = ModelProfile("m", 1.0, 1.0, prefill_tokens_per_s=10_000.0)
LONG = "The rules of this house are long. " * 300


@dataclass
class Engine:
    """Answers as vLLM 0.19 does: /metrics, the ORCA header where it is asked for, and prompts that are handed over."""

    page: str = ""
    orca: str = ""
    cached_tokens: int = 0
    hangs_s: float = 0.0
    fails: bool = False
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[bytes, bytes]] = field(default_factory=list)
    pages: int = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/metrics":
            self.pages += 1
            await asyncio.sleep(self.hangs_s)
            await reply(send, 200, self.page.encode())
            return
        body = json.loads(await read_body(receive))
        self.bodies.append(body)
        self.headers.append(dict(scope["headers"]))
        if self.fails:
            await reply(send, 500, {"error": {"message": "no memory", "type": "server_error"}})
            return
        found = completion("4", prompt=2_600)
        found["usage"]["prompt_tokens_details"] = {"cached_tokens": self.cached_tokens}
        if (body.get("kv_transfer_params") or {}).get("do_remote_decode"):
            handed = {"do_remote_prefill": True, "do_remote_decode": False, "remote_block_ids": [1], "remote_host": "a"}
            found["kv_transfer_params"] = handed
        told = self.orca and self.headers[-1].get(b"endpoint-load-metrics-format")
        await reply(send, 200, found, ((b"endpoint-load-metrics", self.orca.encode()),) if told else ())


def backend_of(urls: list[str], serving: ServerGroup | None = None, pools: tuple[Any, ...] = ()) -> RemoteBackend:
    replicas = [Replica(f"{url}/v1", pool) for url, pool in zip(urls, pools or ("any",) * len(urls), strict=True)]
    return RemoteBackend(PROFILE, provider="vllm", replicas=replicas, serving=serving, attempts=1)


def asked(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], "max_tokens": 20}


def started(stack: ExitStack, *engines: Engine) -> list[str]:
    return [stack.enter_context(served(engine)) for engine in engines]


BUSY = "vllm:num_requests_running 200\nvllm:num_requests_waiting 90\nvllm:kv_cache_usage_perc 0.99\n"
IDLE = "vllm:num_requests_running 0\nvllm:num_requests_waiting 0\nvllm:kv_cache_usage_perc 0.01\n"


def test_calls_go_where_the_metrics_tell_of_less_load() -> None:
    busy, idle = Engine(BUSY), Engine(IDLE)

    async def run(urls: list[str]) -> None:
        backend = backend_of(urls)
        await backend.chat(asked("one"))
        replicas = backend.upstream.replicas.all
        assert await asyncio.to_thread(settled, lambda: all(math.isfinite(replica.told_s) for replica in replicas))
        before = len(busy.bodies)
        for number in range(20):
            await backend.chat(asked(f"question {number}"))
        assert len(busy.bodies) == before
        await backend.aclose()

    with ExitStack() as stack:
        asyncio.run(run(started(stack, busy, idle)))
    assert busy.pages >= 1


def test_the_header_of_an_answer_tells_of_load_too() -> None:
    busy = Engine(orca="TEXT named_metrics.kv_cache_usage_perc=0.99, named_metrics.num_requests_waiting=90")
    idle = Engine(orca="TEXT named_metrics.kv_cache_usage_perc=0.0, named_metrics.num_requests_waiting=0")

    async def run(urls: list[str]) -> None:
        backend = backend_of(urls)
        for number in range(40):
            await backend.chat(asked(f"question {number}"))
        await backend.aclose()

    with ExitStack() as stack:
        asyncio.run(run(started(stack, busy, idle)))
    assert len(busy.bodies) <= 2
    assert busy.headers[0][b"endpoint-load-metrics-format"] == b"TEXT" if busy.headers else True


@pytest.mark.parametrize("page", ["", "<html>", "vllm:num_requests_running NaN\n", "\x00" * 1_000])
def test_a_page_that_lies_or_is_missing_changes_nothing(page: str, caplog: pytest.LogCaptureFixture) -> None:
    one, other = Engine(page), Engine(page)

    async def run(urls: list[str]) -> None:
        backend = backend_of(urls)
        for number in range(30):
            await backend.chat(asked(f"question {number}"))
            await asyncio.sleep(0.01)
        await backend.aclose()

    with ExitStack() as stack, caplog.at_level(logging.WARNING):
        asyncio.run(run(started(stack, one, other)))
    assert len(one.bodies) + len(other.bodies) == 30
    assert min(len(one.bodies), len(other.bodies)) > 3
    assert sum("the load of a server is not known" in each.message for each in caplog.records) == 2


def test_a_page_that_hangs_holds_up_no_call() -> None:
    one, other = Engine(hangs_s=30.0), Engine(hangs_s=30.0)

    async def run(urls: list[str]) -> float:
        backend = backend_of(urls)
        began = time.perf_counter()
        for number in range(5):
            await backend.chat(asked(f"question {number}"))
        seconds = time.perf_counter() - began
        await backend.aclose()
        return seconds

    with ExitStack() as stack:
        assert asyncio.run(run(started(stack, one, other))) < 5.0


def test_a_long_prefix_stays_where_it_was_read_and_salts_are_kept_apart() -> None:
    engines = [Engine(cached_tokens=2_500) for _ in range(4)]

    async def run(urls: list[str]) -> None:
        backend = backend_of(urls)
        for number in range(24):
            await backend.chat(asked(f"{LONG} question {number}"))
            await asyncio.sleep(0.04)  # it is read by then
        replicas = backend.upstream.replicas
        body = asked(f"{LONG} and now?")
        assert replicas.choose(body, expected_output=20).cached_tokens > 2_000
        assert replicas.choose({**body, "cache_salt": "ben"}, expected_output=20).cached_tokens == 0
        assert all(replica.agrees for replica in replicas.all)
        await backend.aclose()

    with ExitStack() as stack:
        asyncio.run(run(started(stack, *engines)))
    assert max(len(engine.bodies) for engine in engines) == 24


def test_forecasts_that_part_from_what_is_reported_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    engines = [Engine(cached_tokens=0) for _ in range(2)]

    async def run(urls: list[str]) -> None:
        backend = backend_of(urls)
        for number in range(24):
            await backend.chat(asked(f"{LONG} question {number}"))
        assert not all(replica.agrees for replica in backend.upstream.replicas.all)
        await backend.aclose()

    with ExitStack() as stack, caplog.at_level(logging.WARNING):
        asyncio.run(run(started(stack, *engines)))
    assert sum("far fewer cached tokens than were foreseen" in each.message for each in caplog.records) == 1


def test_prompts_are_read_on_one_server_and_answers_written_on_another() -> None:
    reads, writes = Engine(), Engine()

    async def run(urls: list[str]) -> dict[str, Any]:
        backend = backend_of(urls, ServerGroup(hands_over=True), ("prefill", "decode"))
        found = await backend.chat({**asked("short"), "stream": False, "max_completion_tokens": 9})
        await backend.aclose()
        return found

    with ExitStack() as stack:
        found = asyncio.run(run(started(stack, reads, writes)))
    assert found["choices"][0]["message"]["content"] == "4"
    (first,), (second,) = reads.bodies, writes.bodies
    assert (first["max_tokens"], first["stream"]) == (1, False)
    assert first["kv_transfer_params"]["do_remote_decode"] is True
    assert second["kv_transfer_params"]["do_remote_prefill"] is True
    assert second["max_tokens"] != 1


def test_where_reading_fails_the_other_server_does_both() -> None:
    reads, writes = Engine(fails=True), Engine()

    async def run(urls: list[str]) -> None:
        backend = backend_of(urls, ServerGroup(hands_over=True), ("prefill", "decode"))
        await backend.chat(asked("short"))
        await backend.aclose()

    with ExitStack() as stack:
        asyncio.run(run(started(stack, reads, writes)))
    assert "kv_transfer_params" not in writes.bodies[0]


def test_a_proxy_is_told_which_server_was_chosen() -> None:
    proxy = Engine()

    async def run(urls: list[str]) -> None:
        serving = ServerGroup(via=f"{urls[0]}/v1", reads_load=False)
        replicas = [Replica(f"http://10.0.0.{number}:8000/v1") for number in (1, 2)]
        backend = RemoteBackend(PROFILE, provider="vllm", replicas=replicas, serving=serving)
        for number in range(12):
            await backend.chat(asked(f"question {number}"))
        await backend.aclose()

    with ExitStack() as stack:
        asyncio.run(run(started(stack, proxy)))
    named = {headers[b"x-gateway-destination-endpoint"] for headers in proxy.headers}
    assert named == {b"10.0.0.1:8000", b"10.0.0.2:8000"}


def test_a_hint_limits_the_servers_and_one_that_fits_none_is_refused() -> None:
    replicas = Replicas([Replica(f"http://10.0.0.{number}:8000/v1") for number in range(4)])
    for number in range(10):
        placed = replicas.choose(asked(f"q {number}"), expected_output=9, among={"10.0.0.2:8000"})
        assert urlsplit(placed.replica.base_url).hostname == "10.0.0.2"
    with pytest.raises(BackendUnavailable, match="none of the endpoints"):
        replicas.choose(asked("q"), expected_output=9, among={"10.9.9.9:1"})
    assert endpoints_allowed.get() == frozenset()


def test_the_gateway_heeds_hints_and_tells_priorities_of_its_own(tmp_path: Any) -> None:
    one, other = Engine(), Engine()
    with ExitStack() as stack:
        urls = started(stack, one, other)
        model = {
            "provider": "vllm",
            "replicas": [{"base_url": f"{url}/v1"} for url in urls],
            "input_usd_per_mtok": 1.0,
            "output_usd_per_mtok": 1.0,
        }
        priorities = {"priorities": {"acme": -5, "app": -5}}
        run = stack.enter_context(running_gateway(tmp_path, models={"m": model}, gateway=priorities))
        hint = {"x-gateway-destination-endpoint-subset": urlsplit(urls[1]).netloc}
        headers = {"authorization": f"Bearer {run.key}", **hint}
        for number in range(6):
            body = {**asked(f"question {number}"), "model": "m", "priority": -1_000}
            answer = httpx.post(f"{run.url}/v1/chat/completions", json=body, headers=headers, trust_env=False)
            assert answer.status_code == 200, answer.text
        nowhere = {**headers, "x-gateway-destination-endpoint-subset": "10.9.9.9:1"}
        body = {**asked("nowhere"), "model": "m"}
        answer = httpx.post(f"{run.url}/v1/chat/completions", json=body, headers=nowhere, trust_env=False)
        assert answer.status_code == 503
    assert (len(one.bodies), len(other.bodies)) == (0, 6)
    assert {body["priority"] for body in other.bodies} <= {-5, 0}


def test_events_of_a_cache_over_a_real_socket_clear_and_size_the_index() -> None:
    msgpack, zmq = pytest.importorskip("msgpack"), pytest.importorskip("zmq")
    context = zmq.Context()
    socket = context.socket(zmq.PUB)
    socket.setsockopt(zmq.LINGER, 0)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    replica = Replica("http://10.0.0.1:8000/v1", kv_events=f"tcp://127.0.0.1:{port}")
    replicas = Replicas([replica, Replica("http://10.0.0.2:8000/v1")])

    async def page(_: str) -> str:
        return IDLE

    async def until(holds: Any) -> None:
        for _ in range(100):
            if holds():
                return
            await asyncio.sleep(0.02)
        raise AssertionError("the event did not arrive")

    async def run() -> None:
        reports = LoadReports(replicas, page)
        reports.want()
        replicas.index.record(0, list(range(30)))
        batch = [1.0, [["BlockStored", list(range(400)), None, [], 64, None]]]
        sequence = 0
        while replicas.index.size(0) != int(400 * 64 / CHUNK_TOKENS):
            socket.send_multipart([b"kv@pod@m", sequence.to_bytes(8, "big"), msgpack.packb(batch)])
            socket.send_multipart([b"kv@pod@m", b"x", b"\xc1"])
            sequence += 1
            await asyncio.sleep(0.02)
            assert sequence < 200
        assert replicas.index.matched(0, list(range(30))) == 30
        cleared = msgpack.packb([1.0, [["AllBlocksCleared"]]])
        socket.send_multipart([b"kv@pod@m", sequence.to_bytes(8, "big"), cleared])
        await until(lambda: replicas.index.matched(0, [0]) == 0)
        await reports.aclose()

    try:
        asyncio.run(run())
    finally:
        socket.close()
        context.term()
