"""A batch: each row once, whatever happens; one budget; reasons for what failed."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest
from click.testing import CliRunner

from orchestrator import Budget, Orchestrator, RateLimited
from orchestrator.backends.base import LocalBackend, Request
from orchestrator.backends.provider_batches import BatchResult, BatchStatus
from orchestrator.backends.remote import RemoteBackend
from orchestrator.batch.job import CHUNK_ROWS, KEEP_S, BatchJob, BatchJobProgress, BatchJobResult
from orchestrator.batch.on_provider import ProviderBatchWork
from orchestrator.batch.output import BatchOutput
from orchestrator.batch.rows import InputRow
from orchestrator.batch.work import PipelineRuns, Questions, QuestionTemplate, RowOutcome, stated_query
from orchestrator.cli import main
from orchestrator.engine.settings import QuerySettings
from orchestrator.errors import InvalidArgument
from orchestrator.pipeline import Pipeline, Runtime
from orchestrator.router import ModelProfile
from orchestrator.types import Completion, Usage

QUESTION = "How many lamps hang in row {n}?"


class Counting(LocalBackend):
    """Answers 42; counts its calls; fails as it is told."""

    def __init__(self, *, limited: int = 0, price: float = 1.0) -> None:
        super().__init__(ModelProfile("counting", price, price, skill=0.9, max_output_tokens=100))
        self.calls: list[str] = []
        self.at_once = self.most_at_once = 0
        self._limited = limited

    async def complete(self, request: Request) -> Completion:
        self.calls.append(str(request.messages[-1].content))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(0.001)
            if self._limited > 0:
                self._limited -= 1
                raise RateLimited("slow down", retry_after_s=0.01)
        finally:
            self.at_once -= 1
        return Completion("counting", "42", Usage(20, 5), 0.001, 0.001)


def rows_file(folder: Path, count: int) -> Path:
    path = folder / "in.jsonl"
    path.write_text("".join(json.dumps({"id": f"r{number}", "n": number}) + "\n" for number in range(count)))
    return path


def run(
    path: Path,
    out: Path,
    model: LocalBackend,
    *,
    question: str = QUESTION,
    budget: Budget | None = None,
    concurrency: int = 8,
    ordered: bool = False,
    stop_after: int = 0,
    **options: Any,
) -> BatchJobResult:
    async def go() -> BatchJobResult:
        output = BatchOutput(out, {"input": path.name, "ask": question}, shard_rows=options.pop("shard_rows", 50))
        limits = budget or Budget()
        left = Budget(usd=None if limits.usd is None else limits.usd - output.spent_usd)
        async with Orchestrator({model.profile.name: model}, strategy="single") as fleet:
            work = Questions(
                fleet,
                QuestionTemplate(question),
                {"uses_memory": False, "max_tokens": 100},
                budget=left,
                concurrency=concurrency,
                ordered=ordered,
            )
            job = BatchJob(path, output, work, **options)
            if stop_after:
                asyncio.get_running_loop().call_later(stop_after / 1000, job.stop)
            try:
                return await job.run()
            finally:
                output.close()

    return asyncio.run(go())


def results(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for part in sorted(out.glob("part-*.jsonl")) for line in part.read_text().splitlines()]


def errors(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "errors.jsonl").read_text().splitlines()]


def test_each_row_has_one_result_and_the_manifest_says_what_is_where(tmp_path: Path) -> None:
    model = Counting()
    result = run(rows_file(tmp_path, 120), tmp_path / "out", model)
    found = results(tmp_path / "out")
    assert sorted(line["id"] for line in found) == sorted(f"r{number}" for number in range(120))
    assert (result.rows, result.errors, result.stopped, len(model.calls)) == (120, 0, "", 120)
    assert result.cost_usd == pytest.approx(sum(line["cost_usd"] for line in found))
    manifest = json.loads(result.manifest.read_text())
    assert [(shard["file"], shard["rows"]) for shard in manifest["shards"]] == [
        ("part-00000.jsonl", 50),
        ("part-00001.jsonl", 50),
        ("part-00002.jsonl", 20),
    ]
    for shard in manifest["shards"]:
        content = (tmp_path / "out" / shard["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == shard["sha256"]
        ids = "".join(f"{json.loads(line)['id']}\n" for line in content.splitlines())
        assert hashlib.sha256(ids.encode()).hexdigest() == shard["ids_sha256"]


def test_ordered_results_stand_in_the_order_of_the_rows(tmp_path: Path) -> None:
    run(rows_file(tmp_path, 60), tmp_path / "out", Counting(), ordered=True)
    assert [line["row"] for line in results(tmp_path / "out")] == list(range(1, 61))


def test_the_same_command_again_asks_nothing(tmp_path: Path) -> None:
    path, out = rows_file(tmp_path, 30), tmp_path / "out"
    first = run(path, out, Counting())
    model = Counting()
    again = run(path, out, model)
    assert (model.calls, again.rows, again.asked) == ([], 30, 0)
    assert again.cost_usd == pytest.approx(first.cost_usd)
    path.write_text(path.read_text() + '{"id": "new", "n": 99}\n')
    more = run(path, out, model)
    assert (len(model.calls), more.rows) == (1, 31)


def test_a_line_that_was_torn_is_written_anew(tmp_path: Path) -> None:
    path, out = rows_file(tmp_path, 20), tmp_path / "out"
    run(path, out, Counting(), shard_rows=100)
    state = json.loads((out / "state.json").read_text())
    (out / "state.json").write_text(json.dumps(state | {"shards": []}))  # as if it had died before the end
    part = out / "part-00000.jsonl"
    part.write_bytes(part.read_bytes()[:-7])
    model = Counting()
    result = run(path, out, model, shard_rows=100)
    assert (len(model.calls), result.rows) == (1, 20)
    assert len({line["id"] for line in results(out)}) == len(results(out)) == 20


def test_what_a_killed_run_may_owe_counts_against_the_budget(tmp_path: Path) -> None:
    path, out = rows_file(tmp_path, 5), tmp_path / "out"
    output = BatchOutput(out, {"input": path.name, "ask": QUESTION})
    output.keep(spent_usd=0.4, held_usd=0.3)
    output.close()
    assert BatchOutput(out, {"input": path.name, "ask": QUESTION}).spent_usd == pytest.approx(0.7)


def test_rows_that_are_wrong_cost_nothing_and_stop_nobody(tmp_path: Path) -> None:
    path, out = tmp_path / "in.jsonl", tmp_path / "out"
    path.write_text('{"id": "a", "n": 1}\n{bad\n{"id": "a", "n": 2}\n{"n": 3}\n{"id": "d"}\n{"id": "e", "n": 4}\n')
    model = Counting()
    result = run(path, out, model)
    assert (len(model.calls), result.rows, result.errors) == (2, 2, 4)
    assert {(each["row"], each["code"]) for each in errors(out)} == {
        (2, "invalid_row"),
        (3, "repeated_id"),
        (4, "invalid_row"),
        (5, "invalid_query"),
    }
    assert all(each["remedy"] for each in errors(out))
    missing = next(each for each in errors(out) if each["row"] == 5)
    assert missing["error"] == "the row has no 'n'; it has id"
    assert missing["input"] == {"id": "d"}
    again = run(path, out, model)
    assert (len(model.calls), again.rows, again.errors) == (2, 2, 4)
    path.write_text(path.read_text().replace("{bad", '{"id": "b", "n": 9}'))
    mended = run(path, out, model)
    assert (len(model.calls), mended.rows, mended.errors) == (3, 3, 3)


def test_a_row_that_changed_since_it_was_answered_is_told_and_not_asked(tmp_path: Path) -> None:
    path, out, model = tmp_path / "in.csv", tmp_path / "out", Counting()
    path.write_text("n\n1\n2\n")
    run(path, out, model)
    path.write_text("n\n1\n7\n3\n")
    result = run(path, out, model)
    assert (len(model.calls), result.rows, result.errors) == (3, 3, 1)
    assert errors(out)[0]["code"] == "changed_row"


def test_a_batch_that_answers_nothing_is_given_up(tmp_path: Path) -> None:
    class Broken(Counting):
        async def complete(self, request: Request) -> Completion:
            self.calls.append("")
            raise ValueError("a bug of its own")

    model = Broken()
    result = run(rows_file(tmp_path, 5_000), tmp_path / "out", model)
    assert (result.stopped, result.rows) == ("failing", 0)
    assert len(model.calls) < 200
    assert "a bug of its own" in result.first_error or "no model" in result.first_error


def test_a_folder_without_results_is_free_for_another_question(tmp_path: Path) -> None:
    path, out = rows_file(tmp_path, 3), tmp_path / "out"
    assert run(path, out, Counting(), question="What is {m}?").errors == 3
    assert run(path, out, Counting()).rows == 3


def test_failed_rows_are_tried_again_on_demand(tmp_path: Path) -> None:
    class Moody(Counting):
        is_well = False

        async def complete(self, request: Request) -> Completion:
            if not self.is_well and "row 3?" in str(request.messages[-1].content):
                raise ValueError("a bug of its own")
            return await super().complete(request)

    path, out, model = rows_file(tmp_path, 6), tmp_path / "out", Moody()
    assert run(path, out, model).errors == 1
    assert errors(out)[0]["id"] == "r3"
    model.is_well = True
    assert run(path, out, model).errors == 1
    result = run(path, out, model, retry_errors=True)
    assert (result.rows, result.errors, errors(out)) == (6, 0, [])


def test_rows_that_say_themselves_what_is_asked_cost_nothing_until_they_say_it(tmp_path: Path) -> None:
    path, out, model = tmp_path / "in.jsonl", tmp_path / "out", Counting()
    path.write_text('{"text": "a"}\n{"query": 5}\n{"query": "Row 3?", "scop": "x"}\n')

    async def once() -> BatchJobResult:
        output = BatchOutput(out, {"input": path.name})
        settings: QuerySettings = {"uses_memory": False, "strategy": "single"}
        work = Questions(Orchestrator(model), None, settings, budget=Budget(), concurrency=2, ordered=False)
        try:
            return await BatchJob(path, output, work).run()
        finally:
            output.close()

    assert asyncio.run(once()).errors == 3
    assert errors(out)[0]["error"] == "the row asks nothing: it has text"
    assert "--ask" in errors(out)[0]["remedy"]
    assert not any(each["was_asked"] for each in errors(out))
    path.write_text('{"query": "Row 1?"}\n{"query": "Row 2?"}\n{"query": "Row 3?"}\n')
    mended = asyncio.run(once())
    assert (mended.rows, mended.errors, len(model.calls)) == (3, 0, 3)


def test_a_limit_that_passes_is_waited_for_with_fewer_at_once(tmp_path: Path) -> None:
    model = Counting(limited=12)
    result = run(rows_file(tmp_path, 80), tmp_path / "out", model, concurrency=16)
    assert (result.rows, result.errors) == (80, 0)


def test_one_budget_holds_over_all_runs(tmp_path: Path) -> None:
    path, out, model = rows_file(tmp_path, 200), tmp_path / "out", Counting(price=1_000.0)
    budget = Budget(usd=2.0)  # 0.025 USD a row, 0.2 held for each that is under way
    first = run(path, out, model, budget=budget)
    assert first.stopped == "budget"
    assert 0 < first.rows < 90
    assert first.cost_usd <= 2.0
    assert errors(out) == []
    again = run(path, out, model, budget=Budget(usd=4.0))
    assert again.rows > first.rows
    assert again.cost_usd <= 4.0
    done = run(path, out, model, budget=Budget(usd=40.0))
    assert (done.rows, done.stopped) == (200, "")


def test_a_batch_that_is_stopped_finishes_what_is_under_way(tmp_path: Path) -> None:
    path, out, model = rows_file(tmp_path, 5_000), tmp_path / "out", Counting()
    first = run(path, out, model, stop_after=150)
    assert (first.stopped, first.rows) == ("interrupted", len(model.calls))
    assert 0 < first.rows < 5_000


def test_a_shard_that_was_deleted_is_told(tmp_path: Path) -> None:
    path, out = rows_file(tmp_path, 120), tmp_path / "out"
    run(path, out, Counting())
    (out / "part-00001.jsonl").unlink()
    with pytest.raises(InvalidArgument, match=r"has lost part-00001\.jsonl, which holds 50 rows"):
        run(path, out, Counting())


def test_what_earlier_kills_may_owe_stays_spent(tmp_path: Path) -> None:
    out = BatchOutput(tmp_path / "out", {"input": "a"})
    out.keep(spent_usd=1.0, held_usd=0.5)
    out.close()  # as a killed process does
    again = BatchOutput(tmp_path / "out", {"input": "a"})
    assert again.spent_usd == pytest.approx(1.5)
    again.keep(spent_usd=again.spent_usd, held_usd=0.25)
    again.close()
    third = BatchOutput(tmp_path / "out", {"input": "a"})
    assert third.spent_usd == pytest.approx(1.75)
    third.close()


def test_answers_that_json_does_not_know_are_written(tmp_path: Path) -> None:
    out = BatchOutput(tmp_path / "out", {"input": "a"})
    out.write({"id": "half \ud83d", "row": 1, "answer": "half \ud83d", "content": "x"})
    out.write({"id": "big", "row": 2, "answer": 2**70, "content": "x"})
    out.write({"id": "last", "row": 3, "answer": "ok", "content": "x"})
    out.close()
    again = BatchOutput(tmp_path / "out", {"input": "a"})
    assert [row.id for row in again.done_rows(with_errors=True)][1:] == ["big", "last"]
    again.close()


def test_a_listener_that_fails_costs_no_result(tmp_path: Path) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError

    result = run(rows_file(tmp_path, 30), tmp_path / "out", Counting(), on_progress=fail)
    assert (result.rows, result.stopped) == (30, "")


class Hanging(Counting):
    """Answers two rows at once, and the others only after a while."""

    async def complete(self, request: Request) -> Completion:
        if len(self.calls) >= 2:
            await asyncio.sleep(2.5 * KEEP_S)
        return await super().complete(request)


def test_rows_that_are_under_way_are_not_done(tmp_path: Path) -> None:
    told: list[BatchJobProgress] = []
    run(rows_file(tmp_path, 30), tmp_path / "out", Hanging(), concurrency=30, on_progress=told.append)
    early = [progress for progress in told if progress.done < 30]
    assert early
    assert all(progress.share is not None and progress.share < 0.5 for progress in early)
    assert told[-1].share == 1.0


class Failing:
    """Fails at the first row, while the rows behind it are still read."""

    def __init__(self) -> None:
        self.read_to = 0

    async def outcomes(self, rows: AsyncIterable[InputRow]) -> AsyncGenerator[RowOutcome, None]:
        async for row in rows:
            if not row.number:
                yield RowOutcome(row)
            await asyncio.sleep(0.05)
            raise ZeroDivisionError

    def check(self, row: InputRow) -> None:
        if row.number == CHUNK_ROWS + 1:
            time.sleep(0.3)
        self.read_to = row.number

    def spent_usd(self) -> float:
        return 0.0

    def held_usd(self) -> float:
        return 0.0


def test_a_batch_that_fails_waits_for_whoever_reads_its_rows(tmp_path: Path) -> None:
    work = Failing()

    async def go() -> None:
        output = BatchOutput(tmp_path / "out", {})
        await BatchJob(rows_file(tmp_path, 2 * CHUNK_ROWS), output, work).run()

    with pytest.raises(ZeroDivisionError):
        asyncio.run(go())
    assert work.read_to == 2 * CHUNK_ROWS


def test_two_processes_do_not_write_one_folder(tmp_path: Path) -> None:
    first = BatchOutput(tmp_path / "out", {"input": "a"})
    with pytest.raises(InvalidArgument, match="another process is writing"):
        BatchOutput(tmp_path / "out", {"input": "a"})
    first.write({"id": "a", "row": 1})
    first.close()
    BatchOutput(tmp_path / "out", {"input": "a"}).close()
    with pytest.raises(InvalidArgument, match="differs in input"):
        BatchOutput(tmp_path / "out", {"input": "b"})


def test_parquet_shards_go_on_after_a_death_between_both_files(tmp_path: Path) -> None:
    path, out = rows_file(tmp_path, 4), tmp_path / "out"
    output = BatchOutput(out, {"input": path.name}, form="parquet", shard_rows=2)
    for number in range(3):
        output.write({"id": f"r{number}", "row": number + 1, "output": {"a": [number]}})
    shard = (out / "part-00000.parquet").read_bytes()
    output.close()
    (out / "part-00000.jsonl").write_text('{"id": "r0", "row": 1}\n{"id": "r1", "row": 2}\n')
    again = BatchOutput(out, {"input": path.name}, form="parquet", shard_rows=2)
    assert [row.id for row in again.done_rows(with_errors=True)] == ["r0", "r1", "r2"]
    again.write({"id": "r3", "row": 4, "output": None})
    again.finish({})
    again.close()
    assert (out / "part-00000.parquet").read_bytes() == shard
    assert sorted(name.name for name in out.glob("part-*")) == ["part-00000.parquet", "part-00001.parquet"]
    table = parquet.read_table(out / "part-00001.parquet").to_pylist()
    assert [(row["id"], row["output"]) for row in table] == [("r2", '{"a":[2]}'), ("r3", None)]


def test_lines_of_providers_batches_are_read(tmp_path: Path) -> None:
    message = {"role": "user", "content": "How many lamps?"}
    openai = {
        "custom_id": "a",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "gpt", "messages": [message], "max_completion_tokens": 5},
    }
    anthropic = {
        "custom_id": "b",
        "params": {"model": "claude", "max_tokens": 5, "system": "Be terse.", "messages": [message]},
    }
    assert stated_query(openai) == {"messages": [message], "max_tokens": 5}
    assert stated_query(anthropic) == {"messages": [message], "system": "Be terse.", "max_tokens": 5}


@pytest.mark.parametrize("text", ["{}", "a {b", "a } b", "{a}{", " "])
def test_a_question_with_a_stray_brace_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        QuestionTemplate(text)


def test_braces_and_values_are_put_as_they_are() -> None:
    template = QuestionTemplate('{{"text": "{text}"}} {n} {größe}')
    assert template.fill({"text": "{n} }{", "n": 0, "größe": 1.5}) == '{"text": "{n} }{"} 0 1.5'


# Pipelines

PIPELINE = """
version: 1
name: whisper
inputs: {text: text, n: number}
steps:
  soft: {say: "${lower(inputs.text)} ${round(inputs.n + 1)}!"}
