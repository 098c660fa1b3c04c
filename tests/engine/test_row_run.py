"""Many rows at once: each once, in order where it is wanted, no more of them in memory than is allowed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import Orchestrator, RateLimited
from orchestrator.backends.base import LocalBackend, Request
from orchestrator.engine.row_run import PATIENCE, WINDOW, RowRun, TryLater
from orchestrator.router import ModelProfile
from orchestrator.types import Completion


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 120), st.integers(1, 40), st.booleans(), st.booleans(), st.integers(0, 9))
def test_each_row_is_worked_on_once(count: int, concurrency: int, ordered: bool, asynchronous: bool, seed: int) -> None:
    rng = random.Random(seed)

    async def given_rows() -> AsyncIterator[int]:
        for number in range(count):
            if rng.random() < 0.2:
                await asyncio.sleep(0)
            yield number

    async def work(index: int, row: object) -> tuple[int, object]:
        for _ in range(rng.randrange(4)):
            await asyncio.sleep(0)
        return index, row

    async def run() -> list[tuple[int, object]]:
        rows = given_rows() if asynchronous else range(count)
        run: RowRun[tuple[int, object]] = RowRun(rows, work, concurrency=concurrency, ordered=ordered)
        return [each.result async for each in run.results()]

    found = asyncio.run(run())
    assert sorted(found) == [(number, number) for number in range(count)]  # type: ignore[comparison-overlap]
    assert not ordered or found == sorted(found)


def test_a_slow_first_row_holds_up_the_source_and_not_the_memory() -> None:
    taken = 0

    def rows() -> Iterator[int]:
        nonlocal taken
        for number in range(10_000):
            taken += 1
            yield number

    async def run() -> None:
        first = asyncio.Event()

        async def work(index: int, _: object) -> int:
            if index == 0:
                await first.wait()
            return index

        run: RowRun[int] = RowRun(rows(), work, concurrency=4, ordered=True)
        results = run.results()
        waiting = asyncio.ensure_future(anext(results))
        for _ in range(200):
            await asyncio.sleep(0)
        assert taken <= WINDOW * 4 + 4
        first.set()
        assert (await waiting).result == 0
        await results.aclose()  # type: ignore[attr-defined]

    asyncio.run(run())


def test_what_the_source_gave_before_it_failed_counts() -> None:
    async def rows() -> AsyncIterator[int]:
        yield 1
        yield 2
        raise OSError("the disk is gone")

    async def work(_: int, row: object) -> object:
        await asyncio.sleep(0.01)
        return row

    found: list[object] = []

    async def run() -> None:
        run: RowRun[object] = RowRun(rows(), work, concurrency=8, ordered=True)
        async for each in run.results():
            found.append(each.result)  # noqa: PERF401

    with pytest.raises(OSError, match="the disk is gone"):
        asyncio.run(run())
    assert found == [1, 2]


def test_a_limit_is_waited_for_with_fewer_at_once_and_not_for_ever() -> None:
    waits: list[float] = []
    tries: dict[int, int] = {}

    async def wait(seconds: float) -> None:
        waits.append(seconds)

    async def work(index: int, _: object) -> str:
        tries[index] = tries.get(index, 0) + 1
        if index == 3:
            raise TryLater("given up", 7.0)
        if index == 5 and tries[index] < 3:
            raise TryLater("given up")
        return "done"

    async def run() -> list[str]:
        run: RowRun[str] = RowRun(range(8), work, concurrency=8, ordered=True, wait=wait)
        found = [each.result async for each in run.results()]
        assert run.at_once < 8
        return found

    assert asyncio.run(run()) == ["done"] * 3 + ["given up"] + ["done"] * 4
    assert (tries[3], tries[5]) == (PATIENCE, 3)
    assert waits.count(7.0) == PATIENCE - 1


def test_closing_it_ends_the_work_and_the_source() -> None:
    closed = cancelled = False

    async def rows() -> AsyncIterator[int]:
        nonlocal closed
        try:
            for number in range(10**9):
                yield number
                await asyncio.sleep(0)
        finally:
            closed = True

    async def work(index: int, _: object) -> int:
        nonlocal cancelled
        if index > 3:
            try:
                begun.set()
                await asyncio.sleep(60)
            finally:
                cancelled = True
        return index

    begun = asyncio.Event()

    async def run() -> None:
        run: RowRun[int] = RowRun(rows(), work, concurrency=4, ordered=False)
        results = run.results()
        await anext(results)
        await begun.wait()
        await results.aclose()  # type: ignore[attr-defined]

    asyncio.run(run())
    assert closed
    assert cancelled


class Busy(LocalBackend):
    """Says that it is asked too often, so many times."""

    def __init__(self, times: int) -> None:
        super().__init__(ModelProfile("busy", 1.0, 1.0, skill=0.9))
        self.left = times

    async def complete(self, request: Request) -> Completion:
        if self.left:
            self.left -= 1
            raise RateLimited("slow down", retry_after_s=0.01)
        return Completion("busy", "42")


def test_answer_many_waits_for_limits_where_it_is_patient() -> None:
    questions = [f"How many lamps hang in row {number}?" for number in range(6)]

    def failed(*, patient: bool) -> int:
        fleet = Orchestrator({"busy": Busy(4)}, strategy="single")
        results = fleet.answer_many_sync(questions, concurrency=3, patient=patient)
        return sum(result.error is not None for result in results)

    assert failed(patient=False) > 0
    assert failed(patient=True) == 0
