"""Runs a job from texts to a student in use. Each stage rests on what the store holds, so it may be killed anywhere."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from orchestrator.config.distill_job import DistillJob, SourceConfig
from orchestrator.config.models import DistillConfig, OnlineConfig
from orchestrator.distill.answers import label_in, taught_rows
from orchestrator.distill.augment import augment, question_documents
from orchestrator.distill.card import card_text, data_card
from orchestrator.distill.collect import Places, collect, read_table
from orchestrator.distill.evaluate import AnyStudent, evaluate, outcomes_of
from orchestrator.distill.export import export, write_text
from orchestrator.distill.filters import filter_rows, group_of, labelled_text
from orchestrator.distill.recipes import write_recipes
from orchestrator.distill.report import report_page
from orchestrator.distill.result import JobResult, student_file
from orchestrator.distill.rows import Rejections, Taught
from orchestrator.distill.store import JobStore
from orchestrator.distill.teach import (
    Progress,
    TeachingForecast,
    check_teachers,
    forecast,
    identity_of,
    teach,
)
from orchestrator.engine.orchestrator import Orchestrator
from orchestrator.errors import ConfigError
from orchestrator.jsontypes import JsonObject
from orchestrator.packages import need_packages
from orchestrator.storage import DecisionLog
from orchestrator.storage.student_log import State, StudentLog, StudentVersion
from orchestrator.students import (
    AgreementCertificate,
    AgreementPromise,
    Student,
    StudentFileError,
    load_student,
    save_student,
)
from orchestrator.students.labels import read_record
from orchestrator.students.promotion import compare_students

TRAFFIC_S = 90 * 86_400.0
STUDENTS_PATH, DECISIONS_PATH = DistillConfig().path, OnlineConfig().path


class JobRun:
    """One run of a job.

    Args:
        job: What is to be done.
        fleet: Who teaches; memory is not used.
        places: Where the fleet keeps traffic, decisions and versions of students.
        on_progress: Told how far each stage is.
        with_traffic: Also learn from what the fleet answered in traffic.
        may_change_teachers: Go on although the teachers are not those of the first run.
    """

    def __init__(
        self,
        job: DistillJob,
        fleet: Orchestrator,
        places: Places,
        *,
        on_progress: Progress = lambda *_: None,
        with_traffic: bool = False,
        may_change_teachers: bool = False,
    ) -> None:
        self.job = _with_traffic(job) if with_traffic else job
        self.fleet = fleet
        self._places = places
        self._progress = on_progress
        self._may_change = may_change_teachers
        self.store = JobStore(job.out_folder)

    async def prepare(self) -> TeachingForecast:
        """Collects, and says what teaching will take. Raises `ConfigError` on empty sources and changed teachers."""
        check_teachers(self.job, self.fleet)
        check_job(self.job)
        self.store.book_lost_calls()
        await asyncio.to_thread(lambda: self.store.collect(collect(self.job, self._places)))
        rows = await asyncio.to_thread(self.store.rows)
        if not rows and not any(source.documents for source in self.job.collect):
            raise ConfigError(
                f"no text was collected for {self.job.name}",
                remedy="Look at `collect`: the files may be empty, or no query of this task has been asked yet",
            )
        self._check_teachers_stay()
        expected = await forecast(self.job, self.fleet, rows, self.store)
        if expected.texts and expected.usd is None:
            raise ConfigError(
                "no model that may teach can be asked within a budget: prices are unknown, or no model is adequate",
                remedy="State input_usd_per_mtok and output_usd_per_mtok of the teachers; see orchestrator models",
            )
        return expected

    def _check_teachers_stay(self) -> None:
        """Answers of other teachers must not be mixed in unseen."""
        now, before = identity_of(self.job, self.fleet), self.store.fact("teachers")
        if before not in (None, now) and not self._may_change and self.store.lessons():
            raise ConfigError(
                f"the teachers or the task of {self.job.name} have changed since {len(self.store.lessons())} texts "
                "were taught",
                remedy="Go on with both (--new-teachers), or state another `out` to begin anew; nothing is lost",
            )
        self.store.note("teachers", now)

    async def run(self) -> JobResult:
        """Everything else. Raises `ConfigError` where nothing can be learned; what was paid for stays."""
        job, store = self.job, self.store
        await question_documents(job, self.fleet, store, self._progress)
        early = await teach(job, self.fleet, store.rows(), store, self._progress)
        taught, _ = taught_rows(job, store.rows(), store.lessons())
        if job.augment is not None and not early:
            await augment(job, self.fleet, taught, store, self._progress)
            early = await teach(job, self.fleet, store.rows(), store, self._progress)
        rows, rejections = store.rows(), Rejections()
        taught, missing = taught_rows(job, rows, store.lessons())
        for row, reason in missing.items():
            rejections.add(row, reason)
        kept = await filter_rows(job, _verified_synthetic(job, taught, rejections), rejections)
        store.reject(rejections.reasons, {each.row.id: each.row.part for each in kept if each.row.part})
        self._check_left(kept, rejections, early)
        card = data_card(job, rows, kept, rejections.counted(), _prices(self.fleet))
        files = await asyncio.to_thread(self._write, kept, card)
        done = JobResult(
            job.out_folder,
            len(rows),
            sum(each.is_exported for each in kept),
            rejections.counted(),
            store.spent_usd(),
            early,
            tuple(files),
        )
        if job.task.kind == "generation":
            return done
        learned = sum(each.row.part == "train" and each.is_learned for each in kept)
        self._progress("training on rows", learned, learned, done.spent_usd)
        return await asyncio.to_thread(self._train, done, kept)

    def close(self) -> None:
        """Closes the store."""
        self.store.close()

    def _check_left(self, kept: Sequence[Taught], rejections: Rejections, early: str) -> None:
        learned = {each.label for each in kept if each.row.part == "train" and each.is_learned}
        if len(learned) > 1 or (learned and self.job.task.kind != "classification"):
            return
        strays = Counter(row.label for row in self.store.rows() if row.label and label_in(self.job, row.label) is None)
        if strays:
            named = ", ".join(f"{label[:40]!r} ({count} texts)" for label, count in strays.most_common(5))
            raise ConfigError(
                f"{self.job.name} has texts with labels that its task does not name: {named}",
                remedy="Name them under `task: labels:`",
            )
        if learned:
            return  # training says what is missing
        if early:
            raise ConfigError(
                f"nothing of {self.job.name} can be learned yet: {early}",
                remedy="What was answered is kept; mend it, or allow more, and run the job again",
            )
        reasons = ", ".join(f"{count} x {reason}" for reason, count in rejections.counted().items())
        raise ConfigError(
            f"no row of {self.job.name} is left to learn from: {reasons or 'there was none'}",
            remedy=f"Each row's reason stands in {self.store.path}; loosen `filter`, or mend the source",
        )

    def _write(self, kept: Sequence[Taught], card: JsonObject) -> list[Path]:
        folder = self.job.out_folder
        files = export(self.job, kept, folder)
        files.append(write_text(folder / "card.json", json.dumps(card, indent=1, ensure_ascii=False) + "\n"))
        files.append(write_text(folder / "CARD.md", card_text(card)))
        if self.job.export.recipes:
            files += write_recipes(self.job, folder)
        return files

    def _train(self, done: JobResult, kept: Sequence[Taught]) -> JobResult:
        job, log = self.job, self._places.students()
        current = _current(done.folder / student_file(job.name))
        versions = {each.version: each for each in log.versions(job.name)}
        if current is not None and (known := versions.get(current.card.version)) and known.state == "withdrawn":
            current = None  # it answers nothing: whoever can promise something takes its place
        version = self._next_version(versions, current)
        student = train(job, [each for each in kept if each.row.part == "train"], version)
        before = self._same_as_before(student, versions)
        if before is not None:
            student, known = before
            version, state = known.version, known.state
            reason = f"nothing new was learned; {known.facts.get('reason', '')}".rstrip("; ")
        else:
            path = _saved(student, done.folder / f"{job.name}.v{version}.student")
            state, reason = _promoted(job, student, current, kept)
            self._keep(log, student, path, state, reason)
            self.store.note("version", version)
            if state == "serving":
                _saved(student, done.folder / student_file(job.name))
        found = evaluate(job, student, kept)
        done = replace(done, student=student, version=version, state=state, reason=reason, evaluation=found)
        write_text(done.folder / "report.html", report_page(job, done, log))
        return done

    def _next_version(self, versions: Mapping[int, StudentVersion], current: AnyStudent | None) -> int:
        """Counted by the log, the job's folder and the file in use: whichever of them is lost, no proof is free."""
        noted = self.store.fact("version")
        own = current.card.version if current is not None else 0
        return max(0, *versions, noted if isinstance(noted, int) else 0, own) + 1

    def _same_as_before(
        self, student: AnyStudent, versions: Mapping[int, StudentVersion]
    ) -> tuple[AnyStudent, StudentVersion] | None:
        """The newest version, if it was made of the same rows for the same task and promise: it is not proven again."""
        if not versions:
            return None
        known = versions[max(versions)]
        before = _current(Path(known.path))
        if before is None or before.card.data_hash != student.card.data_hash or before.task != student.task:
            return None
        stated = known.facts.get("promise")
        return (before, known) if stated == self.job.promise.model_dump() else None

    def _keep(self, log: StudentLog, student: AnyStudent, path: Path, state: State, reason: str) -> None:
        if state == "serving":
            for each in log.versions(student.card.name):
                if each.state == "serving":
                    log.change_state(each.student, each.version, "retired")
        facts: JsonObject = {
            "certificate": asdict(student.certificate),
            "promise": self.job.promise.model_dump(),
            "coverage": student.card.measured.get("coverage"),
            "agreement": student.card.measured.get("agreement_with_teacher"),
            "rows": student.card.rows,
            "reason": reason,
        }
        log.keep_version(student.card.name, student.card.version, state, path, facts)


