"""Tools of clients under `auto`: several models propose calls, and one set of calls is returned in every dialect."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import Send, begin_stream, chunk, completion, delta, reply, running_gateway

FUNCTION = {
    "name": "convert",
    "description": "Converts an amount of money to another currency.",
    "parameters": {
        "type": "object",
        "properties": {"amount": {"type": "number"}, "to": {"type": "string"}},
        "required": ["amount", "to"],
    },
}
TOOL = {"type": "function", "function": FUNCTION}
QUESTION = "Convert 250 dollars to euros"
ENTRY = {"provider": "compatible", "input_usd_per_mtok": 1.0, "output_usd_per_mtok": 2.0}
BELIEVED = {"quality": 0.999}


def call(arguments: Any, name: str = "convert", id: str = "call_0") -> dict[str, Any]:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"id": id, "type": "function", "function": {"name": name, "arguments": text}}


async def play(body: dict[str, Any], send: Send) -> None:
    """`one` and `two` agree, `odd` does not; after a result all answer in words."""
    if any(message["role"] == "tool" for message in body["messages"]) or body.get("tool_choice") == "none":
        return await _say(body, send, "It is 231 euros.", [])
    proposed = {
        "one": [call({"amount": 250, "to": "EUR"})],
        "two": [call({"amount": 250.0, "to": "eur"}, id="toolu_7")],
        "odd": [call({"amount": 520, "to": "Yen"})],
        "mute": [],
    }[body["model"]]
    return await _say(body, send, "" if proposed else "I would ask a bank.", proposed)


async def _say(body: dict[str, Any], send: Send, text: str, calls: list[dict[str, Any]]) -> None:
    if not body.get("stream"):
        return await reply(send, 200, completion(text or None, **({"tool_calls": calls} if calls else {})))
    await begin_stream(send)
    if text:
        await chunk(send, delta({"role": "assistant", "content": text}))
    for number, each in enumerate(calls):
        await chunk(send, delta({"tool_calls": [{**each, "index": number}]}))
    await chunk(send, delta({}, "tool_calls" if calls else "stop"))
    await chunk(send, b"data: [DONE]\n\n", more=False)
    return None


@pytest.fixture
def gateway(tmp_path: Path) -> Any:
    models = {
        name: {**ENTRY, "skill": skill} for name, skill in (("one", 0.8), ("two", 0.8), ("odd", 0.75), ("mute", 0.6))
    }
    from tests.support.gateway import Provider, served

    upstream = Provider(play)
    with served(upstream) as url:
        for each in models.values():
            each["base_url"] = f"{url}/v1"
        with running_gateway(tmp_path, play, models=models, strategy="debate") as running:
            running.upstream = upstream
            yield running


def events(text: str) -> list[dict[str, Any]]:
    lines = (line[5:].strip() for line in text.splitlines() if line.startswith("data:"))
    return [json.loads(line) for line in lines if line != "[DONE]"]


def test_one_set_of_calls_is_returned(gateway: Any) -> None:
    body = gateway.chat(QUESTION, model="auto", tools=[TOOL], orchestrator=BELIEVED).json()
    choice = body["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    (made,) = choice["message"]["tool_calls"]
    assert made["function"]["name"] == "convert"
    assert json.loads(made["function"]["arguments"])["amount"] == 250
    assert made["id"]
    assert made["id"] != "call_0"
    assert len({each["model"] for each in gateway.upstream.bodies}) == 3


def test_calls_are_streamed(gateway: Any) -> None:
    raw = gateway.chat(QUESTION, model="auto", tools=[TOOL], stream=True, orchestrator=BELIEVED).text
    chunks = [each for each in events(raw) if each.get("choices")]
    (made,) = [c for each in chunks for c in each["choices"][0]["delta"].get("tool_calls") or ()]
    assert json.loads(made["function"]["arguments"]) == {"amount": 250, "to": "EUR"} or made["id"] == "toolu_7"
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_in_anthropics_dialect(gateway: Any) -> None:
    tool = {"name": "convert", "description": FUNCTION["description"], "input_schema": FUNCTION["parameters"]}
    asked = {"model": "auto", "max_tokens": 300, "tools": [tool], "messages": [{"role": "user", "content": QUESTION}]}
    body = gateway.post("/v1/messages", {**asked, "orchestrator": BELIEVED}).json()
    assert body["stop_reason"] == "tool_use"
    used = next(block for block in body["content"] if block["type"] == "tool_use")
    assert used["input"]["amount"] == 250
    result = {"type": "tool_result", "tool_use_id": used["id"], "content": "231"}
    asked["messages"] += [{"role": "assistant", "content": body["content"]}, {"role": "user", "content": [result]}]
    again = gateway.post("/v1/messages", asked).json()
    assert again["content"][0]["text"] == "It is 231 euros."


def test_in_the_responses_dialect(gateway: Any) -> None:
    tool = {"type": "function", **FUNCTION, "strict": False}
    body = gateway.post(
        "/v1/responses", {"model": "auto", "input": QUESTION, "tools": [tool], "orchestrator": BELIEVED}
    ).json()
    made = next(item for item in body["output"] if item["type"] == "function_call")
    assert json.loads(made["arguments"])["amount"] == 250


def test_results_of_tools_lead_to_an_answer(gateway: Any) -> None:
    made = gateway.chat(QUESTION, model="auto", tools=[TOOL], orchestrator=BELIEVED).json()["choices"][0]["message"]
    result = {"role": "tool", "tool_call_id": made["tool_calls"][0]["id"], "content": "231"}
    messages = [{"role": "user", "content": QUESTION}, made, result]
    body = gateway.post("/v1/chat/completions", {"model": "auto", "messages": messages, "tools": [TOOL]}).json()
    assert body["choices"][0]["message"]["content"] == "It is 231 euros."
    sent = gateway.upstream.bodies[-1]["messages"]
    assert [message["role"] for message in sent[-3:]] == ["user", "assistant", "tool"]
    assert sent[-1]["tool_call_id"] == sent[-2]["tool_calls"][0]["id"]


@pytest.mark.parametrize(
    ("choice", "calls"),
    [("none", False), ("required", True), ({"type": "function", "function": {"name": "convert"}}, True)],
)
def test_tool_choice_is_honoured_whatever_models_say(gateway: Any, choice: Any, calls: bool) -> None:
    body = gateway.chat(QUESTION, model="auto", tools=[TOOL], tool_choice=choice, orchestrator=BELIEVED).json()
    assert bool(body["choices"][0]["message"].get("tool_calls")) is calls
    assert gateway.upstream.bodies[0]["tool_choice"] == choice


def test_what_a_provider_runs_itself_is_one_draft(gateway: Any) -> None:
    tools = [{"type": "web_search_20250305", "name": "web_search"}]
    asked = {"model": "auto", "max_tokens": 300, "tools": tools, "messages": [{"role": "user", "content": QUESTION}]}
    before = len(gateway.upstream.bodies)
    gateway.post("/v1/messages", asked)
    assert len(gateway.upstream.bodies) - before <= 1
