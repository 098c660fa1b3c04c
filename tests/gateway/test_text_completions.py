"""/v1/completions: at servers that have it, and as a message to those that have not; and the models beside chat."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.support.gateway import Send, begin_stream, chunk, completion, delta, reply, running_gateway, settled

USAGE = {"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6}


def text(words: str, finish: str | None = "stop") -> dict[str, Any]:
    choice = {"text": words, "index": 0, "logprobs": None, "finish_reason": finish}
    return {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "/models/m.gguf", "choices": [choice]}


async def completes(body: dict[str, Any], send: Send) -> None:
    """A server that completes texts."""
    if not body.get("stream"):
        choices = [{**text("Paris")["choices"][0], "index": index} for index in range(body.get("n") or 1)]
        return await reply(send, 200, {**text("Paris"), "choices": choices, "usage": USAGE})
    await begin_stream(send)
    for words, finish in (("Par", None), ("is", None), ("", "stop")):
        await chunk(send, text(words, finish))
    await chunk(send, {**text(""), "choices": [], "usage": USAGE})
    await chunk(send, b"data: [DONE]\n\n", more=False)
    return None


async def only_chats(body: dict[str, Any], send: Send) -> None:
    """A server without that address."""
    if "prompt" in body:
        return await reply(send, 404, {"error": {"message": "Not Found"}})
    if not body.get("stream"):
        return await reply(send, 200, completion("Paris"))
    await begin_stream(send)
    await chunk(send, delta({"role": "assistant", "content": ""}))
    await chunk(send, delta({"content": "Par"}))
    await chunk(send, delta({"content": "is"}))
    await chunk(send, delta({}, "stop"))
    await chunk(send, {**delta({}), "choices": [], "usage": {**USAGE, "prompt_tokens": 9}})
    await chunk(send, b"data: [DONE]\n\n", more=False)
    return None


@pytest.mark.parametrize("play", [completes, only_chats])
def test_openais_client_completes_a_text(tmp_path: Path, play: Any) -> None:
    with (
        running_gateway(tmp_path, play) as gateway,
        openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as client,
    ):
        for _ in range(2):
            whole = client.completions.create(
                model="small", prompt="The capital of France is", max_tokens=5, temperature=0
            )
            assert (whole.choices[0].text, whole.choices[0].finish_reason, whole.object) == (
                "Paris",
                "stop",
                "text_completion",
            )
            assert whole.usage is not None
            assert ".gguf" not in whole.model
        stream = client.completions.create(
            model="small", prompt="p", stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
        assert "".join(choice.text for one in chunks for choice in one.choices) == "Paris"
        assert chunks[-1].usage is not None
        assert {one.object for one in chunks} == {"text_completion"}
        paths = [path.removeprefix("/v1") for path in gateway.provider.paths]
        if play is completes:
            assert set(paths) == {"/completions"}
            assert gateway.provider.bodies[0] == {
                "model": "small",
                "prompt": "The capital of France is",
                "max_tokens": 5,
                "temperature": 0,
            }
        else:
            assert paths == ["/completions", *["/chat/completions"] * 3]  # what it has not is asked for once
            assert gateway.provider.bodies[-1]["messages"] == [{"role": "user", "content": "p"}]
        assert settled(lambda: gateway.get("/v1/usage").json()["data"][0]["requests"] == 3)
        assert gateway.get("/v1/usage").json()["data"][0]["cost_usd"] > 0


def test_what_only_a_texts_completion_can_have_goes_on_or_is_refused(tmp_path: Path) -> None:
    wishes: list[dict[str, Any]] = [
        {"suffix": "x"},
        {"echo": True},
        {"best_of": 3},
        {"logprobs": 1},
        {"prompt": ["a", "b"]},
        {"prompt": [1, 2, 3]},
        {"prompt": [[1, 2], [3]]},
    ]
    with running_gateway(tmp_path, completes) as gateway:
        for wish in wishes:
            assert gateway.post("/v1/completions", {"model": "small", "prompt": "p", **wish}).status_code == 200, wish
            assert {name: gateway.provider.bodies[-1][name] for name in wish} == wish
        assert (
            gateway.post("/v1/completions", {"model": "small", "prompt": "p", "guided_regex": "a+"}).status_code == 200
        )
        assert gateway.provider.bodies[-1]["guided_regex"] == "a+"
    (tmp_path / "other").mkdir()
    with running_gateway(tmp_path / "other", only_chats) as gateway:
        for wish in wishes:
            for model in ("small", "auto", "calculator"):
                refused = gateway.post("/v1/completions", {"model": model, "prompt": "p", **wish})
                assert (refused.status_code, refused.json()["error"]["code"]) == (400, "unsupported_by_model"), (
                    model,
                    wish,
                )
        harmless = {"echo": False, "best_of": 1, "suffix": "", "n": 1}
        assert gateway.post("/v1/completions", {"model": "small", "prompt": ["p"], **harmless}).status_code == 200
        odd = gateway.chat("hi", completion={"prompt": "forged"})  # a field of that name is somebody else's
        assert odd.status_code == 200
        assert gateway.provider.bodies[-1]["completion"] == {"prompt": "forged"}


def test_auto_and_a_calculator_complete_too(tmp_path: Path) -> None:
    with running_gateway(tmp_path, only_chats) as gateway:
        for stream in (False, True):
            answer = gateway.post("/v1/completions", {"model": "auto", "prompt": "What is 6 * 7?", "stream": stream})
            assert answer.status_code == 200
            assert '"text":"42"' in answer.text.replace(" ", "")
        assert "orchestrator" in gateway.post("/v1/completions", {"model": "calculator", "prompt": "6 * 7"}).json()


def test_several_prompts_are_held_for(tmp_path: Path) -> None:
    with running_gateway(tmp_path, completes) as gateway:
        asked = {"model": "small", "prompt": ["p"] * 10, "max_tokens": 100, "orchestrator": {"budget": {"tokens": 900}}}
        assert gateway.post("/v1/completions", asked).status_code == 402
        assert gateway.post("/v1/completions", {**asked, "prompt": "p"}).status_code == 200


def test_a_broken_stream_of_text_is_no_end(tmp_path: Path) -> None:
    async def breaks(body: dict[str, Any], send: Send) -> None:
        await begin_stream(send)
        await chunk(send, text("Par", None))
        await chunk(send, {"error": {"message": "overloaded"}}, more=False)

    with running_gateway(tmp_path, breaks) as gateway:
        told = gateway.post("/v1/completions", {"model": "small", "prompt": "p", "stream": True}).text
        assert '"text":"Par"' in told.replace(" ", "")
        assert "overloaded" in told
        assert "[DONE]" not in told


def test_a_whole_answer_where_a_stream_was_asked_for_loses_nothing(tmp_path: Path) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}

    async def whole(body: dict[str, Any], send: Send) -> None:
        answer = completion("Paris", tool_calls=[call], reasoning_content="Hm.")
        answer["choices"].append(
            {"index": 1, "message": {"role": "assistant", "content": "Rome"}, "finish_reason": "length"}
        )
        await reply(send, 200, answer)

    with running_gateway(tmp_path, whole) as gateway:
        told = gateway.chat(stream=True)
        chunks = [json.loads(line[6:]) for line in told.text.splitlines() if line.startswith("data: {")]
    deltas = [choice for one in chunks for choice in one["choices"]]
    assert [d["delta"]["tool_calls"] for d in deltas if d["delta"].get("tool_calls")] == [[{"index": 0, **call}]]
    assert [d["delta"]["reasoning_content"] for d in deltas if d["delta"].get("reasoning_content")] == ["Hm."]
    texts = ["".join(d["delta"].get("content") or "" for d in deltas if d["index"] == place) for place in (0, 1)]
    assert texts == ["Paris", "Rome"]
    assert [d["finish_reason"] for d in deltas if d["finish_reason"]] == ["tool_calls", "length"]


def test_ranking_and_moderation_where_a_model_does_it(tmp_path: Path) -> None:
    async def play(body: dict[str, Any], send: Send) -> None:
        if "documents" in body:
            ranked = [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}]
            return await reply(
                send, 200, {"model": "/srv/ranker.gguf", "results": ranked, "usage": {"total_tokens": 12}}
            )
        verdict = {"flagged": False, "categories": {"violence": False}, "category_scores": {"violence": 0.01}}
        return await reply(send, 200, {"id": "modr-1", "model": "omni", "results": [verdict]})

    upstream: dict[str, Any] = {"provider": "compatible", "model": "m", "input_usd_per_mtok": 1.0}
    with running_gateway(tmp_path, play) as first:
        upstream["base_url"] = f"{first.provider.url}/v1"
        (tmp_path / "b").mkdir()
        with (
            running_gateway(
                tmp_path / "b", play, rerankers={"ranker": upstream}, moderations={"judge": upstream}
            ) as gateway,
            openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as client,
        ):
            asked = {"model": "ranker", "query": "q", "documents": ["a", {"text": "b"}], "top_n": 2}
            ranked = gateway.post("/v1/rerank", asked)
            assert [each["index"] for each in ranked.json()["results"]] == [1, 0]
            assert ranked.json()["model"] == "ranker"
            assert client.moderations.create(input="text").results[0].flagged is False
            assert (
                client.moderations.create(input=[{"type": "text", "text": "t"}], model="judge").results[0].flagged
                is False
            )
            assert {"ranker", "judge"} <= {model.id for model in client.models.list()}
            assert settled(lambda: sum(row["requests"] for row in gateway.get("/v1/usage").json()["data"]) == 3)
            used = {row["model"]: row["prefill_tokens"] for row in gateway.get("/v1/usage").json()["data"]}
            assert used["ranker"] == 12
            assert used["judge"] > 0
            only = gateway.new_key(models=("small",))
            assert gateway.post("/v1/rerank", asked, key=only).status_code == 403
            assert gateway.post("/v1/rerank", {**asked, "model": "judge"}).status_code == 404
        assert first.provider.paths == ["/v1/rerank", "/v1/moderations", "/v1/moderations"]
        refused = first.post("/v1/moderations", {"input": "x"})
        assert (refused.status_code, "moderations:" in refused.json()["error"]["message"]) == (404, True)


def test_a_server_that_was_not_started_for_it_is_told_as_such(tmp_path: Path) -> None:
    async def play(body: dict[str, Any], send: Send) -> None:
        await reply(
            send, 501, {"error": {"message": "This server does not support reranking. Start it with `--reranking`"}}
        )

    with running_gateway(tmp_path, play) as first:
        upstream = {"provider": "llamacpp", "model": "m", "base_url": f"{first.provider.url}/v1"}
        (tmp_path / "b").mkdir()
        with running_gateway(tmp_path / "b", play, rerankers={"ranker": upstream}) as gateway:
            refused = gateway.post("/v1/rerank", {"model": "ranker", "query": "q", "documents": ["a"]})
            assert (refused.status_code, refused.json()["error"]["code"]) == (502, "unsupported_by_model")
            assert "has no /rerank" in refused.json()["error"]["message"]
        told = first.post("/v1/messages/batches", {}).json()
        assert told["type"] == "error"  # in Anthropic's form, as all below /v1/messages
