"""The fault table.

Whatever a server does, the outcome is stated, typed, and nothing that may be billed is lost. docs/providers.md prints
it.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestrator import Message, Usage
from orchestrator.backends.base import Delta, Request
from orchestrator.backends.provider_errors import retry_after_s
from orchestrator.backends.remote import RemoteBackend
from orchestrator.errors import BackendError, BackendRejected, BackendUnavailable, BadResponse, RateLimited
from orchestrator.router import ModelProfile
from orchestrator.types import Completion
from tests.support.faulty_server import END, Script, chunk, completion, faulty_server, hang_up, reply, silence, stream
from tests.support.gateway import reply as gateway_reply
from tests.support.gateway import running_gateway, usual

ASKED = Request((Message("user", "What is 2 + 2?"),), "What is 2 + 2?", max_tokens=50, deadline_s=10.0)


async def reset(writer: asyncio.StreamWriter) -> None:
    """The connection is torn down, as by a crashed process."""
    taken = writer.get_extra_info("socket")
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def another_protocol(writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.9\r\n")
    await writer.drain()
    await asyncio.sleep(0.1)


async def dribble(writer: asyncio.StreamWriter) -> None:
    """Slow-loris: a byte now and then, for ever."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


def split_utf8() -> Script:
    """One character in two pieces, and CRLF line ends between events."""
    event = chunk("é→4", finish="stop", usage={"prompt_tokens": 9, "completion_tokens": 4}).replace(
        b"\\u00e9\\u2192", "é→".encode()
    )
    event = event.replace(b"\n\n", b"\r\n\r\n")
    cut = event.index("é".encode()) + 1
    return stream(
        b": hello\r\n\r\n", event[:cut], event[cut : cut + 2], event[cut + 2 :], END.replace(b"\n\n", b"\r\n\r\n")
    )


