"""Behind the gateway nobody needs to know whose model answers.

Anthropic's to OpenAI's client, and streams that another model ends.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.gateway import begin_stream, chunk, completion, delta, reply, running_gateway
from tests.support.recordings import RECORDINGS, TEXT

PRICES = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 2.0, "cached_usd_per_mtok": 0.1}


def playing(name: str, paths: list[str] | None = None) -> Any:
    """A server that answers as this provider does.

    `paths` are those that were asked, where it tells by them whether to stream.
    """
    recording = RECORDINGS[name]

    async def play(body: dict[str, Any], send: Any) -> None:
        if body.get("stream") or (paths and "stream" in paths[-1]):
            await begin_stream(send)
            for event in recording.events:
                await send({"type": "http.response.body", "body": event, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            return
        await reply(send, 200, recording.whole)

    return play


def models(url: str, name: str) -> dict[str, Any]:
    return {"m": {"provider": name, "base_url": url, "model": "m-1", "key": "env:SOME_KEY", **PRICES}}


@pytest.mark.parametrize("name", ["anthropic", "gemini", "openai-responses", "groq", "vllm", "deepseek", "zai"])
def test_any_provider_by_openais_client_whole_and_streamed_billed_to_the_token(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from openai import OpenAI

    from tests.support.gateway import Provider, served

    monkeypatch.setenv("SOME_KEY", "sk-upstream")
    recording = RECORDINGS[name]
    upstream = Provider(playing(name))
    upstream.play = playing(name, upstream.paths)
    with served(upstream) as url, running_gateway(tmp_path, models=models(url, name)) as gateway:
        client = OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0)
        asked: Any = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 50}
        whole = client.chat.completions.create(**asked)
        assert whole.choices[0].message.content == TEXT
        if recording.thoughts:
            assert whole.choices[0].message.reasoning_content == recording.thoughts  # type: ignore[attr-defined]
        chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == TEXT
        told = [c.usage for c in chunks if c.usage is not None][-1]
        usage = recording.usage
        assert (told.prompt_tokens, told.completion_tokens) == (usage.prefill_tokens, usage.output_tokens)
        (used,) = gateway.get("/v1/usage").json()["data"]
    assert (used["requests"], used["prefill_tokens"], used["output_tokens"]) == (
        2,
        2 * usage.prefill_tokens,
        2 * usage.output_tokens,
    )
    assert used["cached_tokens"] == 2 * usage.cached_tokens


@pytest.mark.parametrize("name", ["openai", "anthropic", "gemini", "openai-responses", "vllm"])
def test_what_the_configuration_states_of_each_call_reaches_the_provider_and_the_caller_comes_first(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.support.gateway import Provider, served

    monkeypatch.setenv("SOME_KEY", "sk-upstream")
    monkeypatch.setenv("PROXY_KEY", "proxy-secret")
    upstream = Provider(playing(name))
    stated = {
        "temperature": 0.25,
        "extra_body": {"metadata": {"team": "search"}, "generationConfig": {"responseLogprobs": False}},
        "headers": {"X-Team": "search", "x-proxy-key": "env:PROXY_KEY"},
    }
    with (
        served(upstream) as url,
        running_gateway(tmp_path, models={"m": {**models(url, name)["m"], **stated}}) as gateway,
    ):
        assert gateway.chat(model="m", max_tokens=50).status_code == 200
        assert gateway.chat(model="m", max_tokens=50, temperature=0.75).status_code == 200
        assert gateway.chat(model="m", max_tokens=50, temperature=None).status_code == 200
    temperatures = [
        body.get("generationConfig", {}).get("temperature", body.get("temperature")) for body in upstream.bodies
    ]
    assert temperatures == [0.25, 0.75, 0.25]
    for body, headers in zip(upstream.bodies, upstream.headers, strict=True):
        assert body["metadata"] == {"team": "search"}
        assert body["generationConfig"]["responseLogprobs"] is False
        assert (headers[b"x-team"], headers[b"x-proxy-key"]) == (b"search", b"proxy-secret")


def test_a_call_takes_no_longer_than_its_model_may(tmp_path: Path) -> None:
    async def play(body: dict[str, Any], send: Any) -> None:
        await asyncio.sleep(600)

    with running_gateway(tmp_path, play) as gateway:
        described = yaml.safe_load(gateway.config.read_text())
        described["models"]["small"]["timeout_s"] = 0.3
        gateway.config.write_text(yaml.safe_dump(described))
        assert gateway.post("/v1/admin/reload", None, key=gateway.admin).status_code == 200
        assert gateway.chat(model="small").status_code >= 500


def test_a_stream_takes_no_longer_than_its_model_may(tmp_path: Path) -> None:
    async def play(body: dict[str, Any], send: Any) -> None:
        await begin_stream(send)
        for _ in range(6_000):
            await chunk(send, delta({"content": "x "}))
            await asyncio.sleep(0.1)
        await chunk(send, b"data: [DONE]\n\n", more=False)

    from tests.support.gateway import Provider, served

    with served(Provider(play)) as url:
        model = {"provider": "compatible", "base_url": f"{url}/v1", "timeout_s": 0.5, **PRICES}
        with running_gateway(tmp_path, models={"m": model}) as gateway:
            told = gateway.chat(model="m", stream=True).text
    assert "x " in told
    assert '"error"' in told
    assert "[DONE]" not in told


def test_tools_of_anthropics_by_openais_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from openai import OpenAI

    from tests.support.gateway import Provider, served

    monkeypatch.setenv("SOME_KEY", "sk-upstream")

    async def play(body: dict[str, Any], send: Any) -> None:
        assert body["tools"][0]["name"] == "look"
        block = {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": "Paris"}}
        usage = {"input_tokens": 10, "output_tokens": 5}
        await reply(send, 200, {"id": "m", "content": [block], "stop_reason": "tool_use", "model": "c", "usage": usage})

    tool: Any = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    with served(Provider(play)) as url, running_gateway(tmp_path, models=models(url, "anthropic")) as gateway:
        client = OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0)
        done = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}], tools=[tool])
    (call,) = done.choices[0].message.tool_calls or ()
    assert (call.function.name, json.loads(call.function.arguments)) == ("look", {"at": "Paris"})
    assert done.choices[0].finish_reason == "tool_calls"


def test_anthropics_client_through_the_gateway_to_anthropic_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cache marks, thoughts with their signatures, and usage by kind: as if nobody stood between."""
    from anthropic import Anthropic

    from tests.support.gateway import Provider, served

    monkeypatch.setenv("SOME_KEY", "sk-upstream")
    recording = RECORDINGS["anthropic"]
    mark: Any = {"type": "ephemeral", "ttl": "1h"}
    thinking: Any = {"type": "enabled", "budget_tokens": 1024}
    tools: Any = [{"name": "look", "input_schema": {"type": "object"}, "cache_control": {"type": "ephemeral"}}]
    system: Any = [{"type": "text", "text": "Be brief.", "cache_control": mark}]
    upstream = Provider(playing("anthropic"))
    with served(upstream) as url, running_gateway(tmp_path, models=models(url, "anthropic")) as gateway:
        client = Anthropic(base_url=gateway.url, api_key=gateway.key, max_retries=0)
        asked: Any = {"model": "m", "max_tokens": 2000, "system": system, "thinking": thinking, "tools": tools}
        first = client.messages.create(**asked, messages=[{"role": "user", "content": "hi"}])
        again: Any = [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": first.content},
            {"role": "user", "content": "so?"},
        ]
        with client.messages.stream(**asked, messages=again) as stream:
            last = stream.get_final_message()
    for body in upstream.bodies:
        assert body["system"] == system
        assert body["thinking"] == thinking
        assert body["tools"][0]["cache_control"] == {"type": "ephemeral"}
    assert upstream.bodies[1]["messages"][1]["content"][0] == {
        "type": "thinking",
        "thinking": "France.",
        "signature": "c2ln",
    }
    for message in (first, last):
        assert [block.type for block in message.content] == ["thinking", "text"]
        assert (message.content[0].thinking, message.content[0].signature) == ("France.", "c2ln")
        usage, meant = message.usage, recording.usage
        assert usage.input_tokens == meant.prefill_tokens - meant.cached_tokens - meant.cache_write_tokens
        assert (usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (
            meant.cached_tokens,
            meant.cache_write_tokens,
        )
    assert first.usage.cache_creation is not None
    assert first.usage.cache_creation.ephemeral_1h_input_tokens == recording.usage.cache_write_1h_tokens


def test_what_only_anthropic_knows_does_not_reach_others(tmp_path: Path) -> None:
    from anthropic import Anthropic

    with running_gateway(tmp_path) as gateway:
        client = Anthropic(base_url=gateway.url, api_key=gateway.key, max_retries=0)
        mark: Any = {"type": "ephemeral"}
        done = client.messages.create(
            model="small",
            max_tokens=2000,
            system=[{"type": "text", "text": "Be brief.", "cache_control": mark}],
            messages=[{"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": mark}]}],
            thinking={"type": "enabled", "budget_tokens": 1024},
        )
        sent = json.dumps(gateway.provider.bodies[-1])
    assert done.content[0].text == "Paris"  # type: ignore[union-attr]
    assert "cache_control" not in sent
    assert "thinking" not in sent


