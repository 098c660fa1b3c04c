"""What no client should send, and what upstreams should not.

Each gets a clear error, nothing is lost, nothing leaks.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestrator.errors import BackendRejected, NoAdequateModel, RateLimited
from orchestrator.gateway.http.error_mapping import to_gateway_error
from orchestrator.storage.account_types import AccountLimits
from tests.support.gateway import Running, Send, begin_stream, chunk, completion, delta, reply, running_gateway, settled


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_gateway(tmp_path_factory.mktemp("gateway"), gateway={"max_body_bytes": 1_000_000}) as running:
        yield running


def raw(gateway: Running, body: bytes, **headers: str) -> httpx.Response:
    sent = {"authorization": f"Bearer {gateway.key}", "content-type": "application/json", **headers}
    return httpx.post(f"{gateway.url}/v1/chat/completions", content=body, headers=sent, timeout=30, trust_env=False)


OK = '{"model": "small", "messages": [{"role": "user", "content": "hi"}]'


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"   ", "invalid_json"),
        (b"hello", "invalid_json"),
        (b'{"model": "small"', "invalid_json"),
        (b'{"model": "sm\xff\xfeall", "messages": []}', "invalid_json"),
        ((OK + ', "temperature": NaN}').encode(), "invalid_json"),
        ((OK + ', "temperature": Infinity}').encode(), "invalid_json"),
        ((OK + ', "temperature": 1e400}').encode(), "invalid_json"),
        (b'{"messages": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "invalid_json"),
        ((OK + ', "user": "\\ud800"}').encode(), "invalid_json"),
        ((OK + ', "model": "large"}').encode(), "duplicate_key"),
        ((OK + ', "metadata": {"a": 1, "\\u0061": 2}}').encode(), "duplicate_key"),
        (
            b'{"model": "small", "messages": [{"role": "user", "content": "\\u0022\\u0022", "content": "b"}]}',
            "duplicate_key",
        ),
        (b"[]", "invalid_request"),
        (b"null", "invalid_request"),
        (b'{"model": "small"}', "invalid_request"),
        (b'{"model": "small", "messages": []}', "invalid_request"),
        (b'{"model": 7, "messages": [{"role": "user", "content": "hi"}]}', "invalid_request"),
        ((OK + ', "max_tokens": -1}').encode(), "invalid_request"),
        ((OK + ', "stream": "yes"}').encode(), "invalid_request"),
        ((OK + ', "orchestrator": {"budgit": 1}}').encode(), "invalid_request"),
        ((OK + ', "orchestrator": {"strategy": "magic"}}').encode(), "invalid_request"),
    ],
)
def test_bodies_that_are_refused(gateway: Running, body: bytes, code: str) -> None:
    began = len(gateway.provider.bodies)
    refused = raw(gateway, body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, code)
    assert len(gateway.provider.bodies) == began


USER = {"role": "user", "content": "hi"}


@pytest.mark.parametrize(
    ("path", "fields", "param", "told"),
    [
        ("chat/completions", {"messages": "hi"}, "messages", 'must be an array, not "hi"'),
        ("chat/completions", {"messages": [{"role": "user"}]}, "messages[0]", "the field 'content' is missing"),
        (
            "chat/completions",
            {"messages": [{"role": "user", "content": 5}]},
            "messages[0].content",
            "must be a string or an array, not 5",
        ),
        (
            "chat/completions",
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": "https://a.example/b.png"}]}
                ]
            },
            "messages[0].content[0].image_url",
            'must be an object, not "https://a.example/b.png"',
        ),
        (
            "chat/completions",
            {"messages": [{"role": "usr", "content": "hi"}]},
            "messages[0].role",
            "unknown value \"usr\". Did you mean 'user'?",
        ),
        ("chat/completions", {"messages": [USER], "stop": 5}, "stop", "must be a string or an array, not 5"),
        ("chat/completions", {"messages": [USER], "stream": "yes"}, "stream", 'must be a boolean, not "yes"'),
        (
            "chat/completions",
            {"messages": [USER], "orchestrator": {"budget": {"usd": "1"}}},
            "orchestrator.budget.usd",
            'must be a number, not "1"',
        ),
        (
            "chat/completions",
            {"messages": [USER], "orchestrator": {"budget": {"dollars": 1}}},
            "orchestrator.budget",
            "unknown field 'dollars'",
        ),
        (
            "messages",
            {"max_tokens": 5, "messages": [USER], "system": 5},
            "system",
            "must be a string or an array, not 5",
        ),
        ("responses", {"input": [{"type": "message", "role": "user"}]}, "input[0]", "the field 'content' is missing"),
        ("embeddings", {"input": {"text": "x"}}, "input", "must be a string or an array, not an object"),
    ],
)
def test_what_is_wrong_with_a_body_is_told_at_its_place(
    gateway: Running, path: str, fields: dict[str, Any], param: str, told: str
) -> None:
    refused = gateway.post(f"/v1/{path}", {"model": "small", **fields})
    assert refused.status_code == 400
    error = refused.json()["error"]
    assert error["message"] == f"{param}: {told}"
    assert error.get("param", param) == param


def test_what_one_of_several_values_should_be_names_them_all() -> None:
    import jsonschema_rs

    from orchestrator.gateway.api.schema_problems import problem_told

    kinds = [
        {"type": "object", "required": [field], "properties": {"kind": {"const": name}, field: {"type": "string"}}}
        for name, field in (("text", "text"), ("image", "url"), (None, "other"))
    ]
    schema = {"properties": {"part": {"oneOf": [*kinds, {"type": "string"}]}}}
    for value, expected in [
        ({"kind": "imge"}, (("part", "kind"), "unknown value \"imge\". Did you mean 'image'?")),
        ({"kind": 5}, (("part", "kind"), 'must be "text" or "image", not 5')),
        (True, (("part",), "must be an object or a string, not true")),
        ({"kind": "image"}, (("part",), "the field 'url' is missing")),
        ({"kind": "text", "text": 5}, (("part", "text"), "must be a string, not 5")),
    ]:
        error = next(iter(jsonschema_rs.validator_for(schema).iter_errors({"part": value})))
        assert problem_told(error) == expected


def test_an_operation_that_asks_for_no_field_needs_no_body(gateway: Running) -> None:
    made = gateway.post("/v1/admin/keys", {"name": "turned", "org": gateway.org}, key=gateway.admin).json()
    headers = {"authorization": f"Bearer {gateway.admin}"}
    url = f"{gateway.url}/v1/admin/keys/{made['id']}/rotate"
    rotated = httpx.post(url, headers=headers, trust_env=False)
    assert (rotated.status_code, rotated.json()["id"]) == (200, made["id"])
    listed = gateway.get("/openapi.json").json()["paths"]
    assert listed["/v1/admin/keys/{id}/rotate"]["post"]["requestBody"]["required"] is False
    assert listed["/v1/chat/completions"]["post"]["requestBody"]["required"] is True


def test_quotes_written_as_escapes_are_no_doubled_keys(gateway: Running) -> None:
    assert (
        raw(
            gateway, b'{"model": "small", "messages": [{"role": "user", "content": "say \\u0022hi\\u0022"}]}'
        ).status_code
        == 200
    )


def test_fifty_megabytes_are_refused_before_they_are_read(gateway: Running) -> None:
    host, port = gateway.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer "
            f"{gateway.key}\r\ncontent-length: 50000000\r\n\r\n"
        )
        connection.sendall(head.encode())
        answer = connection.recv(4096)
    assert answer.startswith(b"HTTP/1.1 413")
    chunked = httpx.post(
        f"{gateway.url}/v1/chat/completions",
        content=(b"x" * 100_000 for _ in range(20)),
        headers={"authorization": f"Bearer {gateway.key}"},
        trust_env=False,
    )
    assert chunked.status_code == 413


@pytest.mark.parametrize(
    "headers",
    [
        "content-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        "content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /v1/models HTTP/1.1\r\n\r\n",
        "transfer-encoding: xchunked\r\n\r\n{}",
        "content-length: -1\r\n\r\n{}",
        "x: a\r\n y: folded\r\nauthorization: Bearer other\r\ncontent-length: 2\r\n\r\n{}",
        "authorization: Bearer other\r\ncontent-length: 2\r\n\r\n{}",
    ],
)
def test_heads_that_two_servers_could_read_differently(gateway: Running, headers: str) -> None:
    host, port = gateway.url.removeprefix("http://").split(":")
    began = len(gateway.provider.bodies)
    with socket.create_connection((host, int(port)), 10) as connection:
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {gateway.key}\r\ncontent-type: "
            "application/json\r\n"
        )
        connection.sendall((head + headers).encode())
        connection.settimeout(5)
        answer = connection.recv(65_536)
    assert answer[9:12] in (b"400", b"401", b"501"), answer[:200]
    assert answer.count(b"HTTP/1.1") == 1
    assert len(gateway.provider.bodies) == began


def test_nothing_of_the_callers_head_reaches_the_provider(gateway: Running) -> None:
    raw(
        gateway, (OK + "}").encode(), **{"cookie": "a=b", "x-forwarded-for": "1.2.3.4", "openai-organization": "theirs"}
    )
    assert {name.decode() for name in gateway.provider.headers[-1]} == {
        "host",
        "content-length",
        "content-type",
        "accept-encoding",
        "user-agent",
    }


def test_wrong_paths_methods_and_types(gateway: Running) -> None:
    assert gateway.get("/v1/nothing").status_code == 404
    wrong = gateway.get("/v1/chat/completions")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert raw(gateway, b"{}", **{"content-type": "text/plain"}).json()["error"]["code"] == "invalid_content_type"
    assert gateway.get("/v1/traces", limit=0).status_code == 400
    for id_ in ("²", "9" * 5_000, "-1", "1.5", "%00", "a b"):
        assert gateway.get(f"/v1/memories/{id_}").status_code == 400, id_
    assert gateway.get("/v1/traces", limt=5).json()["error"]["param"] == "limt"


def test_headers_that_are_wrong_are_told(gateway: Running) -> None:
    for name, value in (("budget-usd", "much"), ("quality", "2"), ("memory", "perhaps")):
        refused = raw(gateway, (OK + "}").encode(), **{f"x-orchestrator-{name}": value})
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_header"), name
    slip = raw(gateway, (OK + "}").encode(), **{"x-orchestrator-budjet-usd": "0.000001"})
    assert slip.status_code == 400
    assert "Did you mean x-orchestrator-budget-usd?" in slip.json()["error"]["message"]
    others = {"x-orchestrator-model": "small", "x-orchestrator-cost-usd": "1", "x-orchestrator-trace-id": "t"}
    assert raw(gateway, (OK + "}").encode(), **others).status_code == 200  # what a reply of ours holds, passed on


async def _cut(body: dict[str, Any], send: Send) -> None:
    if not body.get("stream"):
        await reply(send, 200, b'{"choices": [')
        return
    await begin_stream(send)
    await chunk(send, delta({"content": "Par"}))
    await chunk(send, b"", more=False)


async def _garbage(body: dict[str, Any], send: Send) -> None:
    if not body.get("stream"):
        await reply(send, 200, b"<html>login</html>")
        return
    await begin_stream(send)
    await chunk(send, delta({"content": "Par"}))
    await chunk(send, b"data: {broken\n\n", more=False)


async def _error_event(body: dict[str, Any], send: Send) -> None:
    if not body.get("stream"):
        await reply(send, 200, {"error": {"message": "overloaded"}})
        return
    await begin_stream(send)
    await chunk(send, delta({"content": "Par"}))
    await chunk(send, {"error": {"message": "overloaded", "type": "server_error"}}, more=False)


@pytest.mark.parametrize("play", [_cut, _garbage, _error_event])
def test_answers_that_break_off_never_look_whole(tmp_path: Path, play: Any) -> None:
    with running_gateway(tmp_path, play) as gateway:
        key = gateway.new_key(limits=AccountLimits(usd=1.0))
        whole = gateway.chat(key=key, max_tokens=50)
        assert (whole.status_code, whole.json()["error"]["code"]) == (502, "upstream_bad_response")
        streamed = gateway.chat(key=key, max_tokens=50, stream=True)
        assert "Par" in streamed.text
        assert "[DONE]" not in streamed.text
        last = json.loads(streamed.text.strip().split("\n\n")[-1].removeprefix("data: "))
        assert last["error"]["message"]
        budget = gateway.get("/v1/usage", key=key).json()["budgets"][0]
        assert budget["spent_usd"] > 0  # what may have been billed is booked
        errors = sum(entry["errors"] for entry in gateway.get("/v1/usage", key=key).json()["data"])
        assert errors == 2


@pytest.mark.parametrize(
    ("upstream", "expected", "code"),
    [
        (400, 400, "upstream_rejected"),
        (401, 502, "upstream_rejected"),
        (403, 502, "upstream_rejected"),
        (404, 502, "upstream_rejected"),
        (429, 429, "upstream_rate_limited"),
        (500, 503, "upstream_unavailable"),
        (503, 503, "upstream_unavailable"),
    ],
)
def test_what_an_upstream_says_is_passed_on_without_our_secrets(
    tmp_path: Path, upstream: int, expected: int, code: str
) -> None:
    async def play(body: dict[str, Any], send: Send) -> None:
        await reply(send, upstream, {"error": {"message": "told by the provider"}}, ((b"retry-after", b"0"),))

    with running_gateway(tmp_path, play) as gateway:
        refused = gateway.chat()
        assert (refused.status_code, refused.json()["error"]["code"]) == (expected, code)
        assert gateway.provider.url not in refused.text
        assert ("told by the provider" in refused.text) == (upstream == 400)
        assert gateway.get("/v1/usage").json()["data"][0]["cost_usd"] == 0


@pytest.mark.parametrize(
    ("status", "expected", "code", "retries"),
    [
        (401, 502, "upstream_rejected", "false"),
        (429, 429, "upstream_rate_limited", None),
        (500, 503, "upstream_unavailable", None),
    ],
)
@pytest.mark.parametrize("strategy", ["best_of_n", "cascade"])
def test_what_is_wrong_with_every_model_alike_is_told_of_auto_too(
    tmp_path: Path, strategy: str, status: int, expected: int, code: str, retries: str | None
) -> None:
    async def play(body: dict[str, Any], send: Send) -> None:
        await reply(send, status, {"error": {"message": "told by the provider"}}, ((b"retry-after", b"0"),))

    with running_gateway(tmp_path, play) as gateway:
        refused = gateway.chat("Why is the sky blue?", model="auto", orchestrator={"strategy": strategy})
        assert (refused.status_code, refused.json()["error"]["code"]) == (expected, code)
        assert refused.headers.get("x-should-retry") == retries
        assert "told by the provider" not in refused.text
        assert gateway.provider.url not in refused.text


def test_what_is_wrong_with_each_model_in_its_own_way_may_pass() -> None:
    failures = [BackendRejected("no key", status=401), RateLimited("too many")]
    problem = to_gateway_error(NoAdequateModel("none", tried={"a": "", "b": ""}, has_failed=True, failures=failures))
    assert problem is not None
    assert (problem.status, problem.code, problem.retry_after_s) == (503, "upstream_unavailable", 1.0)


def test_an_upstream_that_nobody_answers_at(tmp_path: Path) -> None:
    down = {
        "provider": "compatible",
        "base_url": "http://127.0.0.1:9/v1",
        "input_usd_per_mtok": 1.0,
        "output_usd_per_mtok": 1.0,
    }
    with running_gateway(tmp_path, models={"down": down}) as gateway:
        refused = gateway.chat(model="down")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "upstream_unavailable")


def test_a_model_that_takes_too_long(tmp_path: Path) -> None:
    async def play(body: dict[str, Any], send: Send) -> None:
        await asyncio.sleep(5)
        await reply(send, 200, completion())

    with running_gateway(tmp_path, play) as gateway:
        slow = gateway.chat(orchestrator={"budget": {"seconds": 0.3}})
        assert (slow.status_code, slow.json()["error"]["code"]) == (504, "upstream_timeout")
        assert settled(lambda: gateway.provider.cancelled >= 1)


def test_a_stream_in_pieces_that_fit_no_event(tmp_path: Path) -> None:
    async def play(body: dict[str, Any], send: Send) -> None:
        await begin_stream(send)
        whole = b"".join(
            b"data: " + json.dumps(delta({"content": text})).encode() + b"\r\n\r\n" for text in ("Pä", "ris")
        )
        whole += b": a comment\r\n\r\ndata: " + json.dumps(delta({}, "stop")).encode() + b"\r\n\r\ndata: [DONE]\r\n\r\n"
        for start in range(0, len(whole), 7):
            await chunk(send, whole[start : start + 7])
            await asyncio.sleep(0)
        await chunk(send, b"", more=False)

    with running_gateway(tmp_path, play) as gateway:
        text = gateway.chat(stream=True).text
        events = [
            json.loads(part.removeprefix("data: "))
            for part in text.replace("\r", "").split("\n\n")
            if part.startswith("data: {")
        ]
        assert "".join(event["choices"][0]["delta"].get("content", "") for event in events) == "Päris"
        assert text.rstrip().endswith("data: [DONE]")


def test_usage_on_the_last_chunk_with_a_choice_counts(tmp_path: Path) -> None:
    async def play(body: dict[str, Any], send: Send) -> None:
        await begin_stream(send)
        await chunk(send, delta({"content": "Paris"}))
        last = delta({}, "stop") | {"usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}}
        await chunk(send, last)
        await chunk(send, b"data: [DONE]\n\n", more=False)

    with running_gateway(tmp_path, play) as gateway:
        gateway.chat(stream=True)
        assert gateway.get("/v1/usage").json()["data"][0]["cost_usd"] == pytest.approx(7e-6 + 6e-6)


def test_where_no_model_can_answer_it_says_why_and_what_to_add(tmp_path: Path) -> None:
    with running_gateway(tmp_path, models={"calculator": {"provider": "calculator"}}) as gateway:
        for stream in (False, True):
            refused = gateway.chat("Write me a poem", model="auto", stream=stream)
            assert (refused.status_code, refused.json()["error"]["code"]) == (404, "no_adequate_model")
            assert "calculator: not arithmetic" in refused.json()["error"]["message"]
            assert "OPENAI_API_KEY" in refused.json()["error"]["message"]
        tools = [{"type": "function", "function": {"name": "look_up"}}]
        assert gateway.chat("Write me a poem", model="auto", tools=tools).status_code == 404