# (fault, what the server does, error, whether its provider may charge, what is said)
WHOLE: list[tuple[str, Script, type[BackendError], bool, str]] = [
    ("closed at once", hang_up, BadResponse, True, "broke off"),
    ("reset", reset, BadResponse, True, "broke off"),
    ("300", reply(302, b"", "location: http://elsewhere"), BackendRejected, False, "base_url"),
    ("400", reply(400, {"error": {"message": "no such field"}}), BackendRejected, False, "no such field"),
    ("401", reply(401, {"error": {"message": "bad key"}}), BackendRejected, False, "API key"),
    ("402", reply(402, {"error": {"message": "pay first"}}), BackendRejected, False, "credit"),
    ("403", reply(403, {"error": {"message": "not yours"}}), BackendRejected, False, "may not use"),
    ("404", reply(404, {"error": {"message": "no model"}}), BackendRejected, False, "base_url"),
    ("408", reply(408), BackendUnavailable, False, "HTTP 408"),
    ("409", reply(409), BackendUnavailable, False, "HTTP 409"),
    ("413", reply(413, b"too large"), BackendRejected, False, "longer context"),
    ("422", reply(422, {"detail": [{"msg": "field required"}]}), BackendRejected, False, "field required"),
    ("429", reply(429, {"error": {"message": "slow down"}}), RateLimited, False, "slow down"),
    ("429 with Retry-After", reply(429, b"{}", "retry-after: 7"), RateLimited, False, "HTTP 429"),
    ("500", reply(500), BackendUnavailable, False, "HTTP 500"),
    ("501", reply(501), BackendRejected, False, "HTTP 501"),
    ("502", reply(502, b"<html>Bad Gateway</html>", "content-type: text/html"), BackendUnavailable, False,
    "Bad Gateway"),
    ("503", reply(503), BackendUnavailable, False, "HTTP 503"),
    ("504", reply(504), BackendUnavailable, False, "HTTP 504"),
    ("529", reply(529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
    BackendUnavailable, False, "Overloaded"),
    ("empty body", reply(200, b""), BadResponse, True, "empty answer"),
    ("garbage", reply(200, b"\x00\xff\xfe garbage"), BadResponse, True, "not JSON"),
    ("wrong content type", reply(200, b"<html>login</html>", "content-type: text/html"), BadResponse, True, "not JSON"),
    ("truncated JSON", reply(200, b'{"choices": [{"mess'), BadResponse, True, "not JSON"),
    ("truncated body", reply(200, b'{"choices": [', claim_bytes=50), BadResponse, True, "broke off"),
    ("no choices", reply(200, {"choices": []}), BadResponse, True, "no choices"),
    ("no text", reply(200, {"choices": [{"message": {"content": None}}]}), BadResponse, True, "no text"),
    ("an error with 200", reply(200, {"error": {"message": "out of memory"}}), BadResponse, True, "out of memory"),
    ("not HTTP", another_protocol, BadResponse, True, "not HTTP"),
    ("depth", reply(200, b"[" * 100_000), BadResponse, True, "not JSON"),
    ("silence", silence, BackendUnavailable, True, "no answer in time"),
    ("slow-loris", dribble, BackendUnavailable, True, "no answer in time"),
]  # fmt: skip
STREAMED: list[tuple[str, Script, str]] = [
    ("truncated", stream(chunk("The ans")), "in the middle"),
    ("not an event", stream(chunk("The ans"), b"data: {broken\n\n"), "not an event"),
    (
        "an error within",
        stream(chunk("The ans"), b'data: {"error": {"message": "out of memory"}}\n\n'),
        "out of memory",
    ),
    ("nothing", stream(), "in the middle"),
    ("no events at all", reply(200, b"<html>login</html>", "content-type: text/html"), "in the middle"),
]


async def ask(url: str, *, deadline_s: float = 10.0, by_httpx: bool = False, **options: Any) -> Completion:
    client = httpx.AsyncClient(trust_env=False) if by_httpx else None
    backend = RemoteBackend(
        ModelProfile("m", 1.0, 2.0), base_url=url, attempts=options.pop("attempts", 1), transport=client, **options
    )
    try:
        return await backend.complete(Request(ASKED.messages, ASKED.question, max_tokens=50, deadline_s=deadline_s))
    finally:
        await backend.aclose()
        if client is not None:
            await client.aclose()


async def read(
    url: str, *, deadline_s: float = 10.0, by_httpx: bool = False
) -> tuple[str, Completion | None, BackendError | None]:
    client = httpx.AsyncClient(trust_env=False) if by_httpx else None
    backend = RemoteBackend(ModelProfile("m", 1.0, 2.0), base_url=url, attempts=1, transport=client)
    texts: list[str] = []
    done: Completion | None = None
    try:
        async for piece in backend.stream(
            Request(ASKED.messages, ASKED.question, max_tokens=50, deadline_s=deadline_s)
        ):
            if isinstance(piece, Delta):
                texts.append(piece.text)
            else:
                done = piece
    except BackendError as error:
        return "".join(texts), None, error
    finally:
        await backend.aclose()
        if client is not None:
            await client.aclose()
    return "".join(texts), done, None


@pytest.mark.parametrize("by_httpx", [False, True], ids=["wire", "httpx"])
@pytest.mark.parametrize(("fault", "script", "error", "billed", "says"), WHOLE, ids=[row[0] for row in WHOLE])
def test_a_whole_answer(
    fault: str, script: Script, error: type[BackendError], billed: bool, says: str, by_httpx: bool
) -> None:
    if by_httpx and fault == "not HTTP":
        says = "broke off"
    with faulty_server(script) as server, pytest.raises(error, match=says) as caught:
        asyncio.run(ask(server.url, deadline_s=0.4 if fault in ("silence", "slow-loris") else 10.0, by_httpx=by_httpx))
    assert caught.value.may_be_billed == billed
    assert caught.value.remedy
    assert caught.value.retryable == (error is not BackendRejected)
    assert caught.value.retry_after_s == (7.0 if fault == "429 with Retry-After" else None)


@pytest.mark.parametrize("by_httpx", [False, True], ids=["wire", "httpx"])
@pytest.mark.parametrize(("fault", "script", "says"), STREAMED, ids=[row[0] for row in STREAMED])
def test_a_stream_that_breaks_off_is_never_taken_for_an_answer(
    fault: str, script: Script, says: str, by_httpx: bool
) -> None:
    with faulty_server(script) as server:
        text, done, error = asyncio.run(read(server.url, by_httpx=by_httpx))
    assert done is None
    assert isinstance(error, BadResponse)
    assert says in str(error)
    assert error.may_be_billed
    assert text == ("The ans" if fault in ("truncated", "not an event", "an error within") else "")


def test_a_stream_in_small_pieces_with_comments_crlf_and_split_characters() -> None:
    with faulty_server(split_utf8()) as server:
        text, done, error = asyncio.run(read(server.url))
    assert (text, error) == ("é→4", None)
    assert done is not None
    assert done.usage == Usage(9, 4)


def test_a_chunk_of_ten_megabytes_is_read() -> None:
    large = "x" * 10_000_000
    with faulty_server(stream(chunk(large), chunk(finish="stop"), END)) as server:
        text, done, error = asyncio.run(read(server.url))
    assert error is None
    assert len(text) == 10_000_000
    assert done is not None
    assert done.usage.estimated  # it told no usage
    assert done.usage.output_tokens >= 2_500_000


@pytest.mark.parametrize("by_httpx", [False, True], ids=["wire", "httpx"])
def test_a_stream_that_stalls_ends_at_the_deadline(by_httpx: bool) -> None:
    async def stall(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + chunk("The ans"))
        await asyncio.sleep(30)

    with faulty_server(stall) as server:
        text, done, error = asyncio.run(read(server.url, deadline_s=0.3, by_httpx=by_httpx))
    assert (text, done) == ("The ans", None)
    assert isinstance(error, BackendUnavailable)
    assert error.may_be_billed


@pytest.mark.parametrize("usage", [None, {"prompt_tokens": -5, "completion_tokens": 4}])
def test_missing_and_negative_usage_is_estimated_and_said_to_be(usage: Any) -> None:
    body = completion("4")
    body["usage"] = usage
    with faulty_server(reply(200, body)) as server:
        done = asyncio.run(ask(server.url))
    assert done.usage.estimated
    assert done.usage.prefill_tokens > 0
    assert done.usage.output_tokens > 0


def test_a_content_filter_is_told_as_the_reason() -> None:
    body = completion("")
    body["choices"][0]["finish_reason"] = "content_filter"
    with faulty_server(reply(200, body)) as server:
        assert asyncio.run(ask(server.url)).finish_reason == "content_filter"


def test_a_tool_call_with_broken_json_comes_back_as_it_is() -> None:
    body = completion(None)  # type: ignore[arg-type]
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": '{"at": "Par'}}
    body["choices"][0] |= {
        "message": {"role": "assistant", "content": None, "tool_calls": [call]},
        "finish_reason": "tool_calls",
    }

    async def chat(url: str) -> dict[str, Any]:
        backend = RemoteBackend(ModelProfile("m", 1.0, 2.0), base_url=url)
        try:
            return await backend.chat({"messages": [{"role": "user", "content": "look"}]})
        finally:
            await backend.aclose()

    with faulty_server(reply(200, body)) as server:
        message = asyncio.run(chat(server.url))["choices"][0]["message"]
    assert message["tool_calls"] == [call]  # whoever runs tools says what is wrong; nothing is made up


def test_nobody_listens_no_such_host_and_no_tls() -> None:
    for url in ("http://127.0.0.1:9/v1", "http://no-such-host.invalid/v1"):
        with pytest.raises(BackendUnavailable, match="cannot connect") as caught:
            asyncio.run(ask(url))
        assert not caught.value.may_be_billed
    with (
        faulty_server(reply(200, completion("4"))) as server,
        pytest.raises(BackendUnavailable, match="connect") as caught,
    ):
        asyncio.run(ask(server.url.replace("http:", "https:")))
    assert not caught.value.may_be_billed


def test_a_date_in_retry_after() -> None:
    now = 1_763_733_600.0
    told = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(now + 12))
    assert retry_after_s({"retry-after": told}, now=now) == 12.0
    assert retry_after_s({"retry-after": "soon"}) is None
    assert retry_after_s({"retry-after": "1e9"}) is None
    assert retry_after_s({"retry-after-ms": "250", "retry-after": "9"}) == 0.25


def test_the_documentation_tells_every_fault() -> None:
    text = (Path(__file__).parents[2] / "docs" / "providers.md").read_text(encoding="utf-8")
    missing = [fault for fault, *_ in (*WHOLE, *STREAMED) if f"| {fault} |" not in text]
    assert not missing, json.dumps(missing)


def test_what_a_server_cannot_do_closes_it_to_nobody(tmp_path: Path) -> None:
    """llama.cpp answers a picture without a projector with 500.

    Seven of them made its model unavailable to every key.
    """

    async def play(body: dict[str, Any], send: Any) -> None:
        if isinstance(body["messages"][0]["content"], list):
            told = "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj"
            return await gateway_reply(send, 500, {"error": {"code": 500, "message": told, "type": "server_error"}})
        return await usual(body, send)

    picture = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    with running_gateway(tmp_path, play) as gateway:
        for _ in range(8):
            refused = gateway.post(
                "/v1/chat/completions", {"model": "small", "messages": [{"role": "user", "content": picture}]}
            )
            assert (refused.status_code, refused.json()["error"]["code"]) == (400, "unsupported_by_model")
            assert "mmproj" in refused.json()["error"]["message"]
        assert len(gateway.provider.bodies) == 8
        assert gateway.chat().status_code == 200