async def run_job(
    job: DistillJob,
    fleet: Orchestrator,
    *,
    students: str | Path = STUDENTS_PATH,
    decisions: str | Path = DECISIONS_PATH,
    on_progress: Progress = lambda *_: None,
    with_traffic: bool = False,
) -> JobResult:
    """Does a job from end to end; what an earlier run did is not done again.

    Args:
        job: What is to be done.
        fleet: Who teaches; its memory is not used.
        students: Where versions of students and what teachers said in traffic are kept.
        decisions: The decision log, for jobs that collect from it.
        on_progress: Told how far each stage is.
        with_traffic: Also learn from what the fleet answered in traffic.

    Returns:
        What came of it.

    Raises:
        ConfigError: Nothing can be collected or learned; what was paid for stays in the job's folder.
    """
    log = StudentLog(students)
    run = JobRun(
        job,
        fleet,
        Places(lambda: log, lambda: DecisionLog(decisions)),
        on_progress=on_progress,
        with_traffic=with_traffic,
    )
    try:
        await run.prepare()
        return await run.run()
    finally:
        run.close()
        log.close()


def check_job(job: DistillJob) -> None:
    """What can be known to be wrong before anything is paid. Raises `ConfigError`."""
    needed = ["sklearn", "scipy"] if job.task.kind != "generation" else []
    needed += ["datasketch"] if job.filter.near_duplicates is not None else []
    needed += ["pyarrow"] if "parquet" in job.export.formats else []
    need_packages("the job", "train", needed, otherwise=", or leave out what needs them")
    for name in job.filter.evaluation:
        next(iter(read_table(job.folder / name, job.filter.evaluation_text)), None)
    if job.promise.against == "gold" and not any(source.gold for source in job.collect):
        raise ConfigError(
            "promise.against: gold needs right answers, and no source names a column of them",
            remedy="State `gold: COLUMN` in a source, or promise agreement with the teacher",
        )


