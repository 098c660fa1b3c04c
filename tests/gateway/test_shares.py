"""Nobody stops everybody: slow heads and bodies, readers who never read, bodies that cost more to read than to send."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestrator.gateway.accounts.shares import Shares
from orchestrator.gateway.errors import GatewayError
from orchestrator.gateway.http.connection_limits import GuardedProtocol
from orchestrator.gateway.http.multipart import parts_of
from orchestrator.gateway.http.request import parse_json
from orchestrator.storage.account_types import AccountLimits
from tests.support.gateway import Running, begin_stream, chunk, delta, running_gateway, served, settled


async def hello(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"hi"})


@contextmanager
def connections(url: str, data: bytes, number: int) -> Iterator[list[socket.socket]]:
    """So many connections that have sent `data` and say nothing more."""
    address = httpx.URL(url)
    with ExitStack() as stack:
        made = [stack.enter_context(socket.create_connection((address.host, address.port))) for _ in range(number)]
        for one in made:
            one.sendall(data)
        yield made


def heard(one: socket.socket, seconds: float) -> bytes:
    """What the other side sends until it closes; `b"..."` at the end if it does not."""
    one.settimeout(seconds)
    found = b""
    try:
        while part := one.recv(65_536):
            found += part
    except TimeoutError:
        return found + b"..."
    except ConnectionResetError:
        pass
    return found


def test_newcomers_are_served_however_many_wait_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GuardedProtocol, "most_connections", 20)
    with served(hello, http=GuardedProtocol) as url, connections(url, b"GET / HTTP/1.1\r\nx: ", 60):
        for _ in range(5):
            assert httpx.get(url, trust_env=False, timeout=5).text == "hi"


def test_a_head_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.gateway.http.connection_limits.HEAD_S", 0.3)
    with served(hello, http=GuardedProtocol) as url:
        with connections(url, b"GET / HTTP/1.1\r\nx: ", 1) as (one,):
            assert heard(one, 5).startswith(b"HTTP/1.1 408")
        with connections(url, b"", 1) as (one,):
            assert heard(one, 5).startswith(b"HTTP/1.1 408")
        with connections(url, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", 1) as (one,):  # the second head of a connection
            assert one.recv(65_536).startswith(b"HTTP/1.1 200")
            one.sendall(b"GET / HT")
            assert b"408" in heard(one, 5)


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nx: " + b"y" * 200_000,
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 40_000,
        b"GET /" + b"a" * 200_000,
    ],
)
def test_a_head_that_is_too_large_is_refused(head: bytes) -> None:
    with served(hello, http=GuardedProtocol) as url, connections(url, b"", 1) as (one,):
        with suppress(BrokenPipeError, ConnectionResetError):
            one.sendall(head)
        assert heard(one, 5)[:12] in (b"HTTP/1.1 431", b"")
        assert httpx.get(url, trust_env=False, timeout=5).text == "hi"


def test_pipelined_and_kept_connections_go_on_working() -> None:
    with served(hello, http=GuardedProtocol) as url:
        with httpx.Client(trust_env=False) as client:
            assert [client.get(url).text for _ in range(5)] == ["hi"] * 5
        with connections(url, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" * 3, 1) as (one,):
            one.settimeout(30)
            heard_so_far = b""
            while heard_so_far.count(b"\r\n\r\nhi") < 3:
                piece = one.recv(65_536)
                assert piece
                heard_so_far += piece


def post_head(key: str, size: int) -> bytes:
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\ncontent-type: "
        b"application/json\r\ncontent-length: %d\r\n\r\n" % (key.encode(), size)
    )


def test_bodies_that_do_not_come_take_no_place_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_gateway(tmp_path, gateway={"max_in_flight": 40}) as run:
        other = run.accounts.add_org("other")
        weak = run.new_key(org=other.id, limits=AccountLimits(concurrency=1))
        monkeypatch.setattr("orchestrator.gateway.http.request.BODY_S", 1.5)
        with connections(run.url, post_head(weak, 10) + b"{", 60) as made:
            assert settled(lambda: run.gateway.services.in_flight > 0)
            assert run.chat().status_code == 200
            answers = [heard(one, 6) for one in made]
        assert {answer[9:12] for answer in answers} <= {b"408", b"429", b"503"}
        assert settled(lambda: run.gateway.services.in_flight == 0)


def test_the_share_of_one_organisation_is_not_the_whole() -> None:
    shares = Shares(40, 1_000)
    for _ in range(10):
        shares.enter("a")
    with pytest.raises(GatewayError, match="10 requests"):
        shares.enter("a")
    shares.enter("b")
    shares.leave("a")
    shares.enter("a")
    shares.take("a", 100, 100)
    shares.take("a", 100, 100)
    with pytest.raises(GatewayError, match="too much memory"):
        shares.take("a", 100, 100)
    shares.take("b", 250, 100)
    shares.give_back("a", 100)
    shares.take("a", 100, 100)
    assert shares.bytes == 450


def test_a_reader_who_never_reads_is_cut(tmp_path: Path) -> None:
    async def play(body: Any, send: Any) -> None:
        await begin_stream(send)
        for _ in range(5_000):
            await chunk(send, delta({"content": "x" * 5_000}))

    with running_gateway(tmp_path, play, gateway={"seconds": 2}) as run:
        key = run.new_key(limits=AccountLimits(usd=10.0, concurrency=5))
        for path in ("/v1/chat/completions", "/v1/messages"):
            raw = json.dumps(
                {"model": "small", "stream": True, "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}
            ).encode()
            with socket.socket() as reader:
                reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
                address = httpx.URL(run.url)
                reader.connect((address.host, address.port))
                reader.sendall(post_head(key, len(raw)).replace(b"/v1/chat/completions", path.encode()) + raw)
                assert settled(lambda: run.gateway.services.in_flight == 1)
                assert settled(lambda: run.gateway.services.in_flight == 0, 10)
        assert run.gateway.services.limiter.held == 0


# ---- Bodies ----


@pytest.mark.parametrize("levels", [100, 220, 243, 246, 250, 254, 255, 260, 1_000, 1_100, 100_000])
def test_json_of_any_depth_is_read_or_refused(gateway: Running, levels: int) -> None:
    for opening, closing in (('{"a":', "}"), ("[", "]")):
        raw = (
            '{"model":"small","messages":[{"role":"user","content":"hi"}],"metadata":'
            + opening * levels
            + "1"
            + closing * levels
            + "}"
        )
        headers = {"authorization": f"Bearer {gateway.key}", "content-type": "application/json"}
        answer = httpx.post(
            gateway.url + "/v1/chat/completions", content=raw, headers=headers, trust_env=False, timeout=30
        )
        assert answer.status_code in ((200, 400) if levels < 250 else (400,)), answer.text


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_gateway(tmp_path_factory.mktemp("gateway")) as run:
        yield run


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":{' + b",".join(b'"k%d":{"a":[1,2]}' % n for n in range(300_000)) + b"}}",
        b"[" + b"1," * 3_000_000 + b"1]",
        b"[" + b'{"a":1},' * 300_000 + b"1]",
    ],
)
def test_a_body_of_too_many_parts_is_refused_before_it_is_read(raw: bytes) -> None:
    with pytest.raises(GatewayError) as refused:
        parse_json(raw)
    assert refused.value.code == "too_many_items"


def test_a_long_text_is_not_taken_for_many_parts() -> None:
    text = 'He said, "well, a: b, and \\"c\\": d", ' * 20_000
    assert parse_json(json.dumps({"content": text}).encode()) == {"content": text}


FORM = (
    b'--B\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--B\r\nContent-Disposition: form-data; '
    b'name="file"; filename="a b.jsonl"\r\nContent-Type: text/plain\r\n\r\nline\r\n--B--\r\n'
)


def test_forms() -> None:
    found = {part.name: (part.filename, part.content) for part in parts_of("multipart/form-data; boundary=B", FORM)}
    assert found == {"purpose": ("", b"batch"), "file": ("a b.jsonl", b"line")}


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/plain", FORM),
        ("multipart/form-data", FORM),
        ("multipart/form-data; boundary=" + "B" * 100, FORM),
        ("multipart/form-data; boundary=C", FORM),
        ("multipart/form-data; boundary=B", FORM[:-8]),
        ("multipart/form-data; boundary=B", b"--B\r\nx: y\r\n\r\nz\r\n--B--\r\n"),
        ("multipart/form-data; boundary=B", b"--B\r\nx-h: " + b"y" * 30_000 + b"\r\n\r\nz\r\n--B--\r\n"),
        (
            "multipart/form-data; boundary=B",
            b'--B\r\ncontent-disposition: form-data; name="a"\r\n\r\nz\r\n' * 100 + b"--B--\r\n",
        ),
        ("multipart/form-data; boundary=B", b""),
    ],
)
def test_forms_that_are_none(content_type: str, body: bytes) -> None:
    with pytest.raises(GatewayError) as refused:
        parts_of(content_type, body)
    assert refused.value.status == 400
