"""How servers are reached.

Addresses and keys as people write them, proxies, certificates, answers that are compressed, connections that close.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestrator import ConfigError
from orchestrator.backends.base import Request
from orchestrator.backends.http.transport_choice import Tls, Way, environment_proxy
from orchestrator.backends.remote import RemoteBackend
from orchestrator.config.models import parse_config
from orchestrator.errors import BackendUnavailable, BadResponse
from orchestrator.fleet.build import fleet_from_config
from orchestrator.providers.addresses import address_of, checked_address
from orchestrator.providers.credentials import clean_key
from orchestrator.router import ModelProfile
from orchestrator.types import Completion, Message
from tests.support.faulty_server import END, chunk, completion, faulty_server, reply, stream

ASKED = Request((Message("user", "Hi"),), "Hi", max_tokens=5, deadline_s=10.0)
PROFILE = ModelProfile("m", 1.0, 2.0)


def ask(url: str, count: int = 1, **options: Any) -> list[Completion]:
    async def go() -> list[Completion]:
        backend = RemoteBackend(PROFILE, base_url=url, attempts=1, **options)
        try:
            return [await backend.complete(ASKED) for _ in range(count)]
        finally:
            await backend.aclose()

    return asyncio.run(go())


@pytest.mark.parametrize(
    ("stated", "address"),
    [
        ("http://h:8000/v1/", "http://h:8000/v1"),
        ("HTTPS://api.example.com/v1", "https://api.example.com/v1"),
        ("${HOST_OF_MODELS}/v1", "http://h:1/v1"),
        (" http://h/v1 ", "http://h/v1"),
        (
            "https://a.openai.azure.com/openai/deployments/d?api-version=1",
            "https://a.openai.azure.com/openai/deployments/d?api-version=1",
        ),
    ],
)
def test_addresses_as_people_write_them(monkeypatch: pytest.MonkeyPatch, stated: str, address: str) -> None:
    monkeypatch.setenv("HOST_OF_MODELS", "http://h:1")
    assert checked_address(stated) == address


@pytest.mark.parametrize(
    ("stated", "says"),
    [
        ("localhost:8000/v1", "must begin with http://"),
        ("ftp://h/v1", "must begin with http://"),
        ("http:///v1", "names no host"),
        ("http://h:port/v1", "is not one"),
        ("http://h/v1/chat/completions", "leave out /chat/completions"),
        ("http://h/v1/messages/", "leave out /messages"),
        ("http://user:pass@h/v1", "give the key as `key`"),
        ("http://h/v1#x", "behind #"),
        ("http://h/a b", "a blank"),
        ("http://h/v1\nx: y", "a blank or a character"),
        ("http://hö/v1", "a character that no address has"),
        ("${NOT_SET_ANYWHERE}/v1", "NOT_SET_ANYWHERE is not set"),
        ("${a-b}/v1", "no variable of the environment"),
        ("http://$HOST/v1", "placeholder"),
        ("http://{{host}}/v1", "placeholder"),
        ("http://h/${X:-1}", "no variable of the environment"),
    ],
)
def test_addresses_that_are_none_are_told_with_their_line(stated: str, says: str) -> None:
    text = f"models:\n  a: {{provider: compatible, base_url: {json.dumps(stated, ensure_ascii=False)}}}\n"
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "orchestrator.yaml")
    assert says in str(caught.value)
    assert "orchestrator.yaml:2:" in str(caught.value)
    with pytest.raises(ConfigError, match=r"address|variable|leave out"):
        RemoteBackend(PROFILE, base_url=stated)


def test_the_query_of_an_address_stays_at_its_end() -> None:
    assert address_of("https://h/d?api-version=1", "/chat/completions") == "https://h/d/chat/completions?api-version=1"
    assert address_of("https://h/v1beta", "/m:stream?alt=sse") == "https://h/v1beta/m:stream?alt=sse"
    assert address_of("https://h/x?a=1", "/m?b=2") == "https://h/x/m?a=1&b=2"
    with faulty_server(reply(200, completion("4"))) as server:
        ask(f"{server.url}?api-version=2024-10-21")
        assert server.heads[-1].startswith("post /v1/chat/completions?api-version=2024-10-21 http/1.1")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("sk-a\n", "sk-a"),
        ("sk-a\r\n", "sk-a"),
        ("\ufeffsk-a", "sk-a"),
        (' "sk-a" ', "sk-a"),
        ("'sk-a'\n", "sk-a"),
        ("", ""),
        ("\n", ""),
    ],
)
def test_keys_lose_what_files_and_shells_put_around_them(text: str, key: str) -> None:
    assert clean_key(text) == key


@pytest.mark.parametrize("text", ["sk-a\nx-evil: 1", "sk a", "sk-ä", "sk-\x00a", "sk-a\u200b"])
def test_keys_that_no_header_holds_are_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, text: str, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(text)
    config = parse_config(
        f"models: {{a: {{provider: vllm, base_url: 'http://127.0.0.1:9/v1', key: 'file:{tmp_path / 'key'}'}}}}"
    )
    with pytest.raises(ConfigError, match="holds a character at place") as caught:
        fleet_from_config(config)
    assert "sk" not in str(caught.value).replace(str(tmp_path), "")


@pytest.mark.parametrize(
    ("encoding", "by_httpx"),
    [
        ("gzip", False),
        ("deflate", False),
        ("x-gzip", False),
        ("GZIP", False),
        ("gzip", True),
        ("deflate", True),
        ("GZIP", True),
    ],
)
def test_answers_that_are_compressed_unasked_are_read(encoding: str, by_httpx: bool) -> None:
    pack: Callable[[bytes], bytes] = zlib.compress if encoding == "deflate" else gzip.compress
    body = pack(json.dumps(completion("four")).encode())
    options = {"transport": httpx.AsyncClient(trust_env=False)} if by_httpx else {}
    with faulty_server(reply(200, body, f"content-encoding: {encoding}")) as server:
        assert ask(server.url, 2, **options)[1].text == "four"


def test_a_compressed_stream_comes_piece_by_piece_and_a_bomb_does_not_open() -> None:
    packing = zlib.compressobj(wbits=31)
    events = [chunk("fo"), chunk("ur", finish="stop", usage={"prompt_tokens": 1, "completion_tokens": 1}), END]
    pieces = [packing.compress(event) + packing.flush(zlib.Z_SYNC_FLUSH) for event in events] + [packing.flush()]

    async def read(url: str) -> str:
        backend = RemoteBackend(PROFILE, base_url=url, attempts=1)
        found = [piece async for piece in backend.stream(ASKED)]
        await backend.aclose()
        return str(found[-1].text)

    with faulty_server(stream(*pieces, head="content-encoding: gzip")) as server:
        assert asyncio.run(read(server.url)) == "four"
    bomb = gzip.compress(bytes(200_000_000))
    with (
        faulty_server(reply(200, bomb, "content-encoding: gzip")) as server,
        pytest.raises(BadResponse, match="bytes") as caught,
    ):
        ask(server.url)
    assert caught.value.may_be_billed
    with (
        faulty_server(reply(200, b"x", "content-encoding: br")) as server,
        pytest.raises(BadResponse, match="not asked for"),
    ):
        ask(server.url)


@contextlib.contextmanager
def proxy() -> Iterator[tuple[str, list[str]]]:
    """An HTTP proxy.

    It forwards plain requests, and tunnels what is encrypted, to wherever this machine serves the name.
    """
    seen: list[str] = []
    loop = asyncio.new_event_loop()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError):
                while data := await reader.read(65_536):
                    writer.write(data)
                    await writer.drain()
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            head = await reader.readuntil(b"\r\n\r\n")
            first = head.split(b"\r\n")[0].decode()
            seen.append(first)
            method, target, _ = first.split()
            split = httpx.URL(target if "://" in target else f"https://{target}")
            theirs, out = await asyncio.open_connection("127.0.0.1", split.port)
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                out.write(head.replace(target.encode(), split.raw_path, 1))
            await asyncio.gather(pump(reader, out), pump(theirs, writer))

    async def main() -> asyncio.Server:
        return await asyncio.start_server(serve, "127.0.0.1", 0)

    server = loop.run_until_complete(main())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", seen
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0.05))
        loop.close()


def test_the_environments_proxy_is_used_but_not_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    with faulty_server(reply(200, completion("4"))) as server, proxy() as (address, seen):
        port = server.url.rpartition(":")[2].partition("/")[0]
        monkeypatch.setenv("HTTP_PROXY", address)
        monkeypatch.setenv("http_proxy", address)
        assert ask(f"http://models.example:{port}/v1", 2)[1].text == "4"
        assert seen == [f"POST http://models.example:{port}/v1/chat/completions HTTP/1.1"] * len(seen)
        assert seen
        seen.clear()
        assert ask(server.url)[0].text == "4"  # directly
        monkeypatch.setenv("NO_PROXY", "models.example")
        monkeypatch.setenv("no_proxy", "models.example")
        assert environment_proxy(f"http://models.example:{port}/v1") is None
        assert environment_proxy("http://other.example/v1") == address
        assert seen == []


def test_a_models_own_proxy_comes_first_and_a_dead_one_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(BackendUnavailable, match=r"through the proxy http://127\.0\.0\.1:9") as caught:
        ask("http://models.example/v1")
    assert not caught.value.may_be_billed
    with faulty_server(reply(200, completion("4"))) as server, proxy() as (address, seen):
        port = server.url.rpartition(":")[2].partition("/")[0]
        assert ask(f"http://models.example:{port}/v1", way=Way(proxy=address))[0].text == "4"
        assert seen
    with pytest.raises(BackendUnavailable, match="connect"):
        ask("http://models.invalid/v1", way=Way(proxy="none"))
    wrong = parse_config("models: {a: {provider: vllm, base_url: 'http://h/v1', proxy: 'proxy:3128'}}")
    with pytest.raises(ConfigError, match="is no proxy"):
        fleet_from_config(wrong)


def _certificate(folder: Path, name: str, issuer: tuple[Any, Any] | None = None) -> tuple[Any, Any]:
    """A certificate (of its own authority, or of `issuer`) and its key, as files in `folder`."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer[0].subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key if issuer is None else issuer[1], hashes.SHA256())
    )
    (folder / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made, key


def test_a_companys_certificates_and_those_of_the_client(tmp_path: Path) -> None:
    authority = _certificate(tmp_path, "ca")
    _certificate(tmp_path, "server", authority)
    _certificate(tmp_path, "client", authority)
    security = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(tmp_path / "ca.pem"))
    security.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    security.verify_mode = ssl.CERT_REQUIRED

    async def go() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(asyncio.IncompleteReadError, OSError):
                await reader.readuntil(b"\r\n\r\n")
                await reply(200, completion("4"))(writer)
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=security)
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        ours = Tls(str(tmp_path / "ca.pem"), str(tmp_path / "client.pem"), str(tmp_path / "client.key"))
        for way, text in ((Way(tls=ours), "4"), (Way(tls=Tls(ours.ca)), ""), (Way(), "")):
            backend = RemoteBackend(PROFILE, base_url=url, attempts=1, way=way)
            if text:
                assert (await backend.complete(ASKED)).text == text
            else:
                with pytest.raises(Exception, match="m at"):
                    await backend.complete(ASKED)
            await backend.aclose()
        server.close()
        await asyncio.sleep(0.1)  # its handlers end

    asyncio.run(go())
    wrong = parse_config(
        f"models: {{a: {{provider: vllm, base_url: 'https://h/v1', tls: {{ca: '{tmp_path / 'nothere.pem'}'}}}}}}"
    )
    with pytest.raises(ConfigError, match="certificates cannot be used"):
        fleet_from_config(wrong)