def train(job: DistillJob, rows: Sequence[Taught], version: int) -> AnyStudent:
    """The student of these rows. Raises `ConfigError` where the rows allow none, or the extra `train` is missing."""
    try:
        from orchestrator.students.training import TrainingError, train_student
        from orchestrator.students.training.extract import RecordedText, train_extractor
    except ImportError:
        raise ConfigError("training needs scikit-learn", remedy="pip install 'compound-orchestrator[train]'") from None
    promise = AgreementPromise(**job.promise.model_dump())
    try:
        if job.task.kind == "classification":
            texts = [labelled_text(each) for each in rows]
            return train_student(texts, job.task.as_task(), promise, name=job.name, version=version, seed=job.seed)
        records = [
            RecordedText(
                each.row.text,
                json.loads(each.label),
                group_of(each.row),
                each.teacher,
                each.row.is_synthetic,
                each.is_learned,
                read_record(label_in(job, each.row.gold) or ""),
            )
            for each in rows
        ]
        return train_extractor(records, job.task.as_task(), promise, name=job.name, version=version, seed=job.seed)
    except TrainingError as error:
        raise ConfigError(str(error), remedy=error.remedy) from None
    except ImportError:
        raise ConfigError(
            "training needs scikit-learn and scipy", remedy="pip install 'compound-orchestrator[train]'"
        ) from None


