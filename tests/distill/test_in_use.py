"""Students in a fleet: what they take, what they leave, how they are watched, and how a new one comes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator import Orchestrator
from orchestrator.backends.base import Request
from orchestrator.backends.local.student import StudentBackend
from orchestrator.backends.testing.scripted import ScriptedBackend
from orchestrator.config.distill_job import DistillJob
from orchestrator.config.model_entry import StudentAuditConfig
from orchestrator.config.models import DistillConfig
from orchestrator.distill.status import student_status
from orchestrator.errors import ConfigError, NoAdequateModel
from orchestrator.students import AgreementPromise, NoAgreement, Student, StudentTask, save_student
from orchestrator.students.training import train_student
from tests.distill.conftest import by_heart, teacher
from tests.support.tickets import PROMPT, tickets


@pytest.fixture(scope="module")
def student() -> Student:
    return train_student(tickets(500), StudentTask(PROMPT), AgreementPromise(0.9, 0.9), name="tickets")


class Fleet:
    """A fleet with a student and its teacher."""

    def __init__(self, folder: Path, student: Student, **settings: Any) -> None:
        self.path = save_student(student, folder / "tickets.student")
        self.strong = settings.pop("strong", None) or teacher()
        audits = StudentAuditConfig(share=settings.pop("share", 0.0), usd_per_day=settings.pop("usd_per_day", 10.0))
        self.backend = StudentBackend("tickets", self.path, audits)
        self.log = folder / "students.db"
        settings = {"distill": self.log, "rng": random.Random(0), "quality": 0.8, **settings}
        self.engine = Orchestrator({"tickets": self.backend, "strong": self.strong}, **settings)

    @property
    def kept(self) -> Any:
        assert self.engine.student_log is not None
        return self.engine.student_log


async def audited(fleet: Fleet) -> None:
    """Until every audit that was begun has been judged: they run behind the answers."""
    watch = fleet.engine._executor.students
    assert watch is not None
    while watch._running:
        await asyncio.gather(*watch._running)


def queries(n: int, seed: int = 7) -> list[str]:
    return [PROMPT.replace("{text}", row.text) for row in tickets(n, seed=seed)]


def test_it_takes_what_it_masters_and_leaves_the_rest(student: Student, tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, student)
    with fleet.engine as engine:
        answers = engine.answer_many_sync(queries(100))
    given = [result.answer for result in answers if result.answer is not None and result.answer.model == "tickets"]
    assert len(given) > 60
    alone = [answer for answer in given if len(answer.candidates) == 1]
    assert len(alone) > 60
    assert all(answer.cost_usd == 0.0 and 0.8 < answer.confidence <= 1 for answer in alone)
    assert len(fleet.strong.asked) == 100 - len(alone)


@pytest.mark.parametrize(
    "query",
    [
        "What is the capital of France?",
        "billing",
        PROMPT.replace("{text}", ""),
        "Which desk? My invoice is wrong",
        "🙂",
    ],
)
def test_other_queries_are_not_its_own(student: Student, tmp_path: Path, query: str) -> None:
    fleet = Fleet(tmp_path, student)
    with fleet.engine as engine:
        assert engine.answer_sync(query).model == "strong"
    assert student_status_of(fleet)["own"] == 0


def test_conversations_tools_and_schemas_are_not_its_own(student: Student, tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, student)
    query = next(q for q in queries(50) if student.predict(q.rpartition("\n")[2]).is_accepted)
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    turns = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "hi"},
        {"role": "user", "content": query},
    ]
    with fleet.engine as engine:
        assert engine.answer_sync(query).model == "tickets"
        assert engine.answer_sync(messages=turns).model == "strong"
        assert engine.answer_sync(query, tools=[tool]).model == "strong"
        assert engine.answer_sync(query, schema={"type": "string"}, may_abstain=True).model != "tickets"


def test_the_system_message_belongs_to_the_task(student: Student, tmp_path: Path) -> None:
    from dataclasses import replace

    bound = replace(student, task=StudentTask(PROMPT, system="You sort mail."))
    fleet = Fleet(tmp_path, bound)
    query = next(q for q in queries(50) if student.predict(q.rpartition("\n")[2]).is_accepted)
    with fleet.engine as engine:
        assert engine.answer_sync(query).model == "strong"
        assert engine.answer_sync(query, system="You sort mail.").model == "tickets"
        assert engine.answer_sync(query, system="Answer in French.").model == "strong"


def test_streams_and_single_models_work(student: Student, tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, student)
    own = queries(50)
    query = next(q for q in own if student.predict(q.rpartition("\n")[2]).is_accepted)
    unclear = own[0].rpartition("\n")[0] + "\nxyzzy plugh frobnicate"
    assert not student.predict("xyzzy plugh frobnicate").is_accepted

    async def work() -> None:
        async with fleet.engine as engine:
            pieces = [piece async for piece in engine.stream_text(query)]
            assert "".join(pieces) in student.labels
            with pytest.raises(NoAdequateModel):
                await engine.answer(unclear, models=["tickets"])

    asyncio.run(work())


def test_confidence_is_agreement_times_what_the_teacher_is_worth(student: Student, tmp_path: Path) -> None:
    from dataclasses import replace

    worth = replace(student.card, measured={**student.card.measured, "gold_rows": 100, "teacher_accuracy": 0.5})
    fleet = Fleet(tmp_path, replace(student, card=worth))
    request = Request((), question=next(q for q in queries(50) if student.predict(q.rpartition("\n")[2]).is_accepted))
    assert 0.4 < (fleet.backend.estimate(request) or 0) <= 0.5


def test_a_promise_that_could_not_be_made_is_silence(student: Student, tmp_path: Path) -> None:
    from dataclasses import replace

    fleet = Fleet(tmp_path, replace(student, certificate=NoAgreement("too few labels", 10, 100)))
    with fleet.engine as engine:
        assert {r.answer.model for r in engine.answer_many_sync(queries(20)) if r.answer} == {"strong"}


def test_audits_agree_and_are_paid_within_the_day(student: Student, tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, student, share=1.0, usd_per_day=0.001, max_tokens=100)
    with fleet.engine as engine:
        engine.answer_many_sync(queries(120))
    status = student_status_of(fleet)
    assert 5 < status["audits"] < status["given"]
    assert status["audits_usd"] <= 0.001
    assert status["audited_agreement"] > 0.85
    assert status["state"] == "none"  # no job made it, so no version is on record


def test_a_label_that_changes_its_meaning_is_no_longer_given(student: Student, tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, student, share=1.0)
    fleet.strong._replies = [lambda request: "account" if by_heart(request) == "billing" else by_heart(request)]

    async def work() -> tuple[Any, Any]:
        async with fleet.engine as engine:
            before = await engine.answer_many(queries(200), concurrency=4)
            await audited(fleet)
            return before, await engine.answer_many(queries(200, seed=8), concurrency=4)

    before, after = asyncio.run(work())
    given = [r.answer.text for r in before if r.answer and r.answer.model == "tickets"]
    assert "billing" in given
    assert "billing" not in [r.answer.text for r in after if r.answer and r.answer.model == "tickets"]
    assert fleet.backend.standing.never == {"billing"} or fleet.backend.standing.is_withdrawn
    again = Fleet(tmp_path, student)  # a restart forgets nothing
    assert again.backend.standing.never == fleet.backend.standing.never
    asyncio.run(again.engine.aclose())


def test_a_student_that_disagrees_is_withdrawn_until_a_new_one_comes(student: Student, tmp_path: Path) -> None:
    from dataclasses import replace

    fleet = Fleet(tmp_path, student, share=1.0)
    others = {"billing": "shipping", "shipping": "account", "account": "billing"}
    fleet.strong._replies = [lambda request: others.get(by_heart(request), "account")]

    async def work() -> None:
        async with fleet.engine as engine:
            await engine.answer_many(queries(150), concurrency=4)
            await audited(fleet)
            assert fleet.backend.standing.is_withdrawn
            query = next(q for q in queries(50) if student.predict(q.rpartition("\n")[2]).is_accepted)
            assert (await engine.answer(query)).model == "strong"
            newer = replace(student, card=replace(student.card, version=2))
            save_student(newer, fleet.path)
            fleet.backend._looked -= 10
            assert (await engine.answer(query)).model == "strong"
            assert fleet.backend.reading is not None
            fleet.backend.reading.join()
            assert fleet.backend.student.card.version == 2
            assert (await engine.answer(query)).model == "tickets"

    asyncio.run(work())


def test_a_file_that_is_damaged_later_leaves_the_student_in_use(student: Student, tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, student)
    fleet.path.write_bytes(b"cut")
    fleet.backend._looked -= 10
    query = next(q for q in queries(50) if student.predict(q.rpartition("\n")[2]).is_accepted)
    with fleet.engine as engine:
        assert engine.answer_sync(query).model == "tickets"
        fleet.path.unlink()
        fleet.backend._looked -= 10
        assert engine.answer_sync(query).model == "tickets"


def test_what_people_say_is_kept_apart_from_audits(student: Student, tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, student, online=tmp_path / "decisions.db")
    query = next(q for q in queries(50) if student.predict(q.rpartition("\n")[2]).is_accepted)
    with fleet.engine as engine:
        answer = engine.answer_sync(query)
        engine.feedback_sync(answer, 0.0)
        fleet.kept.keep_version("tickets", 1, "serving", "x", {})
        status = student_status(fleet.kept, "tickets")
    assert (status["feedback"], status["complaints"], status["audits"]) == (1, 1, 0)


def test_what_teachers_say_is_kept_for_the_next_student_and_forgotten_with_its_scope(
    make_job: Callable[..., DistillJob], tmp_path: Path
) -> None:
    job = make_job(1)
    settings = DistillConfig(path=str(tmp_path / "students.db"), jobs=[str(job.folder / "job.yaml")])
    engine = Orchestrator({"strong": teacher()}, distill=settings, memory=tmp_path / "memory.db")
    with engine:
        for query in queries(20):
            engine.answer_sync(query, scope="shop/ann")
        engine.answer_sync("What is the capital of France?", scope="shop/ann")
        engine.answer_sync(queries(21)[-1], scope="shop/bob")
        engine._executor.students._flush()  # type: ignore[union-attr]
        assert engine.student_log is not None
        kept = engine.student_log.taught("tickets")
        assert len(kept) == 21
        assert {row.text for row in kept} == {row.text for row in tickets(21, seed=7)}
        engine.forget_sync("shop/ann")
        assert [row.scope for row in engine.student_log.taught("tickets")] == ["shop/bob"]


def test_a_configuration_names_students(student: Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = save_student(student, tmp_path / "t.student")
    stated = {
        "models": {"tickets": {"provider": "student", "file": str(path)}, "calculator": {"provider": "calculator"}}
    }
    with Orchestrator.from_config(stated) as engine:
        assert isinstance(engine.backends["tickets"], StudentBackend)
        query = next(q for q in queries(50) if student.predict(q.rpartition("\n")[2]).is_accepted)
        assert engine.answer_sync(query).model == "tickets"
    for wrong, told in (
        ({"provider": "student"}, "needs `file`"),
        ({"provider": "student", "file": "nowhere.student"}, "no student at"),
        ({"provider": "student", "file": str(path), "audits": {"teacher": "nobody"}}, "unknown teacher 'nobody'"),
        ({"provider": "student", "file": str(path), "audits": {"shar": 1}}, "unknown field 'shar'"),
    ):
        (tmp_path / "c.yaml").write_text(yaml.safe_dump({"models": {"tickets": wrong}}))
        with pytest.raises(ConfigError, match=told):
            Orchestrator.from_config(tmp_path / "c.yaml")


def test_saving_has_an_interval(tmp_path: Path) -> None:
    from orchestrator.storage.student_log import StudentAudit, StudentCounts, StudentLog, TaughtText

    kept = StudentLog(tmp_path / "s.db")
    kept.count("tickets", 1, StudentCounts(1_000, 800, 10))
    assert student_status(kept, "tickets")["saved_usd"] is None
    kept.teach(
        "tickets", [TaughtText(f"t{n}", "a", "m", 1.0, 0.001 + 0.0001 * (n % 5), "s", f"i{n}") for n in range(50)]
    )
    kept.keep_version("tickets", 1, "serving", "p", {"certificate": {"coverage": 0.8}})
    kept.audit(StudentAudit("a1", "tickets", 1, "x", False, 0.002))
    found = student_status(kept, "tickets")
    assert found["saved_usd_low"] < found["saved_usd"] < found["saved_usd_high"]
    assert found["saved_usd"] == pytest.approx(800 * 0.0012, rel=0.05)
    assert found["share"] == 0.8
    assert kept.claim("tickets", 3_600)
    assert not kept.claim("tickets", 3_600)
    kept.close()


def test_texts_are_kept_for_jobs_alone(student: Student, tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, student)
    with fleet.engine as engine:
        for query in queries(30):
            engine.answer_sync(query)
        engine._executor.students._flush()  # type: ignore[union-attr]
        assert len(fleet.strong.asked) > 0
        assert fleet.kept.taught("tickets") == []


def student_status_of(fleet: Fleet) -> dict[str, Any]:
    from orchestrator.storage.student_log import StudentLog

    kept = StudentLog(fleet.log)
    found = student_status(kept, "tickets")
    kept.close()
    return found


def test_a_teacher_whose_answer_has_no_label_counts_as_no_agreement_and_no_alarm(
    student: Student, tmp_path: Path
) -> None:
    chatty = ScriptedBackend("strong", "I would rather talk about something else", skill=0.95)
    fleet = Fleet(tmp_path, student, share=1.0, strong=chatty)
    with fleet.engine as engine:
        engine.answer_many_sync(queries(40))
    assert student_status_of(fleet)["audited_agreement"] is None
    assert not fleet.backend.standing.is_withdrawn
