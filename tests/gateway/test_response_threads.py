"""/v1/conversations with the official client: turns are added, and stand before what comes next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import running_gateway

openai = pytest.importorskip("openai")


@pytest.fixture
def gateway(tmp_path: Path) -> Any:
    with running_gateway(tmp_path) as running:
        yield running


def client(gateway: Any, key: str | None = None) -> Any:
    return openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=key or gateway.key, max_retries=0)


def said(gateway: Any) -> list[tuple[str, str]]:
    """What the model was asked last."""
    return [(m["role"], str(m["content"])) for m in gateway.provider.bodies[-1]["messages"]]


@pytest.mark.parametrize("stream", [False, True])
def test_turns_are_added_and_read_again(gateway: Any, stream: bool) -> None:
    api = client(gateway)
    talk = api.conversations.create(
        items=[{"role": "developer", "content": "Be brief."}], metadata={"topic": "museums"}
    )
    for question, named in (("Where is the Louvre?", talk.id), ("And the Prado?", {"id": talk.id})):
        made = api.responses.create(model="small", input=question, conversation=named, stream=stream)
        if stream:
            (made,) = [event.response for event in made if event.type == "response.completed"]  # read to its end
        assert made.conversation.id == talk.id
    roles = [role for role, _ in said(gateway)]
    assert roles == ["system", "user", "assistant", "user"]
    assert "Louvre" in said(gateway)[1][1]
    assert "Paris" in said(gateway)[2][1]
    items = list(api.conversations.items.list(talk.id, order="asc", limit=2))  # page after page
    assert [item.role for item in items] == ["developer", "user", "assistant", "user", "assistant"]
    assert len({item.id for item in items}) == 5
    newest = api.conversations.items.list(talk.id, limit=1)
    assert (newest.data[0].id, newest.has_more) == (items[-1].id, True)


def test_calls_of_tools_and_their_results_stay_together(gateway: Any) -> None:
    api = client(gateway)
    talk = api.conversations.create()
    tool = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": False}
    asked = api.responses.create(model="small", input="Weather?", tools=[tool], conversation=talk.id)
    call = next(item for item in asked.output if item.type == "function_call")
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
    api.responses.create(model="small", input=[result], conversation=talk.id)
    messages = gateway.provider.bodies[-1]["messages"]
    assert [m["role"] for m in messages] == ["user", "assistant", "tool"]
    assert messages[1]["tool_calls"][0]["id"] == messages[2]["tool_call_id"]


def test_items_and_labels_can_be_changed(gateway: Any) -> None:
    api = client(gateway)
    talk = api.conversations.create(metadata={"a": "1"})
    assert api.conversations.update(talk.id, metadata={"b": "2"}).metadata == {"b": "2"}
    added = api.conversations.items.create(talk.id, items=[{"role": "user", "content": "hello"}])
    (item,) = added.data
    assert api.conversations.items.retrieve(item.id, conversation_id=talk.id).content[0].text == "hello"
    assert api.conversations.items.delete(item.id, conversation_id=talk.id).id == talk.id
    assert api.conversations.items.list(talk.id).data == []
    assert api.conversations.delete(talk.id).deleted
    with pytest.raises(openai.NotFoundError, match="there is no conversation"):
        api.conversations.retrieve(talk.id)


def test_conversations_of_others_are_out_of_reach(gateway: Any) -> None:
    talk = client(gateway).conversations.create(items=[{"role": "user", "content": "secret"}])
    other = client(gateway, gateway.new_key(org=gateway.accounts.add_org("other").id))
    for reach in (
        lambda: other.conversations.retrieve(talk.id),
        lambda: other.conversations.items.list(talk.id),
        lambda: other.conversations.items.create(talk.id, items=[{"role": "user", "content": "x"}]),
        lambda: other.conversations.delete(talk.id),
        lambda: other.responses.create(model="small", input="x", conversation=talk.id),
    ):
        with pytest.raises(openai.NotFoundError):
            reach()
    assert len(client(gateway).conversations.items.list(talk.id).data) == 1


def test_two_ways_to_go_on_are_refused(gateway: Any) -> None:
    api = client(gateway)
    first = api.responses.create(model="small", input="x")
    talk = api.conversations.create()
    with pytest.raises(openai.BadRequestError, match="and not both"):
        api.responses.create(model="small", input="x", conversation=talk.id, previous_response_id=first.id)


def test_what_fails_adds_nothing(gateway: Any) -> None:
    api = client(gateway)
    talk = api.conversations.create()
    with pytest.raises(openai.APIStatusError):
        api.responses.create(model="nosuch", input="x", conversation=talk.id)
    assert api.conversations.items.list(talk.id).data == []
