"""One engine in simulated time: what must hold for any requests."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import InvalidArgument
from orchestrator.simulation.engine import UNLIMITED, Engine
from orchestrator.simulation.replica import SimulatedReplica
from orchestrator.simulation.request import SimulatedOutcome, SimulatedRequest

ENGINE = Engine(0.02, 1e-4, 1e-4, 1e-7, token_budget=512, max_sequences=8, kv_tokens=20_000)


def requests(seed: int, count: int, *, shared: int = 0) -> list[SimulatedRequest]:
    rng, at, made = random.Random(seed), 0.0, []
    for number in range(count):
        at += rng.expovariate(2.0)
        group = rng.randrange(3)
        own = tuple(10_000 + 100 * number + piece for piece in range(3))
        chunks = tuple(group * 100 + piece for piece in range(shared)) + own if shared else ()
        prompt = 512 * len(chunks) + rng.randrange(1, 400) if shared else rng.randrange(1, 3_000)
        made.append(SimulatedRequest(at, prompt, rng.randrange(1, 300), chunks))
    return made


def run(engine: Engine, asked: list[SimulatedRequest]) -> tuple[list[SimulatedOutcome], SimulatedReplica]:
    replica = SimulatedReplica(engine)
    outcomes = [replica.submit(request) for request in asked]
    replica.drain()
    return outcomes, replica


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000), st.integers(1, 60), st.sampled_from([0, 2, 6]), st.sampled_from([4_500, 20_000, UNLIMITED])
)
def test_every_request_ends_once_in_order_and_the_memory_is_given_back(
    seed: int, count: int, shared: int, memory: int
) -> None:
    engine = Engine(0.02, 1e-4, 1e-4, 1e-7, token_budget=512, max_sequences=8, kv_tokens=memory)
    outcomes, replica = run(engine, requests(seed, count, shared=shared))
    for each in outcomes:
        if each.refused:
            assert each.prompt_tokens + each.output_tokens > memory
            continue
        assert each.arrival_s <= each.scheduled_s < each.first_token_s <= each.last_token_s < math.inf
        assert 0 <= each.cached_tokens < each.prompt_tokens
    assert replica.cache.in_use == 0
    assert replica.requests == 0
    assert replica.queued_tokens == 0


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(1, 40),
    st.sampled_from([0, 4]),
    st.sampled_from([4_500, UNLIMITED]),
    st.booleans(),
)
def test_leaps_come_to_the_same_as_single_steps(seed: int, count: int, shared: int, memory: int, ahead: bool) -> None:
    engine = Engine(0.02, 1e-4, 1e-4, 1e-7, token_budget=512, max_sequences=8, kv_tokens=memory, schedules_ahead=ahead)
    asked = requests(seed, count, shared=shared)
    leaping, _ = run(engine, asked)
    stepping = SimulatedReplica(engine)
    slow = []
    for request in asked:
        while stepping.now < request.arrival_s:
            stepping.advance(min(stepping.now + 0.001, request.arrival_s))
        slow.append(stepping.submit(request))
    stepping.drain()
    for one, other in zip(leaping, slow, strict=True):
        assert one.preemptions == other.preemptions
        assert one.refused or one.last_token_s == pytest.approx(other.last_token_s, rel=1e-9)


def test_a_request_that_is_alone_takes_what_the_numbers_say() -> None:
    engine = Engine(0.01, 1e-4, 2e-3, 1e-6, token_budget=1_000, overhead_s=0.5)
    (outcome,), _ = run(engine, [SimulatedRequest(0.0, 1_500, 3)])
    reading = 2 * 0.01 + 1_500 * 1e-4
    writing = 2 * (0.01 + 2e-3) + 1e-6 * (1_501 + 1_502)
    assert outcome.ttft_s == pytest.approx(0.5 + reading)
    assert outcome.latency_s == pytest.approx(0.5 + reading + writing)


def test_a_prefix_that_another_request_has_read_is_not_read_again() -> None:
    chunks = tuple(range(10))
    asked = [SimulatedRequest(0.0, 5_200, 2, chunks), SimulatedRequest(60.0, 5_200, 2, chunks)]
    (first, second), _ = run(ENGINE, asked)
    assert (first.cached_tokens, second.cached_tokens) == (0, 5_120)
    assert second.ttft_s < first.ttft_s / 5
    (_, without), _ = run(Engine(0.02, 1e-4, prefix_caching=False), asked)
    assert without.cached_tokens == 0


def test_the_last_token_of_a_prompt_is_read_although_all_of_it_is_cached() -> None:
    asked = [SimulatedRequest(0.0, 1_024, 2, (1, 2)), SimulatedRequest(9.0, 1_024, 2, (1, 2))]
    outcomes, _ = run(ENGINE, asked)
    assert outcomes[1].cached_tokens == 512


def test_who_does_not_fit_waits_and_who_is_youngest_starts_again() -> None:
    engine = Engine(0.02, 1e-4, kv_tokens=1_000)
    outcomes, _ = run(engine, [SimulatedRequest(0.0, 400, 300), SimulatedRequest(0.1, 400, 300)])
    assert [each.preemptions for each in outcomes] == [0, 1]
    assert outcomes[1].last_token_s > outcomes[0].last_token_s


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ({"step_s": -1.0}, "step_s"),
        ({"step_s": math.nan}, "step_s"),
        ({"step_s": 0.0, "prefill_token_s": 0.0}, "no time"),
        ({"token_budget": 0}, "room for one request"),
        ({"kv_tokens": 3}, "room for one request"),
    ],
)
def test_an_engine_that_cannot_be_is_refused(numbers: dict[str, float], told: str) -> None:
    with pytest.raises(InvalidArgument, match=told):
        Engine(**{"step_s": 0.01, "prefill_token_s": 1e-4} | numbers)  # type: ignore[arg-type]
