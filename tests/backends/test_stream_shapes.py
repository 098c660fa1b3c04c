"""Streams as odd servers write them.

Calls that share an index, halves of characters, numbers that are none, errors where answers are due.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.backends.base import Request
from orchestrator.backends.remote import RemoteBackend
from orchestrator.errors import BackendError
from orchestrator.gateway.http import sse
from orchestrator.router import ModelProfile
from orchestrator.types import Message
from tests.support.gateway import (
    Provider,
    Send,
    begin_stream,
    chunk,
    completion,
    delta,
    reply,
    running_gateway,
    served,
    settled,
    usual,
)

PRICED = {"provider": "compatible", "input_usd_per_mtok": 1.0, "output_usd_per_mtok": 2.0}


def piece(index: int | None, id: str = "", name: str = "", arguments: Any = "") -> dict[str, Any]:
    call: dict[str, Any] = {} if index is None else {"index": index}
    call |= {"id": id, "type": "function"} if id else {}
    return {"tool_calls": [{**call, "function": ({"name": name} if name else {}) | {"arguments": arguments}}]}


def passed(*deltas: dict[str, Any], finish: str = "tool_calls") -> list[dict[str, Any]]:
    """What the gateway passes on of a stream of these pieces."""
    passage = sse.SSEFilter("m")
    events = [sse.event(delta(one)) for one in deltas] + [sse.event(delta({}, finish)), sse.DONE]
    data = b"".join(passage.feed(event) for event in events)
    assert passage.is_whole
    return [json.loads(part[5:]) for part in data.decode().split("\n\n") if part.startswith("data:")]


def joined(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """The calls as a client joins them: by index."""
    calls: dict[int, dict[str, Any]] = {}
    for event in events:
        for choice in event["choices"]:
            for one in choice["delta"].get("tool_calls") or ():
                into = calls.setdefault(one["index"], {"id": "", "name": "", "arguments": ""})
                into["id"] = one.get("id") or into["id"]
                into["name"] += (one.get("function") or {}).get("name") or ""
                into["arguments"] += (one.get("function") or {}).get("arguments") or ""
    assert all(call["id"] for call in calls.values())
    return [(call["name"], call["arguments"]) for _, call in sorted(calls.items())]


@pytest.mark.parametrize(
    ("deltas", "calls"),
    [
        ([piece(0, "a", "A", '{"x":1}'), piece(0, "b", "B", '{"y":2}')], [("A", '{"x":1}'), ("B", '{"y":2}')]),
        (
            [piece(0, "a", "A"), piece(0, "", "", '{"x"'), piece(0, "b", "B"), piece(0, "", "", "{}")],
            [("A", '{"x"'), ("B", "{}")],
        ),
        (
            [
                piece(0, "a", "A"),
                piece(1, "b", "B"),
                piece(0, "", "", "{"),
                piece(1, "", "", "{}"),
                piece(0, "", "", "}"),
            ],
            [("A", "{}"), ("B", "{}")],
        ),
        ([piece(0, "a", "A", "{"), piece(0, "a", "", "}")], [("A", "{}")]),
        (
            [piece(None, "a", "A", "{"), piece(None, "", "", "}"), piece(None, "b", "B", "{}")],
            [("A", "{}"), ("B", "{}")],
        ),
        ([piece(0, "", "A", "{}"), piece(0, "", "B", "{}")], [("A", "{}"), ("B", "{}")]),
        ([piece(0, "a", "A"), piece(1, "b", "B", '{"y":2}')], [("A", "{}"), ("B", '{"y":2}')]),
        ([piece(0, "a", "A", {"x": 1})], [("A", '{"x": 1}')]),
        ([piece(3, "a", "A", "{}"), piece(7, "b", "B", "{}")], [("A", "{}"), ("B", "{}")]),
    ],
)
def test_calls_come_out_one_by_one_whatever_their_server_numbers(
    deltas: list[dict[str, Any]], calls: list[tuple[str, str]]
) -> None:
    assert joined(passed(*deltas)) == calls


def test_a_call_without_arguments_in_the_event_that_ends_it() -> None:
    passage = sse.SSEFilter("m")
    data = passage.feed(sse.event(delta(piece(0, "a", "A"), "tool_calls")) + sse.DONE)
    assert joined([json.loads(part[5:]) for part in data.decode().split("\n\n") if part]) == [("A", "{}")]


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters='"\\'), max_size=6), min_size=1, max_size=4),
    st.randoms(use_true_random=False),
    st.sampled_from(["as they are", "all 0", "none"]),
)
def test_pieces_in_any_turns_give_the_same_calls(texts: list[str], random: Any, numbers: str) -> None:
    calls = [(f"f{place}", json.dumps({"t": text})) for place, text in enumerate(texts)]
    waiting = [
        [piece(place, f"id{place}", name), *(piece(place, f"id{place}", "", c) for c in arguments)]
        for place, (name, arguments) in enumerate(calls)
    ]
    deltas = [each.pop(0) for each in waiting]
    while any(waiting):
        deltas.append(random.choice([each for each in waiting if each]).pop(0))
    for one in deltas:
        if numbers == "all 0":
            one["tool_calls"][0]["index"] = 0
        elif numbers == "none":
            del one["tool_calls"][0]["index"]
    assert joined(passed(*deltas)) == calls


@given(st.text(max_size=30), st.integers(0, 40))
def test_texts_that_are_cut_anywhere_are_whole_again(text: str, at: int) -> None:
    units = text.encode("utf-16-le", "surrogatepass")
    at = min(at, len(units) // 2) * 2
    cut = [part.decode("utf-16-le", "surrogatepass") for part in (units[:at], units[at:])]
    passage, data = sse.SSEFilter("m"), b""
    for part in cut:
        event = b"data: " + json.dumps(delta({"content": part}), ensure_ascii=True).encode() + b"\n\n"
        data += passage.feed(event)
    data += passage.feed(sse.event(delta({}, "stop")) + sse.DONE)
    told = [json.loads(piece[5:]) for piece in data.split(b"\n\n") if piece]
    assert "".join(one["choices"][0]["delta"].get("content") or "" for one in told) == text


@pytest.mark.parametrize(
    "failing",
    [
        {"error": {"message": "boom", "code": 500}},
        {**delta({}), "error": {"message": "boom"}},
        delta({}, "error"),
        {"choices": [{"index": 0, "delta": {}, "error": {"message": "boom"}}]},
        {"type": "error", "message": "boom"},
        {"object": "error", "message": "boom"},
    ],
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])
def test_an_error_in_any_form_ends_no_stream_as_if_it_were_whole(
    tmp_path: Path, failing: dict[str, Any], path: str
) -> None:
    async def play(body: dict[str, Any], send: Send) -> None:
        await begin_stream(send)
        await chunk(send, delta({"content": "Par"}))
        await chunk(send, failing)
        await chunk(send, delta({}, "stop"))
        await chunk(send, b"data: [DONE]\n\n", more=False)

    with running_gateway(tmp_path, play) as gateway:
        key = gateway.new_key()
        question = [{"role": "user", "content": "q"}]
        asked = {"input": "q"} if path.endswith("responses") else {"messages": question, "max_tokens": 9}
        told = gateway.post(path, {"model": "small", "stream": True, **asked}, key=key).text
        assert "error" in told or "response.failed" in told
        for end in ("[DONE]", "message_stop", "response.completed"):
            assert end not in told
        assert settled(lambda: [row["requests"] for row in gateway.get("/v1/usage", key=key).json()["data"]] == [1])


@pytest.mark.parametrize("failing", [{**delta({}), "error": {"message": "boom"}}, delta({}, "error")])
def test_an_error_is_one_for_the_sdk_too_and_characters_are_whole(tmp_path: Path, failing: dict[str, Any]) -> None:
    async def play(body: dict[str, Any], send: Send) -> None:
        if not body.get("stream"):
            await reply(send, 200, {**completion(), "error": {"message": "boom"}})
            return
        await begin_stream(send)
        for cut in (b'"ok \\ud83d"', b'"\\ude00 done"'):
            await chunk(
                send,
                b'data: {"error": null, "choices":[{"index":0,"delta":{"content":%b},"finish_reason":null}]}\n\n' % cut,
            )
        await chunk(send, failing, more=False)

    async def go(url: str) -> list[str]:
        model = RemoteBackend(ModelProfile("m", 1.0, 2.0), base_url=f"{url}/v1", attempts=1)
        asked = Request((Message("user", "q"),), "q", max_tokens=9, deadline_s=10.0)
        with pytest.raises(BackendError, match="boom"):
            await model.complete(asked)
        texts: list[str] = []

        async def read() -> None:
            async for part in model.stream(asked):
                texts.append(part.text or "")  # noqa: PERF401 - what came before the error is kept

        with pytest.raises(BackendError):
            await read()
        await model.aclose()
        return texts

    with served(Provider(play)) as url:
        assert "".join(asyncio.run(go(url))) == "ok \U0001f600 done"


def test_our_key_is_passed_on_in_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-very-secret")
    failing = {"error": {"message": "no quota for sk-very-secret", "code": 400}}

    async def play(body: dict[str, Any], send: Send) -> None:
        if not body.get("stream"):
            await reply(send, 200, failing)
            return
        await begin_stream(send)
        if "late" in json.dumps(body):
            await chunk(send, delta({"content": "Par"}))
        await chunk(send, failing, more=False)

    with served(Provider(play)) as url:
        model = {**PRICED, "base_url": f"{url}/v1", "key": "env:SOME_KEY"}
        with running_gateway(tmp_path, models={"m": model}) as gateway:
            for answer in (
                gateway.chat(model="m"),
                gateway.chat(model="m", stream=True),
                gateway.chat("late", model="m", stream=True),
            ):
                assert "no quota for ***" in answer.text
                assert "secret" not in answer.text


@pytest.mark.parametrize("name", ["anthropic", "gemini"])
def test_halves_of_characters_from_other_dialects(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "k")

    def part(text: str) -> bytes:
        if name == "gemini":
            told: dict[str, Any] = {"candidates": [{"content": {"parts": [{"text": text}]}, "index": 0}]}
        else:
            told = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
        return b"data: " + json.dumps(told).encode() + b"\n\n"

    async def play(body: dict[str, Any], send: Send) -> None:
        await begin_stream(send)
        for text in ("ok \ud83d", "\ude00 done"):
            await chunk(send, part(text))
        end: dict[str, Any] = {"candidates": [{"content": {"parts": []}, "finishReason": "STOP", "index": 0}]}
        if name == "anthropic":
            await chunk(
                send, {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}}
            )
            end = {"type": "message_stop"}
        await chunk(send, end, more=False)

    with served(Provider(play)) as url:
        model = {
            "provider": name,
            "model": "x",
            "base_url": f"{url}/v1",
            "key": "env:SOME_KEY",
            "input_usd_per_mtok": 1.0,
            "output_usd_per_mtok": 1.0,
        }
        with running_gateway(tmp_path, models={"m": model}) as gateway:
            told = gateway.chat(model="m", stream=True)
    texts = [json.loads(line[6:])["choices"] for line in told.text.splitlines() if line.startswith("data: {")]
    assert (
        "".join(choice["delta"].get("content") or "" for choices in texts for choice in choices) == "ok \U0001f600 done"
    )
    assert "[DONE]" in told.text


@pytest.mark.parametrize(
    "failing",
    [
        {"error": {"message": "boom", "code": 503}},
        {**completion(), "error": {"message": "boom", "code": 503}},
        {"error": "boom"},
    ],
)
def test_an_error_with_status_200_sends_auto_to_the_next_model(tmp_path: Path, failing: dict[str, Any]) -> None:
    async def play(body: dict[str, Any], send: Send) -> None:
        if body["model"] == "large":
            await usual(body, send)
        elif body.get("stream"):
            await begin_stream(send)
            await chunk(send, delta({"role": "assistant", "content": ""}))
            await chunk(send, failing, more=False)
        else:
            await reply(send, 200, failing)

    with running_gateway(tmp_path, play, quality=0.5) as gateway:  # so that the small model comes first
        for stream in (False, True):
            answer = gateway.chat(model="auto", stop=["x"], stream=stream)
            assert answer.status_code == 200
            assert "Pa" in answer.text
            assert {body["model"] for body in gateway.provider.bodies} == {"small", "large"}
            gateway.provider.bodies.clear()


def test_what_is_not_quite_json_is_passed_on_as_json(tmp_path: Path) -> None:
    logprob = b'{"content":[{"token":"x","logprob":-Infinity,"bytes":null,"top_logprobs":[]}]}'

    async def play(body: dict[str, Any], send: Send) -> None:
        if body.get("stream"):
            await begin_stream(send)
            await chunk(
                send,
                b'data: {"choices":[{"index":0,"delta":{"content":"x"},"logprobs":%b,"finish_reason":null}]}\n\n'
                % logprob,
            )
            await chunk(send, delta({}, "stop"))
            await chunk(send, b"data: [DONE]\n\n", more=False)
            return
        whole = (
            json.dumps(completion("cut \ud83d"))
            .encode()
            .replace(b'"finish_reason"', b'"logprobs": %b, "finish_reason"' % logprob)
        )
        await reply(send, 200, whole)

    with running_gateway(tmp_path, play) as gateway:
        whole = gateway.chat(logprobs=True).json()["choices"][0]
        assert (whole["logprobs"]["content"][0]["logprob"], whole["message"]["content"]) == (-9999.0, "cut \ufffd")
        streamed = gateway.chat(stream=True, logprobs=True)
        assert "Infinity" not in streamed.text
        assert "[DONE]" in streamed.text


def test_where_a_model_lies_on_its_server_is_its_operators_business(tmp_path: Path) -> None:
    where = "/srv/models/smol.Q4.gguf"

    async def play(body: dict[str, Any], send: Send) -> None:
        if body.get("stream"):
            await begin_stream(send)
            await chunk(send, {**delta({"content": "x"}), "model": where})
            await chunk(send, {**delta({}, "stop"), "model": where})
            await chunk(send, b"data: [DONE]\n\n", more=False)
        else:
            await reply(send, 200, {**completion(), "model": where})

    with running_gateway(tmp_path, play) as gateway:
        for stream in (False, True):
            for path, asked in (
                ("chat/completions", {}),
                ("messages", {"max_tokens": 9}),
                ("responses", {"input": "q"}),
            ):
                body = {
                    "model": "small",
                    "stream": stream,
                    **({"messages": [{"role": "user", "content": "q"}]} | asked),
                }
                told = gateway.post(f"/v1/{path}", body).text
                assert "srv" not in told
                assert '"model":"small"' in told.replace(" ", "")