def _with_traffic(job: DistillJob) -> DistillJob:
    if any(source.traffic is not None for source in job.collect):
        return job
    added = job.model_copy(update={"collect": [*job.collect, SourceConfig(traffic=TRAFFIC_S)]})
    added._folder = job.folder
    return added


def _verified_synthetic(job: DistillJob, taught: Sequence[Taught], rejections: Rejections) -> list[Taught]:
    """A paraphrase must have its parent's answer, and a hard negative another."""
    labels = {each.row.id: each.label for each in taught}
    kept = []
    for each in taught:
        parent = labels.get(each.row.parent) if each.row.parent is not None else None
        if job.task.kind == "generation":
            kept.append(each)  # free answers to a text and its paraphrase are never equal
        elif each.row.kind == "paraphrase" and each.label != parent:
            rejections.add(each.row.id, "paraphrase: it is answered otherwise than what it was made of")
        elif each.row.kind == "negative" and each.label == parent:
            rejections.add(each.row.id, "hard negative: it is answered like what it was made of")
        else:
            kept.append(each)
    return kept


def _promoted(
    job: DistillJob, student: AnyStudent, current: AnyStudent | None, kept: Sequence[Taught]
) -> tuple[State, str]:
    """What becomes of a new student, and why."""
    if not isinstance(student.certificate, AgreementCertificate):
        needed = student.certificate.labels_needed
        more = "" if needed is None else f"; about {needed} labelled texts would do"
        return "refused", f"{student.certificate.reason}{more}"
    if current is None or not isinstance(current.certificate, AgreementCertificate):
        return "serving", "it is the first that can promise anything"
    if isinstance(current, Student) != isinstance(student, Student):
        return "serving", "the one before it answered another kind of task"
    tested = [each for each in kept if each.row.part == "test"]
    found = compare_students(outcomes_of(student, tested), outcomes_of(current, tested), 1.0 - job.promise.agreement)
    difference = f"mean difference of loss {found.mean_difference:+.4f}, p {found.p_value:.3f}"
    told = f"on {found.texts} held-out texts ({difference})"
    if found.is_no_worse:
        return "serving", f"it is no worse than the one before it {told}"
    return "candidate", f"that it is no worse than the one in use is not shown yet {told}"


def _current(path: Path) -> AnyStudent | None:
    if not path.exists():
        return None
    try:
        return load_student(path)
    except StudentFileError:
        return None  # a damaged one is replaced


def _saved(student: AnyStudent, path: Path) -> Path:
    try:
        return save_student(student, path)
    except StudentFileError as error:
        raise ConfigError(str(error), remedy=error.remedy) from None


def _prices(fleet: Orchestrator) -> JsonObject:
    return {
        name: {"input": backend.profile.input_usd_per_mtok, "output": backend.profile.output_usd_per_mtok}
        for name, backend in fleet.backends.items()
    }


def report_of(job: DistillJob, places: Places) -> tuple[JobResult, Path]:
    """The report of the student in use, written anew; nobody is asked.

    Raises `ConfigError` where the job has no student yet.
    """
    if not (job.out_folder / "job.db").exists():
        raise ConfigError(f"{job.name} has not run yet", remedy="orchestrator distill JOB.yaml")
    store = JobStore(job.out_folder)
    try:
        rows = store.rows()
        taught, _ = taught_rows(job, rows, store.lessons())
        spent = store.spent_usd()
    finally:
        store.close()
    log = places.students()
    versions = log.versions(job.name)
    try:
        path = job.out_folder / student_file(job.name)
        student = load_student(path if path.exists() or not versions else versions[-1].path)
    except StudentFileError as error:
        raise ConfigError(str(error), remedy=error.remedy) from None
    learned = {row.id for row in rows if row.part == "train" and not row.reason}
    kept = [each for each in taught if each.row.part == "test" or each.row.id in learned]
    rejections = Rejections({row.id: row.reason for row in rows if row.reason})
    known = next((each for each in versions if each.version == student.card.version), None)
    done = JobResult(
        job.out_folder,
        len(rows),
        len(kept),
        rejections.counted(),
        spent,
        "",
        (),
        student,
        student.card.version,
        known.state if known is not None else "serving",
        str(known.facts.get("reason", "")) if known is not None else "it is not in the log of students",
        evaluate(job, student, kept),
    )
    page = write_text(job.out_folder / "report.html", report_page(job, done, log))
    return done, page
