"""Answers as servers send them that nobody here wrote.

Each is told whole through every API, or told to have failed, and booked once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.answer_table import Told, _chat, _message, calls_of, claude_body, ending_of, responses_body, text_of
from tests.support.gateway import (
    Provider,
    Running,
    Send,
    begin_stream,
    chunk,
    completion,
    delta,
    reply,
    running_gateway,
    served,
    settled,
)

ASK: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": (
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": "q"}], "stream_options": {"include_usage": True}},
    ),
    "messages": ("/v1/messages", {"messages": [{"role": "user", "content": "q"}], "max_tokens": 900}),
    "responses": ("/v1/responses", {"input": "q"}),
}
FACES = list(ASK)
USAGE = {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30}
PRICES = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 2.0}


def line(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def ended(finish: str = "stop") -> list[bytes]:
    return [line(delta({}, finish)), line({**delta({}), "choices": [], "usage": USAGE}), b"data: [DONE]\n\n"]


def streaming(*pieces: bytes, content_type: bytes = b"text/event-stream") -> Any:
    async def play(body: dict[str, Any], send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", content_type)]})
        for piece in pieces:
            await chunk(send, piece)
        await chunk(send, b"", more=False)

    return play


def streamed(gateway: Running, face: str, model: str = "small") -> Told:
    path, body = ASK[face]
    answer = gateway.post(path, {"model": model, **body, "stream": True})
    assert answer.status_code == 200, answer.text
    events = [
        json.loads(each[5:])
        for each in answer.text.splitlines()
        if each.startswith("data:") and each[5:].strip() != "[DONE]"
    ]
    failed = next(
        (event for event in events if event.get("error") or event.get("type") in ("error", "response.failed")), None
    )
    if failed is not None:
        return Told("failed", failed)
    return Told(
        face, {"chat": _chat, "messages": _message, "responses": lambda events: events[-1]["response"]}[face](events)
    )


@pytest.mark.parametrize("face", FACES)
def test_lines_that_end_as_windows_has_them(tmp_path: Path, face: str) -> None:
    several = b"".join(line(delta({"content": letter})) for letter in "AB").replace(b"\n", b"\r\n")
    later = b"".join(line(delta({"content": letter})) for letter in "CD").replace(b"\n", b"\r\n")
    with running_gateway(
        tmp_path, streaming(several, later, *[each.replace(b"\n", b"\r\n") for each in ended()])
    ) as gateway:
        assert text_of(streamed(gateway, face)) == "ABCD"
        assert settled(lambda: bool(gateway.get("/v1/usage").json()["data"]))
        assert gateway.get("/v1/usage").json()["data"][0]["output_tokens"] == 10


@pytest.mark.parametrize("face", FACES)
def test_a_connection_that_breaks_after_the_end_mark_is_no_failure(tmp_path: Path, face: str) -> None:
    async def play(body: dict[str, Any], send: Send) -> None:
        await begin_stream(send)
        for piece in (line(delta({"content": "A"})), *ended()):
            await chunk(send, piece)
        raise RuntimeError("it closes without the last chunk")

    with running_gateway(tmp_path, play) as gateway:
        assert text_of(streamed(gateway, face)) == "A"
        assert len(gateway.provider.bodies) == 1


@pytest.mark.parametrize("face", FACES[1:])  # a chat is passed on as its server wrote it
def test_an_event_that_is_cut_is_told_as_a_failure(tmp_path: Path, face: str) -> None:
    cut = b'data: {"id": "c", "choices": [{"index": 0, "finish_reason": null, "delta": {"content": "B"\n\n'
    with running_gateway(tmp_path, streaming(line(delta({"content": "A"})), cut, *ended())) as gateway:
        assert streamed(gateway, face).face == "failed"


@pytest.mark.parametrize("face", FACES)
def test_halves_of_characters_in_arguments_are_put_together(tmp_path: Path, face: str) -> None:
    def piece(arguments: str, **more: Any) -> bytes:
        call = {"index": 0, **more, "function": {"arguments": "@", **({"name": "look"} if more else {})}}
        return line(delta({"tool_calls": [call]})).replace(b'"@"', arguments.encode())

    pieces = (piece('"{\\"a\\": \\"\\ud83d"', id="c1", type="function"), piece('"\\ude00\\"}"'))
    with running_gateway(tmp_path, streaming(*pieces, *ended("tool_calls"))) as gateway:
        assert calls_of(streamed(gateway, face)) == [("look", {"a": "😀"})]


def test_halves_elsewhere_do_not_break_a_stream(tmp_path: Path) -> None:
    thought = line(delta({"reasoning_content": "@"}))
    odd = [thought.replace(b'"@"', b'"\\ud83d"'), thought.replace(b'"@"', b'"\\ude00"'), line(delta({"content": "A"}))]
    odd[2] = odd[2].replace(
        b'"finish_reason": null',
        b'"finish_reason": null, "logprobs": {"content": [{"token": "\\ud83d", "logprob": -1}]}',
    )
    last = line(delta({"content": "@"})).replace(b'"@"', b'"B\\ud83d"')
    with running_gateway(tmp_path, streaming(*odd, last, *ended())) as gateway:
        told = streamed(gateway, "chat").body["choices"][0]["message"]
    assert (told["reasoning_content"], told["content"]) == ("😀", "AB\ufffd")


def calls(*pieces: tuple[int, str, str]) -> bytes:
    made = [
        {
            "index": index,
            **({"id": id, "type": "function"} if id else {}),
            "function": {"arguments": arguments, **({"name": "f"} if id else {})},
        }
        for index, id, arguments in pieces
    ]
    return line(delta({"tool_calls": made}))


@pytest.mark.parametrize(
    "pieces",
    [
        [calls((0, "a", '{"x": 1}')), calls((1, "b", '{"x": 2}')), calls((0, "", ""), (1, "", ""))],
        [calls((0, "a", '{"x": 1}')), calls((1, "b", '{"x": 2}')), calls((0, "", "\n"))],
        [calls((0, "a", '{"x": 1}')), line(delta({"content": "and"})), calls((0, "", "")), calls((1, "b", '{"x": 2}'))],
        [
            calls((0, "a", '{"x"')),
            line(delta({"reasoning_content": "hm"})),
            calls((0, "", ": 1}")),
            calls((1, "b", '{"x": 2}')),
        ],
    ],
)
@pytest.mark.parametrize("finish", ["tool_calls", "stop"])
def test_calls_are_told_once_under_messages(tmp_path: Path, pieces: list[bytes], finish: str) -> None:
    with running_gateway(tmp_path, streaming(*pieces, *ended(finish))) as gateway:
        told = Told("messages", streamed_message(gateway))
    assert calls_of(told) == [("f", {"x": 1}), ("f", {"x": 2})]
    assert ending_of(told) == "tool_use"  # whatever its server says: agents go by it


def streamed_message(gateway: Running) -> dict[str, Any]:
    path, body = ASK["messages"]
    answer = gateway.post(path, {"model": "small", **body, "thinking": {"type": "adaptive"}, "stream": True})
    return _message([json.loads(each[5:]) for each in answer.text.splitlines() if each.startswith("data:")])


@pytest.mark.parametrize("face", FACES)
def test_a_whole_answer_with_indexes_where_a_stream_was_asked_for(tmp_path: Path, face: str) -> None:
    made = [
        {"index": 0, "id": f"c{n}", "type": "function", "function": {"name": "f", "arguments": f'{{"x": {n}}}'}}
        for n in (1, 2)
    ]

    async def play(body: dict[str, Any], send: Send) -> None:
        await reply(send, 200, completion(None, tool_calls=made))

    with running_gateway(tmp_path, play) as gateway:
        assert calls_of(streamed(gateway, face)) == [("f", {"x": 1}), ("f", {"x": 2})]


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("provider", ["anthropic", "openai-responses"])
def test_arguments_and_texts_that_come_all_at_once(
    tmp_path: Path, face: str, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TABLE_KEY", "sk-table")
    used = {"type": "tool_use", "id": "t1", "name": "look", "input": {"a": 1}}
    called = {"type": "function_call", "id": "fc", "call_id": "c1", "name": "look", "arguments": '{"a": 1}'}
    claude = claude_body([], "tool_use")
    openai = responses_body([called])
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": claude},
        {"type": "content_block_start", "index": 0, "content_block": used},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    ]
    if provider == "openai-responses":
        events = [
            {"type": "response.created", "response": {**openai, "output": []}},
            {"type": "response.output_item.added", "output_index": 0, "item": {**called, "arguments": ""}},
            {"type": "response.output_item.done", "output_index": 0, "item": called},
            {"type": "response.completed", "response": openai},
        ]
    upstream = Provider(streaming(*map(line, events)))
    with served(upstream) as url:
        described = {
            "provider": provider,
            "model": "claude-opus-4-6",
            "base_url": f"{url}/v1",
            "key": "env:TABLE_KEY",
            **PRICES,
        }
        with running_gateway(tmp_path, models={"small": described}) as gateway:
            assert calls_of(streamed(gateway, face)) == [("look", {"a": 1})]


@pytest.mark.parametrize("provider", ["compatible", "vllm"])
@pytest.mark.parametrize("failure", [{"object": "error", "message": "boom", "code": 500}, {"detail": "boom"}])
def test_an_error_in_whatever_words_is_no_success(tmp_path: Path, provider: str, failure: dict[str, Any]) -> None:
    upstream = Provider(streaming(line(delta({"content": "A"})), line(failure), *ended()))
    with (
        served(upstream) as url,
        running_gateway(
            tmp_path, models={"small": {"provider": provider, "base_url": f"{url}/v1", **PRICES}}
        ) as gateway,
    ):
        for face in FACES:
            assert streamed(gateway, face).face == "failed", face


def test_our_key_is_made_unreadable_before_anything_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TABLE_KEY", "sk-secret-of-the-gateway")

    async def play(body: dict[str, Any], send: Send) -> None:
        if body.get("stream"):
            await streaming(
                b": sk-secret-of-the-gateway http://10.0.0.1:9\n\n", line({"detail": "sk-secret-of-the-gateway"})
            )(body, send)
        else:
            await reply(send, 400, {"error": {"message": "x" * 285 + "sk-secret-of-the-gateway"}})

    upstream = Provider(play)
    with served(upstream) as url:
        described = {"provider": "compatible", "base_url": f"{url}/v1", "key": "env:TABLE_KEY", **PRICES}
        with running_gateway(tmp_path, models={"small": described}) as gateway:
            for stream in (False, True):
                told = gateway.chat(stream=stream).text
                assert "sk-secret" not in told
                assert "10.0.0.1" not in told


@pytest.mark.parametrize("stream", [False, True])
def test_usage_that_is_none_is_estimated_and_told(tmp_path: Path, stream: bool) -> None:
    words, nothing = (
        "a long answer of several words " * 20,
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    )

    async def play(body: dict[str, Any], send: Send) -> None:
        if not body.get("stream"):
            return await reply(send, 200, {**completion(words), "usage": nothing})
        last = line({**delta({}), "choices": [], "usage": nothing})
        pieces = [line(delta({"content": word + " "})) for word in words.split()]
        return await streaming(*pieces, line(delta({}, "stop")), last, b"data: [DONE]\n\n")(body, send)

    with running_gateway(tmp_path, play) as gateway:
        path, body = ASK["messages"]
        told = streamed(gateway, "messages").body if stream else gateway.post(path, {"model": "small", **body}).json()
        assert settled(lambda: bool(gateway.get("/v1/usage").json()["data"]))
        (row,) = gateway.get("/v1/usage").json()["data"]
    assert row["output_tokens"] > 80
    assert told["usage"]["output_tokens"] == row["output_tokens"]


def test_what_was_told_before_a_stream_broke_off_is_booked(tmp_path: Path) -> None:
    first = {**delta({"content": "A"}), "usage": {"prompt_tokens": 500, "completion_tokens": 0, "total_tokens": 500}}
    pieces = [line(first), *(line(delta({"content": "word "})) for _ in range(100))]
    with running_gateway(tmp_path, streaming(*pieces)) as gateway:
        assert streamed(gateway, "chat").face == "failed"
        assert settled(lambda: bool(gateway.get("/v1/usage").json()["data"]))
        (row,) = gateway.get("/v1/usage").json()["data"]
    assert row["prefill_tokens"] == 500
    assert row["output_tokens"] >= 100


@pytest.mark.parametrize("face", FACES)
def test_choices_that_are_none_and_empty_events_are_passed_over(tmp_path: Path, face: str) -> None:
    pieces = (b"data:\n\n", line({**delta({}), "choices": [None]}), line(delta({"content": "A"})), *ended())
    with running_gateway(tmp_path, streaming(*pieces)) as gateway:
        assert text_of(streamed(gateway, face)) == "A"
