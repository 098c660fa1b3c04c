"""The response cache: off by default; never across tenants, scopes or settings; similar only by what it guarantees."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.gateway.chat.response_cache import significant
from tests.support.gateway import Running, running_gateway, settled


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Running]:
    with running_gateway(tmp_path, gateway={"cache": {"semantic": 0.8}}) as running:
        yield running


def cached(answer: object) -> object:
    return answer.json()["orchestrator"]["cached"]  # type: ignore[attr-defined]


def test_it_is_off_unless_asked_for(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway:
        gateway.chat()
        gateway.chat()
        assert len(gateway.provider.bodies) == 2


def test_the_same_request_is_answered_once_and_costs_once(gateway: Running) -> None:
    first, second = gateway.chat(), gateway.chat()
    assert (cached(first), second.json()["orchestrator"]["cached"]["kind"]) == (False, "exact")
    assert second.json()["choices"] == first.json()["choices"]
    assert second.json()["orchestrator"]["cost_usd"] == 0
    assert second.headers["x-orchestrator-cached"] == "exact"
    assert len(gateway.provider.bodies) == 1


@pytest.mark.parametrize(
    "change",
    [{"model": "large"}, {"temperature": 0.5}, {"orchestrator": {"scope": "ann"}}, {"max_tokens": 5}, {"tools": []}],
)
def test_anything_else_is_another_request(gateway: Running, change: dict[str, object]) -> None:
    gateway.chat()
    assert cached(gateway.chat(**change)) is False  # type: ignore[arg-type]


def test_other_tenants_have_caches_of_their_own(gateway: Running) -> None:
    other = gateway.new_key(org=gateway.accounts.add_org("other").id)
    gateway.chat()
    assert cached(gateway.chat(key=other)) is False


def test_streams_are_cached_too(gateway: Running) -> None:
    first, second = gateway.chat(stream=True), gateway.chat(stream=True)
    assert len(gateway.provider.bodies) == 1
    events = [[line for line in answer.text.splitlines() if line.startswith("data:")] for answer in (first, second)]
    assert events[0] == events[1]


def test_a_question_in_other_words_with_the_same_meaning(gateway: Running) -> None:
    gateway.chat("What is the capital of France?")
    alike = cached(gateway.chat("Please, what's the capital of France"))
    assert alike["kind"] == "semantic"  # type: ignore[index]
    assert alike["similarity"] >= 0.8  # type: ignore[index]
    assert alike["question"] == "What is the capital of France?"  # type: ignore[index]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is the capital of France?", "What is the capital of Spain?"),
        ("Is the shop open on Sunday?", "Is the shop not open on Sunday?"),
        ("What is 17 + 23?", "What is 17 + 24?"),
        ("What is 17 + 23?", "What is 17 - 23?"),
        ("Does Anna owe Bert money?", "Does Bert owe Anna money?"),
        ("How do I create my account?", "How do I delete my account?"),
        ("Who founded the company?", "When was the company founded?"),
        ("What happens before the flood?", "What happens after the flood?"),
        ("how much is 100 usd in eur", "how much is 100 eur in usd"),
        ("who killed the king", "who the king killed"),
        ("can cats eat chocolate", "cannot cats eat chocolate"),
        ("what is x if y is two", "what is y if x is two"),
        ("capital of Niger", "capital of Nigeria"),
        ("universal", "universe"),
        ("is 5 < 3", "is 5 > 3"),
        ("What is -5 squared?", "What is 5 squared?"),
        ("who is in US", "who is in us"),
        ("print f(x)", "print f('x')"),
        ("can you swim", "swim"),
        ("Is it safe to mix bleach and water?", "Is it safe to mix bleach and ammonia?"),
    ],
)
def test_questions_that_only_sound_alike_are_not(gateway: Running, one: str, other: str) -> None:
    assert significant(one) != significant(other)
    gateway.chat(one)
    assert cached(gateway.chat(other)) is False


def test_cache_control(gateway: Running) -> None:
    assert gateway.chat("a", headers={"cache-control": "only-if-cached"}).status_code == 504
    gateway.chat("a", headers={"cache-control": "no-store"})
    assert cached(gateway.chat("a")) is False
    assert cached(gateway.chat("a")) is not False
    assert cached(gateway.chat("a", headers={"cache-control": "no-cache"})) is False
    assert settled(lambda: cached(gateway.chat("a", headers={"cache-control": "max-age=1"})) is False)
    assert gateway.chat("a", headers={"cache-control": "only-if-cached"}).status_code == 200


def test_a_padded_hit_takes_as_long_as_the_first_answer(tmp_path: Path) -> None:
    import asyncio

    from tests.support.gateway import Send, completion, reply

    async def play(body: dict[str, object], send: Send) -> None:
        await asyncio.sleep(0.3)
        await reply(send, 200, completion())

    with running_gateway(tmp_path, play, gateway={"cache": {"pad_timing": True}}) as gateway:
        gateway.chat()
        began = time.perf_counter()
        assert cached(gateway.chat()) is not False
        assert time.perf_counter() - began >= 0.29


def test_what_was_forgotten_is_not_told_from_the_cache(gateway: Running) -> None:
    kept = gateway.post("/v1/memories", {"text": "The Gale lantern costs 79 euros."}).json()
    ask = "How much does the Gale lantern cost?"
    gateway.chat(ask, model="auto")
    assert cached(gateway.chat(ask, model="auto")) is not False
    gateway.send("DELETE", f"/v1/memories/{kept['id']}")
    assert cached(gateway.chat(ask, model="auto")) is False


def test_what_is_forgotten_while_an_answer_is_under_way_is_not_told_from_the_cache(tmp_path: Path) -> None:
    import asyncio
    import json
    import threading

    from tests.support.gateway import Send, completion, reply

    is_forgotten = threading.Event()

    async def play(body: dict[str, object], send: Send) -> None:
        await asyncio.to_thread(is_forgotten.wait, 60)
        await reply(send, 200, completion("9911" if "9911" in json.dumps(body) else "I do not know."))

    with running_gateway(tmp_path, play, gateway={"cache": {"seconds": 3_600}}) as run:
        kept = run.post("/v1/memories", {"text": "The vault code is 9911.", "scope": "ann"}).json()["id"]

        def ask() -> dict[str, object]:
            return run.chat(
                "What is the vault code? Use tools.", model="auto", orchestrator={"scope": "ann"}, logprobs=True
            ).json()  # type: ignore[no-any-return]

        asking = threading.Thread(target=ask)
        asking.start()
        assert settled(lambda: len(run.provider.bodies) == 1)
        assert run.send("DELETE", f"/v1/memories/{kept}?scope=ann").json()["forgotten"] == [kept]
        is_forgotten.set()
        asking.join()
        again = ask()
        assert "9911" not in json.dumps(again["choices"])
