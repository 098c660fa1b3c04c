"""Breakers, limits, retry budgets, hedges and replicas.

The decisions by a manual clock, the whole over real sockets.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import Budget, Message
from orchestrator.backends.base import Request
from orchestrator.backends.http.circuit_breaker import CONSECUTIVE_FAILURES, CircuitBreaker
from orchestrator.backends.http.concurrency_limit import START, AdaptiveLimit
from orchestrator.backends.http.replicas import Placed, Replica, Replicas, weight_of
from orchestrator.backends.http.retry import RetryBudget
from orchestrator.backends.http.upstream import HEDGE_LEAST
from orchestrator.backends.metering import bill_of, worst_case
from orchestrator.backends.remote import RemoteBackend
from orchestrator.budget import Ledger
from orchestrator.errors import BackendError, BackendUnavailable, RateLimited
from orchestrator.router import ModelProfile
from orchestrator.search.controller import Search
from orchestrator.search.state import Choice, SearchState
from orchestrator.search.strategies.registry import single
from orchestrator.trace import Trace
from orchestrator.types import Completion
from tests.support.faulty_server import Script, completion, faulty_server, reply
from tests.support.gateway import Provider, served
from tests.support.gateway import completion as whole
from tests.support.gateway import reply as send_reply

PROFILE = ModelProfile("m", 1.0, 2.0)
ASKED = Request((Message("user", "What is 2 + 2?"),), "What is 2 + 2?", max_tokens=50)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_breaker_opens_rests_tries_once_and_closes() -> None:
    clock = Clock()
    breaker = CircuitBreaker(clock=clock, rng=random.Random(1))
    for _ in range(CONSECUTIVE_FAILURES):
        assert breaker.enter()
        breaker.failed()
    assert breaker.is_open
    assert not breaker.enter()
    clock.now += breaker.left_s + 0.01
    assert breaker.enter()
    assert not breaker.enter()  # one at a time
    first_rest = clock.now
    breaker.failed()
    assert breaker.left_s > first_rest * 1.5
    clock.now += breaker.left_s + 0.01
    assert breaker.enter()
    breaker.succeeded()
    assert not breaker.is_open
    assert breaker.enter()


def test_a_breaker_opens_for_a_server_that_fails_every_other_time() -> None:
    breaker = CircuitBreaker(clock=Clock())
    for turn in range(20):
        breaker.enter()
        breaker.failed() if turn % 2 else breaker.succeeded()
    assert breaker.is_open


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["good", "slow", "overloaded"]), max_size=300))
def test_a_limit_stays_within_its_bounds_and_counts_right(outcomes: list[str]) -> None:
    async def run() -> None:
        limit = AdaptiveLimit(start=4, most=16)
        for outcome in outcomes:
            await limit.enter(1.0)
            assert 1 <= limit.limit <= 16
            {"good": limit.succeeded, "slow": lambda: limit.succeeded(3.0), "overloaded": limit.overloaded}[outcome]()
            limit.leave()
        assert limit.in_flight == 0

    asyncio.run(run())


def test_a_limit_falls_when_told_and_grows_when_used() -> None:
    async def run() -> None:
        limit = AdaptiveLimit()
        for _ in range(START):
            await limit.enter(1.0)
        for _ in range(START):
            limit.succeeded()
        assert START * 1.2 < limit.limit < START * 1.3  # it grows while most of it is used
        limit.overloaded()
        fallen = limit.limit
        assert fallen < START
        limit.overloaded()  # of the same moment
        assert limit.limit == fallen
        with pytest.raises(TimeoutError):
            await limit.enter(0.01)
        waiting = asyncio.ensure_future(limit.enter(5.0))
        for _ in range(START - fallen + 1):
            await asyncio.sleep(0)
            limit.leave()
        await waiting

    asyncio.run(run())


def test_a_cancelled_waiter_gives_its_turn_on() -> None:
    async def run() -> None:
        limit = AdaptiveLimit(start=1)
        await limit.enter(1.0)
        first, second = asyncio.ensure_future(limit.enter(5.0)), asyncio.ensure_future(limit.enter(5.0))
        await asyncio.sleep(0)
        first.cancel()
        limit.leave()
        await second
        assert limit.in_flight == 1

    asyncio.run(run())


def test_retries_are_at_most_a_tenth_more_calls() -> None:
    budget = RetryBudget(burst=10)
    taken = 0
    for _ in range(1_000):
        budget.called()
        taken += budget.take()
    assert taken <= 10 + 100


async def asked(backend: RemoteBackend, **fields: Any) -> Completion:
    try:
        return await backend.complete(Request(ASKED.messages, ASKED.question, max_tokens=50, **fields))
    finally:
        await backend.aclose()


def late(seconds: float) -> Script:
    async def script(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        await reply(200, completion("4"))(writer)

    return script


def test_a_server_that_is_down_gets_few_retries_and_is_then_left_alone() -> None:
    async def run(url: str) -> int:
        backend = RemoteBackend(PROFILE, base_url=url)
        failures = 0
        for _ in range(20):
            try:
                await backend.complete(Request(ASKED.messages, ASKED.question, deadline_s=0.05))
            except BackendError:
                failures += 1
        assert not backend.is_available
        with pytest.raises(BackendUnavailable, match="failed too often"):
            await backend.complete(ASKED)
        await backend.aclose()
        return failures

    with faulty_server(reply(503)) as server:
        assert asyncio.run(run(server.url)) == 20
    assert len(server.requests) <= CONSECUTIVE_FAILURES + 5


def test_who_allows_little_time_does_not_close_a_server_to_others() -> None:
    async def run(url: str) -> None:
        backend = RemoteBackend(PROFILE, base_url=url, attempts=1)
        for _ in range(CONSECUTIVE_FAILURES + 1):
            with pytest.raises(BackendUnavailable, match="in time"):
                await backend.complete(Request(ASKED.messages, ASKED.question, deadline_s=0.02))
        assert backend.is_available
        await backend.aclose()

    with faulty_server(late(5.0)) as server:
        asyncio.run(run(server.url))


def test_of_two_failed_calls_the_one_that_may_be_billed_counts() -> None:
    is_armed: list[bool] = []

    async def script(writer: asyncio.StreamWriter) -> None:
        if not is_armed:
            await reply(200, completion("4"))(writer)
        elif is_armed.pop():  # the first call: late, and then it breaks off
            is_armed.append(False)
            await asyncio.sleep(0.5)
        else:
            await reply(429)(writer)

    async def run(url: str) -> None:
        backend = RemoteBackend(PROFILE, base_url=url, hedge=True, attempts=1)
        for _ in range(HEDGE_LEAST):
            await backend.complete(ASKED)
        is_armed.append(True)
        with pytest.raises(BackendError) as caught:
            await backend.complete(ASKED)
        assert caught.value.may_be_billed
        await backend.aclose()

    with faulty_server(script) as server:
        asyncio.run(run(server.url))


def test_rate_limits_do_not_open_the_breaker_but_lower_the_limit() -> None:
    async def run(url: str) -> None:
        backend = RemoteBackend(PROFILE, base_url=url, attempts=1)
        for _ in range(10):
            with pytest.raises(RateLimited):
                await backend.complete(ASKED)
        assert backend.is_available
        assert backend.upstream.replicas.all[0].limit.limit < START
        await backend.aclose()

    with faulty_server(reply(429)) as server:
        asyncio.run(run(server.url))


def test_a_hedged_call_takes_the_quicker_answer_and_pays_for_both() -> None:
    is_armed: list[bool] = []

    async def quick_but_once(writer: asyncio.StreamWriter) -> None:
        await late(600.0 if is_armed and is_armed.pop() else 0.0)(writer)

    async def run(url: str) -> tuple[Completion, Ledger]:
        backend = RemoteBackend(PROFILE, base_url=url, hedge=True)
        for _ in range(HEDGE_LEAST):  # too few to know what is slow: none of these is made twice
            await backend.complete(ASKED)
        is_armed.append(True)
        ledger = Ledger(Budget(usd=1.0))
        worst = worst_case(backend, ASKED)
        held = ledger.reserve(usd=worst.usd, tokens=worst.tokens)
        done = await backend.complete(ASKED)
        bill = bill_of(backend, done, worst)
        ledger.settle(held, usd=bill.usd or 0.0, tokens=bill.usage.total_tokens)
        await backend.aclose()
        return done, ledger

    with faulty_server(quick_but_once) as server:
        done, ledger = asyncio.run(run(server.url))
    assert done.text == "4"
    assert done.unseen_calls == 1
    assert len(server.requests) == HEDGE_LEAST + 2
    real_usd, worst_usd = (10 * 1.0 + 5 * 2.0) / 1e6, 50 * 2.0 / 1e6
    assert ledger.spent_usd > real_usd + worst_usd  # the one that nobody saw counts with all that it may have cost
    assert ledger.overrun_nano == 0
    assert ledger.reserved_nano == 0


def test_without_hedging_a_call_is_made_once() -> None:
    async def run(url: str) -> Completion:
        return await asked(RemoteBackend(PROFILE, base_url=url))

    with faulty_server(late(0.1)) as server:
        done = asyncio.run(run(server.url))
    assert (len(server.requests), done.unseen_calls) == (1, 0)


def test_a_search_reserves_both_calls_of_a_hedged_model_and_so_refuses_what_one_would_allow() -> None:
    async def run(url: str, *, hedge: bool) -> int:
        backend = RemoteBackend(PROFILE, base_url=url, hedge=hedge)
        one = worst_case(RemoteBackend(PROFILE, base_url=url), ASKED).usd
        assert one is not None
        state = SearchState(ASKED.question, (Choice("m", 0.8, 0.001, 1.0),), {"m": 0.8})
        result = await Search({"m": backend}, (), Ledger(Budget(usd=1.5 * one)), Trace()).run(state, single, ASKED)
        await backend.aclose()
        return len(result.state.candidates)

    with faulty_server(reply(200, completion("4"))) as server:
        assert asyncio.run(run(server.url, hedge=False)) == 1
        assert asyncio.run(run(server.url, hedge=True)) == 0


def conversation(number: int, turns: int) -> dict[str, Any]:
    """A body that begins like every other of the same number."""
    messages = [{"role": "system", "content": "You are kind."}, {"role": "user", "content": f"question {number} " * 20}]
    for turn in range(turns):
        messages += [{"role": "assistant", "content": f"answer {turn}"}, {"role": "user", "content": f"and {turn}?"}]
    return {"messages": messages, "max_tokens": 50}


def test_a_conversation_stays_with_its_server_and_few_move_when_one_comes() -> None:
    seconds = itertools.count()  # a call a second: nobody has to wait
    three = Replicas([Replica(f"http://s{i}") for i in range(3)], clock=lambda: float(next(seconds)))
    four = Replicas([Replica(f"http://s{i}") for i in range(4)], clock=lambda: float(next(seconds)))
    moved = 0
    for number in range(300):
        placed = [three.choose(conversation(number, turns), expected_output=100) for turns in range(4)]
        chosen = {one.replica.base_url for one in placed}
        assert len(chosen) == 1
        moved += four.choose(conversation(number, 0), expected_output=100).replica.base_url not in chosen
    assert moved < 300 * 0.4  # a quarter has to


def test_a_server_that_answers_nobody_has_read_all_that_was_sent_to_it() -> None:
    replicas = Replicas([Replica(f"http://s{i}") for i in range(3)], clock=lambda: 0.0)
    first = replicas.choose(conversation(7, 0), expected_output=100).replica
    for _ in range(50):  # quick servers: each answer is there before the next question
        assert replicas.choose(conversation(7, 0), expected_output=100).replica is first
    first.limit.in_flight += 1
    chosen = [replicas.choose(conversation(7, 0), expected_output=100).replica for _ in range(50)]
    assert any(replica is not first for replica in chosen)


def test_no_server_gets_much_more_than_its_share() -> None:
    replicas = Replicas([Replica(f"http://s{i}") for i in range(4)])
    for _ in range(100):
        replicas.choose(conversation(7, 0), expected_output=100).replica.limit.in_flight += 1  # all want the same one
    assert max(replica.limit.in_flight for replica in replicas.all) <= 1.25 * 25 + 1


def test_a_server_at_rest_is_passed_over_and_pools_are_kept_apart() -> None:
    clock = Clock()
    servers = [Replica(f"http://s{i}", breaker=CircuitBreaker(clock=clock)) for i in range(2)]
    replicas = Replicas(servers)
    wanted = replicas.choose(conversation(1, 0), expected_output=100).replica
    for _ in range(CONSECUTIVE_FAILURES):
        wanted.breaker.failed()
    assert replicas.choose(conversation(1, 0), expected_output=100).replica is not wanted
    assert replicas.is_available
    long, short = {"messages": [{"role": "user", "content": "word " * 20_000}], "max_tokens": 10}, conversation(1, 0)
    assert (weight_of(long, 100), weight_of(short, 100)) == ("prefill", "decode")
    apart = Replicas([Replica("http://p", "prefill"), Replica("http://d", "decode")])
    assert apart.choose(long, expected_output=100).replica.pool == "prefill"
    assert apart.choose(short, expected_output=100).replica.pool == "decode"


def test_affinity_reads_more_from_the_servers_caches_than_chance_does() -> None:
    """Three real servers that remember the prefixes they were sent, as vLLM does, and say so in their usage."""

    def caching_server() -> Provider:
        seen: set[str] = set()

        async def play(body: dict[str, Any], send: Any) -> None:
            cached, text = 0, ""
            for message in body["messages"]:
                text += message["content"]
                cached = len(text) // 4 if text in seen else cached
                seen.add(text)
            found = whole("4", prompt=len(text) // 4)
            found["usage"]["prompt_tokens_details"] = {"cached_tokens": cached}
            await send_reply(send, 200, found)

        return Provider(play)

    async def hit_rate(urls: list[str], *, affinity: bool) -> float:
        backend = RemoteBackend(PROFILE, replicas=[Replica(url) for url in urls])
        rng = random.Random(5)
        if not affinity:
            backend.upstream.replicas.choose = lambda body, **_: Placed(rng.choice(backend.upstream.replicas.all), 0.0)
        turns = [(number, turn) for turn in range(5) for number in range(30)]
        for number, turn in turns:
            await backend.chat(conversation(number, turn))
        await backend.aclose()
        return backend.upstream.replicas.hit_rate

    def measured(*, affinity: bool) -> float:
        with served(caching_server()) as a, served(caching_server()) as b, served(caching_server()) as c:
            return asyncio.run(hit_rate([a, b, c], affinity=affinity))

    by_prefix, by_chance = measured(affinity=True), measured(affinity=False)
    assert by_prefix > 0.7
    assert by_prefix > by_chance + 0.1
