"""Every row of the provider table against a real server that plays its documented wire format, good and bad, whole and
streamed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from orchestrator import BackendError, Message
from orchestrator.backends.base import Delta, Request
from orchestrator.backends.dialects import dialect_named
from orchestrator.backends.remote import RemoteBackend
from orchestrator.backends.usage import chat_usage, usage_in, usage_of
from orchestrator.config.models import parse_config
from orchestrator.errors import BackendRejected
from orchestrator.fleet.build import fleet_from_config
from orchestrator.providers.table import PROVIDERS
from orchestrator.router import ModelProfile
from orchestrator.types import Completion, Usage
from tests.support.gateway import Provider as Server
from tests.support.gateway import begin_stream, reply, served
from tests.support.recordings import RECORDINGS, TEXT

KEY = "sk-very-secret-0123456789"
ASKED = Request(
    (Message("system", "Be brief."), Message("user", "What is the capital of France?")),
    "What is the capital of France?",
    max_tokens=50,
)
RICH: dict[str, Any] = {
    "messages": [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "name": "ann", "content": [{"type": "text", "text": "What is the capital of France?"}]},
    ],
    "max_tokens": 50, "temperature": 0.0, "seed": 7, "stop": ["END"], "user": "u-1", "store": True,
    "metadata": {"a": "b"},
    "prompt_cache_key": "k", "service_tier": "auto",
    "tools": [{"type": "function", "function": {"name": "look", "description": "Looks.",
    "parameters": {"type": "object", "properties": {}}}}],
    "tool_choice": "auto",
}  # fmt: skip


def backend(name: str, url: str, **options: Any) -> RemoteBackend:
    return RemoteBackend(
        ModelProfile("m", 1.0, 2.0), provider=name, base_url=url, model="m-1", key=KEY, attempts=1, **options
    )


@contextmanager
def playing(name: str) -> Iterator[tuple[Server, str]]:
    """A server that answers as this provider does."""
    recording = RECORDINGS[name]

    async def play(body: dict[str, Any], send: Any) -> None:
        if body.get("stream") or "streamGenerateContent" in server.paths[-1]:
            await begin_stream(send)
            for event in recording.events:
                await send({"type": "http.response.body", "body": event, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            return
        await reply(send, 200, recording.whole)

    server = Server(play)
    with served(server) as url:
        yield server, url


async def streamed(asked: RemoteBackend) -> tuple[str, Completion]:
    texts, done = [], None
    async for piece in asked.stream(ASKED):
        if isinstance(piece, Delta):
            texts.append(piece.text)
        else:
            done = piece
    await asked.aclose()
    assert done is not None
    return "".join(texts), done


async def completed(asked: RemoteBackend) -> Completion:
    try:
        return await asked.complete(ASKED)
    finally:
        await asked.aclose()


def test_every_row_has_a_recording() -> None:
    assert set(RECORDINGS) == set(PROVIDERS)


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_whole_answer_and_its_usage_to_the_token(name: str) -> None:
    recording, row = RECORDINGS[name], PROVIDERS[name]
    with playing(name) as (server, url):
        done = asyncio.run(completed(backend(name, url)))
    assert (done.text, done.thoughts, done.usage) == (TEXT, recording.thoughts, recording.usage)
    assert server.paths == [recording.path]
    shown = {
        "bearer": (b"authorization", f"Bearer {KEY}"),
        "x-api-key": (b"x-api-key", KEY),
        "api-key": (b"api-key", KEY),
    }
    header, value = shown.get(row.auth, (b"x-goog-api-key", KEY))
    assert server.headers[0][header] == value.encode()
    assert all(server.headers[0][name.encode()] == value.encode() for name, value in row.headers.items())


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_streamed_answer_and_its_usage_to_the_token(name: str) -> None:
    recording = RECORDINGS[name]
    with playing(name) as (server, url):
        text, done = asyncio.run(streamed(backend(name, url)))
    assert (text, done.text, done.thoughts, done.finish_reason) == (TEXT, TEXT, recording.thoughts, "stop")
    if recording.streamed is not None:
        assert done.usage.estimated  # said to be an estimate, and never nothing
        assert done.usage.output_tokens > 0
    else:
        assert done.usage == recording.usage
    assert server.paths == [recording.stream_path or recording.path]


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_refusal_in_the_providers_own_words_and_without_the_key(name: str) -> None:
    recording = RECORDINGS[name]

    async def play(body: dict[str, Any], send: Any) -> None:
        await reply(send, 400, {**recording.bad, "echo": KEY} if name != "mistral" else recording.bad)

    with served(Server(play)) as url, pytest.raises(BackendRejected) as caught:
        asyncio.run(completed(backend(name, url)))
    assert recording.says in str(caught.value)
    assert KEY not in str(caught.value)
    assert caught.value.status == 400
    assert not caught.value.may_be_billed


@pytest.mark.parametrize("name", PROVIDERS)
def test_nothing_is_sent_that_the_provider_rejects(name: str) -> None:
    row = PROVIDERS[name]
    if row.lacks & {"tools", "stop", "seed"}:
        rich = {k: v for k, v in RICH.items() if k not in row.lacks and k != "tool_choice"}
    else:
        rich = RICH
    sent = dialect_named(row.dialect).outgoing(rich, row, "m-1", most_tokens=999).body
    assert not set(sent) & row.drops
    if row.dialect == "chat":
        assert sent["model"] == "m-1"
        assert sent[row.token_field] == 50
        assert not {"max_tokens", "max_completion_tokens"} - {row.token_field} & set(sent)
        roles = [message["role"] for message in sent["messages"] if message["content"] == "Be brief."]
        assert roles == ["developer" if row.developer_role else "system"]
        assert sent["temperature"] >= row.least_temperature
        if row.only is not None:
            assert set(sent) <= row.only
        if not row.names_in_messages:
            assert all("name" not in message for message in sent["messages"])
        if not row.parts:
            assert all(isinstance(message["content"], str) for message in sent["messages"])
    for lacking in row.lacks - {"n"}:
        with pytest.raises(BackendRejected, match=lacking):
            dialect_named(row.dialect).outgoing({**rich, lacking: 1}, row, "m-1", most_tokens=999)


def sent(name: str, model: str = "m-1", **fields: Any) -> dict[str, Any]:
    """What goes out for a small request with these fields."""
    row = PROVIDERS[name]
    messages = fields.pop("messages", [{"role": "user", "content": "hi"}])
    return dialect_named(row.dialect).outgoing({"messages": messages, **fields}, row, model, most_tokens=999).body


def test_what_each_provider_calls_it() -> None:
    assert sent("mistral", seed=7)["random_seed"] == 7
    assert "seed" not in sent("mistral", seed=7)
    assert sent("mistral", tools=RICH["tools"], tool_choice="required")["tool_choice"] == "any"
    named = {"type": "function", "function": {"name": "look"}}
    for name in ("mistral", "zai", "openai"):
        assert sent(name, tools=RICH["tools"], tool_choice=named)["tool_choice"] == named
    assert sent("groq", temperature=0.0)["temperature"] == 1e-8
    assert sent("zai", reasoning_effort="none")["thinking"] == {"type": "disabled"}
    assert sent("zai", reasoning_effort="high")["thinking"] == {"type": "enabled"}
    assert sent("deepseek", reasoning_effort="xhigh")["reasoning_effort"] == "max"
    assert sent("deepseek", max_completion_tokens=9)["max_tokens"] == 9
    assert "temperature" not in sent("openai", "gpt-5.6", temperature=0.5)
    assert "temperature" not in sent("openai", "gpt-6-sol", temperature=0.5)
    assert sent("openai", "gpt-4o", temperature=0.5)["temperature"] == 0.5
    assert "temperature" not in sent("anthropic", "claude-opus-5", temperature=0.5)
    assert sent("anthropic", "claude-sonnet-4-5", temperature=1.7)["temperature"] == 1.0
    assert sent("anthropic")["max_tokens"] == 999
    assert sent("openai", stream=True)["stream_options"] == {"include_usage": True}
    assert "stream_options" not in sent("fastchat", stream=True)
    with pytest.raises(BackendRejected, match=r"n=3"):
        sent("groq", n=3)
    with pytest.raises(BackendRejected, match="at most 8"):
        sent("gemini", n=9)


@pytest.mark.parametrize("name", ["zai", "ai21", "deepseek", "fastchat", "transformers"])
def test_a_model_is_told_of_a_schema_that_its_server_does_not_hold_it_to(name: str) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    body = sent(name, response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": schema}})
    assert '"city"' in body["messages"][0]["content"]
    assert body.get("response_format") in ({"type": "json_object"}, None)


def test_thoughts_go_back_only_where_they_must() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    said = {
        "role": "assistant",
        "content": "",
        "tool_calls": [call],
        "reasoning_content": "hm",
        "thinking_blocks": [{"type": "thinking"}],
    }
    messages = [{"role": "user", "content": "hi"}, said, {"role": "tool", "tool_call_id": "c1", "content": "42"}]
    assert sent("deepseek", messages=messages)["messages"][1]["reasoning_content"] == "hm"
    for name in ("openai", "groq", "vllm", "mistral"):
        assert not {"reasoning_content", "reasoning", "thinking_blocks"} & set(
            sent(name, messages=messages)["messages"][1]
        )


@pytest.mark.parametrize(
    "usage",
    [
        {}, None, [], {"prompt_tokens": 3}, {"prompt_tokens": -1, "completion_tokens": 2},
        {"prompt_tokens": True, "completion_tokens": 1},
        {"prompt_tokens": "12", "completion_tokens": 1}, {"prompt_tokens": 1.5, "completion_tokens": 1},
        {"prompt_tokens": 1e18, "completion_tokens": 1},
        {"prompt_tokens": 5, "completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 3}},
        {"input_tokens": 5, "output_tokens": None}, {"promptTokenCount": -5},
    ],
)  # fmt: skip
def test_usage_that_cannot_be_is_none(usage: Any) -> None:
    assert usage_of(usage) is None


def test_reasoning_beside_the_output_is_added_and_never_twice() -> None:
    beside = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 45,
        "completion_tokens_details": {"reasoning_tokens": 30},
    }
    within = {**beside, "completion_tokens": 35}
    assert usage_of(beside) == usage_of(within) == Usage(10, 35, reasoning_tokens=30)


def test_caches_counted_beside_the_prompt_are_added() -> None:
    """A bridge that counts as Anthropic does, in OpenAI's words.

    Peers have billed such calls at a quarter, or four times over.
    """
    usage = {
        "prompt_tokens": 50,
        "completion_tokens": 5,
        "cache_read_input_tokens": 1800,
        "cache_creation_input_tokens": 248,
    }
    assert usage_of(usage) == Usage(2098, 5, 1800, cache_write_tokens=248)


@pytest.mark.parametrize("name", PROVIDERS)
def test_usage_survives_being_told_in_openais_words(name: str) -> None:
    usage = usage_in(RECORDINGS[name].whole)
    assert usage is not None
    assert usage_of(chat_usage(usage)) == usage


def test_an_unreachable_provider_is_named_in_the_error() -> None:
    with pytest.raises(BackendError, match=r"m at http://127.0.0.1:9"):
        asyncio.run(completed(backend("openai", "http://127.0.0.1:9")))


@pytest.mark.parametrize(
    ("fields", "is_free"),
    [
        ({"provider": "llamacpp"}, True),
        ({"provider": "vllm", "base_url": "http://localhost:9001/v1"}, True),
        ({"provider": "vllm", "base_url": "http://gpu-1:8000/v1"}, False),
        (
            {
                "provider": "vllm",
                "replicas": [{"base_url": "http://127.0.0.1:1/v1"}, {"base_url": "http://gpu-1:1/v1"}],
            },
            False,
        ),
        ({"provider": "compatible", "base_url": "http://127.0.0.1:9001/v1"}, False),
    ],
)
def test_nobody_bills_for_a_server_on_this_machine(fields: dict[str, Any], is_free: bool) -> None:
    """A gateway that answers here may well stand in front of models that cost money.

    `compatible` stays of unknown price.
    """
    config = parse_config(json.dumps({"models": {"m": fields}}), "c.yaml")
    profile = fleet_from_config(config).backends["m"].profile
    assert (profile.input_usd_per_mtok, profile.output_usd_per_mtok) == ((0.0, 0.0) if is_free else (None, None))
    stated = parse_config(json.dumps({"models": {"m": {**fields, "output_usd_per_mtok": 2.0}}}), "c.yaml")
    assert fleet_from_config(stated).backends["m"].profile.output_usd_per_mtok == 2.0
