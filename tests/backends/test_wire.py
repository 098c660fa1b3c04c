"""The wire.

Connections are kept, answers of every kind are read, and what breaks off says whether it may have cost something.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orchestrator.backends.http.transport import MAX_HEAD_BYTES, HttpTransport
from orchestrator.backends.provider_errors import TransportError

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(*talks: Talk) -> AsyncIterator[tuple[str, list[int]]]:
    """Each connection plays the next talk, the last one again and again; also gives how many connections there were."""
    connections: list[int] = []

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        try:
            await talks[min(len(connections), len(talks)) - 1](reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(play, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1/x?y=1", connections
    finally:
        listening.close()


async def request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return head + await reader.readexactly(length)


def says(answer: bytes, times: int = 1) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(times):
            await request(reader)
            writer.write(answer)
            await writer.drain()

    return talk


async def ask(wire: HttpTransport, url: str, *, timeout_s: float = 5.0) -> tuple[int, bytes]:
    reply = await wire.post(url, {"content-type": "application/json"}, b"{}", timeout_s=timeout_s)
    return reply.status, await reply.read()


def run(work: Callable[[HttpTransport], Awaitable[None]]) -> None:
    async def whole() -> None:
        wire = HttpTransport()
        try:
            await work(wire)
        finally:
            await wire.aclose()

    asyncio.run(whole())


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", b"hello"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", b"hello"),  # until the connection ends
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b""),
    ],
)
def test_every_kind_of_answer(answer: bytes, body: bytes) -> None:
    async def work(wire: HttpTransport) -> None:
        async with server(says(answer)) as (url, _):
            assert await ask(wire, url) == (200, body)

    run(work)


def test_a_connection_serves_one_call_after_the_other() -> None:
    async def work(wire: HttpTransport) -> None:
        async with server(says(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", times=3)) as (url, connections):
            for _ in range(3):
                assert await ask(wire, url) == (200, b"ok")
            assert len(connections) == 1

    run(work)


def test_calls_at_once_have_connections_of_their_own() -> None:
    async def work(wire: HttpTransport) -> None:
        async with server(says(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", times=9)) as (url, connections):
            assert await asyncio.gather(*(ask(wire, url) for _ in range(5))) == [(200, b"ok")] * 5
            assert len(connections) == 5
            await asyncio.gather(*(ask(wire, url) for _ in range(5)))
            assert len(connections) == 5

    run(work)


def test_the_request_as_it_is_sent() -> None:
    heard = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await request(reader))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    async def work(wire: HttpTransport) -> None:
        async with server(talk) as (url, _):
            await ask(wire, url)
            host = url.split("/")[2].encode()
            assert (
                heard[0]
                == b"POST /v1/x?y=1 HTTP/1.1\r\nhost: "
                + host
                + b"\r\ncontent-length: 2\r\ncontent-type: application/json\r\n\r\n{}"
            )

    run(work)


async def _hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request(reader)


async def _silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request(reader)
    await asyncio.sleep(30)


@pytest.mark.parametrize(
    ("talk", "told"),
    [
        (_hang_up, "broke off"),
        (says(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhel"), "broke off"),
        (says(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhel"), "broke off"),
        (says(b"garbage\r\n\r\n"), "not HTTP"),
        (says(b"HTTP/1.1 200 OK\r\nx: " + b"y" * MAX_HEAD_BYTES + b"\r\n\r\n"), "not HTTP"),
        (_silence, "no answer in"),
    ],
)
def test_what_breaks_off_may_have_been_billed(talk: Talk, told: str) -> None:
    async def work(wire: HttpTransport) -> None:
        async with server(talk) as (url, _):
            with pytest.raises(TransportError, match=told) as broken:
                await ask(wire, url, timeout_s=0.3)
            assert broken.value.may_be_billed

    run(work)


def test_where_nobody_listens_nothing_was_billed() -> None:
    async def work(wire: HttpTransport) -> None:
        async with server(_hang_up) as (url, _):
            pass
        with pytest.raises(TransportError, match="cannot connect") as refused:
            await ask(wire, url)
        assert not refused.value.may_be_billed

    run(work)


def test_a_slow_stream_outlives_the_timeout_as_long_as_it_says_something() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(8):
            await asyncio.sleep(0.1)
            writer.write(b"1\r\nx\r\n")
        writer.write(b"0\r\n\r\n")

    async def work(wire: HttpTransport) -> None:
        async with server(talk) as (url, _):
            assert await ask(wire, url, timeout_s=0.5) == (200, b"x" * 8)

    run(work)


def test_a_fast_server_waits_for_a_slow_reader() -> None:
    size = 4_000_000
    sent = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (size * 10))
        for _ in range(10):
            writer.write(b"x" * size)
            await writer.drain()
            sent += 1

    async def work(wire: HttpTransport) -> None:
        async with server(talk) as (url, _):
            reply = await wire.post(url, {}, b"", timeout_s=5)
            await asyncio.sleep(0.3)
            assert sent < 10  # most of it waits at the server
            assert len(await reply.read()) == size * 10

    run(work)


def test_a_cancelled_call_closes_its_connection() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        began.set()
        await reader.read()
        ended.set()

    async def work(wire: HttpTransport) -> None:
        async with server(talk) as (url, _):
            task = asyncio.create_task(ask(wire, url))
            await asyncio.wait_for(began.wait(), 20)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.wait_for(ended.wait(), 20)

    run(work)


def test_a_server_that_talks_out_of_turn_is_left() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison")
        await writer.drain()
        await asyncio.sleep(1)

    async def work(wire: HttpTransport) -> None:
        async with server(talk, says(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood")) as (url, _):
            assert await ask(wire, url) == (200, b"ok")
            await asyncio.sleep(0.2)
            assert await ask(wire, url) == (200, b"good")

    run(work)


def test_what_is_no_address_is_refused() -> None:
    async def work(wire: HttpTransport) -> None:
        with pytest.raises(ValueError, match="web address"):
            await ask(wire, "ftp://127.0.0.1/x")

    run(work)


def test_over_tls_only_to_servers_that_are_trusted(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate, key)

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await writer.drain()
        writer.close()

    async def work() -> None:
        listening = await asyncio.start_server(play, "127.0.0.1", 0, ssl=serving)
        url = f"https://localhost:{listening.sockets[0].getsockname()[1]}/v1"
        trusting, strict = HttpTransport(verify=ssl.create_default_context(cafile=str(certificate))), HttpTransport()
        try:
            assert await ask(trusting, url) == (200, b"ok")
            with pytest.raises(TransportError, match="cannot connect") as refused:
                await ask(strict, url)
            assert not refused.value.may_be_billed
        finally:
            await trusting.aclose()
            await strict.aclose()
            listening.close()

    asyncio.run(work())


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost, and its key."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    certificate = made.sign(key, hashes.SHA256())
    files = folder / "cert.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return files
