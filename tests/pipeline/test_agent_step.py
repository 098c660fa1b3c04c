"""The verb `agent`: a model calls tools of the file, within the step's budget, and goes on where it was interrupted."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Orchestrator
from orchestrator.errors import BackendUnavailable
from orchestrator.pipeline import InvalidPipeline, Pipeline, RunFailed, RunResult, Runtime
from orchestrator.pipeline.testing.testing import run_test
from orchestrator.storage.database import SqliteDatabase
from orchestrator.storage.runs import Runs
from orchestrator.testing import ScriptedBackend
from tests.agent.test_loop import calls

SHOP = """
tools:
  state: {sql: "sqlite:shop.db", query: "SELECT state FROM orders WHERE id = :id", parameters: {id: integer},
          description: The state of an order.}
  ship: {sql: "sqlite:shop.db", query: "UPDATE orders SET state = 'sent', times = times + 1 WHERE id = :id",
         writes: true, parameters: {id: integer}, needs: approval}
"""
STEP = 'steps: {s: {agent: single, prompt: "Send order 7.", tools: [state, ship]%s}}\n'


@pytest.fixture
def shop(tmp_path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(tmp_path / "shop.db")
    db.execute("CREATE TABLE orders (id INTEGER, state TEXT, times INTEGER)")
    db.execute("INSERT INTO orders VALUES (7, 'paid', 0)")
    db.commit()
    return db


def load(folder: Path, text: str, **settings: Any) -> Pipeline:
    path = folder / "p.yaml"
    path.write_text("version: 1\nname: p\n" + text, encoding="utf-8")
    return Pipeline.load(path, root=folder, **settings)


def run(pipeline: Pipeline, *replies: Any, **inputs: Any) -> RunResult:
    async def go() -> RunResult:
        model = ScriptedBackend("m", *replies)
        async with Orchestrator({"m": model}) as engine, Runtime(engine) as host:
            return await pipeline.run(inputs, host=host)

    return asyncio.run(go())


def test_a_model_calls_tools_of_the_file(tmp_path: Path, shop: sqlite3.Connection) -> None:
    pipeline = load(tmp_path, SHOP + STEP % ", approve: [ship]" + 'output: "${s}"\n')
    found = run(pipeline, calls(("state", {"id": 7})), calls(("ship", {"id": 7})), "Order 7 is on its way.")
    assert found.output["text"] == "Order 7 is on its way."
    assert [(each["tool"], each["failed"]) for each in found.output["steps"]] == [("state", False), ("ship", False)]
    assert found.output["calls"] == 2
    assert shop.execute("SELECT state, times FROM orders").fetchone() == ("sent", 1)


def test_what_needs_approval_needs_it(tmp_path: Path, shop: sqlite3.Connection) -> None:
    pipeline = load(tmp_path, SHOP + STEP % "")
    with pytest.raises(RunFailed, match=r"ship needs approval, and a run has nobody to ask.*approve:"):
        run(pipeline, calls(("ship", {"id": 7})), "Done.")
    assert shop.execute("SELECT times FROM orders").fetchone() == (0,)


def test_a_run_that_was_interrupted_pays_no_step_and_makes_no_call_twice(
    tmp_path: Path, shop: sqlite3.Connection
) -> None:
    pipeline = load(tmp_path, SHOP + STEP % ", approve: [ship]" + 'output: "${s.text}"\n')
    runs = Runs(SqliteDatabase(str(tmp_path / "runs.db")))

    async def go(model: ScriptedBackend, resume: bool) -> RunResult:
        async with Orchestrator({"m": model}) as engine, Runtime(engine, runs=runs) as host:
            if resume:
                return await pipeline.resume("run_1", host=host)
            return await pipeline.run({}, host=host, id="run_1")

    first = ScriptedBackend("m", calls(("ship", {"id": 7})), BackendUnavailable("down"))
    with pytest.raises(RunFailed, match="down"):
        asyncio.run(go(first, False))
    second = ScriptedBackend("m", "It is on its way.")
    assert asyncio.run(go(second, True)).output == "It is on its way."
    assert len(second.asked) == 1
    assert shop.execute("SELECT times FROM orders").fetchone() == (1,)


def test_the_budget_of_the_step_bounds_the_run(tmp_path: Path, shop: sqlite3.Connection) -> None:
    pipeline = load(tmp_path, SHOP + STEP % ", max_steps: 2" + 'output: "${s}"\n')
    replies = [calls(("state", {"id": number})) for number in range(9)]
    found = run(pipeline, *replies[:2], "I know enough.")
    assert found.output["partial"]
    assert found.output["calls"] == 2


def test_python_functions_tell_models_their_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sums.py").write_text(
        "def add(a: int, b: int = 1) -> int:\n    '''Adds.\n\n    Args:\n        a: One.\n    '''\n    return a + b\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    text = (
        "tools: {add: {python: sums:add, changes: false}}\n"
        'steps: {s: {agent: single, prompt: "1 + 2?", tools: [add]}}\noutput: "${s.steps[0].result}"\n'
    )
    assert run(load(tmp_path, text, allow_python=True), calls(("add", {"a": 1, "b": 2})), "3").output == "3"


def test_tests_of_a_pipeline_play_its_tools(tmp_path: Path, shop: sqlite3.Connection) -> None:
    text = SHOP + STEP % ", approve: [ship]" + 'output: "${s.text}"\n'
    pipeline = load(
        tmp_path,
        text + "tests:\n  - {name: sent, replies: {s: [{call: {ship: {id: 7}}}, Sent.]}, tools: {ship: {changed: 1}}, "
        "expect: {output: Sent., s.calls: 1}}\n",
    )
    (test,) = pipeline.document.tests
    assert asyncio.run(run_test(pipeline, test)).passed


def test_mcp_servers_in_a_file(tmp_path: Path) -> None:
    pytest.importorskip("mcp")
    (tmp_path / "server.py").write_text(
        "from mcp.server import MCPServer\nserver = MCPServer('s')\n"
        "@server.tool()\ndef add(a: int, b: int) -> int:\n    return a + b\nserver.run()\n"
    )
    text = f"tools: {{sums: {{mcp: {{command: [{sys.executable}, server.py], cwd: .}}, only: [add], effects: none}}}}\n"
    steps = 'steps: {s: {agent: single, prompt: "2 + 3?", tools: [sums]}, t: {tool: sums.add, a: 4, b: 5}}\n'
    with pytest.raises(InvalidPipeline, match="MCP servers are not allowed here"):
        load(tmp_path, text + steps)
    pipeline = load(tmp_path, text + steps + 'output: "${s.steps[0].result} ${t}"\n', allow_python=True)
    assert run(pipeline, calls(("sums_add", {"a": 2, "b": 3})), "5").output == "5 9"


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ("{agent: single, prompt: q, tools: [stat]}", r"(?s)no tool 'stat'.*did you mean 'state'"),
        ("{agent: singel, prompt: q, tools: [state]}", "unknown strategy 'singel'"),
        ("{agent: single, prompt: q, tools: []}", "tools"),
        ("{agent: single, prompt: q}", "tools"),
        ("{agent: single, prompt: q, tools: [state], max_steps: 0}", "max_steps"),
    ],
)
def test_mistakes_are_told_when_the_file_loads(tmp_path: Path, shop: sqlite3.Connection, step: str, told: str) -> None:
    with pytest.raises(InvalidPipeline, match=told):
        load(tmp_path, f"{SHOP}steps: {{s: {step}}}\n")
