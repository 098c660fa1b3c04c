"""Legal but odd HTTP: what real clients, proxies and shells send to the gateway, and what it makes of it."""

from __future__ import annotations

import gzip
import json
import socket
import zlib
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.gateway import Running, running_gateway

BODY = {"model": "small", "messages": [{"role": "user", "content": "hi"}]}


def send(
    gateway: Running, path: str = "/v1/chat/completions", method: str = "POST", content: Any = None, **headers: str
) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if not any(name in named for name in ("authorization", "x-api-key", "api-key")):
        named["authorization"] = f"Bearer {gateway.key}"
    raw = json.dumps(BODY).encode() if content is None else content
    named.setdefault("content-type", "application/json")
    return httpx.request(
        method,
        gateway.url + path,
        content=raw if method == "POST" else None,
        headers=named,
        trust_env=False,
        timeout=30,
    )


def test_addresses_in_other_clothes_and_where_nothing_is(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway:
        for path in (
            "/v1/chat/completions/",
            "//v1//chat/completions",
            "/v1/chat/completions?api-version=1",
            "/openai/v1/chat/completions",
        ):
            assert send(gateway, path).status_code == 200, path
        without = json.dumps({"messages": BODY["messages"]}).encode()
        azure = "/openai/deployments/small/chat/completions?api-version=2024-10-21"
        assert send(gateway, azure, content=without, api_key=gateway.key).status_code == 200
        assert "Did you mean /v1/chat/completions?" in send(gateway, "/chat/completions").text
        assert "Did you mean /v1/chat/completions?" in send(gateway, "/v1/chat/completion").text
        assert send(gateway, "/v1/chat/completions", method="GET").status_code == 405
        for query in ("", "?limit=1000", "?client_version=0.60.1", "?beta=true&after_id=x"):
            listed = send(gateway, f"/v1/models{query}", method="GET")
            assert (listed.status_code, bool(listed.json()["data"])) == (200, True)
        assert "Did you mean 'limit'?" in send(gateway, "/v1/traces?limits=5", method="GET").text
        head = send(gateway, "/v1/models", method="HEAD")
        assert (head.status_code, head.content, int(head.headers["content-length"]) > 0) == (200, b"", True)


def test_keys_in_every_header_and_two_of_them(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway:
        assert send(gateway, x_api_key=gateway.key).status_code == 200
        assert send(gateway, api_key=gateway.key).status_code == 200
        assert send(gateway, authorization=f"bearer {gateway.key}").status_code == 200
        assert send(gateway, authorization="Bearer placeholder", x_api_key=gateway.key).status_code == 200
        assert send(gateway, authorization=f"Bearer {gateway.key}", x_api_key="placeholder").status_code == 200
        refused = send(gateway, authorization="Bearer a", x_api_key="b")
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")


def test_compressed_and_marked_bodies(tmp_path: Path) -> None:
    raw = json.dumps(BODY).encode()
    with running_gateway(tmp_path, gateway={"max_body_bytes": 100_000}) as gateway:
        assert send(gateway, content=gzip.compress(raw), content_encoding="gzip").status_code == 200
        assert send(gateway, content=zlib.compress(raw), content_encoding="deflate").status_code == 200
        assert send(gateway, content=b"\xef\xbb\xbf" + raw).status_code == 200
        assert send(gateway, content=raw, content_encoding="identity").status_code == 200
        for content, encoding, status in (
            (raw, "gzip", 400),
            (gzip.compress(raw)[:-12], "gzip", 400),
            (raw, "br", 415),
            (gzip.compress(bytes(10_000_000)), "gzip", 413),
        ):
            refused = send(gateway, content=content, content_encoding=encoding)
            assert refused.status_code == status, encoding
            assert refused.json()["error"]["message"]
        assert send(gateway).status_code == 200  # and nobody's share is lost


def test_a_wish_for_another_protocol_loses_no_body(tmp_path: Path) -> None:
    raw = json.dumps(BODY).encode()
    with running_gateway(tmp_path) as gateway:
        address = httpx.URL(gateway.url)
        lines = [
            "POST /v1/chat/completions HTTP/1.1", f"host: {address.host}", f"authorization: Bearer {gateway.key}",
            "content-type: application/json",
            f"content-length: {len(raw)}", "Connection: Upgrade, HTTP2-Settings, close", "Upgrade: h2c",
            "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
        ]  # fmt: skip
        for cut in (None, 40):  # in one piece, and with the body coming later
            with socket.create_connection((address.host, address.port or 80), timeout=10) as connection:
                head = "\r\n".join(lines).encode() + b"\r\n\r\n"
                connection.sendall(head + raw if cut is None else head)
                if cut is not None:
                    connection.sendall(raw)
                answer = b""
                while part := connection.recv(65_536):
                    answer += part
            assert answer.startswith(b"HTTP/1.1 200")
            assert b"Paris" in answer
        with socket.create_connection((address.host, address.port or 80), timeout=10) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nconnection: close\r\n\r\n")
            assert connection.recv(65_536).startswith(b"HTTP/1.1 400")


def test_pages_of_configured_origins_may_call_and_others_may_not(tmp_path: Path) -> None:
    asked = {
        "origin": "https://app.example",
        "access_control_request_method": "POST",
        "access_control_request_headers": "authorization,content-type",
    }
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with running_gateway(tmp_path / "a", gateway={"cors": ["https://app.example"]}) as gateway:
        allowed = send(gateway, method="OPTIONS", **asked)
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (204, "https://app.example")
        assert "authorization" in allowed.headers["access-control-allow-headers"]
        answer = send(gateway, origin="https://app.example")
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "https://app.example")
        wrong = send(gateway, origin="https://app.example", authorization="Bearer x")
        assert (wrong.status_code, wrong.headers["access-control-allow-origin"]) == (401, "https://app.example")
        assert "access-control-allow-origin" not in send(gateway, origin="https://evil.example").headers
        assert send(gateway, method="OPTIONS", **{**asked, "origin": "https://evil.example"}).status_code == 405
    with running_gateway(tmp_path / "b") as gateway:
        assert "access-control-allow-origin" not in send(gateway, origin="https://app.example").headers


PIXEL = "data:image/png;base64,iVBORw0KGgo="
ODD_BODIES: list[tuple[str, dict[str, Any]]] = [
    ("chat/completions", {"messages": [{"role": "system", "content": "Greet"}]}),
    ("chat/completions", {"messages": [{"role": "assistant", "content": "Say hi"}]}),
    ("chat/completions", {"messages": [{"role": "user", "content": [{"type": "image_url",
    "image_url": {"url": PIXEL}}]}]}),
    ("chat/completions", {"messages": [{"role": "user", "content": [{"type": "input_audio",
    "input_audio": {"data": "AAAA", "format": "wav"}}]}]}),
    ("chat/completions", {"messages": [{"role": "user", "content": ""}]}),
    ("chat/completions", {"messages": [{"role": "user", "content": "w", "name": None}], "temperature": None,
    "tools": None, "stop": None}),
    ("messages", {"max_tokens": 9, "messages": [{"role": "user", "content": ""}]}),
    ("messages", {"max_tokens": 9, "messages": [{"role": "assistant", "content": "Say hi"}]}),
    ("responses", {"input": [{"role": "developer", "content": "Greet"}]}),
    ("responses", {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": PIXEL}]}]}),
    ("responses", {"input": [{"type": "function_call_output", "call_id": "c", "output": "trimmed"}]}),
]  # fmt: skip


@pytest.mark.parametrize("model", ["small", "auto"])
@pytest.mark.parametrize(("path", "body"), ODD_BODIES)
def test_conversations_without_words_of_a_user_are_answered(
    tmp_path: Path, path: str, body: dict[str, Any], model: str
) -> None:
    with running_gateway(tmp_path) as gateway:
        for stream in (False, True):
            answer = gateway.post(f"/v1/{path}", {"model": model, "stream": stream, **body})
            assert answer.status_code == 200, answer.text
            assert "Pa" in answer.text
