"""The Python face as its users have it: models by name, every setting, values, fallbacks, batches, doubles."""

from __future__ import annotations

import asyncio
import base64
import inspect
import logging
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel

import orchestrator as package
from orchestrator import (
    Answer,
    BackendUnavailable,
    Budget,
    BudgetExceeded,
    InvalidAnswer,
    InvalidBudget,
    Message,
    Model,
    ModelProfile,
    NoAdequateModel,
    Orchestrator,
    Query,
    RemoteBackend,
)
from orchestrator.backends.http.pacer import Pacer
from orchestrator.errors import InvalidArgument, RateLimited
from orchestrator.search.prompts import FORM
from orchestrator.testing import NotRecorded, ScriptedBackend, record, record_or_replay, replay
from orchestrator.types import Completion, ToolCall, Usage
from tests.support.faulty_server import completion, faulty_server, hang_up, reply, silence

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def remote(url: str, name: str = "far", **settings: Any) -> RemoteBackend:
    profile = ModelProfile(name, 1.0, 1.0, skill=0.95, capabilities=frozenset({"vision", "json"}))
    return RemoteBackend(profile, base_url=url, **settings)


def sent(*queries: Any, **settings: Any) -> list[dict[str, Any]]:
    """The bodies that a server is sent for some queries, each asked with the same settings."""
    with faulty_server(reply(200, completion("The answer is 4"))) as server, Orchestrator(remote(server.url)) as fleet:
        for query in queries:
            fleet.answer_sync(query, **{"strategy": "single", **settings})
        return server.requests


# Starting


def test_models_are_named_with_their_prices_windows_and_capabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-one")
    fleet = Orchestrator("openai/gpt-5-mini", Model("anthropic/claude-haiku-4-5", api_key="sk-two", alias="claude"))
    assert list(fleet.backends) == ["openai/gpt-5-mini", "claude"]
    mini, claude = (backend.profile for backend in fleet.backends.values())
    assert (mini.input_usd_per_mtok, mini.output_usd_per_mtok, mini.context_tokens) == (0.25, 2.0, 400_000)
    assert (claude.input_usd_per_mtok, claude.output_usd_per_mtok) == (1.0, 5.0)
    assert {"vision", "tools", "json"} <= mini.capabilities & claude.capabilities
    assert "sk-two" not in repr(Model("anthropic/claude-haiku-4-5", api_key="sk-two"))


def test_our_table_agrees_with_the_price_list() -> None:
    pytest.importorskip("genai_prices")
    from orchestrator.providers.models import _ROWS
    from orchestrator.providers.prices import list_prices

    for prices, rows in _ROWS.items():
        for row in rows:
            listed = list_prices(prices, row.model)
            assert listed is not None
            assert (listed.input_usd_per_mtok, listed.output_usd_per_mtok) == (
                row.input_usd_per_mtok,
                row.output_usd_per_mtok,
            ), row.model


@pytest.mark.parametrize(
    ("stated", "budget"),
    [
        (0.02, Budget(usd=0.02)),
        ("$0.02", Budget(usd=0.02)),
        ("0.02 USD", Budget(usd=0.02)),
        (" .5$ ", Budget(usd=0.5)),
        ({"usd": "$1", "seconds": 10}, Budget(usd=1, seconds=10)),
        ({"usd": None, "calls": 3}, Budget(calls=3)),
        (None, Budget()),
        (Budget(tokens=5), Budget(tokens=5)),
    ],
)
def test_what_stands_for_a_budget(stated: Any, budget: Budget) -> None:
    assert Budget.parse(stated) == budget


@pytest.mark.parametrize("stated", ["", "$", "2 cents", "1,5", "nan", float("nan"), [], b"1", {"usd": "x"}, {1: 2}])
def test_what_does_not(stated: Any) -> None:
    with pytest.raises(InvalidBudget):
        Budget.parse(stated)