@pytest.mark.parametrize("by_httpx", [False, True])
def test_a_server_that_closes_after_each_answer_costs_nobody_an_error(by_httpx: bool) -> None:
    async def go() -> tuple[list[str], int]:
        calls = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal calls
            with contextlib.suppress(asyncio.IncompleteReadError, OSError):
                head = await reader.readuntil(b"\r\n\r\n")
                size = next(
                    int(line.split(b":")[1])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length")
                )
                await reader.readexactly(size)
                calls += 1
                body = json.dumps(completion("4")).encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\nkeep-alive: timeout=60\r\ncontent-type: application/json\r\ncontent-length: "
                    b"%d\r\n\r\n" % len(body)
                )
                writer.write(body)
                await writer.drain()
                await asyncio.sleep(0.005 + 0.001 * (calls % 3))  # it is idle now, or the next call is on its way
                writer.transport.abort() if calls % 2 else writer.close()  # it announced something else

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        client = httpx.AsyncClient(trust_env=False) if by_httpx else None
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        backend = RemoteBackend(PROFILE, base_url=url, attempts=1, transport=client)
        texts = [(await backend.complete(ASKED)).text or "" for _ in range(30)]
        await backend.aclose()
        if client is not None:
            await client.aclose()
        server.close()
        await asyncio.sleep(0.1)  # its handlers end
        return texts, calls

    texts, calls = asyncio.run(go())
    assert texts == ["4"] * 30
    assert calls == 30  # none was worked on twice


