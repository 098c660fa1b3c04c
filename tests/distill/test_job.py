"""Jobs from end to end: what is asked, what is kept, what is paid twice (nothing), and what is told."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Orchestrator
from orchestrator.backends.base import Request
from orchestrator.backends.testing.scripted import ScriptedBackend
from orchestrator.config.distill_job import DistillJob, load_job
from orchestrator.distill.collect import Places
from orchestrator.distill.job import JobRun, report_of
from orchestrator.distill.result import JobResult
from orchestrator.distill.rows import Lesson
from orchestrator.distill.store import JobStore
from orchestrator.errors import BackendUnavailable, ConfigError
from orchestrator.storage import LoggedDecision, LoggedDraft
from orchestrator.storage.decision_log import Grade
from orchestrator.storage.student_log import TaughtText
from orchestrator.students import Student, load_student
from tests.distill.conftest import ANSWERS, by_heart, teacher
from tests.support.tickets import LABELS, PROMPT, tickets

Make = Callable[..., DistillJob]


def done(job: DistillJob, fleet: Orchestrator, places: Places, **settings: Any) -> JobResult:
    async def work() -> JobResult:
        run = JobRun(job, fleet, places, **settings)
        try:
            await run.prepare()
            return await run.run()
        finally:
            run.close()

    return asyncio.run(work())


def lessons_of(job: DistillJob) -> list[Lesson]:
    store = JobStore(job.out_folder)
    try:
        return store.lessons()
    finally:
        store.close()


def asked(fleet: Orchestrator, name: str = "strong") -> int:
    backend = fleet.backends[name]
    assert isinstance(backend, ScriptedBackend)
    return len(backend.asked)


def test_texts_become_a_student_that_is_in_use(make_job: Make, fleet: Orchestrator, places: Places) -> None:
    job = make_job(300)
    result = done(job, fleet, places)
    assert asked(fleet) == 300
    assert result.state == "serving"
    assert result.spent_usd == pytest.approx(300 * 20e-6)
    student = load_student(result.folder / "tickets.student")
    assert isinstance(student, Student)
    assert set(student.labels) == set(LABELS)
    assert student.card.teachers == {"strong": student.card.rows}
    assert result.evaluation is not None
    assert result.evaluation.texts > 30
    assert result.evaluation.coverage > 0.5
    assert {path.name for path in result.files} >= {
        "train.openai.jsonl", "train.huggingface.jsonl", "train.parquet", "test.parquet", "preferences.jsonl",
        "card.json", "CARD.md", "train_lora.py",
    }  # fmt: skip
    versions = places.students().versions("tickets")
    assert [(each.version, each.state) for each in versions] == [(1, "serving")]
    page = (result.folder / "report.html").read_text()
    assert "<svg" in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")


def test_nothing_is_paid_twice_and_nothing_new_is_no_new_version(
    make_job: Make, fleet: Orchestrator, places: Places
) -> None:
    job = make_job(200)
    first = done(job, fleet, places)
    before = {path: path.read_bytes() for path in first.files}
    again = done(job, fleet, places)
    assert asked(fleet) == 200
    assert again.version == first.version
    assert "nothing new" in again.reason
    assert {path: path.read_bytes() for path in again.files} == before


def test_a_job_that_is_killed_goes_on(make_job: Make, places: Places) -> None:
    job = make_job(200)
    slow = Orchestrator({"strong": teacher(seconds=0.02)}, strategy="single")

    async def killed() -> None:
        run = JobRun(job, slow, places)
        await run.prepare()
        task = asyncio.ensure_future(run.run())
        while asked(slow) < 60:  # noqa: ASYNC110 - a scripted model sets no event
            await asyncio.sleep(0.005)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        run.close()

    asyncio.run(killed())
    kept = [lesson for lesson in lessons_of(job) if lesson.answer is not None]
    assert asked(slow) - 16 - 16 <= len(kept) <= asked(slow)  # what was under way is not there
    fleet = Orchestrator({"strong": teacher()}, strategy="single")
    result = done(job, fleet, places)
    assert asked(fleet) == 200 - len(kept)
    assert result.collected == 200


def test_the_budget_holds_over_all_runs(make_job: Make, fleet: Orchestrator, places: Places) -> None:
    job = make_job(300, budget={"usd": 0.003}, promise={"agreement": 0.8}, teach={"max_tokens": 10})
    result = done(job, fleet, places)
    assert "0.003 USD are spent" in result.ended_early
    assert result.spent_usd <= 0.003
    assert 100 < asked(fleet) < 300
    before = asked(fleet)
    again = done(job, fleet, places)
    assert again.spent_usd <= 0.003
    assert asked(fleet) - before <= 3
    assert any("no answer" in reason for reason in again.rejected)


def test_failed_texts_are_tried_again(make_job: Make, places: Places) -> None:
    calls = {"n": 0}

    def flaky(request: Request) -> str | Exception:
        calls["n"] += 1
        return BackendUnavailable("down") if calls["n"] % 3 == 0 else by_heart(request)

    fleet = Orchestrator({"strong": ScriptedBackend("strong", flaky, skill=0.9)}, strategy="single", retries=0)
    job = make_job(200)
    first = done(job, fleet, places)
    assert first.rejected["no answer"] > 30
    healthy = Orchestrator({"strong": ScriptedBackend("strong", by_heart, skill=0.9)}, strategy="single")
    second = done(job, healthy, places)
    assert "no answer" not in second.rejected
    assert len(lessons_of(job)) == 200


def test_a_forecast_asks_nobody(make_job: Make, fleet: Orchestrator, places: Places) -> None:
    run = JobRun(make_job(120), fleet, places)
    expected = asyncio.run(run.prepare())
    assert (expected.texts, asked(fleet)) == (120, 0)
    assert expected.usd is not None
    assert 0 < expected.usd < 1
    assert expected.left_usd == 1.0
    run.close()


def test_a_changed_teacher_is_told_before_it_is_paid(make_job: Make, fleet: Orchestrator, places: Places) -> None:
    job = make_job(150)
    done(job, fleet, places)
    other = Orchestrator({"strong": teacher(), "new": teacher("new")}, strategy="single")
    job = make_job(180)
    with pytest.raises(ConfigError, match="have changed since 150 texts were taught") as told:
        done(job, other, places)
    assert "--new-teachers" in told.value.remedy
    assert asked(other) + asked(other, "new") == 0
    result = done(job, other, places, may_change_teachers=True)
    assert asked(other) + asked(other, "new") == result.collected - 150


def test_a_committee_votes(make_job: Make, places: Places) -> None:
    def stubborn(request: Request) -> str:
        return "billing"

    members = {
        "a": teacher("a", skill=0.9),
        "b": teacher("b", skill=0.9),
        "c": ScriptedBackend("c", stubborn, skill=0.3),
    }
    fleet = Orchestrator(members)
    job = make_job(150, teach={"models": ["a", "b", "c"], "committee": True})
    result = done(job, fleet, places)
    assert [asked(fleet, name) for name in "abc"] == [150, 150, 150]
    rows = [json.loads(line) for line in (result.folder / "train.huggingface.jsonl").read_text().splitlines()]
    assert all(row["label"] == ANSWERS[row["prompt"][0]["content"].rpartition("\n")[2]] for row in rows)
    assert {round(row["confidence"], 2) for row in rows if row["label"] != "billing"} != {0.9}
    pairs = [json.loads(line) for line in (result.folder / "preferences.jsonl").read_text().splitlines()]
    assert pairs
    assert all(pair["rejected"][0]["content"] == "billing" and 0 < pair["margin"] <= 1 for pair in pairs)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"collect": [{"file": "empty.txt"}]}, "no text was collected"),
        ({"collect": [{"file": "nowhere.csv"}]}, "cannot be read"),
        ({"collect": [{"file": "two.csv", "text": "message"}]}, "no column 'message'"),
        ({"collect": [{"file": "two.csv", "label": "text", "confidence": "text"}]}, "a confidence lies in"),
        ({"collect": [{"file": "bad.jsonl"}]}, "bad.jsonl:2: not JSON"),
        ({"collect": [{"file": "x.xlsx"}]}, "cannot be read"),
        ({"collect": [{"traffic": "30d"}]}, "no text was collected"),
        ({"teach": {"models": ["nobody"]}}, "'nobody' is not in this fleet"),
        ({"teach": {"models": ["strong"], "batch": True}}, "no provider that takes batches"),
    ],
)
def test_sources_and_teachers_that_cannot_be(
    make_job: Make, fleet: Orchestrator, places: Places, tmp_path: Path, settings: dict[str, Any], told: str
) -> None:
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "two.csv").write_text("text,label\nhello,a\n")
    (tmp_path / "bad.jsonl").write_text('{"text": "a"}\n{"text": \n')
    with pytest.raises(ConfigError, match=told) as error:
        done(make_job(60, **settings), fleet, places)
    assert error.value.remedy
    assert asked(fleet) == 0


def test_all_rows_rejected_is_told_with_reasons_and_nothing_is_lost(
    make_job: Make, fleet: Orchestrator, places: Places
) -> None:
    job = make_job(80, filter={"min_confidence": 1.0})
    with pytest.raises(ConfigError, match=r"no row of tickets is left to learn from: \d+ x confidence") as told:
        done(job, fleet, places)
    assert "job.db" in told.value.remedy
    done(make_job(80), fleet, places)
    assert asked(fleet) == 80


def test_one_label_and_too_few_rows_are_told(make_job: Make, places: Places) -> None:
    same = Orchestrator({"strong": ScriptedBackend("strong", "billing", skill=0.9)}, strategy="single")
    with pytest.raises(ConfigError, match=r"all \d+ texts have the label 'billing'"):
        done(make_job(100), same, places)
    with pytest.raises(ConfigError, match="at least 40 are needed"):
        done(make_job(30, out="other"), Orchestrator({"strong": teacher()}, strategy="single"), places)


def test_a_teacher_whose_answers_do_not_fit_the_task_is_asked_no_more(make_job: Make, places: Places) -> None:
    chatty = ScriptedBackend("strong", "Let me think about that.", skill=0.9)
    with pytest.raises(ConfigError, match="none of the first 20 answers is one of the task's; the last: 'Let me think"):
        done(make_job(100, teach={"concurrency": 1}), Orchestrator({"strong": chatty}, strategy="single"), places)
    assert 20 <= len(chatty.asked) <= 22


def test_labels_that_the_task_does_not_name_are_told(
    make_job: Make, fleet: Orchestrator, places: Places, tmp_path: Path
) -> None:
    rows = [f'"{row.text}",{row.label}' for row in tickets(200, seed=0)]
    (tmp_path / "graded.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    source = {"file": "graded.csv", "label": "label"}
    job = make_job(collect=[source], task={"prompt": PROMPT, "labels": ["billing", "weather"]})
    with pytest.raises(ConfigError, match=r"labels that its task does not name: '\w+' \(\d+ texts\)"):
        done(job, fleet, places)
    assert asked(fleet) == 0


def test_what_cannot_be_promised_is_refused_and_says_what_is_missing(
    make_job: Make, fleet: Orchestrator, places: Places
) -> None:
    result = done(make_job(120, promise={"agreement": 0.999}), fleet, places)
    assert result.state == "refused"
    assert "labels are too few" in result.reason
    assert not (result.folder / "tickets.student").exists()
    assert places.students().versions("tickets")[0].state == "refused"


def test_a_full_disk_in_the_export_loses_nothing(
    make_job: Make, fleet: Orchestrator, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(120)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(ConfigError, match="No space left") as told:
            done(job, fleet, places)
    assert "nothing is paid twice" in told.value.remedy
    done(job, fleet, places)
    assert asked(fleet) == 120


def test_a_new_student_must_be_shown_to_be_no_worse(make_job: Make, fleet: Orchestrator, places: Places) -> None:
    in_use = (done(make_job(400), fleet, places).folder / "tickets.student").read_bytes()
    worse = Orchestrator({"strong": teacher()}, strategy="single")
    result = done(make_job(300, seed=1, promise={"agreement": 0.75}), worse, places)
    assert result.version == 2
    assert result.state == "candidate"
    assert "not shown yet" in result.reason
    assert (result.folder / "tickets.student").read_bytes() == in_use
    assert [each.state for each in places.students().versions("tickets")] == ["serving", "candidate"]


def test_traffic_teaches_without_asking_anybody(make_job: Make, fleet: Orchestrator, places: Places) -> None:
    rows = [
        TaughtText(row.text, f"The desk is {row.label}.", "strong", 0.95, 0.001, "shop/ann", f"a{n}")
        for n, row in enumerate(tickets(300))
    ]
    places.students().teach("tickets", rows)
    (make_job(1).folder / "messages.txt").write_text("")
    job = make_job(60, collect=[{"traffic": "30d"}])
    result = done(job, fleet, places)
    assert asked(fleet) == 0
    assert result.state == "serving"
    assert places.students().forget("shop/ann") == 300


def test_gold_measures_and_is_not_learned_from(
    make_job: Make, fleet: Orchestrator, places: Places, tmp_path: Path
) -> None:
    lines = ["text,gold", *(f'"{row.text}",account' for row in tickets(300))]
    (tmp_path / "gold.csv").write_text("\n".join(lines))
    result = done(make_job(60, collect=[{"file": "gold.csv", "gold": "gold"}]), fleet, places)
    assert result.evaluation is not None
    assert result.evaluation.teacher_accuracy == pytest.approx(0.33, abs=0.15)
    assert asked(fleet) == 300


def test_the_report_is_written_again_without_asking(make_job: Make, fleet: Orchestrator, places: Places) -> None:
    job = make_job(200)
    with pytest.raises(ConfigError, match="has not run yet"):
        report_of(job, places)
    result = done(job, fleet, places)
    (result.folder / "report.html").unlink()
    again, page = report_of(job, places)
    assert page.exists()
    assert again.evaluation == result.evaluation


def test_fields_are_extracted(make_job: Make, places: Places, tmp_path: Path) -> None:
    import random

    from tests.students.test_extraction import record

    rng = random.Random(3)
    rows = [record(rng) for _ in range(260)]
    by_text = {row.text: row.record for row in rows}
    fleet = Orchestrator(
        {"strong": ScriptedBackend("strong", lambda request: json.dumps(by_text[request.question]), skill=0.95)},
        strategy="single",
    )
    (tmp_path / "orders.jsonl").write_text("\n".join(json.dumps({"text": row.text}) for row in rows))
    job = make_job(
        1,
        name="orders",
        task={"fields": {"name": "text", "order": "text", "price": "number"}},
        collect=[{"file": "orders.jsonl"}],
    )
    result = done(job, fleet, places)
    assert result.state == "serving"
    assert result.evaluation is not None
    assert result.evaluation.agreement == pytest.approx(1.0, abs=0.1)


def test_free_text_is_exported_for_fine_tuning(make_job: Make, places: Places) -> None:
    fleet = Orchestrator(
        {"strong": ScriptedBackend("strong", lambda r: f"About: {r.question}", skill=0.9)}, strategy="single"
    )
    job = make_job(80, task={"prompt": "Explain. {text}", "system": "Be brief.", "generates": True})
    result = done(job, fleet, places)
    assert result.student is None
    rows = [json.loads(line) for line in (result.folder / "train.openai.jsonl").read_text().splitlines()]
    assert [message["role"] for message in rows[0]["messages"]] == ["system", "user", "assistant"]
    assert (result.folder / "recipes" / "train_lora.py").exists()


def test_mistakes_in_a_job_are_told_with_their_place(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(
        "name: bad name\ntask: {prompt: no mark}\ncollect:\n  - {file: a.csv, prompts: [x]}\nteach: {comittee: true}\n"
        "budget: {usd: -1}\n"
    )
    with pytest.raises(ConfigError) as told:
        load_job(path)
    message = str(told.value)
    for part in ("job.yaml:1", "job.yaml:2", "{text}", "exactly one of", "Did you mean 'committee'", "job.yaml:6"):
        assert part in message, message
    with pytest.raises(ConfigError, match="cannot be read"):
        load_job(tmp_path / "nowhere.yaml")
    path.write_text("")
    with pytest.raises(ConfigError, match="empty"):
        load_job(path)


def test_what_a_source_says_anew_counts(make_job: Make, fleet: Orchestrator, places: Places, tmp_path: Path) -> None:
    rows = tickets(160)
    (tmp_path / "a.csv").write_text("text,label\n" + "\n".join(f'"{row.text}",{row.label}' for row in rows))
    first = done(make_job(1, collect=[{"file": "a.csv", "label": "label"}]), fleet, places)
    assert first.evaluation is not None
    assert first.evaluation.teacher_accuracy is None
    again = "text,label,gold\n" + "\n".join(f'"{row.text}",{row.label},{row.label}' for row in rows[:140])
    (tmp_path / "a.csv").write_text(again + f'\n"{rows[0].text}",account,account\n"{rows[0].text}",billing,billing\n')
    second = done(make_job(1, collect=[{"file": "a.csv", "label": "label", "gold": "gold"}]), fleet, places)
    assert second.evaluation is not None
    assert second.evaluation.teacher_accuracy == 1.0
    assert second.collected == 142 - (rows[0].label in ("account", "billing"))
    assert second.rejected["contradiction"] >= 2


def test_graded_queries_teach_which_model_to_ask(make_job: Make, fleet: Orchestrator, places: Places) -> None:
    log = places.decisions()
    for number, row in enumerate(tickets(200)):
        drafts = tuple(LoggedDraft(model, "k", cost, 5, 0.1) for model, cost in (("small", 0.001), ("large", 0.01)))
        at = time.time() - number
        decision = LoggedDecision(
            f"d{number}", at, "s", row.text, "small", 1.0, 0, 0.9, 0.011, "", "large", 0.01, (), drafts
        )
        is_easy = row.label == "shipping"
        log.record(decision, [Grade("small", float(is_easy)), Grade("large", float(row.label != "account"))])
    result = done(make_job(1, task={}, collect=[{"outcomes": "30d"}]), fleet, places)
    assert isinstance(result.student, Student)
    assert result.student.labels == ("large", "none", "small")
    assert result.student.predict("the courier left the package at the wrong address").label == "small"
    assert asked(fleet) == 0
