"""The `anthropic` package against the gateway: messages, streams, tools, structured output, token counts, errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from tests.support.gateway import Running, running_gateway

ASK: list[Any] = [{"role": "user", "content": "Where is the Louvre?"}]
TOOL: Any = {
    "name": "look_up",
    "description": "Looks a city up",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_gateway(tmp_path_factory.mktemp("gateway")) as running:
        yield running


@pytest.fixture(scope="module")
def client(gateway: Running) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=gateway.url, api_key=gateway.key, max_retries=0) as client:
        yield client


def test_a_message(client: anthropic.Anthropic, gateway: Running) -> None:
    answer = client.messages.create(
        model="small", max_tokens=100, system="Be brief", messages=ASK, stop_sequences=["END"]
    )
    assert answer.content[0].type == "text"
    assert answer.content[0].text == "Paris"
    assert (answer.stop_reason, answer.usage.input_tokens, answer.usage.output_tokens) == ("end_turn", 20, 10)
    body = gateway.provider.bodies[-1]
    assert body["messages"][0] == {"role": "system", "content": "Be brief"}
    assert (body["max_tokens"], body["stop"]) == (100, ["END"])
    assert (answer.model_extra or {})["orchestrator"]["route"]["chosen"] == "small"


def test_a_stream(client: anthropic.Anthropic) -> None:
    with client.messages.stream(model="small", max_tokens=100, messages=ASK) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == "Paris"
    assert (final.stop_reason, final.usage.output_tokens) == ("end_turn", 10)


def test_a_search_as_a_stream(client: anthropic.Anthropic) -> None:
    with client.messages.stream(
        model="auto", max_tokens=100, messages=[{"role": "user", "content": "What is 6 * 7?"}]
    ) as stream:
        assert "".join(stream.text_stream) == "42"


def test_tools_and_their_results(client: anthropic.Anthropic, gateway: Running) -> None:
    called = client.messages.create(
        model="small", max_tokens=100, messages=ASK, tools=[TOOL], tool_choice={"type": "tool", "name": "look_up"}
    )
    assert called.stop_reason == "tool_use"
    block = called.content[0]
    assert block.type == "tool_use"
    assert block.input == {"city": "Paris"}
    assert gateway.provider.bodies[-1]["tool_choice"] == {"type": "function", "function": {"name": "look_up"}}
    result: Any = [
        {"type": "tool_result", "tool_use_id": block.id, "content": "2 million people"},
        {"type": "text", "text": "Go on"},
    ]
    history: Any = [*ASK, {"role": "assistant", "content": called.content}, {"role": "user", "content": result}]
    client.messages.create(model="small", max_tokens=100, messages=history)
    sent = gateway.provider.bodies[-1]["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool", "user"]
    assert sent[1]["tool_calls"][0]["id"] == sent[2]["tool_call_id"] == block.id
    with client.messages.stream(model="small", max_tokens=100, messages=ASK, tools=[TOOL]) as stream:
        final = stream.get_final_message()
    assert final.content[0].type == "tool_use"
    assert final.content[0].input == {"city": "Paris"}


def test_pictures_reach_the_model(client: anthropic.Anthropic, gateway: Running) -> None:
    picture: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    content: Any = [picture, {"type": "text", "text": "What is this?"}]
    client.messages.create(model="small", max_tokens=10, messages=[{"role": "user", "content": content}])
    parts = gateway.provider.bodies[-1]["messages"][0]["content"]
    assert parts[0]["image_url"]["url"] == "data:image/png;base64,aGk="


def test_tokens_are_counted_without_a_model(client: anthropic.Anthropic, gateway: Running) -> None:
    began = len(gateway.provider.bodies)
    short = client.messages.count_tokens(model="small", messages=ASK)
    long = client.messages.count_tokens(model="small", messages=ASK, system="Be brief. " * 100, tools=[TOOL])
    assert 5 <= short.input_tokens <= 20
    assert long.input_tokens > short.input_tokens + 200
    assert len(gateway.provider.bodies) == began


def test_errors_have_the_classes_that_clients_know(client: anthropic.Anthropic, gateway: Running) -> None:
    with pytest.raises(anthropic.NotFoundError):
        client.messages.create(model="nothing", max_tokens=10, messages=ASK)
    with pytest.raises(anthropic.BadRequestError) as wrong:
        client.messages.create(model="small", max_tokens=0, messages=ASK)
    body: Any = wrong.value.body
    assert body["type"] == "error"
    assert body["error"]["type"] == "invalid_request_error"
    with (
        pytest.raises(anthropic.AuthenticationError),
        anthropic.Anthropic(base_url=gateway.url, api_key="orc-wrong") as stranger,
    ):
        stranger.messages.create(model="small", max_tokens=10, messages=ASK)