class SpokenTo:
    """An ASGI application that answers like a model, and notes over which HTTP it was asked, and by how many
    connections.
    """

    def __init__(self) -> None:
        self.versions: list[str] = []
        self.clients: set[Any] = set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        raw = b""
        while (message := await receive()).get("more_body"):
            raw += message["body"]
        body = json.loads(raw + message.get("body", b""))
        self.versions.append(scope["http_version"])
        self.clients.add(tuple(scope["client"]))
        kind = b"text/event-stream" if body.get("stream") else b"application/json"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        if not body.get("stream"):
            await send({"type": "http.response.body", "body": json.dumps(completion("4")).encode()})
            return
        for text in "abc":
            await asyncio.sleep(0.01)
            await send({"type": "http.response.body", "body": chunk(text), "more_body": True})
        if body["messages"][0]["content"] == "Break off":
            raise RuntimeError("it breaks off")
        await send({"type": "http.response.body", "body": END})


@contextlib.contextmanager
def http2_server(app: Any, folder: Path) -> Iterator[str]:
    """hypercorn with a certificate: HTTP/2 is agreed on by TLS."""
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.certfile, config.keyfile = str(folder / "server.pem"), str(folder / "server.key")
    config.errorlog = None
    ended = threading.Event()

    async def run() -> None:
        await serve(app, config, shutdown_trigger=lambda: asyncio.to_thread(ended.wait))  # type: ignore[arg-type]

    thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
    thread.start()
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            break
        time.sleep(0.02)
    try:
        yield f"https://127.0.0.1:{port}/v1"
    finally:
        ended.set()
        thread.join(30)


