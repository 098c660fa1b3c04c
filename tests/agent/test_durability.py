"""A run that was interrupted goes on: nothing is paid twice, and no effect happens twice."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest

from benchmarks.agent_steps import STEPS, kill_run
from orchestrator import Orchestrator
from orchestrator.agent.execution import UNCERTAIN
from orchestrator.errors import ConfigError, InvalidArgument
from orchestrator.testing import ScriptedBackend
from orchestrator.tools import tool
from tests.agent.test_loop import calls


class Died(BaseException):
    """Stands for the end of the process."""


def run(path: Path, tools: Any, *replies: Any, id: str = "run_1", **settings: Any) -> Any:
    model = ScriptedBackend("m", *replies)
    with Orchestrator({"m": model}, storage=path) as engine:
        answer = engine.answer_sync("Pay ann", tools=tools, run=id, **settings)
    return answer, model


@pytest.mark.slow
def test_killed_runs_end_with_every_effect_once(tmp_path: Path) -> None:
    found = kill_run(tmp_path, Random(1))
    assert found["effects_twice"] == 0
    assert found["effects_lost"] == 0
    assert found["calls_asked"] <= STEPS + 1 + found["kills"]  # one call under way for each kill


@pytest.mark.parametrize(
    ("effects", "made", "result"), [("once", 1, UNCERTAIN), ("idempotent", 2, "paid"), ("none", 2, "paid")]
)
def test_what_was_begun_is_called_again_only_if_it_may_be(tmp_path: Path, effects: Any, made: int, result: str) -> None:
    keys: list[str] = []

    def pay(idempotency_key: str) -> str:
        keys.append(idempotency_key)
        if len(keys) == 1:
            raise Died
        return "paid"

    path, offered = tmp_path / "runs.db", [tool(pay, effects=effects)]
    with pytest.raises(Died):
        run(path, offered, calls(("pay", {})))
    answer, model = run(path, offered, "Done.")
    assert len(keys) == made
    assert len(set(keys)) == 1
    assert answer.steps[0].called[0].result == result
    assert len(model.asked) == 1  # the first step was paid, and is on record


def test_a_run_that_ended_gives_its_answer_again_for_nothing(tmp_path: Path) -> None:
    made: list[int] = []
    pay = tool(lambda: made.append(1) or "paid", name="pay")
    first, _ = run(tmp_path / "runs.db", [pay], calls(("pay", {})), "Paid.")
    again, model = run(tmp_path / "runs.db", [pay], "something else")
    assert again.text == first.text == "Paid."
    assert again.cost_usd == pytest.approx(first.cost_usd)
    assert model.asked == []
    assert made == [1]


def test_what_was_spent_before_an_interruption_counts(tmp_path: Path) -> None:
    def pay() -> str:
        raise Died

    path = tmp_path / "runs.db"
    with pytest.raises(Died):
        run(path, [pay], calls(("pay", {})), budget={"calls": 2})
    answer, model = run(path, [pay], "Done.", budget={"calls": 2})
    assert len(model.asked) == 1
    assert model.asked[0].tool_choice == "none"  # the last call that is left must be the answer
    assert answer.partial


def test_a_run_of_another_query_is_refused(tmp_path: Path) -> None:
    pay = tool(lambda: "paid", name="pay")
    run(tmp_path / "runs.db", [pay], "Done.")
    with (
        Orchestrator({"m": ScriptedBackend("m", "x")}, storage=tmp_path / "runs.db") as engine,
        pytest.raises(ConfigError, match="is about something else"),
    ):
        engine.answer_sync("Pay eve", tools=[pay], run="run_1")


@pytest.mark.parametrize("id", ["", "a b", "x" * 200, "../etc", 5])
def test_an_id_that_is_none_is_refused(id: Any) -> None:
    with (
        Orchestrator({"m": ScriptedBackend("m", "x")}) as engine,
        pytest.raises(InvalidArgument, match="run must be the id of a run"),
    ):
        engine.answer_sync("Pay eve", tools=[tool(lambda: "paid", name="pay")], run=id)


def test_a_full_disk_stops_before_an_effect(tmp_path: Path) -> None:
    """What cannot be kept is not done."""
    made: list[int] = []
    pay = tool(lambda: made.append(1) or "paid", name="pay")
    from orchestrator.errors import StorageError

    model = ScriptedBackend("m", calls(("pay", {})), "Paid.")
    with Orchestrator({"m": model}, storage=tmp_path / "runs.db") as engine:
        engine.answer_sync("warm up")
        assert engine.storage is not None
        engine.storage.database.close()
        with pytest.raises((StorageError, Exception)):
            engine.answer_sync("Pay ann", tools=[pay])
    assert made == []
