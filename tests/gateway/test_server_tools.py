"""Tools of the configuration behind the gateway: called here for keys that may, and approved where they must be."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway.test_tools_searched import events
from tests.support.gateway import Send, begin_stream, chunk, completion, delta, reply, running_gateway

PLACES = {"state": {"id": 7}, "ship": {"id": 7}}


def call(name: str, number: int) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(PLACES[name])}
    return {"id": f"call_{number}", "type": "function", "function": function}


async def play(body: dict[str, Any], send: Send) -> None:
    """Looks the order up, sends it, and says so; without tools it says that it has none."""
    results = [message for message in body["messages"] if message["role"] == "tool"]
    wanted = ["state", "ship"] if "Send" in json.dumps(body["messages"]) else ["state"]
    text, calls = "Done.", []
    if not body.get("tools"):
        text = "I have no tools."
    elif len(results) < len(wanted):
        text, calls = "", [call(wanted[len(results)], len(results))]
    if not body.get("stream"):
        return await reply(send, 200, completion(text or None, **({"tool_calls": calls} if calls else {})))
    await begin_stream(send)
    await chunk(send, delta({"role": "assistant", "content": text}))
    for number, each in enumerate(calls):
        await chunk(send, delta({"tool_calls": [{**each, "index": number}]}))
    await chunk(send, delta({}, "tool_calls" if calls else "stop"))
    await chunk(send, b"data: [DONE]\n\n", more=False)
    return None


@pytest.fixture
def shop(tmp_path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(tmp_path / "shop.db", check_same_thread=False)
    db.execute("CREATE TABLE orders (id INTEGER, state TEXT, times INTEGER)")
    db.execute("INSERT INTO orders VALUES (7, 'paid', 0)")
    db.commit()
    return db


@pytest.fixture
def gateway(tmp_path: Path, shop: sqlite3.Connection) -> Any:
    file = f"sqlite:{tmp_path / 'shop.db'}"
    read = {"sql": file, "query": "SELECT state FROM orders WHERE id = :id", "parameters": {"id": "integer"}}
    write = "UPDATE orders SET state = 'sent', times = times + 1 WHERE id = :id"
    tools = {
        "state": read,
        "ship": {"sql": file, "query": write, "writes": True, "parameters": {"id": "integer"}, "needs": "approval"},
    }
    grants = {"first": ["state", "ship"], "reader-*": ["state"]}
    with running_gateway(tmp_path, play, tools=tools, gateway={"tools": grants}) as running:
        yield running


def test_a_tool_is_called_here(gateway: Any) -> None:
    body = gateway.chat("What is the state of order 7?", orchestrator={"tools": ["state"]}).json()
    assert body["choices"][0]["message"]["content"] == "Done."
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["orchestrator"]["called"] == ["state"]
    assert body["orchestrator"]["cost_usd"] > 0
    second = gateway.provider.bodies[-1]["messages"]
    assert "paid" in next(m for m in second if m["role"] == "tool")["content"]


@pytest.mark.parametrize("stated", [{"orchestrator": {"tools": True}}, {"headers": {"x-orchestrator-tools": "true"}}])
def test_under_auto_streamed_and_by_header(gateway: Any, stated: dict[str, Any]) -> None:
    raw = gateway.chat("What is the state of order 7?", model="auto", stream=True, **stated).text
    assert "".join(e["choices"][0]["delta"].get("content") or "" for e in events(raw) if e.get("choices")) == "Done."
    assert "calling tool=state" in raw


def test_approval_is_asked_for_and_the_run_goes_on(gateway: Any, shop: sqlite3.Connection) -> None:
    asked = {"tools": True}
    waiting = gateway.chat("Send order 7.", orchestrator=asked).json()
    (call,) = waiting["orchestrator"]["requires_action"]
    assert (call["tool"], call["arguments"]) == ("ship", {"id": 7})
    assert "Approval is needed before this goes on: ship" in waiting["choices"][0]["message"]["content"]
    assert shop.execute("SELECT times FROM orders").fetchone() == (0,)
    asked_before = len(gateway.provider.bodies)
    goes_on = asked | {"run": waiting["orchestrator"]["run"], "approve": {call["id"]: True}}
    done = gateway.chat("Send order 7.", orchestrator=goes_on).json()
    assert done["choices"][0]["message"]["content"] == "Done."
    assert done["orchestrator"]["called"] == ["state", "ship"]
    assert len(gateway.provider.bodies) == asked_before + 1  # what was paid before is not asked for again
    assert shop.execute("SELECT state, times FROM orders").fetchone() == ("sent", 1)


def test_what_is_refused_is_not_called(gateway: Any, shop: sqlite3.Connection) -> None:
    waiting = gateway.chat("Send order 7.", orchestrator={"tools": True}).json()["orchestrator"]
    refused = {"tools": True, "run": waiting["run"], "approve": {waiting["requires_action"][0]["id"]: False}}
    body = gateway.chat("Send order 7.", orchestrator=refused).json()
    assert "did not approve" in next(
        m["content"] for m in reversed(gateway.provider.bodies[-1]["messages"]) if m["role"] == "tool"
    )
    assert body["choices"][0]["message"]["content"] == "Done."
    assert shop.execute("SELECT times FROM orders").fetchone() == (0,)


def test_runs_of_others_are_out_of_reach(gateway: Any, shop: sqlite3.Connection) -> None:
    waiting = gateway.chat("Send order 7.", orchestrator={"tools": True}).json()["orchestrator"]
    approve = {waiting["requires_action"][0]["id"]: True}
    other = gateway.new_key(name="reader-2")
    found = gateway.chat("Send order 7.", key=other, orchestrator={"run": waiting["run"], "approve": approve})
    assert (found.status_code, found.json()["error"]["code"]) == (404, "run_not_found")
    assert shop.execute("SELECT times FROM orders").fetchone() == (0,)


@pytest.mark.parametrize(
    ("name", "stated", "code"),
    [
        ("nobody", {"tools": True}, "tool_not_allowed"),
        ("reader-1", {"tools": ["ship"]}, "tool_not_allowed"),
        ("reader-1", {"tools": ["nothing"]}, "tool_not_allowed"),
    ],
)
def test_a_key_uses_only_what_it_may(gateway: Any, name: str, stated: Any, code: str) -> None:
    for more in ({}, {"stream": True}):
        found = gateway.chat("Send order 7.", key=gateway.new_key(name=name), orchestrator=stated, **more)
        assert (found.status_code, found.json()["error"]["code"]) == (403, code)


def test_tools_of_the_client_are_not_mixed_in(gateway: Any) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    found = gateway.chat("Send order 7.", tools=[tool], orchestrator={"tools": True})
    assert (found.status_code, found.json()["error"]["code"]) == (400, "tools_mixed")


def test_in_the_other_dialects(gateway: Any) -> None:
    question = "What is the state of order 7?"
    asked = {"model": "auto", "max_tokens": 300, "messages": [{"role": "user", "content": question}]}
    claude = gateway.post("/v1/messages", asked | {"orchestrator": {"tools": True}}).json()
    assert claude["content"][0]["text"] == "Done."
    other = gateway.post("/v1/responses", {"model": "auto", "input": question, "orchestrator": {"tools": True}}).json()
    assert other["output"][-1]["content"][0]["text"] == "Done."
    assert other["orchestrator"]["called"] == ["state"]


def test_the_budget_bounds_the_run(gateway: Any) -> None:
    found = gateway.chat("Send order 7.", orchestrator={"tools": True, "budget": {"usd": 0.0000001}})
    assert found.status_code == 402
    assert found.json()["error"]["code"] == "insufficient_quota"


def test_a_configuration_that_grants_what_there_is_not_is_told(tmp_path: Path) -> None:
    from orchestrator.config.models import parse_config
    from orchestrator.errors import ConfigError

    text = "models: {m: {provider: calculator}}\ngateway:\n  tools: {a: [stat]}\ntools: {state: {http: 'http://a'}}\n"
    with pytest.raises(ConfigError, match=r"3:\d+: unknown tool 'stat'. Did you mean 'state'"):
        parse_config(text)


def test_a_tool_that_cannot_be_had_is_told_without_what_is_wrong_with_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tools = {"lost": {"python": "no_such_secret_module:function"}}
    with running_gateway(tmp_path, play, tools=tools, gateway={"tools": {"first": ["lost"]}}) as gateway:
        refused = gateway.chat("x", orchestrator={"tools": True})
        assert (refused.status_code, refused.json()["error"]["code"]) == (502, "tool_unavailable")
        assert "lost" in refused.text
        assert "no_such_secret_module" not in refused.text
        assert gateway.chat("x").status_code == 200
    assert "no_such_secret_module" in caplog.text


def _broken_after_a_call(body: dict[str, Any], send: Any) -> Any:
    """A model that wants an order shipped, and is gone when its result comes."""
    if body["messages"][-1]["role"] == "tool":
        return reply(send, 500, {"error": {"message": "down"}})
    call = {"id": "call_9", "type": "function", "function": {"name": "once", "arguments": '{"id": 7}'}}
    return reply(send, 200, completion(None, tool_calls=[call]))


@pytest.fixture
def acting(tmp_path: Path) -> Any:
    """A gateway whose only tool has effects, with a model that fails after it was called."""
    db = sqlite3.connect(tmp_path / "acts.db", check_same_thread=False)
    db.execute("CREATE TABLE acts (id INTEGER)")
    db.commit()
    once = {"sql": f"sqlite:{tmp_path / 'acts.db'}", "query": "INSERT INTO acts VALUES (:id)", "writes": True}
    tools = {"once": once | {"effects": "once", "parameters": {"id": "integer"}}}
    with running_gateway(
        tmp_path, _broken_after_a_call, tools=tools, gateway={"tools": {"first": ["once"]}}
    ) as running:
        running.acts = lambda: db.execute("SELECT count(*) FROM acts").fetchone()[0]
        yield running
    db.close()


def test_a_client_that_tries_again_has_no_effect_twice(acting: Any) -> None:
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=f"{acting.url}/v1", api_key=acting.key, max_retries=3)
    ask = {"model": "small", "messages": [{"role": "user", "content": "Act."}]}
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(**ask, extra_body={"orchestrator": {"tools": True}})
    assert acting.acts() == 1
    assert caught.value.response.headers["x-should-retry"] == "false"
    run = caught.value.response.headers["x-orchestrator-run"]
    assert f'orchestrator: {{"run": "{run}"}}' in caught.value.message
    with pytest.raises(openai.APIStatusError):
        client.chat.completions.create(**ask, extra_body={"orchestrator": {"tools": True, "run": run}})
    assert acting.acts() == 1
    for _ in range(2):
        with pytest.raises(openai.APIStatusError):
            client.chat.completions.create(
                **ask, extra_body={"orchestrator": {"tools": True}}, extra_headers={"Idempotency-Key": "order-7"}
            )
    assert acting.acts() == 2  # the key stands for one run, however often it is sent


def test_a_run_that_goes_on_elsewhere_is_a_conflict(tmp_path: Path) -> None:
    import asyncio
    import threading
    from concurrent.futures import ThreadPoolExecutor

    was_refused = threading.Event()

    async def slow(body: dict[str, Any], send: Send) -> None:
        await asyncio.to_thread(was_refused.wait, 20)
        await play(body, send)

    file = f"sqlite:{tmp_path / 'shop.db'}"
    sqlite3.connect(tmp_path / "shop.db").execute("CREATE TABLE orders (id INTEGER, state TEXT)")
    tools = {
        "state": {"sql": file, "query": "SELECT state FROM orders WHERE id = :id", "parameters": {"id": "integer"}}
    }
    with running_gateway(tmp_path, slow, tools=tools, gateway={"tools": {"first": ["state"]}}) as gateway:
        ask = {"model": "small", "messages": [{"role": "user", "content": "state?"}], "orchestrator": {"tools": True}}
        headers = {"idempotency-key": "k"}

        def sent(_: int) -> httpx.Response:
            answer = gateway.post("/v1/chat/completions", ask, **headers)
            was_refused.set()  # the other one is held until then
            return answer

        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(sent, range(2)))
        assert sorted(each.status_code for each in found) == [200, 409]
        refused = next(each for each in found if each.status_code == 409)
        assert refused.json()["error"]["code"] == "run_in_use"
        assert refused.headers["retry-after"] == "2"
        assert gateway.post("/v1/chat/completions", ask, **headers).status_code == 200


def test_nothing_is_approved_that_was_not_shown(gateway: Any, shop: sqlite3.Connection) -> None:
    early = {"tools": True, "approve": {f"call_{n}": True for n in range(10)}}
    body = gateway.chat("Send order 7.", orchestrator=early).json()
    assert body["orchestrator"]["requires_action"]
    assert shop.execute("SELECT times FROM orders").fetchone() == (0,)
    refused = {"tools": True, "run": body["orchestrator"]["run"]}
    call = body["orchestrator"]["requires_action"][0]["id"]
    told = gateway.chat("Send order 7.", orchestrator=refused | {"approve": {call: False}}).json()
    assert told["orchestrator"].get("called") == ["state"]
    gateway.chat("Send order 7.", orchestrator=refused | {"approve": {call: True}})
    assert shop.execute("SELECT times FROM orders").fetchone() == (0,)  # a refusal is final


def test_a_run_waits_within_a_conversation_of_the_responses_api(gateway: Any, shop: sqlite3.Connection) -> None:
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key)
    talk = client.conversations.create()
    ask = {"model": "small", "input": "Send order 7.", "conversation": talk.id}
    waiting = client.responses.create(**ask, extra_body={"orchestrator": {"tools": True}}).model_extra["orchestrator"]
    approve = {"tools": True, "run": waiting["run"], "approve": {waiting["requires_action"][0]["id"]: True}}
    done = client.responses.create(**ask, extra_body={"orchestrator": approve})
    assert done.output_text == "Done."
    assert shop.execute("SELECT times FROM orders").fetchone() == (1,)
    assert [item.role for item in client.conversations.items.list(talk.id, order="asc")] == ["user", "assistant"]