def test_strings_become_memories_and_mappings_fleets(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    with Orchestrator({"calculator": "calculator", "notes": "extractive"}, memory=str(path)) as fleet:
        fleet.remember_sync("The Gale lantern costs 79 euros.")
        assert "79" in fleet.answer_sync("How much does the Gale lantern cost?").text
        assert list(fleet.backends) == ["calculator", "notes"]
    assert path.exists()


def test_a_configuration_may_be_a_dict() -> None:
    fleet = Orchestrator.from_config(
        {
            "models": {"a": {"provider": "calculator"}, "b": {"provider": "extractive"}},
            "memory": None,
            "fallbacks": ["b"],
        }
    )
    assert fleet.fallbacks == ("b",)
    with pytest.raises(package.ConfigError, match=r"config\.fallbacks\.0: unknown model 'c'"):
        Orchestrator.from_config({"models": {"a": {"provider": "calculator"}}, "fallbacks": ["c"]})


# Settings


def test_every_setting_reaches_the_model() -> None:
    body = sent(
        "Say it.",
        system="You are terse.",
        history=[{"role": "user", "content": "Hi"}, Message("assistant", "Hello")],
        max_tokens=77,
        temperature=0.3,
        stop=["END", "\n\n"],
        seed=7,
        reasoning="low",
        extra_body={"top_k": 20, "chat_template_kwargs": {"enable_thinking": False}},
    )[0]
    assert [message["role"] for message in body["messages"]] == ["system", "user", "assistant", "user"]
    assert body["messages"][0]["content"] == "You are terse."
    assert (body["max_tokens"], body["temperature"], body["seed"]) == (77, 0.3, 7)
    assert (body["stop"], body["reasoning_effort"], body["top_k"]) == (["END", "\n\n"], "low", 20)
    assert body["chat_template_kwargs"] == {"enable_thinking": False}


def test_pictures_and_files_go_along(tmp_path: Path) -> None:
    picture, note = tmp_path / "pixel.png", tmp_path / "note.txt"
    picture.write_bytes(PIXEL)
    note.write_text("It is raining.", encoding="utf-8")
    url = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}
    first, second = sent(
        "What is this?",
        [{"role": "user", "content": [{"type": "text", "text": "And this?"}, url]}],
        attachments=[picture, str(note), PIXEL],
    )
    parts = first["messages"][-1]["content"]
    assert [part["type"] for part in parts] == ["text", "image_url", "text", "image_url"]
    assert parts[1]["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    assert "It is raining." in parts[2]["text"]
    assert second["messages"][-1]["content"][:2] == [{"type": "text", "text": "And this?"}, url]


def test_a_model_that_sees_is_asked_about_a_picture() -> None:
    blind = ScriptedBackend("blind", "dark")
    seeing = ScriptedBackend(
        "seeing", "a pixel", profile=ModelProfile("seeing", 9.0, 9.0, skill=0.9, capabilities=frozenset({"vision"}))
    )
    with Orchestrator(blind, seeing) as fleet:
        assert fleet.answer_sync("What is this?", attachments=[PIXEL], strategy="single").model == "seeing"
        assert fleet.answer_sync("What is two?", strategy="single").model == "blind"


def test_a_picture_that_is_too_large_is_told_before_anybody_is_asked(tmp_path: Path) -> None:
    picture = tmp_path / "large.png"
    with picture.open("wb") as file:
        file.write(PIXEL)
        file.truncate(50_000_001)
    fleet = Orchestrator(ScriptedBackend("m", "x"))
    for attached in (picture, picture.read_bytes()):
        with pytest.raises(InvalidArgument, match="more than 50,000,000 bytes"):
            fleet.answer_sync("What is this?", attachments=[attached])


def test_a_picture_is_seen_at_every_step_of_a_run() -> None:
    @package.tool(effects="none")
    def look_up(word: str) -> str:
        """Looks a word up."""
        return "a cat"

    asks = Completion("seeing", "", Usage(10, 5), calls=(ToolCall("look_up", {"word": "felis"}, "c1"),))
    blind = ScriptedBackend("blind", "dark")
    seeing = ScriptedBackend(
        "seeing", asks, "It is a cat.", profile=ModelProfile("seeing", 9.0, 9.0, capabilities=frozenset({"vision"}))
    )
    with Orchestrator(blind, seeing, strategy="single") as fleet:
        assert fleet.answer_sync("What is this?", attachments=[PIXEL], tools=[look_up]).text == "It is a cat."
    assert blind.asked == []
    for request in seeing.asked:
        user = next(message for message in request.messages if message.role == "user")
        assert any(part["type"] == "image_url" for part in (user.wire or {})["content"])


def test_no_system_prompt_of_ours_stands_where_no_verifier_reads_its_form() -> None:
    poem, mine, number = ("Write a poem about rain.", "How many lamps?", "How many lamps?")
    for asked, settings, has_form in (
        (poem, {"strategy": "adaptive"}, False),
        (mine, {"strategy": "adaptive", "system": "You are a pirate."}, False),
        (number, {"strategy": "single"}, False),
        (number, {"strategy": "adaptive"}, True),
    ):
        messages = sent(asked, **settings)[0]["messages"]
        assert any(message["content"] == FORM for message in messages) == has_form, (asked, settings)
        assert len([message for message in messages if message["role"] == "system"]) == has_form + (
            "system" in settings
        )


def test_settings_of_a_query_are_replaced_by_those_of_the_call() -> None:
    query = Query("Say it.", temperature=1.0, stop=("A",))
    plain, other = sent(query)[0], sent(query, temperature=0.1)[0]
    assert (plain["temperature"], plain["stop"]) == (1.0, ["A"])
    assert (other["temperature"], other["stop"]) == (0.1, ["A"])


def test_a_model_has_settings_of_its_own() -> None:
    with faulty_server(reply(200, completion("4"))) as server:
        model = Model(
            "compatible/mine",
            alias="mine",
            base_url=server.url,
            temperature=0.2,
            headers={"x-team": "search"},
            extra_body={"top_k": 3},
            input_usd_per_mtok=1,
            output_usd_per_mtok=1,
        )
        with Orchestrator(model) as fleet:
            fleet.answer_sync("Two and two?", strategy="single")
        assert (server.requests[0]["temperature"], server.requests[0]["top_k"]) == (0.2, 3)
        assert "x-team: search" in server.heads[0]


def test_labels_stand_in_the_trace_and_no_model_sees_them() -> None:
    with faulty_server(reply(200, completion("4"))) as server, Orchestrator(remote(server.url)) as fleet:
        answer = fleet.answer_sync("Two?", metadata={"feature": "search", "n": 1}, strategy="single")
        assert answer.trace is not None
        assert answer.trace.root.attributes["metadata"] == {"feature": "search", "n": 1}
        assert "metadata" not in server.requests[0]


# Retries, timeouts, fallbacks


def test_retries_are_as_many_as_asked_for() -> None:
    busy = reply(503, {"error": {"message": "busy"}}, "retry-after: 0")
    for retries, calls in ((0, 1), (2, 3)):
        with faulty_server(busy) as server, Orchestrator(remote(server.url), retries=retries) as fleet:
            with pytest.raises(BackendUnavailable):
                fleet.answer_sync("Anybody?", strategy="single")
            assert len(server.requests) == calls
    with faulty_server(busy) as server, Orchestrator(remote(server.url), retries=2) as fleet:
        with pytest.raises(BackendUnavailable):
            fleet.answer_sync("Anybody?", strategy="single", retries=0)
        assert len(server.requests) == 1


def test_a_timeout_is_for_one_call() -> None:
    with (
        faulty_server(silence) as server,
        Orchestrator(remote(server.url)) as fleet,
        pytest.raises(BackendUnavailable, match="no answer in time"),
    ):
        fleet.answer_sync("Anybody?", strategy="single", timeout=0.2, retries=0)


def test_fallbacks_are_asked_in_order_and_only_when_the_others_failed() -> None:
    first = ScriptedBackend("first", BackendUnavailable("down"))
    second = ScriptedBackend("second", BackendUnavailable("down, too"))
    third = ScriptedBackend("third", "The answer is 3", price=90.0)
    events: list[tuple[str, str]] = []
    with Orchestrator(first, second, third, fallbacks=["second", "third"]) as fleet:
        answer = fleet.answer_sync(
            "Who answers?", on_event=lambda event: events.append((event.kind, str(event.detail)))
        )
        assert answer.model == "third"
        assert next(detail for kind, detail in events if kind == "fallback").startswith("{'model': 'second'")
        assert fleet.route("Who answers?").chosen == "first"
    working = ScriptedBackend("working", "The answer is 1", skill=0.99)
    spare = ScriptedBackend("spare", "The answer is 2", price=0.0, skill=0.99)
    with Orchestrator(working, spare, fallbacks=["spare"]) as fleet:
        assert fleet.answer_sync("Who answers?").model == "working"
    assert spare.asked == []


def test_the_last_fallback_s_error_is_raised_and_its_cause_is_kept() -> None:
    first, second = (ScriptedBackend(name, BackendUnavailable(f"{name} is down")) for name in ("first", "second"))
    with (
        Orchestrator(first, second, fallbacks=["second"]) as fleet,
        pytest.raises(BackendUnavailable, match="second is down"),
    ):
        fleet.answer_sync("Anybody?")


def test_a_dead_server_s_error_has_its_cause() -> None:
    with (
        faulty_server(hang_up) as server,
        Orchestrator(remote(server.url, attempts=1)) as fleet,
        pytest.raises(package.BackendError) as caught,
    ):
        fleet.answer_sync("Anybody?", strategy="single")
    assert caught.value.__cause__ is not None


def test_calls_are_spaced_as_a_limit_says() -> None:
    now, waits = 0.0, []

    async def play() -> None:
        nonlocal now
        pacer = Pacer(120, clock=lambda: now)
        waits.extend([await pacer.enter(10.0, "far") for _ in range(4)])
        with pytest.raises(RateLimited, match="120 calls a minute"):
            await pacer.enter(0.4, "far")
        now = 60.0
        waits.append(await pacer.enter(10.0, "far"))

    asyncio.run(play())
    assert waits == [0.0, 0.0, 0.0, 0.5, 0.0]


# Values


class Lamp(BaseModel):
    name: str
    euros: int


def test_an_answer_is_the_value_that_was_asked_for() -> None:
    said = 'Here it is:\n```json\n{"name": "Gale", "euros": 79}\n```'
    with Orchestrator(ScriptedBackend("m", said)) as fleet:
        answer = fleet.answer_sync("Which lamp?", output=Lamp)
        assert answer.value == Lamp(name="Gale", euros=79)
        assert answer.value_as(Lamp).euros == 79
        assert fleet.answer_sync("Which lamp?", schema=Lamp).value == Lamp(name="Gale", euros=79)
        assert fleet.answer_sync("Which lamp?", schema=Lamp.model_json_schema()).value["euros"] == 79
        assert fleet.answer_sync("Which lamp?").value is None
        with pytest.raises(InvalidAnswer, match="not int"):
            answer.value_as(int)


@pytest.mark.parametrize(
    ("kind", "said", "value"),
    [
        (list[int], "[1, 2]", [1, 2]),
        (int, "7", 7),
        (Literal["yes", "no"], '"no"', "no"),
        (dict[str, bool], '{"a": true}', {"a": True}),
    ],
)
def test_any_type_will_do(kind: Any, said: str, value: object) -> None:
    with Orchestrator(ScriptedBackend("m", said)) as fleet:
        assert fleet.answer_sync("Which?", output=kind).value == value


@pytest.mark.parametrize("kind", ["str", lambda text: text, str.upper, print, 7])
def test_what_is_no_type_is_refused(kind: Any) -> None:
    model = ScriptedBackend("m", "hi")
    with Orchestrator(model) as fleet, pytest.raises(InvalidArgument, match="is no type"):
        fleet.answer_sync("Which?", output=kind)
    assert model.asked == []


@pytest.mark.parametrize("name", ["verifiers", "checks", "verify"])
def test_checks_as_a_setting_of_a_query_are_told_where_they_go(name: str) -> None:
    with Orchestrator(ScriptedBackend("m", "hi")) as fleet, pytest.raises(InvalidArgument) as caught:
        fleet.answer_sync("Which?", **{name: ["json"]})
    assert "Orchestrator(..., verifiers=[...])" in caught.value.remedy


def test_a_schema_that_is_no_object_is_not_sent_to_a_hosted_model() -> None:
    backend = remote("http://127.0.0.1:1/v1", provider="openai", key="x")
    for schema, is_sent in ((Lamp.model_json_schema(), True), ({"type": "array"}, False)):
        request = package.Request((Message("user", "x"),), "x", schema=schema)
        assert ("response_format" in backend._body(request)) == is_sent


@pytest.mark.parametrize(
    ("host", "is_sent"),
    [("127.0.0.1", True), ("gpu-1", True), ("10.0.0.5", True), ("models.internal", True), ("api.example.com", False)],
)
def test_a_server_of_ones_own_is_held_to_any_schema(host: str, is_sent: bool) -> None:
    backend = remote(f"http://{host}:1/v1", provider="compatible")
    request = package.Request((Message("user", "x"),), "x", schema={"type": "array", "items": {"type": "integer"}})
    assert ("response_format" in backend._body(request)) == is_sent


def test_what_is_no_value_says_so_with_what_was_said() -> None:
    with Orchestrator(ScriptedBackend("m", "No idea.")) as fleet:
        answer = fleet.answer_sync("Which lamp?", output=Lamp)
        with pytest.raises(InvalidAnswer) as caught:
            _ = answer.value
    assert caught.value.text == "No idea."


# What people see


def test_a_confidence_that_rests_on_a_default_says_so() -> None:
    def asked(**known: Any) -> Answer:
        model = ScriptedBackend("far", "Paris", profile=ModelProfile("far", 1.0, 1.0, **known))
        with Orchestrator(model, "calculator") as fleet:
            return fleet.answer_sync("What is the capital of France?", strategy="single")

    unknown = asked()
    assert unknown.rests_on_default
    assert "skill not stated" in str(unknown)
    assert "Nothing is known of far" in unknown.explain()
    assert unknown.route is not None
    assert unknown.route.as_dict()["without_skill"] == ["far"]  # the calculator knows what it can
    for known in ({"skill": 0.7}, {"like": "Meta-Llama-3.1-8B-Instruct"}):
        answer = asked(**known)
        assert not answer.rests_on_default, known
        assert "skill" not in str(answer)
    with Orchestrator("calculator") as fleet:
        assert "skill" not in str(fleet.answer_sync("2 + 2"))


def test_an_answer_prints_in_two_lines_and_tells_its_story() -> None:
    with Orchestrator(ScriptedBackend("m", "The answer is 42")) as fleet:
        answer = fleet.answer_sync("What is the answer?")
    text, facts = str(answer).split("\n")
    assert text == "The answer is 42"
    assert facts.startswith("(P(correct) 0.")
    assert "· m · $0.000020 ·" in facts
    story = answer.explain()
    assert "m was asked" in story
    assert "The search ended because" in story
    assert "1 call" in story


def test_a_prompt_that_was_cut_is_told_beside_the_answer() -> None:
    small = ScriptedBackend("m", "42", profile=ModelProfile("m", 1.0, 1.0, context_tokens=2048, skill=0.8))
    long = f"The secret number is 42. {'word ' * 3000} What is the secret number?"
    with Orchestrator(small, strategy="single") as fleet:
        answer = fleet.answer_sync(long, max_tokens=100)
        assert answer.is_trimmed
        assert "prompt cut to the window" in str(answer)
        assert "cut" not in str(fleet.answer_sync("What is it?", max_tokens=100))


def test_representations_are_one_line(tmp_path: Path) -> None:
    with Orchestrator(ScriptedBackend("m", "word\n" * 50), memory=tmp_path / "m.db") as fleet:
        answer = fleet.answer_sync("What is it?\n" * 30)
        stream = fleet.stream("What?")
        pending = fleet.answer("What?")
        shown = [
            answer,
            Query("What?\n" * 50),
            Budget(usd=1),
            fleet,
            fleet.memory,
            stream,
            pending,
            Model("openai/gpt-5"),
        ]
        for value in [*shown, fleet.answer_many(["x"]), answer.trace, answer.route and answer.route.chosen]:
            assert "\n" not in repr(value)
            assert len(repr(value)) < 200, repr(value)[:80]
        pending.close()  # type: ignore[attr-defined]


def test_dir_lists_the_public_names_and_no_others() -> None:
    assert dir(package) == sorted(package.__all__)
    assert all(hasattr(package, name) for name in package.__all__)


def test_blocking_twins_have_the_signatures_of_their_coroutines() -> None:
    for name in (
        "answer",
        "answer_many",
        "stream",
        "stream_text",
        "decide",
        "feedback",
        "remember",
        "recall",
        "summarize",
        "forget",
    ):
        method, twin = getattr(Orchestrator, name), getattr(Orchestrator, f"{name}_sync")
        assert list(inspect.signature(twin).parameters) == list(inspect.signature(method).parameters)
    assert "quality" in inspect.signature(Orchestrator.answer).parameters
    assert "memory" in inspect.signature(Orchestrator).parameters
    assert inspect.iscoroutinefunction(Orchestrator.answer) or asyncio.iscoroutinefunction(Orchestrator.answer)
    assert not asyncio.iscoroutinefunction(Orchestrator.answer_sync)


def test_logs_hold_no_content(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="orchestrator"), Orchestrator(ScriptedBackend("m", "Sesame")) as fleet:
        fleet.answer_sync("What is the magic word?")
        with pytest.raises(NoAdequateModel):
            Orchestrator("calculator").answer_sync("Which word opens it?")
    told = [(record.message, record.__dict__) for record in caplog.records if record.name == "orchestrator"]
    assert [message for message, _ in told] == ["answered", "not answered: no_adequate_model"]
    assert told[0][1]["model"] == "m"
    assert not any(word in str(details) for _, details in told for word in ("Sesame", "magic", "opens"))


# Many


def numbered(backend: ScriptedBackend, count: int) -> list[str]:
    return [f"What is {number} and {number}?" for number in range(count)]


def test_many_are_answered_in_order_within_one_budget() -> None:
    model = ScriptedBackend("m", lambda request: f"The answer is {request.question.split()[2]}", seconds=0.001)
    told: list[Any] = []
    with Orchestrator(model, strategy="single") as fleet:
        results = fleet.answer_many_sync(numbered(model, 40), concurrency=7, on_progress=told.append)
    assert [result.answer.text for result in results if result.answer] == [f"The answer is {n}" for n in range(40)]
    assert (told[-1].done, told[-1].failed, told[-1].total) == (40, 0, 40)
    assert told[-1].cost_usd == pytest.approx(40 * 2e-5)


def test_a_budget_over_all_holds_and_what_was_answered_stays() -> None:
    model = ScriptedBackend("m", "The answer is 1")
    with Orchestrator(model, strategy="single") as fleet:
        results = fleet.answer_many_sync(numbered(model, 30), concurrency=5, budget={"calls": 10})
        spent = fleet.answer_many_sync(numbered(model, 5), budget={"seconds": 0})
    assert sum(result.answer is not None for result in results) == len(model.asked) == 10
    assert all(isinstance(result.error, BudgetExceeded) for result in results if result.answer is None)
    assert [type(result.error) for result in spent] == [BudgetExceeded] * 5


def test_one_that_fails_costs_no_other_its_answer() -> None:
    def answer(request: Any) -> Any:
        return KeyError("bug") if "3" in request.question else "The answer is 1"

    rows = [
        "What is 1?",
        {"query": "What is 3?", "scope": "a/b"},
        {"qery": "What?"},
        " ",
        {"role": "user", "content": "What is 2?"},
        {"query": "What is 5?", "qualty": 1},
    ]
    with Orchestrator(ScriptedBackend("m", answer), strategy="single") as fleet:
        results = fleet.answer_many_sync(rows)
    assert [type(result.error).__name__ for result in results] == [
        "NoneType", "NoAdequateModel", "InvalidQuery", "InvalidQuery", "NoneType", "InvalidQuery",
    ]  # fmt: skip


def test_results_come_as_they_are_completed_and_leaving_cancels() -> None:
    slow = ScriptedBackend("m", lambda request: "x", seconds=0.0)

    async def play() -> tuple[list[int], int]:
        async def source() -> AsyncIterator[str]:
            for number in range(1_000):
                yield f"What is {number}?"

        async with Orchestrator(slow, strategy="single") as fleet, fleet.answer_many(source(), concurrency=4) as batch:
            seen = []
            async for result in batch:
                seen.append(result.index)
                if len(seen) == 10:
                    break
        return seen, len(slow.asked)

    seen, asked = asyncio.run(play())
    assert seen == list(range(10))
    assert asked <= 10 + 4 * 4 + 4  # what is ahead is bounded


def test_an_unordered_batch_gives_the_quick_ones_first() -> None:
    class Uneven(ScriptedBackend):
        async def complete(self, request: Any) -> Any:
            await asyncio.sleep(0.2 if "0" in request.question else 0.0)
            return await super().complete(request)

    async def play(ordered: bool) -> list[int]:
        async with Orchestrator(Uneven("m", "x"), strategy="single") as fleet:
            return [r.index async for r in fleet.answer_many(numbered(slow, 5), concurrency=5, ordered=ordered)]

    slow = ScriptedBackend("m", "x")
    assert asyncio.run(play(True)) == [0, 1, 2, 3, 4]
    assert asyncio.run(play(False))[-1] == 0


# Doubles


def test_a_scripted_model_takes_a_list_and_streams_in_pieces() -> None:
    with Orchestrator(
        ScriptedBackend("m", ["one", "two"]),
    ) as fleet:
        texts = [fleet.answer_sync("Which?", strategy="single").text for _ in range(3)]
    assert texts == ["one", "two", "two"]
    with Orchestrator(ScriptedBackend("m", "abcdefg", delta_chars=3)) as fleet:
        assert list(fleet.stream_text_sync("Which?", strategy="single")) == ["abc", "def", "g"]


def test_a_fleet_is_recorded_and_replayed_word_for_word(tmp_path: Path) -> None:
    path = tmp_path / "fleet.jsonl"

    def ask(models: Any) -> list[Answer]:
        with Orchestrator(models, strategy="single") as fleet:
            return [fleet.answer_sync(query) for query in ("What is 1?", "What is 2?", "What is 1?")]

    real = {"m": ScriptedBackend("m", ["uno", "dos", "tres"])}
    first, again = ask(record(real, path)), ask(replay(path))
    assert [a.text for a in first] == [a.text for a in again] == ["uno", "dos", "tres"]
    assert [a.cost_usd for a in first] == [a.cost_usd for a in again]
    with (
        Orchestrator(replay(path), strategy="single") as fleet,
        pytest.raises(NotRecorded, match="ORCHESTRATOR_RECORD=1"),
    ):
        fleet.answer_sync("What is 3?")
    replies = ["uno", "dos", "tres"]
    silent = ScriptedBackend("m", "not asked for what is there")
    assert [a.text for a in ask(record_or_replay(path, {"m": silent}))] == replies
    assert silent.asked == []  # in the process that recorded, what is new would be added
    code = "from orchestrator.testing import record_or_replay as r; print(list(r({!r}, lambda: 1 / 0)))"
    done = subprocess.run([sys.executable, "-c", code.format(str(path))], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['m']"


def test_a_recording_is_kept_until_something_new_was_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "fleet.jsonl"
    path.write_text("precious", encoding="utf-8")
    monkeypatch.setenv("ORCHESTRATOR_RECORD", "1")
    down = record_or_replay(path, ["calculator", ScriptedBackend("m", BackendUnavailable("down"))])
    with Orchestrator(down) as fleet, pytest.raises(package.OrchestratorError):
        fleet.answer_sync("Who?")
    assert path.read_text(encoding="utf-8") == "precious"
    for question in ("Who is it?", "What is it?"):  # two fixtures, one file
        with Orchestrator(record_or_replay(path, {"m": ScriptedBackend("m", question)})) as fleet:
            assert fleet.answer_sync(question, strategy="single").text == question
            next(fleet.stream_text_sync(f"{question} Again?", strategy="single"))
    monkeypatch.delenv("ORCHESTRATOR_RECORD")
    with Orchestrator(replay(path), strategy="single") as fleet:
        assert [fleet.answer_sync(each).text for each in ("Who is it?", "What is it?")] == ["Who is it?", "What is it?"]


def test_spans_hold_what_was_done_and_no_content() -> None:
    memory_exporter = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    from orchestrator.telemetry import Telemetry

    exporter = memory_exporter.InMemorySpanExporter()
    with Orchestrator(ScriptedBackend("small", "Sesame"), telemetry=Telemetry(exporter=exporter)) as fleet:
        fleet.answer_sync("What is the magic word?", metadata={"feature": "door"})
        with pytest.raises(BudgetExceeded):
            fleet.answer_sync("What is the magic word?", budget=0)
    spans = exporter.get_finished_spans()
    roots = [span for span in spans if span.parent is None]
    assert [span.name for span in roots] == ["invoke_agent orchestrator"] * 2
    assert roots[0].attributes["orchestrator.metadata.feature"] == "door"
    assert roots[1].attributes["error.type"] == "budget_exceeded"
    call = next(span for span in spans if span.name == "chat small")
    assert call.parent.span_id == roots[0].context.span_id
    assert call.attributes["gen_ai.usage.output_tokens"] == 10
    assert not any(word in str(dict(span.attributes)) for span in spans for word in ("Sesame", "magic"))


def test_a_run_with_tools_is_one_span_around_its_steps_and_calls() -> None:
    memory_exporter = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    from orchestrator.telemetry import Telemetry

    @package.tool(effects="none")
    def look_up(word: str) -> str:
        """Looks a word up."""
        if word == "broken":
            raise ValueError("no such word")
        return "Sesame"

    words = ("magic", "broken")
    calls = tuple(ToolCall("look_up", {"word": word}, f"c{number}") for number, word in enumerate(words))
    exporter, asks = memory_exporter.InMemorySpanExporter(), Completion("small", "", Usage(10, 5), calls=calls)
    with Orchestrator(ScriptedBackend("small", asks, "Open."), telemetry=Telemetry(exporter=exporter)) as fleet:
        run = fleet.answer_sync("What is the word?", tools=[look_up], strategy="single").run
    spans = exporter.get_finished_spans()
    (root,) = [span for span in spans if span.parent is None]
    assert (root.name, root.attributes["orchestrator.run_id"]) == ("invoke_agent orchestrator", run)
    within = [span for span in spans if span.parent is not None and span.parent.span_id == root.context.span_id]
    assert sorted(span.name for span in within) == ["execute_tool look_up"] * 2 + ["invoke_agent orchestrator"] * 2
    called = {span.attributes["gen_ai.tool.call.id"]: span for span in within if span.name.startswith("execute")}
    assert called["c0"].attributes["gen_ai.tool.name"] == "look_up"
    assert "error.type" not in called["c0"].attributes
    assert called["c1"].attributes["error.type"] == "failed"
    assert not any(word in str(dict(span.attributes)) for span in spans for word in ("Sesame", "magic", "no such"))


def test_pipelines_fall_back_too(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    text = "version: 1\nname: p\nsteps:\n  a: {search: adaptive, prompt: Who answers?}\noutput: ${a.text}\n"
    path.write_text(text, encoding="utf-8")
    first, spare = ScriptedBackend("first", BackendUnavailable("down")), ScriptedBackend("spare", "The spare.")
    with Orchestrator(first, spare, fallbacks=["spare"]) as fleet:
        assert package.Pipeline.load(path).run_sync(orchestrator=fleet).output == "The spare."
