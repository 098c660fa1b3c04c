"""The `openai` package against the gateway.

Chat, streams, tools, structured output, embeddings, responses, files, batches, errors, retries.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from orchestrator.storage.account_types import AccountLimits
from tests.support.gateway import Running, Send, begin_stream, completion, delta, reply, running_gateway, usual
from tests.support.gateway import chunk as gateway_chunk

ASK: list[Any] = [{"role": "user", "content": "Where is the Louvre?"}]
TOOL: Any = {
    "type": "function",
    "function": {"name": "look_up", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_gateway(tmp_path_factory.mktemp("gateway")) as running:
        yield running


@pytest.fixture(scope="module")
def client(gateway: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key) as client:
        yield client


def test_chat_with_what_the_answer_cost(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="small", messages=ASK, temperature=0.2, max_tokens=50)
    assert answer.choices[0].message.content == "Paris"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 30
    details: Any = (answer.model_extra or {})["orchestrator"]
    assert details["cost_usd"] == pytest.approx(20e-6 + 20e-6)
    assert details["route"]["chosen"] == "small"


def test_every_parameter_reaches_the_model_as_it_was_sent(client: openai.OpenAI, gateway: Running) -> None:
    sent: dict[str, Any] = {
        "seed": 7,
        "top_p": 0.5,
        "logit_bias": {"50": 1},
        "stop": ["END"],
        "user": "ann",
        "presence_penalty": 0.5,
        "n": 1,
    }
    client.chat.completions.create(model="small", messages=ASK, extra_body={"vendor_option": {"deep": [1]}}, **sent)
    body = gateway.provider.bodies[-1]
    assert {name: body[name] for name in sent} == sent
    assert body["vendor_option"] == {"deep": [1]}
    assert "orchestrator" not in body


def test_a_stream_with_usage(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="small", messages=ASK, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "Paris"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.prompt_tokens == 20
    assert (chunks[-1].model_extra or {})["orchestrator"]["cost_usd"] == pytest.approx(40e-6)


def test_a_stream_without_usage_carries_none_but_is_billed(client: openai.OpenAI, gateway: Running) -> None:
    chunks = list(client.chat.completions.create(model="small", messages=ASK, stream=True))
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    assert gateway.provider.bodies[-1]["stream_options"] == {"include_usage": True}


def test_tools_whole_and_streamed(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="auto", messages=ASK, tools=[TOOL])
    calls = whole.choices[0].message.tool_calls or []
    assert json.loads(calls[0].function.arguments) == {"city": "Paris"}  # type: ignore[union-attr]
    arguments = ""
    for chunk in client.chat.completions.create(model="auto", messages=ASK, tools=[TOOL], stream=True):
        for call in chunk.choices[0].delta.tool_calls or [] if chunk.choices else []:
            arguments += (call.function.arguments or "") if call.function else ""
    assert json.loads(arguments) == {"city": "Paris"}


class City(BaseModel):
    city: str


def test_structured_output(client: openai.OpenAI) -> None:
    parsed = client.chat.completions.parse(model="small", messages=ASK, response_format=City)
    assert parsed.choices[0].message.parsed == City(city="Paris")
    searched = client.chat.completions.parse(model="auto", messages=ASK, response_format=City)
    assert searched.choices[0].message.parsed == City(city="Paris")


def test_auto_searches_and_says_how_sure_it_is(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="auto", messages=[{"role": "user", "content": "What is 17 * 23?"}])
    assert answer.choices[0].message.content == "391"
    assert answer.model == "calculator"
    assert (answer.model_extra or {})["orchestrator"]["confidence"] > 0.9


def test_options_in_extra_body_and_headers(client: openai.OpenAI) -> None:
    explained = client.chat.completions.create(
        model="auto", messages=ASK, extra_body={"orchestrator": {"explain": True, "quality": 0.5}}
    )
    options = (explained.model_extra or {})["orchestrator"]["route"]["options"]
    assert {option["model"] for option in options} == {"small", "large", "calculator"}
    bare = client.chat.completions.create(
        model="small", messages=ASK, extra_headers={"x-orchestrator-details": "false"}
    )
    assert "orchestrator" not in (bare.model_extra or {})


def test_a_search_streams_its_progress_as_comments_that_no_client_sees(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="auto", messages=[{"role": "user", "content": "What is 6 * 7?"}], stream=True
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "42"
    with client.chat.completions.with_streaming_response.create(
        model="auto",
        messages=[{"role": "user", "content": "What is 6 * 7?"}],
        stream=True,
        extra_body={"orchestrator": {"events": True}},
    ) as raw:
        text = raw.read().decode()
    assert "event: orchestrator.progress" in text
    assert '"kind":"drafted"' in text


def test_models(client: openai.OpenAI) -> None:
    assert {"auto", "auto:cheap", "auto:best", "small", "large"} <= {model.id for model in client.models.list()}
    assert client.models.retrieve("small").id == "small"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nothing")


def test_embeddings_in_both_encodings(client: openai.OpenAI) -> None:
    shipped = client.embeddings.create(
        model="orchestrator/static", input=["a lantern", "a lamp", "tax law"]
    )  # the package asks for base64
    plain = client.embeddings.create(model="orchestrator/static", input="a lantern", encoding_format="float")
    lantern, lamp, law = (item.embedding for item in shipped.data)
    assert lantern == pytest.approx(plain.data[0].embedding, abs=1e-6)
    assert sum(a * b for a, b in zip(lantern, lamp, strict=True)) > sum(
        a * b for a, b in zip(lantern, law, strict=True)
    )
    assert client.embeddings.create(model="embedder", input="x", encoding_format="float").data[0].embedding == [
        0.1,
        0.2,
    ]


def test_responses_whole_streamed_continued_and_deleted(client: openai.OpenAI, gateway: Running) -> None:
    first = client.responses.create(model="small", input="Where is the Louvre?", instructions="Be brief")
    assert first.output_text == "Paris"
    assert first.usage is not None
    assert first.usage.total_tokens == 30
    second = client.responses.create(model="small", input="And the Prado?", previous_response_id=first.id)
    said = [message["content"] for message in gateway.provider.bodies[-1]["messages"]]
    assert said == ["Where is the Louvre?", "Paris", "And the Prado?"]
    assert client.responses.retrieve(second.id).output_text == "Paris"
    client.responses.delete(second.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(second.id)
    with client.responses.stream(model="small", input="Where is the Louvre?") as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert "".join(deltas) == final.output_text == "Paris"


def test_responses_with_tools_and_structured_output(client: openai.OpenAI) -> None:
    tool: Any = {"type": "function", "name": "look_up", "parameters": {"type": "object"}, "strict": False}
    called = client.responses.create(model="small", input="Where?", tools=[tool])
    assert called.output[0].type == "function_call"
    with client.responses.stream(model="small", input="Where?", tools=[tool]) as stream:
        final = stream.get_final_response()
    assert final.output[0].type == "function_call"
    assert json.loads(final.output[0].arguments) == {"city": "Paris"}
    parsed = client.responses.parse(model="small", input="Where?", text_format=City)
    assert parsed.output_parsed == City(city="Paris")


def test_files_and_batches(client: openai.OpenAI) -> None:
    lines = [
        {
            "custom_id": str(n),
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": model, "messages": ASK},
        }
        for n, model in enumerate(["small", "small", "nothing"])
    ]
    file = client.files.create(file=("in.jsonl", "\n".join(map(json.dumps, lines)).encode()), purpose="batch")
    assert client.files.retrieve(file.id).filename == "in.jsonl"
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    deadline = time.monotonic() + 20
    while batch.status not in ("completed", "failed") and time.monotonic() < deadline:
        time.sleep(0.05)
        batch = client.batches.retrieve(batch.id)
    assert batch.status == "completed"
    assert batch.request_counts is not None
    assert (batch.request_counts.completed, batch.request_counts.failed, batch.request_counts.total) == (2, 1, 3)
    assert batch.output_file_id is not None
    assert batch.error_file_id is not None
    answered = [json.loads(line) for line in client.files.content(batch.output_file_id).text.splitlines()]
    assert [line["response"]["body"]["choices"][0]["message"]["content"] for line in answered] == ["Paris", "Paris"]
    failed = json.loads(client.files.content(batch.error_file_id).text)
    assert failed["response"]["status_code"] == 404
    assert client.files.delete(file.id).deleted


def test_a_batch_whose_file_is_wrong_fails_and_says_where(client: openai.OpenAI) -> None:
    file = client.files.create(file=("in.jsonl", b'{"custom_id": "a"}\nnot json\n'), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    deadline = time.monotonic() + 20
    while batch.status != "failed" and time.monotonic() < deadline:
        time.sleep(0.05)
        batch = client.batches.retrieve(batch.id)
    assert batch.errors is not None
    assert batch.errors.data is not None
    assert [error.line for error in batch.errors.data] == [1, 2]


def test_errors_have_the_classes_that_clients_know(gateway: Running, client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="nothing", messages=ASK)
    assert missing.value.code == "model_not_found"
    assert missing.value.request_id
    with pytest.raises(openai.BadRequestError) as wrong:
        client.chat.completions.create(model="small", messages=ASK, temperature=7)
    assert wrong.value.param == "temperature"
    with (
        pytest.raises(openai.AuthenticationError),
        openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="orc-wrong") as stranger,
    ):
        stranger.models.list()
    narrow = gateway.new_key(models=("large",))
    with (
        pytest.raises(openai.PermissionDeniedError),
        openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=narrow) as limited,
    ):
        limited.chat.completions.create(model="small", messages=ASK)


def test_what_passes_is_tried_again_behind_the_callers_back(tmp_path: Path) -> None:
    answers = iter([503, 429, 200])

    async def play(body: dict[str, Any], send: Send) -> None:
        status = next(answers)
        await reply(send, status, completion() if status == 200 else {"error": {"message": "busy"}})

    with (
        running_gateway(tmp_path, play) as running,
        openai.OpenAI(base_url=f"{running.url}/v1", api_key=running.key, max_retries=0) as client,
    ):
        assert client.chat.completions.create(model="small", messages=ASK).choices[0].message.content == "Paris"
        assert len(running.provider.bodies) == 3


def test_auto_goes_to_another_model_when_the_routed_one_is_down(tmp_path: Path) -> None:
    async def play(body: dict[str, Any], send: Send) -> None:
        if body["model"] == "small":
            await reply(send, 400, {"error": {"message": "this model is gone"}})
        else:
            await usual(body, send)

    with running_gateway(tmp_path, play, strategy="single", quality=0.5) as running:
        answer = running.chat(model="auto")
        assert answer.status_code == 200
        assert answer.headers["x-orchestrator-model"] == "large"


def test_one_draft_is_passed_on_as_it_is_written(tmp_path: Path) -> None:
    was_read = threading.Event()

    async def play(body: dict[str, Any], send: Send) -> None:
        await begin_stream(send)
        await gateway_chunk(send, delta({"content": "Par"}))
        await asyncio.to_thread(was_read.wait, 60)
        await gateway_chunk(send, delta({"content": "is"}))
        await gateway_chunk(send, delta({}, "stop"))
        await gateway_chunk(send, b"data: [DONE]\n\n", more=False)

    with (
        running_gateway(tmp_path, play, strategy="single") as running,
        openai.OpenAI(base_url=f"{running.url}/v1", api_key=running.key) as client,
    ):
        stream = iter(client.chat.completions.create(model="auto", messages=ASK, stream=True))
        assert next(stream).choices[0].delta.content == "Par"
        was_read.set()
        assert "".join(part.choices[0].delta.content or "" for part in stream) == "is"


def test_a_client_repeats_what_it_may_and_not_what_is_refused(gateway: Running) -> None:
    poor = gateway.new_key(limits=AccountLimits(usd=0.0000001))
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=poor, max_retries=4) as client:
        began = len(gateway.provider.bodies)
        with pytest.raises(openai.APIStatusError) as refused:
            client.chat.completions.create(model="small", messages=ASK, max_tokens=10)
        assert (refused.value.status_code, refused.value.code) == (402, "insufficient_quota")
        assert refused.value.response.headers["x-should-retry"] == "false"
        assert refused.value.response.request.headers["x-stainless-retry-count"] == "0"
        assert len(gateway.provider.bodies) == began
