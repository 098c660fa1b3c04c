"""What was decided about a call is decided: for that call, once, whoever goes on with the run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from orchestrator import ModelProfile, Orchestrator, tool
from orchestrator.agent import RunStore
from orchestrator.agent.journal import RunInUse
from orchestrator.errors import BackendUnavailable, ConfigError
from orchestrator.storage.database import open_database
from orchestrator.testing import ScriptedBackend
from orchestrator.types import Answer, Completion, ToolCall, Usage

paid: list[tuple[int, int]] = []


@tool(effects="once", needs="approval")
def pay(order: int, amount: int) -> str:
    """Pays."""
    paid.append((order, amount))
    return f"paid {amount}"


@pytest.fixture(autouse=True)
def _nothing_paid() -> None:
    paid.clear()


def asks(order: int = 7, amount: int = 5, id: str = "call_1", **more: Any) -> Completion:
    call = ToolCall("pay", {"order": order, "amount": amount}, id)
    return Completion("m", "", Usage(10, 5), calls=(call, *more.values()))


def ask(script: list[Any], storage: Path | None, **settings: Any) -> Answer:
    kept = None if storage is None else str(storage / "runs.db")
    with Orchestrator({"m": ScriptedBackend("m", *script)}, storage=kept, strategy="single") as fleet:
        return fleet.answer_sync("Pay order 7.", tools=[pay], **settings)


@pytest.mark.parametrize("first", [False, True])
def test_a_decision_is_final(tmp_path: Path, first: bool) -> None:
    waiting = ask([asks()], tmp_path)
    ended = ask(["Ended."], tmp_path, run=waiting.run, decided={"call_1": first})
    again = ask([], tmp_path, run=waiting.run, decided={"call_1": not first})
    assert (ended.text, again.text) == ("Ended.", "Ended.")
    assert [step.called[0].result for step in again.steps] == [step.called[0].result for step in ended.steps]
    assert paid == ([(7, 5)] if first else [])
    assert ask([], tmp_path, run=waiting.run).text == "Ended."  # and nobody is asked again
    assert ended.steps[0].called[0].was_called == first


@pytest.mark.parametrize("decided", [{}, {"call_1": False}])
def test_what_was_approved_and_done_is_told_after_a_crash(tmp_path: Path, decided: dict[str, bool]) -> None:
    waiting = ask([asks()], tmp_path)
    with pytest.raises(BackendUnavailable):
        ask([BackendUnavailable("down")], tmp_path, run=waiting.run, decided={"call_1": True})
    found = ask(["It is paid."], tmp_path, run=waiting.run, decided=decided)
    assert (found.text, found.steps[0].called[0].result) == ("It is paid.", "paid 5")
    assert paid == [(7, 5)]


def test_nothing_is_approved_before_it_waits(tmp_path: Path) -> None:
    waiting = ask([asks()], tmp_path, decided={"call_1": True}, run="early")
    assert [call.id for call in waiting.calls] == ["call_1"]
    assert paid == []


def test_without_storage_a_run_goes_on_in_its_process_with_the_same_call() -> None:
    model = ScriptedBackend("m", asks(amount=5), asks(amount=1_000_000), "Never asked.")
    with Orchestrator({"m": model}, strategy="single") as fleet:
        waiting = fleet.answer_sync("Pay order 7.", tools=[pay])
        found = fleet.answer_sync("Pay order 7.", tools=[pay], run=waiting.run, decided={"call_1": True})
        assert paid == [(7, 5)]  # what was shown, whatever the model says next
        assert [call.arguments for call in found.calls] == [{"order": 7, "amount": 1_000_000}]
        with pytest.raises(ConfigError, match="is not known here"):
            fleet.answer_sync("Pay order 7.", tools=[pay], run="run_of_yesterday", decided={"call_1": True})
        with pytest.raises(ConfigError, match="it had another query"):
            fleet.answer_sync("Pay order 8.", tools=[pay], run=waiting.run, decided={"call_1": True})


def test_a_run_is_worked_on_once_at_a_time(tmp_path: Path) -> None:
    async def go() -> list[Any]:
        models = {"m": ScriptedBackend("m", asks(), "Paid.", seconds=0.05)}
        async with Orchestrator(models, storage=str(tmp_path / "runs.db"), strategy="single") as fleet:
            waiting = await fleet.answer("Pay order 7.", tools=[pay], run="p7")
            approved = {waiting.calls[0].id: True}
            both = (fleet.answer("Pay order 7.", tools=[pay], run="p7", decided=approved) for _ in range(4))
            found = await asyncio.gather(*both, return_exceptions=True)
            assert (await fleet.answer("Pay order 7.", tools=[pay], run="p7")).text == "Paid."
            return found

    found = asyncio.run(go())
    assert paid == [(7, 5)]
    assert all(isinstance(each, Answer) or "somebody works on the run" in str(each) for each in found)


def test_equal_calls_of_one_step_are_made_once(tmp_path: Path) -> None:
    twice = asks(more=ToolCall("pay", {"amount": 5, "order": 7}, "call_2"))
    found = ask([twice, "Paid."], tmp_path, approve=lambda request: True)
    assert paid == [(7, 5)]
    assert "stands in this step already" in found.steps[0].called[1].result


def test_a_step_makes_so_many_calls_and_no_more() -> None:
    made: list[int] = []
    at_once = [0, 0]

    @tool(effects="none")
    async def look(n: int) -> str:
        """Looks."""
        at_once[0] += 1
        at_once[1] = max(at_once)
        await asyncio.sleep(0.001)
        at_once[0] -= 1
        made.append(n)
        return "x" * 20_000

    calls = tuple(ToolCall("look", {"n": n}, f"c{n}") for n in range(1_000))
    model = ScriptedBackend("m", Completion("m", "", Usage(1, 1), calls=calls), "Done.")
    with Orchestrator({"m": model}, strategy="single") as fleet:
        found = fleet.answer_sync("Look.", tools=[look])
    assert found.text == "Done."
    assert len(made) == 64
    assert at_once[1] <= 16
    assert "make the others later" in found.steps[0].called[-1].result
    assert sum(len(each.result) for each in found.steps[0].called) < 400_000


def test_a_run_that_no_longer_fits_a_model_ends_with_what_was_done() -> None:
    @tool(effects="none")
    def pay_much(order: int, amount: int) -> str:
        """Pays."""
        return " word" * 4_000

    script = Completion("m", "", Usage(10, 5), calls=(ToolCall("pay_much", {"order": 7, "amount": 5}, "c"),))
    model = ScriptedBackend("m", script, "Never asked.", profile=ModelProfile("m", 1.0, 1.0, context_tokens=700))
    with Orchestrator({"m": model}, strategy="single") as fleet:
        found = fleet.answer_sync("Pay order 7.", tools=[pay_much], max_tokens=50)
    assert found.partial
    assert "What was called: pay_much" in found.text


def test_a_run_is_explained_as_a_whole(tmp_path: Path) -> None:
    told = ask([asks(), "Paid."], tmp_path, approve=lambda request: True).explain().splitlines()
    assert told[0].startswith("Step 1, m: pay (0.")
    assert told[1] == "All of it cost $0.000035. The last step was the answer:"


def test_without_storage_only_runs_that_wait_are_held() -> None:
    model = ScriptedBackend("m", asks(), "Paid.", asks(), "Not.", asks())
    with Orchestrator({"m": model}, strategy="single") as fleet:
        for _ in range(2):
            fleet.answer_sync("Pay order 7.", tools=[pay], approve=lambda request: False)
        waiting = fleet.answer_sync("Pay order 7.", tools=[pay])
        assert list(fleet._unkept._known) == [waiting.run]


def test_of_many_who_begin_a_run_at_once_one_does(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    store = RunStore(open_database(str(tmp_path / "runs.db")))

    def begin(_: int) -> bool:
        try:
            asyncio.run(store.open("r1", {"query": "x"}))
        except RunInUse:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(begin, range(24))) == 1
    store.close()
