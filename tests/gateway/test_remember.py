"""Conversations that the gateway keeps, of clients that send all of it each time, in every dialect."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.test_tools_searched import events
from tests.support.gateway import Send, begin_stream, chunk, completion, delta, reply, running_gateway

KEPT = {"remember": True}
NOISE = "The weather was fine, we walked along the river and talked about nothing much at all. " * 6


async def play(body: dict[str, Any], send: Send) -> None:
    """Says which turn this is."""
    text = f"Answer {sum(m['role'] == 'user' for m in body['messages'])}."
    if not body.get("stream"):
        return await reply(send, 200, completion(text))
    await begin_stream(send)
    for piece in (text[:3], text[3:]):
        await chunk(send, delta({"role": "assistant", "content": piece}))
    await chunk(send, delta({}, "stop"))
    await chunk(send, b"data: [DONE]\n\n", more=False)
    return None


@pytest.fixture
def gateway(tmp_path: Path) -> Any:
    with running_gateway(tmp_path, play, gateway={"remember": ["always-*"]}) as running:
        yield running


class Client:
    """Sends its whole history each time, as chat clients do."""

    def __init__(self, gateway: Any, **more: Any) -> None:
        self.gateway, self.more = gateway, {"model": "small", "orchestrator": KEPT, **more}
        self.messages: list[dict[str, Any]] = [{"role": "system", "content": "Be brief."}]

    def say(self, text: str, **more: Any) -> dict[str, Any]:
        self.messages.append({"role": "user", "content": text})
        return self.again(**more)

    def again(self, **more: Any) -> dict[str, Any]:
        body: dict[str, Any] = self.gateway.post(
            "/v1/chat/completions", {**self.more, "messages": self.messages, **more}
        ).json()
        self.messages.append(body["choices"][0]["message"])
        return body


def sessions(gateway: Any) -> list[tuple[str, int]]:
    store = gateway.gateway.services.conversations
    return [(session, turns) for session, turns, _ in store.sessions(f"{gateway.org}/default")]


def memories(gateway: Any) -> list[str]:
    return [each["text"] for each in gateway.get("/v1/memories").json()["data"]]


def test_only_what_is_new_is_kept(gateway: Any) -> None:
    client = Client(gateway)
    first = client.say("I am Ann, and I keep bees.")
    second = client.say("What do I keep?")
    assert first["orchestrator"]["session"] == second["orchestrator"]["session"]
    assert [turns for _, turns in sessions(gateway)] == [4]
    assert sorted(memories(gateway)) == sorted(
        ["I am Ann, and I keep bees.", "Answer 1.", "What do I keep?", "Answer 2."]
    )
    assert gateway.provider.bodies[-1]["messages"][0]["role"] == "system"


def test_what_is_streamed_is_kept_before_it_ends(gateway: Any) -> None:
    raw = gateway.chat("I keep bees.", stream=True, orchestrator=KEPT).text
    assert (
        "".join(e["choices"][0]["delta"].get("content") or "" for e in events(raw) if e.get("choices")) == "Answer 1."
    )
    assert memories(gateway) == ["I keep bees.", "Answer 1."]


def test_edits_and_branches_begin_another_conversation(gateway: Any) -> None:
    client = Client(gateway)
    client.say("I keep bees.")
    client.say("And hens.")
    client.messages = client.messages[:3]
    client.say("And goats.")  # instead
    assert sorted(turns for _, turns in sessions(gateway)) == [4, 4]
    assert len(memories(gateway)) == 6  # what both have in common is remembered once
    client.messages.pop()
    client.again()  # the answer anew
    assert sorted(turns for _, turns in sessions(gateway)) == [4, 4, 4]
    other = Client(gateway)
    other.say("I keep bees.")  # another conversation that begins alike
    assert sorted(turns for _, turns in sessions(gateway)) == [2, 4, 4, 4]


def test_a_named_session_is_what_the_client_says_that_it_is(gateway: Any) -> None:
    client = Client(gateway, orchestrator={**KEPT, "session": "7"})
    client.say("I keep bees.")
    client.say("And hens.")
    client.messages = client.messages[:3]
    client.say("And goats.")
    assert sessions(gateway) == [("7", 4)]
    assert "And hens." not in memories(gateway)


def test_a_client_may_send_the_last_messages_only(gateway: Any) -> None:
    client = Client(gateway)
    for number in range(4):
        client.say(f"Fact number {number}.")
    client.messages = client.messages[5:]
    client.say("And one more.")
    assert [turns for _, turns in sessions(gateway)] == [10]
    named = Client(gateway, orchestrator={**KEPT, "session": "s"})
    named.say("One.")
    named.messages = []
    named.say("Two.")  # the server knows the rest
    assert ("s", 4) in sessions(gateway)
    assert any("One." in str(m["content"]) for m in gateway.provider.bodies[-1]["messages"])


def test_a_repeated_request_is_not_kept_twice(gateway: Any) -> None:
    async def down(body: dict[str, Any], send: Send) -> None:
        await reply(send, 400, {"error": {"message": "no"}})

    gateway.provider.play = down
    assert gateway.chat("I keep bees.", orchestrator=KEPT).status_code >= 400
    gateway.provider.play = play
    assert gateway.chat("I keep bees.", orchestrator=KEPT).status_code == 200
    assert [turns for _, turns in sessions(gateway)] == [2]


def test_a_long_history_is_cut_to_what_the_turn_needs(gateway: Any) -> None:
    client = Client(gateway, orchestrator={**KEPT, "context_tokens": 900})
    client.say("My bank's code word is kingfisher.")
    for number in range(12):
        client.say(f"{number}: {NOISE}")
    client.say("What is my bank's code word?")
    asked = gateway.provider.bodies[-1]["messages"]
    assert len(json.dumps(asked)) < 900 * 6 < len(json.dumps(client.messages))
    assert asked[-1]["content"] == "What is my bank's code word?"
    assert any("kingfisher" in str(m["content"]) for m in asked[:-1])  # recalled


def test_every_dialect_keeps_one_conversation(gateway: Any) -> None:
    said = [{"role": "user", "content": "I keep bees."}]
    gateway.post("/v1/chat/completions", {"model": "auto", "messages": said, "orchestrator": KEPT})
    said += [{"role": "assistant", "content": "Answer 1."}, {"role": "user", "content": "And hens."}]
    claude = gateway.post(
        "/v1/messages", {"model": "auto", "max_tokens": 200, "messages": said, "orchestrator": KEPT}
    ).json()
    answer = claude["content"][0]["text"]
    said += [{"role": "assistant", "content": answer}, {"role": "user", "content": "And goats."}]
    gateway.post("/v1/responses", {"model": "auto", "input": said, "orchestrator": KEPT})
    assert [turns for _, turns in sessions(gateway)] == [6]


def test_previous_response_id(gateway: Any) -> None:
    first = gateway.post("/v1/responses", {"model": "small", "input": "I keep bees.", "orchestrator": KEPT}).json()
    again = {"model": "small", "input": "And hens.", "previous_response_id": first["id"], "orchestrator": KEPT}
    assert gateway.post("/v1/responses", again).status_code == 200
    assert [turns for _, turns in sessions(gateway)] == [4]


def test_results_of_tools_are_facts_with_their_source(gateway: Any) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "bees", "arguments": '{"year": 2024}'}}
    messages = [
        {"role": "user", "content": "How many bees?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "There were 40,000 bees. " + "x" * 5_000},
    ]
    gateway.post("/v1/chat/completions", {"model": "small", "messages": messages, "orchestrator": KEPT})
    found = next(each for each in gateway.get("/v1/memories").json()["data"] if each["source"] == "tool:bees")
    assert "40,000 bees" in found["text"]
    assert len(found["text"]) < 1_200


def test_pictures_are_asked_about_but_not_kept_whole(gateway: Any) -> None:
    url = "data:image/png;base64," + "A" * 5_000
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}]
    body = {"model": "small", "messages": [{"role": "user", "content": parts}], "orchestrator": KEPT}
    assert gateway.post("/v1/chat/completions", body).status_code == 200
    assert url in json.dumps(gateway.provider.bodies[-1])
    store = gateway.gateway.services.conversations
    ((session, _),) = sessions(gateway)
    (asked, _answer) = store.turns(f"{gateway.org}/default", session)
    assert "AAAA" not in json.dumps(asked.wire)


def test_who_is_remembered_and_where(gateway: Any) -> None:
    gateway.chat("I keep bees.")
    assert memories(gateway) == []
    gateway.chat("I keep bees.", headers={"x-orchestrator-remember": "true", "x-orchestrator-scope": "ann"})
    assert memories(gateway) == []
    assert len(gateway.get("/v1/memories", scope="ann").json()["data"]) == 2
    always = gateway.new_key(name="always-1")
    gateway.chat("I keep hens.", key=always)
    assert "I keep hens." in memories(gateway)
    gateway.chat("I keep goats.", key=always, orchestrator={"remember": False})
    assert "I keep goats." not in memories(gateway)
    mute = gateway.new_key(permissions=("inference",))
    refused = gateway.chat("I keep bees.", key=mute, orchestrator=KEPT)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "permission_denied")


def test_forgetting_reaches_what_is_kept(gateway: Any) -> None:
    client = Client(gateway)
    client.say("My secret is 4711.")
    number = next(e["id"] for e in gateway.get("/v1/memories").json()["data"] if "4711" in e["text"])
    gateway.send("DELETE", f"/v1/memories/{number}")
    client.messages = [{"role": "user", "content": "And now?"}]
    ((session, _),) = sessions(gateway)
    gateway.post(
        "/v1/chat/completions",
        {**client.more, "messages": client.messages} | {"orchestrator": {**KEPT, "session": session}},
    )
    assert "4711" not in json.dumps(gateway.provider.bodies[-1])
    gateway.send("DELETE", "/v1/memories")
    assert sessions(gateway) == []


def test_requests_at_the_same_time_are_all_answered(gateway: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    client = Client(gateway)
    client.say("I keep bees.")

    def ask(text: str) -> int:
        messages = [*client.messages, {"role": "user", "content": text}]
        return int(gateway.post("/v1/chat/completions", {**client.more, "messages": messages}).status_code)

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(ask, ["And hens.", "And hens.", "And hens.", "And a dog.", "A cat.", "A cat."])) == {200}


def test_a_notice_of_ours_is_no_part_of_the_conversation(gateway: Any) -> None:
    client = Client(gateway)
    client.say("I keep bees.")
    client.messages.append({"role": "user", "content": "Refund 7."})
    waiting = "Approval is needed before this goes on: refund({'id': 7})"
    client.messages.append({"role": "assistant", "content": waiting})
    client.say("Never mind.")
    assert len(sessions(gateway)) == 1
    assert "Approval" not in json.dumps(gateway.provider.bodies[-1]["messages"])


def test_what_is_asked_is_not_recalled_beside_itself(gateway: Any) -> None:
    client = Client(gateway)
    client.say("My hive at the mill pond holds forty thousand bees.")
    client.messages.pop()
    client.again()  # the answer is wanted anew
    prompt = json.dumps(gateway.provider.bodies[-1]["messages"])
    assert prompt.count("forty thousand bees") == 1


def test_aligning_a_long_history_of_equal_messages_is_quick() -> None:
    import time

    from orchestrator.conversation.sent import align, read_sent

    sent = read_sent([{"role": ("user", "assistant")[n % 2], "content": "a"} for n in range(20_000)])
    began = time.perf_counter()
    assert align(sent[:19_999], sent).matched == 19_999
    assert time.perf_counter() - began < 2.0
