"""What an attack on the SDK met: hangs, freezes, money, values. Each of these failed once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from orchestrator import InvalidAnswer, InvalidArgument, Model, Orchestrator, OrchestratorError
from orchestrator.backends.base import Delta
from orchestrator.errors import BackendError
from orchestrator.testing import ScriptedBackend
from orchestrator.tokens.estimate import estimate_tokens
from orchestrator.types import Completion

LEFT_EARLY = """
from orchestrator import Orchestrator
from orchestrator.testing import ScriptedBackend
with Orchestrator(ScriptedBackend("m", "one two three", delta_chars=4), strategy="single") as fleet:
    pieces = fleet.stream_text_sync("q")
    for text in pieces:
        break
print("left", text)
"""


def test_a_program_that_leaves_a_stream_ends() -> None:
    done = subprocess.run([sys.executable, "-c", LEFT_EARLY], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "left one \n"
    assert "Traceback" not in done.stderr


def test_one_fleet_serves_a_loop_and_threads_at_once() -> None:
    answers: list[str] = []

    async def play() -> None:
        fleet = Orchestrator(ScriptedBackend("m", "The answer is 1", seconds=0.001))

        def work() -> None:
            answers.extend(fleet.answer_sync("What is it?").text for _ in range(15))

        threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(40):
            await fleet.answer("What is it?")
        for thread in threads:
            await asyncio.to_thread(thread.join, 60)
        await asyncio.to_thread(fleet.close)

    asyncio.run(play())
    assert len(answers) == 60


def test_closing_tells_who_still_waits() -> None:
    fleet = Orchestrator(ScriptedBackend("m", "late", seconds=60))
    ended: list[str] = []

    def wait() -> None:
        try:
            fleet.answer_sync("q")
        except BaseException as error:
            ended.append(type(error).__name__)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    while not fleet.backends["m"].asked:  # type: ignore[attr-defined]
        time.sleep(0.01)
    fleet.close()
    thread.join(30)
    assert ended == ["CancelledError"]


@pytest.mark.parametrize("sign", ["x", "-", "ACGT", "_="])
def test_a_long_run_of_letters_is_estimated_in_linear_time(sign: str) -> None:
    def cost(size: int) -> float:
        began = time.process_time()
        estimate_tokens(sign * (size // len(sign)))
        return time.process_time() - began

    cost(20_000)
    assert cost(60_000) < 1.0  # it took twenty seconds


def test_a_cancelled_source_or_backend_does_not_hang_a_batch() -> None:
    async def source() -> AsyncIterator[str]:
        yield "a"
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    class Cancelled(ScriptedBackend):
        async def complete(self, request: Any) -> Any:
            raise asyncio.CancelledError

    async def play() -> None:
        async with Orchestrator(ScriptedBackend("m", "x")) as fleet:
            with pytest.raises(OrchestratorError):
                await asyncio.wait_for(fleet.answer_many(source(), concurrency=2), 30)
        async with Orchestrator(Cancelled("m")) as fleet:
            results = await asyncio.wait_for(fleet.answer_many(["a", "b"], concurrency=2), 30)
            assert all(isinstance(result.error, BackendError) for result in results)

    asyncio.run(play())


@pytest.mark.parametrize("concurrency", [1, 8, 40])
def test_a_batch_waits_for_money_that_is_only_held(concurrency: int) -> None:
    with Orchestrator(ScriptedBackend("m", "x"), strategy="single") as fleet:
        results = fleet.answer_many_sync([f"q{n}" for n in range(40)], concurrency=concurrency, budget=0.005)
    assert sum(result.answer is not None for result in results) == 40


@pytest.mark.parametrize(
    "body", [{"n_predict": 150}, {"options": {"num_predict": 9}}, {"models": ["b"]}, {"stream_options": {}}, {"a": {1}}]
)
def test_what_the_bill_is_reckoned_from_cannot_be_overruled(body: dict[str, Any]) -> None:
    with Orchestrator(ScriptedBackend("m", "x")) as fleet, pytest.raises(InvalidArgument, match="extra_body"):
        fleet.answer_sync("q", extra_body=body)


def test_a_value_satisfies_its_schema_or_is_none() -> None:
    class Strict(BaseModel):
        model_config = ConfigDict(strict=True)
        pair: tuple[int, int]

    with Orchestrator(ScriptedBackend("m", "5")) as fleet, pytest.raises(InvalidAnswer):
        _ = fleet.answer_sync("q", schema={"type": "object", "required": ["a"]}).value
    with Orchestrator(ScriptedBackend("m", '{"pair": [1, 2]}')) as fleet:
        assert fleet.answer_sync("q", output=Strict).value.pair == (1, 2)


def test_a_stream_that_contradicts_itself_is_refused() -> None:
    class Two(ScriptedBackend):
        async def stream(self, request: Any) -> AsyncIterator[Any]:
            yield Delta("abc")
            yield Completion("m", "something else")

    with Orchestrator(Two("m", "x"), strategy="single") as fleet, pytest.raises(BackendError, match="differ"):
        list(fleet.stream_text_sync("q"))


def test_a_batch_may_be_awaited_twice() -> None:
    async def play() -> None:
        async with Orchestrator(ScriptedBackend("m", "x")) as fleet:
            batch = fleet.answer_many(["a", "b"])
            assert await batch == await batch
            assert len(await batch) == 2

    asyncio.run(play())


@pytest.mark.parametrize("wrong", [{"system": "a\ud800"}, {"stop": "\ud800"}, {"seed": 2**70}])
def test_what_cannot_be_sent_is_the_caller_s_mistake(wrong: dict[str, Any]) -> None:
    with Orchestrator(ScriptedBackend("m", "x")) as fleet, pytest.raises(OrchestratorError) as caught:
        fleet.answer_sync("q", **wrong)
    assert caught.value.code == "invalid_query"


def test_representations_hold_no_headers() -> None:
    assert "secret" not in repr(Model("openai/gpt-5-mini", headers={"authorization": "Bearer secret"}))
    with pytest.raises(InvalidArgument) as refused:
        Model("openai/gpt-5-mini", headers={"authorization": "Bearer secret\n"})
    assert "authorization" in str(refused.value)
    assert "secret" not in str(refused.value)