async def breaks_off(body: dict[str, Any], send: Any) -> None:
    """The large model breaks off in the middle; the small one goes on where it is asked to."""
    if body["model"] == "large":
        await begin_stream(send)
        await chunk(send, delta({"role": "assistant", "content": ""}))
        await chunk(send, delta({"content": "The answer "}))
        await chunk(send, b"", more=False)
        return
    assert body["messages"][-2] == {"role": "assistant", "content": "The answer "}
    await begin_stream(send)
    await chunk(send, delta({"content": "is Paris"}))
    await chunk(send, delta({}, "stop"))
    usage = {"prompt_tokens": 30, "completion_tokens": 4, "total_tokens": 34}
    await chunk(send, {**delta({}), "choices": [], "usage": usage})
    await chunk(send, b"data: [DONE]\n\n", more=False)


def stream(gateway: Any, **options: Any) -> tuple[str, list[dict[str, Any]], str]:
    """(text, events, everything) of a stream."""
    asked = {
        "stream": True,
        "stream_options": {"include_usage": True},
        "orchestrator": {"strategy": "single", "quality": 0.94, **options},
    }
    raw = gateway.chat("Prove it.", model="auto", **asked).text
    events = [json.loads(line[6:]) for line in raw.splitlines() if line.startswith("data: {")]
    text = "".join(c["delta"].get("content") or "" for event in events for c in event.get("choices", ()))
    return text, events, raw