def test_http2_with_a_server_that_speaks_it(tmp_path: Path) -> None:
    """Twenty calls at once share one connection, streams come piece by piece, and one that breaks off is no end."""
    authority = _certificate(tmp_path, "ca")
    _certificate(tmp_path, "server", authority)
    app = SpokenTo()
    way = Way(tls=Tls(str(tmp_path / "ca.pem")), http2=True)

    async def go(url: str) -> tuple[list[Completion], list[Any], BadResponse]:
        backend = RemoteBackend(PROFILE, base_url=url, attempts=1, way=way)
        try:
            await backend.complete(ASKED)
            answers = await asyncio.gather(*(backend.complete(ASKED) for _ in range(20)))
            pieces = [piece async for piece in backend.stream(ASKED)]
            with pytest.raises(BadResponse) as broken:
                _ = [
                    piece
                    async for piece in backend.stream(
                        Request((Message("user", "Break off"),), "q", max_tokens=5, deadline_s=10.0)
                    )
                ]
            return answers, pieces, broken.value
        finally:
            await backend.aclose()

    with http2_server(app, tmp_path) as url:
        answers, pieces, broken = asyncio.run(go(url))
    assert {answer.text for answer in answers} == {"4"}
    assert set(app.versions) == {"2"}
    assert len(app.clients) == 1
    assert pieces[-1].text == "".join(piece.text for piece in pieces[:-1]) == "abc"
    assert broken.may_be_billed