output: ${soft}
"""


def test_a_pipeline_runs_with_each_row(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(PIPELINE)
    path = tmp_path / "in.csv"
    path.write_text("id,text,n,other\n1,Hello,1,x\n2,BYE,2,y\n")

    async def go() -> BatchJobResult:
        output = BatchOutput(tmp_path / "out", {})
        async with Orchestrator({"counting": Counting()}) as fleet, Runtime(fleet) as host:
            work = PipelineRuns(
                Pipeline.load(tmp_path / "p.yaml"), host, budget=Budget(usd=1.0), concurrency=4, ordered=True
            )
            return await BatchJob(path, output, work).run()

    result = asyncio.run(go())
    assert (result.rows, result.errors) == (2, 0)
    assert [line["output"] for line in results(tmp_path / "out")] == ["hello 2!", "bye 3!"]


FAILING_STEPS = """
version: 1
name: shares
inputs: {n: number}
steps:
  half: {say: "${100 / inputs.n}", on_error: skip}
  each:
    map: ${[1, 0]}
    on_error: skip
    do:
      share: {say: "${1 / (item * inputs.n)}"}
output: {half: "${half}", shares: "${len(each)}"}
"""


def test_rows_that_went_on_after_a_failed_step_are_told(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("id,n\n" + "\n".join(f"{number},{number}" for number in range(30)))
    (tmp_path / "p.yaml").write_text(FAILING_STEPS)

    async def go() -> BatchJobResult:
        output = BatchOutput(tmp_path / "out", {})
        async with Orchestrator({"counting": Counting()}) as fleet, Runtime(fleet) as host:
            pipeline = Pipeline.load(tmp_path / "p.yaml")
            work = PipelineRuns(pipeline, host, budget=Budget(usd=1.0), concurrency=4, ordered=True)
            return await BatchJob(path, output, work).run()

    result = asyncio.run(go())
    assert (result.rows, result.errors, result.with_failed_steps) == (30, 0, 30)
    assert result.as_dict()["with_failed_steps"] == 30
    first, second, *_ = results(tmp_path / "out")
    assert first["failed_steps"][0]["step"] == "half"
    assert "zero" in first["failed_steps"][0]["error"]
    assert {each["step"].split("[")[0] for each in second["failed_steps"]} == {"each"}


# Batches of a provider


class ProviderDouble:
    """A provider that takes batches: what is handed in is answered, or the process dies while it waits."""

    def __init__(self) -> None:
        self.handed: dict[str, dict[str, Any]] = {}
        self.dies = False
        self.dies_at: set[str] = set()

    async def submit(self, bodies: Mapping[str, Any]) -> str:
        self.handed[f"b{len(self.handed)}"] = dict(bodies)
        return f"b{len(self.handed) - 1}"

    async def status(self, batch: str) -> BatchStatus:
        if self.dies or batch in self.dies_at:
            raise KeyboardInterrupt
        return BatchStatus("done")

    async def results(self, batch: str):  # type: ignore[no-untyped-def]
        for id_, body in self.handed[batch].items():
            said = {"choices": [{"message": {"content": body["messages"][-1]["content"].upper()}}]}
            yield BatchResult(id_, said, Usage(10, 10))

    async def cancel(self, batch: str) -> None:
        raise AssertionError

    async def aclose(self) -> None:
        return


def run_at_provider(path: Path, out: Path, provider: ProviderDouble, *, usd: float = 1.0) -> BatchJobResult:
    async def work() -> BatchJobResult:
        output = BatchOutput(out, {})
        profile = ModelProfile("m", 1.0, 1.0, max_output_tokens=100)
        fleet = Orchestrator({"m": RemoteBackend(profile, provider="openai", model="m", key="k")})
        batch = ProviderBatchWork(
            fleet,
            "m",
            QuestionTemplate("row {n}"),
            {"max_tokens": 50},
            budget=Budget(usd=usd - output.spent_usd),
            pending=output.pending,
            keep_pending=output.keep_pending,
            batches=provider,  # type: ignore[arg-type]
            rows_at_once=10,
        )
        try:
            return await BatchJob(path, output, batch).run()
        finally:
            output.close()
            await fleet.aclose()

    return asyncio.run(work())


def test_a_batch_at_the_provider_is_waited_for_and_not_paid_again(tmp_path: Path) -> None:
    path, out, provider = rows_file(tmp_path, 25), tmp_path / "out", ProviderDouble()
    provider.dies = True
    with pytest.raises(KeyboardInterrupt):
        run_at_provider(path, out, provider)
    provider.dies = False
    result = run_at_provider(path, out, provider)
    assert (result.rows, result.errors) == (25, 0)
    assert [len(bodies) for bodies in provider.handed.values()] == [10, 10, 5]
    assert results(out)[0]["answer"] == "ROW 0"
    assert result.cost_usd == pytest.approx(25 * 20 / 1e6 / 2)
    assert BatchOutput(out, {}).pending is None


def test_where_the_budget_halves_a_batch_the_first_half_is_written_before_the_second_is_handed_in(
    tmp_path: Path,
) -> None:
    path, out, provider = rows_file(tmp_path, 10), tmp_path / "out", ProviderDouble()
    provider.dies_at = {"b1"}
    with pytest.raises(KeyboardInterrupt):
        run_at_provider(path, out, provider, usd=0.0002)
    assert len(results(out)) == 5
    provider.dies_at = set()
    result = run_at_provider(path, out, provider, usd=0.0002)
    assert (result.rows, result.errors, result.stopped) == (10, 0, "")
    names = [name for bodies in provider.handed.values() for name in bodies]
    assert len(names) == len(set(names)) == 10  # nothing was handed in twice


# The command


def test_the_command_goes_on_after_it_was_killed(tmp_path: Path) -> None:
    path = rows_file(tmp_path, 3_000)
    command = [sys.executable, "-m", "orchestrator", "batch", str(path), "--ask", "What is {n} * 7?", "--out", "out"]
    env = {**os.environ, "ORCHESTRATOR_NO_DETECT": "1"}
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
    part = tmp_path / "out" / "part-00000.jsonl"
    while not part.exists() or part.stat().st_size < 20_000:
        assert process.poll() is None, "it ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(part.read_bytes().splitlines())
    again = subprocess.run([*command, "--json"], cwd=tmp_path, capture_output=True, text=True, check=True, env=env)
    told = json.loads(again.stdout)
    assert told["rows"] == 3_000
    assert told["asked"] <= 3_000 - done + 1
    found = results(tmp_path / "out")
    assert len(found) == len({line["id"] for line in found}) == 3_000
    assert all(line["answer"] == str(7 * (line["row"] - 1)) for line in found)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["none.jsonl", "--ask", "x"], "no such file"),
        (["in.jsonl", "--ask", "x", "--pipeline", "p.yaml"], "not both"),
        (["in.jsonl", "--ask", "{"], "brace"),
        (["in.jsonl", "--ask", "{n}", "--may-wait"], "one model"),
        (["in.jsonl", "--ask", "Which?"], "every row would be asked the same"),
        (["in.jsonl", "--pipeline", "none.yaml"], "no such file"),
    ],
)
def test_wrong_use_is_told(tmp_path: Path, arguments: list[str], told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows_file(tmp_path, 1)
    result = CliRunner().invoke(main, ["batch", *arguments, "--out", "out"])
    assert result.exit_code == 2
    assert told in result.stderr
    assert not (tmp_path / "out").exists()