def test_a_stream_that_breaks_off_is_finished_by_another_model_if_the_caller_allows_it(tmp_path: Path) -> None:
    with running_gateway(tmp_path, breaks_off) as gateway:
        text, events, raw = stream(gateway, resume=True)
        assert text == "The answer is Paris"
        assert raw.rstrip().endswith("data: [DONE]")
        assert "large broke off, small goes on" in raw
        usage = next(event["usage"] for event in reversed(events) if event.get("usage"))
        assert usage["prompt_tokens"] > 30  # both parts
        used = gateway.get("/v1/usage").json()["data"]
        assert sum(row["prefill_tokens"] for row in used) == usage["prompt_tokens"]


def test_without_leave_a_stream_that_breaks_off_ends_with_an_error(tmp_path: Path) -> None:
    with running_gateway(tmp_path, breaks_off) as gateway:
        text, events, raw = stream(gateway)
    assert text == "The answer "
    assert events[-1]["error"]["code"] == "upstream_bad_response"
    assert "[DONE]" not in raw


def test_a_stream_that_nobody_can_finish_ends_with_an_error(tmp_path: Path) -> None:
    async def all_break(body: dict[str, Any], send: Any) -> None:
        await begin_stream(send)
        await chunk(send, delta({"content": "Well "}))
        await chunk(send, b"", more=False)

    with running_gateway(tmp_path, all_break) as gateway:
        text, events, raw = stream(gateway, resume=True)
    assert text == "Well Well "
    assert events[-1]["error"]["code"] == "upstream_bad_response"
    assert "[DONE]" not in raw


def test_a_model_that_rests_is_passed_over(tmp_path: Path) -> None:
    async def play(body: dict[str, Any], send: Any) -> None:
        await reply(send, 500 if body["model"] == "large" else 200, completion("Paris"))

    with running_gateway(tmp_path, play) as gateway:
        options = {"strategy": "single", "quality": 0.94}
        for _ in range(3):
            assert (
                gateway.chat("Prove it.", model="auto", orchestrator=options).json()["choices"][0]["message"]["content"]
                == "Paris"
            )
        asked = len([body for body in gateway.provider.bodies if body["model"] == "large"])
        again = gateway.chat("Prove it.", model="auto", orchestrator={**options, "explain": True}).json()
        assert len([body for body in gateway.provider.bodies if body["model"] == "large"]) == asked
    rejected = {option["model"]: option["rejected"] for option in again["orchestrator"]["route"]["options"]}
    assert "cannot be reached" in rejected["large"]


@pytest.mark.parametrize(
    ("path", "asked", "said"),
    [
        ("/v1/chat/completions", {"max_tokens": 12}, '"finish_reason":"length"'),
        ("/v1/messages", {"max_tokens": 12}, '"stop_reason":"max_tokens"'),
        ("/v1/responses", {"max_output_tokens": 12}, '"status":"incomplete"'),
    ],
)
@pytest.mark.parametrize("is_stream", [False, True])
def test_an_answer_of_a_search_that_was_cut_says_so(
    tmp_path: Path, path: str, asked: dict[str, Any], said: str, is_stream: bool
) -> None:
    async def play(body: dict[str, Any], send: Any) -> None:
        cut = completion("There are many tales of dragons, each with their own")
        cut["choices"][0]["finish_reason"] = "length"
        await reply(send, 200, cut)

    question = [{"role": "user", "content": "Tell me a long story about a dragon."}]
    body = {"model": "auto", "stream": is_stream, "orchestrator": {"strategy": "best_of_n"}, **asked}
    with running_gateway(tmp_path, play) as gateway:
        told = gateway.post(path, body | {"input" if path.endswith("responses") else "messages": question})
    assert told.status_code == 200, told.text
    assert said in told.text.replace(": ", ":")
