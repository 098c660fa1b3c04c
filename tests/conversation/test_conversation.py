"""Conversations: what is kept, what is taken back, and what a prompt holds of them."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import Orchestrator
from orchestrator.conversation import ContextPolicy, Window, choose_window
from orchestrator.conversation.context import kept_tokens
from orchestrator.engine.conversation import Conversation
from orchestrator.errors import (
    BackendUnavailable,
    BudgetExceeded,
    ConfigError,
    InvalidArgument,
    InvalidBudget,
    InvalidQuery,
    NotAwaited,
)
from orchestrator.testing import ScriptedBackend
from orchestrator.tools import tool
from tests.agent.test_loop import calls

WORDS = "amber birch cedar delta ember fjord glade heron ivory jade kelp lilac maple nacre onyx pearl".split()


def fleet(folder: Path, *replies: Any, **settings: Any) -> Orchestrator:
    model = ScriptedBackend("m", *(replies or (lambda request: f"I heard: {request.question[:40]}",)))
    return Orchestrator(
        {"m": model}, memory=folder / "memory.db", storage=folder / "chat.db", strategy="single", **settings
    )


def asked(engine: Orchestrator) -> Any:
    return engine.backends["m"].asked  # type: ignore[attr-defined]


def texts(chat: Conversation) -> list[str]:
    return [message.content for message in chat.messages]


def test_a_conversation_survives_its_process(tmp_path: Path) -> None:
    with fleet(tmp_path, "Hello Ann.") as engine, engine.conversation("acme/ann", session="7") as chat:
        assert chat.send_sync("I am Ann.").text == "Hello Ann."
    with fleet(tmp_path, "You are Ann.") as engine, engine.conversation("acme/ann", session="7") as chat:
        assert texts(chat) == ["I am Ann.", "Hello Ann."]
        chat.send_sync("Who am I?")
        said = [(message.role, message.content) for message in asked(engine)[0].messages]
    assert said == [("user", "I am Ann."), ("assistant", "Hello Ann."), ("user", "Who am I?")]


def test_scopes_and_sessions_are_walls(tmp_path: Path) -> None:
    with fleet(tmp_path) as engine:
        for scope, session in itertools.product(("a/x", "a/y"), ("1", "2")):
            with engine.conversation(scope, session=session) as chat:
                chat.send_sync(f"secret of {scope} {session}")
        with engine.conversation("a/x", session="3") as chat:
            prompt = " ".join(message.content for message in chat.preview_sync("What is the secret?"))
    assert "a/y" not in prompt
    assert "secret of a/x 1" in prompt  # recalled from another session of its own scope


def test_what_was_said_before_a_failure_is_there_and_is_answered_later(tmp_path: Path) -> None:
    with fleet(tmp_path, BackendUnavailable("down")) as engine, engine.conversation("s", session="1") as chat:
        with pytest.raises(BackendUnavailable):
            chat.send_sync("Are you there?")
        assert chat.pending == "Are you there?"
    with fleet(tmp_path, "Yes.") as engine, engine.conversation("s", session="1") as chat:
        assert chat.pending == "Are you there?"
        chat.send_sync("Are you there?")
        assert texts(chat) == ["Are you there?", "Yes."]
        assert chat.pending is None


def test_a_repeated_send_with_its_key_is_not_paid_again(tmp_path: Path) -> None:
    with fleet(tmp_path, "One.", "Two.") as engine, engine.conversation("s", session="1") as chat:
        first = chat.send_sync("Count", key="k1")
        again = chat.send_sync("Count", key="k1")
        assert (again.text, again.cost_usd, again.model) == (first.text, first.cost_usd, "m")
        assert len(asked(engine)) == 1
        assert chat.send_sync("Count", key="k2").text == "Two."


def test_rewind_takes_back_and_memory_forgets(tmp_path: Path) -> None:
    with fleet(tmp_path) as engine, engine.conversation("s", session="1") as chat:
        chat.send_sync("My code word is heron.")
        chat.send_sync("And this stays wrong.")
        assert chat.rewind_sync() == 2
        assert len(chat.messages) == 2
        assert engine.recall_sync("stays wrong", "s").text.count("stays wrong") == 0
        assert "heron" in engine.recall_sync("code word", "s").text
        assert chat.rewind_sync(99) == 2
        assert chat.messages == ()


def test_a_fork_goes_its_own_way(tmp_path: Path) -> None:
    with fleet(tmp_path) as engine, engine.conversation("s", session="1") as chat:
        chat.send_sync("one")
        chat.send_sync("two")
        other = chat.fork_sync("2", at=2)
        other.send_sync("three")
        assert [text for text in texts(other) if not text.startswith("I heard")] == ["one", "three"]
        assert [text for text in texts(chat) if not text.startswith("I heard")] == ["one", "two"]
        with pytest.raises(InvalidArgument, match="there is a session '2' already"):
            chat.fork_sync("2")


def test_forgetting_reaches_conversations(tmp_path: Path) -> None:
    with fleet(tmp_path) as engine, engine.conversation("s", session="1") as chat:
        chat.send_sync("My password is hunter2-heron.")
        record = chat.turns[0].record
        assert record is not None
        engine.forget_sync("s", [record])
        with engine.conversation("s", session="1") as again:
            assert texts(again)[0] == "[forgotten]"
        engine.forget_sync("s")
        with engine.conversation("s", session="1") as gone:
            assert gone.messages == ()
    assert b"hunter2-heron" not in (tmp_path / "chat.db").read_bytes()


def test_exports_are_what_the_apis_take(tmp_path: Path) -> None:
    @tool(effects="none")
    def add(a: int, b: int) -> int:
        return a + b

    engine = fleet(tmp_path, calls(("add", {"a": 1, "b": 2}), text="Let me add."), "It is 3.")
    with engine, engine.conversation("s", session="1", tools=[add]) as chat:
        chat.send_sync("What is 1 + 2?")
        openai, anthropic = chat.export(), chat.export("anthropic")
        assert [message["role"] for message in openai] == ["user", "assistant", "tool", "assistant"]
        assert openai[2]["tool_call_id"] == openai[1]["tool_calls"][0]["id"]
        assert [message["role"] for message in anthropic["messages"]] == ["user", "assistant", "user", "assistant"]
        assert anthropic["messages"][1]["content"][1]["type"] == "tool_use"
        assert anthropic["messages"][2]["content"][0]["type"] == "tool_result"
        with pytest.raises(InvalidArgument, match="no form 'xml'"):
            chat.export("xml")
        assert "tool add: 3" in engine.recall_sync("what did the tool add give", "s").text
        chat.send_sync("And now?")
        roles = [message.role for message in asked(engine)[-1].messages]
        assert roles[-6:] == ["user", "assistant", "tool", "assistant", "user"] or roles[-1] == "user"


def test_streams_are_kept_when_they_end(tmp_path: Path) -> None:
    with fleet(tmp_path, "A long answer.") as engine, engine.conversation("s", session="1") as chat:
        items = list(chat.stream_sync("Tell me"))
        assert items[-1].text == "A long answer."
        assert texts(chat) == ["Tell me", "A long answer."]


def test_turns_at_the_same_time_wait_for_each_other(tmp_path: Path) -> None:
    async def talk() -> list[str]:
        async with fleet(tmp_path) as engine, engine.conversation("s", session="1") as chat:
            await asyncio.gather(*(chat.send(f"message {n}") for n in range(5)))
            return texts(chat)

    said = asyncio.run(talk())
    assert len(said) == 10
    assert all(
        answer.startswith("I heard: " + message[:20]) for message, answer in zip(said[::2], said[1::2], strict=True)
    )


def test_two_programs_do_not_overwrite_each_other(tmp_path: Path) -> None:
    with fleet(tmp_path) as engine:
        one, other = engine.conversation("s", session="1"), engine.conversation("s", session="1")
        with one, other:
            one.send_sync("first")
            with pytest.raises(ConfigError, match="went on elsewhere"):
                other.send_sync("second")
            assert texts(one)[0] == "first"


def test_without_a_memory_older_turns_are_told_to_be_left_out(tmp_path: Path) -> None:
    model = ScriptedBackend("m", lambda request: "ok " * 20)
    with Orchestrator({"m": model}, strategy="single") as engine, engine.conversation(context_tokens=400) as chat:
        for n in range(30):
            chat.send_sync(f"message number {n} about {WORDS[n % 16]} and so on and so forth")
        last = model.asked[-1].messages
    assert "earlier turns are not shown" in last[0].content
    assert len(last) < 20


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda e: e.conversation("s", session=""), "session must be a text"),
        (lambda e: e.conversation("s", session="x" * 300), "session must be a text"),
        (lambda e: e.conversation("s", context_tokens=10), "context_tokens must be"),
        (lambda e: e.conversation("s", sesion="1"), "no .*sesion"),
        (lambda e: e.conversation("s").rewind_sync(0), "turns must be"),
    ],
)
def test_what_makes_no_conversation_is_told(tmp_path: Path, make: Any, told: str) -> None:
    with fleet(tmp_path) as engine, pytest.raises(InvalidArgument, match=told):
        make(engine)


def test_a_named_session_needs_a_place() -> None:
    with Orchestrator({"m": ScriptedBackend("m", "x")}) as engine, pytest.raises(ConfigError, match="no storage"):
        engine.conversation("s", session="1")


@pytest.mark.parametrize("text", ["", "   ", None, 5])
def test_an_empty_message_is_refused_and_not_kept(tmp_path: Path, text: Any) -> None:
    with fleet(tmp_path) as engine, engine.conversation("s", session="1") as chat:
        with pytest.raises(InvalidQuery, match="the message is empty"):
            chat.send_sync(text)
        assert chat.messages == ()


# ---- what a prompt holds ----


def long_talk(folder: Path, turns: int, tokens: int) -> tuple[Any, Conversation]:
    engine = fleet(folder, lambda request: f"noted {len(request.messages)} " + " ".join(WORDS[:6]))
    with engine, engine.conversation("s", session="1", context_tokens=tokens) as chat:
        for n in range(turns):
            chat.send_sync(f"Fact {n}: the {WORDS[n % 16]} box holds {n * 7} {WORDS[(n * 5 + 3) % 16]} stones.")
        return [request.messages for request in asked(engine)], chat


def test_a_long_conversation_fits_its_budget_and_keeps_its_prefix(tmp_path: Path) -> None:
    from orchestrator.backends.base import estimate_prompt_tokens

    prompts, _ = long_talk(tmp_path, 60, 900)
    sizes = [estimate_prompt_tokens(prompt) for prompt in prompts]
    assert max(sizes) <= 900 + 60
    same = 0
    for before, after in itertools.pairwise(prompts[20:]):
        shown = [message for message in before if message.role != "system"][:-1]
        same += shown == [message for message in after if message.role != "system"][: len(shown)]
    assert same >= 20  # most turns only add to what was there


def test_nothing_stands_in_a_prompt_twice(tmp_path: Path) -> None:
    prompts, _ = long_talk(tmp_path, 40, 900)
    for prompt in prompts[10:]:
        notes = "\n".join(message.content for message in prompt if "Notes from memory" in message.content)
        for message in prompt:
            if message.role in ("user", "assistant") and message.content:
                assert message.content not in notes


def test_what_left_the_prompt_is_recalled_with_its_citation(tmp_path: Path) -> None:
    engine = fleet(tmp_path)
    with engine, engine.conversation("s", session="1", context_tokens=700) as chat:
        chat.send_sync("Remember: the vault code of the museum is 48213.")
        for n in range(40):
            chat.send_sync(f"Unrelated remark {n} about the weather in {WORDS[n % 16]} town, nothing else.")
        prompt = chat.preview_sync("What is the vault code of the museum?")
    assert not any("48213" in message.content for message in prompt if message.role == "user")
    notes = next(message.content for message in prompt if "Notes from memory" in message.content)
    assert "48213" in notes
    assert "[m:1]" in notes


@given(
    st.lists(st.integers(5, 400), min_size=0, max_size=60),
    st.integers(300, 6_000),
    st.floats(0.1, 1.0),
    st.floats(0, 10_000),
)
@settings(max_examples=150, deadline=None)
def test_a_window_never_goes_back_and_fits_where_it_can(
    sizes: list[int], budget: int, cached: float, idle_s: float
) -> None:
    policy = ContextPolicy(budget, cached_usd=cached * 1e-6)
    window = Window()
    for end in range(len(sizes) + 1):
        may_begin = [n % 2 == 0 for n in range(end)]
        start = choose_window(window, sizes[:end], may_begin, policy, idle_s=idle_s)
        assert window.start <= start <= max(end - 1, 0)
        assert start == window.start or may_begin[start]
        begins = [n for n in range(end) if may_begin[n]]
        assert sum(sizes[start:end]) <= policy.window_tokens or not begins or start == begins[-1]
        if start != window.start:
            window = Window(start, end)


def test_a_cache_that_holds_long_prefixes_only_is_not_undercut() -> None:
    """Where less than 1,024 tokens are read at full price, as many stay; a cache without a least keeps fewer."""
    hosted, own = ContextPolicy(4_000), ContextPolicy(4_000, min_cached_tokens=0)
    assert kept_tokens(hosted, 60) + hosted.summary_tokens >= 1_024
    assert kept_tokens(own, 60) <= kept_tokens(hosted, 60)


PIN = "My PIN is 4711, the code of the safe."


def test_rewind_leaves_what_was_said_besides(tmp_path: Path) -> None:
    with fleet(tmp_path) as engine:
        chat = engine.conversation("acme/ann", session="1")
        for text in (PIN, "hello there", PIN):
            chat.send_sync(text)
        chat.rewind_sync(1)
        assert "4711" in engine.recall_sync("PIN of the safe", "acme/ann").text
        other = chat.fork_sync("2")
        other.rewind_sync(5)
        assert "4711" in engine.recall_sync("PIN of the safe", "acme/ann").text  # the first conversation still has it
        chat.rewind_sync(5)
        assert "4711" not in engine.recall_sync("PIN of the safe", "acme/ann").text
        engine.remember_sync(PIN, "acme/ann")
        chat.send_sync(PIN)
        chat.rewind_sync(1)
        assert "4711" in engine.recall_sync("PIN of the safe", "acme/ann").text


def test_a_turn_after_a_rewind_is_another_run(tmp_path: Path) -> None:
    states = iter(["paid", "sent"])

    @tool(effects="none")
    def state() -> str:
        """The state of the order."""
        return next(states)

    replies = (calls(("state", {})), "It is paid.", calls(("state", {})), "It is sent.", calls(("state", {})), "No.")
    with fleet(tmp_path, *replies) as engine:
        chat = engine.conversation("t/p", session="s", tools=[state])
        assert chat.send_sync("What state?").text == "It is paid."
        chat.rewind_sync()
        assert chat.send_sync("What state?").text == "It is sent."
        same = engine.conversation("t.p", session="s", tools=[tool(lambda: "none", name="state", description="x")])
        assert same.send_sync("What state?").text == "No."  # names that look alike are not one


def test_an_approval_within_a_conversation(tmp_path: Path) -> None:
    done: list[str] = []

    @tool(effects="once", needs="approval")
    def refund(order: int) -> str:
        """Refunds."""
        done.append("refund")
        return "refunded"

    with fleet(tmp_path, calls(("refund", {"order": 7}))) as engine:
        waiting = engine.conversation("t/p", session="s", tools=[refund]).send_sync("Refund 7.")
    with fleet(tmp_path, "Refunded.") as engine:
        chat = engine.conversation("t/p", session="s", tools=[refund])
        chat.reload_sync()
        assert chat.pending == "Refund 7."
        found = chat.send_sync("Refund 7.", decided={call.id: True for call in waiting.calls})
        assert (found.text, done, chat.pending) == ("Refunded.", ["refund"], None)


# One budget for all turns


def send_often(chat: Conversation, text: str, times: int) -> None:
    for _ in range(times):
        chat.send_sync(text)


def test_all_turns_together_keep_to_one_budget(tmp_path: Path) -> None:
    turn = 0.000020  # of ScriptedBackend: ten tokens each way at a dollar a million
    with fleet(tmp_path) as engine:
        chat = engine.conversation("acme/ann", session="7", total_usd=0.0011, max_tokens=1000)
        chat.send_sync("one")
        chat.send_sync("two")
        with pytest.raises(BudgetExceeded, match=r"of the 0\.0011 USD of this conversation") as caught:
            send_often(chat, "and again", 20)
        assert "total_usd" in caught.value.remedy
        assert chat.cost_usd <= 0.0011
        spent, answered = chat.cost_usd, len(asked(engine))
        assert spent == pytest.approx(turn * answered)
        assert chat.pending == "and again"
        with pytest.raises(BudgetExceeded, match="of this conversation"):
            list(chat.stream_sync("and again"))
    with fleet(tmp_path) as engine:  # what was spent before counts
        chat = engine.conversation("acme/ann", session="7", total_usd=0.0011, max_tokens=1000)
        with pytest.raises(BudgetExceeded, match="of this conversation"):
            chat.send_sync("and again")
        assert engine.conversation("acme/ann", session="7", total_usd=0.1).send_sync("and again").text
        with pytest.raises(BudgetExceeded) as caught:  # the turn's own budget: the remedy is that of a turn
            engine.conversation(total_usd=1.0, budget=1e-9).send_sync("one")
        assert "budget.usd" in caught.value.remedy
    unpriced = ScriptedBackend("m", "hi", price=None)
    with Orchestrator({"m": unpriced}, storage=tmp_path / "u.db") as engine:
        with pytest.raises(BudgetExceeded, match="price of this model is unknown") as caught:
            engine.conversation("acme/ann", session="7", total_usd=0.1).send_sync("one")
        assert "total_usd" not in caught.value.remedy
        amounts: list[Any] = [-1.0, float("nan"), "much"]
        for wrong in amounts:
            with pytest.raises(InvalidBudget):
                engine.conversation(total_usd=wrong)


def test_mistakes_with_conversations_are_told(tmp_path: Path) -> None:
    with fleet(tmp_path) as engine:
        chat = engine.conversation("t/p", session="s")
        chat.send_sync("One.", key="k")
        with pytest.raises(InvalidQuery, match="belongs to another message"):
            chat.send_sync("Two.", key="k")
        for at in (-1, 99, "x", True):
            with pytest.raises(InvalidArgument, match="a number of turns, 0 to 2"):
                chat.fork_sync("other", at=at)  # type: ignore[arg-type]
        for forgotten in (chat.rewind(1), chat.fork("other"), chat.send("x"), chat.preview("x")):
            with pytest.raises(NotAwaited, match="was not awaited"):
                str(forgotten.text)  # type: ignore[union-attr]
