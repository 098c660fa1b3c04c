"""Vectors from an /embeddings endpoint: a real HTTP server that behaves, and one that does not."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from orchestrator import ConfigError, Orchestrator
from orchestrator.config.models import parse_config
from orchestrator.memory import EncoderError, EncoderMismatch, EndpointEncoder, HashingEncoder, Memory

REAL = HashingEncoder(16)


@contextmanager
def server(*, failures: int = 0, reply: Any = None, as_base64: bool = False) -> Iterator[tuple[str, list[Any]]]:
    """Answers with hashed vectors in reverse order; the first `failures` calls get 503. `reply` replaces the answer."""
    seen: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            seen.append((self.path, self.headers.get("authorization"), asked))
            status, body = 200, reply
            if len(seen) <= failures:
                status, body = 503, {"error": "warming up"}
            elif reply is None:
                rows = REAL.encode(asked["input"])
                coded = [
                    base64.b64encode(row.astype("<f4").tobytes()).decode() if as_base64 else row.tolist()
                    for row in rows
                ]
                body = {"data": [{"index": i, "embedding": row} for i, row in reversed(list(enumerate(coded)))]}
            raw = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *arguments: Any) -> None: ...

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{http.server_port}/v1", seen
    finally:
        http.shutdown()
        http.server_close()


@pytest.mark.parametrize("as_base64", [False, True])
def test_vectors_come_in_order_in_batches_and_with_the_key(as_base64: bool) -> None:
    texts = [f"lamp number {i}" for i in range(150)] + ["  "]
    with server(as_base64=as_base64) as (url, seen):
        encoder = EndpointEncoder(url, "m", key="secret")
        assert (encoder.dimensions, encoder.fingerprint) == (16, "endpoint:m:16")
        found = encoder.encode(texts)
        encoder.close()
    assert found[:150] == pytest.approx(REAL.encode(texts[:150]), abs=1e-6)
    assert not found[150].any()
    assert [len(asked["input"]) for _, _, asked in seen] == [1, 64, 64, 22]
    assert {(path, key) for path, key, _ in seen} == {("/v1/embeddings", "Bearer secret")}


def test_a_server_that_warms_up_is_asked_again_and_one_that_refuses_is_not() -> None:
    waits: list[float] = []
    with server(failures=2) as (url, _):
        assert EndpointEncoder(url, "m", sleep=waits.append).dimensions == 16
    assert waits == [0.5, 1.0]
    with server(failures=99) as (url, seen), pytest.raises(EncoderError, match=r"HTTP 503: .*warming up"):
        EndpointEncoder(url, "m", sleep=waits.append)
    assert len(seen) == 4
    with pytest.raises(EncoderError, match="Check the address"):
        EndpointEncoder("http://127.0.0.1:9/v1", "m", sleep=waits.append)


@pytest.mark.parametrize(
    "reply", [{"nothing": 1}, [], {"data": []}, {"data": [{"index": 0, "embedding": [float("inf")]}]}, "text"]
)
def test_answers_that_are_no_embeddings_are_refused(reply: Any) -> None:
    with server(reply=reply) as (url, _), pytest.raises(EncoderError):
        EndpointEncoder(url, "m", sleep=lambda seconds: None)


def test_a_memory_with_an_endpoint_from_the_configuration(tmp_path: Any) -> None:
    path = tmp_path / "m.db"
    with server() as (url, _):
        config = (
            f"models: {{c: {{provider: calculator}}}}\nmemory: "
            f"{{path: {path}, encoder: endpoint, base_url: '{url}', model: m}}\n"
        )
        with Orchestrator.from_config(parse_config(config)) as orchestrator:
            orchestrator.remember_sync("The spare key hangs behind the clock.")
            assert orchestrator.recall_sync("Where is the spare key?").items[0].record.text.startswith("The spare key")
    with pytest.raises(EncoderMismatch, match="endpoint:m:16"):
        Memory(path)
    with pytest.raises(ConfigError, match="needs base_url and model"):
        Orchestrator.from_config(parse_config("models: {c: {provider: calculator}}\nmemory: {encoder: endpoint}\n"))
    with pytest.raises(ConfigError, match="no embeddings from 'm'"):
        Orchestrator.from_config(parse_config(config.replace(url, "http://127.0.0.1:9/v1")))


def test_nothing_is_stored_when_the_endpoint_is_gone() -> None:
    with server() as (url, _):
        memory = Memory(encoder=EndpointEncoder(url, "m", sleep=lambda seconds: None))
    with pytest.raises(EncoderError):
        memory.remember("lost?")
    assert memory.count() == 0
    assert np.isfinite(memory.encoder.dimensions)
