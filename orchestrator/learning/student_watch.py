"""Watches students in use: counts, audits by their teachers, drift, and what teachers say where students are silent.

A share of the answers that a student gives is asked of its teacher afterwards. The disagreements feed a sequential test
(`orchestrator.students.drift`) that stops single labels, or the whole student, when they no longer mean what they did.
What people or checks say of an answer is kept, too, and counted apart: who complains is no random sample.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sqlite3
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from orchestrator.backends.base import Backend, Request
from orchestrator.backends.local.student import Standing, StudentBackend, text_in
from orchestrator.config.model_entry import StudentAuditConfig
from orchestrator.errors import BackendError, StorageError
from orchestrator.learning.audit_money import AuditMoney
from orchestrator.router import Route
from orchestrator.storage.student_log import Source, StudentAudit, StudentCounts, StudentLog, TaughtText
from orchestrator.types import Answer

if TYPE_CHECKING:
    from orchestrator.students import Prediction, StudentTask
    from orchestrator.students.drift import DriftMonitor, DriftTest

FLUSH_S = 2.0
MAX_SEEN, MAX_TAUGHT = 20_000, 10_000
FEW_WORDS = 6  # an answer so short that holds no known label is another label
FEWEST_NOVEL = 0.05  # the share of new texts that is no drift in any case
log = logging.getLogger(__name__)


@dataclass
class _Watched:
    """One student in use."""

    backend: StudentBackend
    settings: StudentAuditConfig
    money: AuditMoney
    novelty: DriftTest
    version: int
    counts: StudentCounts = field(default_factory=StudentCounts)
    audits: int = -1  # how many were judged
    seen: set[int] = field(default_factory=set)  # of texts: who repeats one text does not make it many

    @property
    def name(self) -> str:
        return self.backend.student.card.name


class StudentWatch:
    """The students of one fleet, and the tasks for which there will be some.

    Args:
        kept: Where all of it is kept.
        students: By the name that the fleet gives them.
        tasks: Tasks by name, whose answers by other models are kept as what the next student learns from.
        backends: The whole fleet: teachers are asked of it.
        rng: Chooses which answers are audited.
    """

    def __init__(
        self,
        kept: StudentLog,
        students: Mapping[str, StudentBackend],
        tasks: Mapping[str, StudentTask],
        backends: Mapping[str, Backend],
        rng: random.Random | None = None,
    ) -> None:
        self.kept = kept
        self._tasks = dict(tasks)
        self._rng = rng or random.Random()
        self._backends = backends
        self._running: set[asyncio.Task[object]] = set()
        self._flushing: asyncio.Task[None] | None = None
        self._taught: dict[str, list[TaughtText]] = {}
        self._watched = {name: self._watch(each) for name, each in students.items()}

    def _watch(self, backend: StudentBackend) -> _Watched:
        name = backend.student.card.name
        money = AuditMoney(
            self._backends, backend.audits.usd_per_day, lambda moment: self.kept.audit_usd_since(moment, name)
        )
        watched = _Watched(backend, backend.audits, money, _novelty(backend), backend.student.card.version)
        self._judge(watched)
        return watched

    def consider(self, answer: Answer, request: Request, scope: str) -> None:
        """Takes note of an answer of the fleet; called in the event loop, and never waits."""
        for name, watched in self._watched.items():
            if (said := watched.backend.predict(request)) is not None:
                self._note(name, watched, said, answer, request)
        if answer.abstained or answer.model in self._watched or not self._tasks:
            return
        for name, task in self._tasks.items():
            text = text_in(request, task)
            if text is not None:
                row = TaughtText(
                    text, answer.text, answer.model, answer.confidence, answer.cost_usd or 0.0, scope, answer.id
                )
                self._taught.setdefault(name, []).append(row)
                self._flush_soon()

    def _note(self, name: str, watched: _Watched, said: Prediction, answer: Answer, request: Request) -> None:
        if watched.version != watched.backend.student.card.version:  # its file was replaced
            self._start(self._taken_up(watched))
        given = answer.model == name
        counts = watched.counts
        watched.counts = StudentCounts(counts.own + 1, counts.given + given, counts.novel + said.is_novel)
        text = hash(request.question)
        if text not in watched.seen:
            if len(watched.seen) >= MAX_SEEN:
                watched.seen.clear()
            watched.seen.add(text)
            watched.novelty.observe(said.is_novel)
        if watched.novelty.is_alarm and watched.backend.standing.threshold is None:
            self._tighten(watched)
        self._flush_soon()
        if any(each.model == name and each.ruled_out for each in answer.candidates):
            self._start(self._keep(watched, self._audit_of(watched, answer, said, "check", disagrees=True)))
        if given and self._rng.random() < watched.settings.share:
            blank = self._audit_of(watched, answer, said, "audit", disagrees=False)
            self._start(self._audit(watched, said, answer, request, blank))

    def feedback(self, answer: str, scores: Mapping[str, float]) -> None:
        """Keeps what people said of students' answers, by model; may block."""
        for name in scores.keys() & self._watched.keys():
            watched = self._watched[name]
            audit = StudentAudit(answer, watched.name, watched.version, "", scores[name] < 0.5, 0.0, "feedback")
            self.kept.audit(audit)

    async def aclose(self) -> None:
        """Waits for audits that are running, keeps what is counted, and closes the log."""
        await asyncio.gather(*self._running, return_exceptions=True)
        if self._flushing is not None:
            self._flushing.cancel()
        await asyncio.to_thread(self._flush)
        await asyncio.to_thread(self.kept.close)

    def _start(self, job: Coroutine[None, None, object]) -> None:
        task = asyncio.ensure_future(job)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    @staticmethod
    def _audit_of(
        watched: _Watched, answer: Answer, said: Prediction, source: Source, *, disagrees: bool
    ) -> StudentAudit:
        """Of the version that answered: its file may be replaced while the teacher is asked."""
        return StudentAudit(answer.id, watched.name, watched.version, said.label, disagrees, 0.0, source)

    async def _audit(
        self, watched: _Watched, said: Prediction, answer: Answer, request: Request, blank: StudentAudit
    ) -> None:
        backend = watched.backend
        teacher = self._teacher(watched, answer.route)
        if teacher is None:
            return
        try:
            asked = await watched.money.ask(teacher, request)
        except BackendError as error:
            log.info("a student could not be audited", extra={"student": watched.name, "reason": error.message})
            return
        if asked is None:
            return
        completion, usd = asked
        agrees = says_the_same(backend, said, completion.text or "")
        source: Source = "unclear" if agrees is None else "audit"  # what has no label says nothing of the student's
        if await self._keep(watched, replace(blank, disagrees=agrees is False, cost_usd=usd, source=source)):
            watched.money.logged(usd)
        await asyncio.to_thread(self._judge, watched)

    def _teacher(self, watched: _Watched, route: Route | None) -> str | None:
        """Whom to ask: who is named, else the best model of the route that is no student."""
        if watched.settings.teacher is not None:
            return watched.settings.teacher
        options = [] if route is None else [o for o in route.usable if o.model not in self._watched and o.p_success > 0]
        return max(options, key=lambda option: option.p_success).model if options else None

    async def _keep(self, watched: _Watched, audit: StudentAudit) -> bool:
        """Whether it stands in the log."""
        try:
            await asyncio.to_thread(self.kept.audit, audit)
        except (sqlite3.Error, StorageError) as error:
            log.error("an audit of %s was not kept: %s", watched.name, error)
            return False
        return True

    def _judge(self, watched: _Watched) -> None:
        """Reads all audits of the version, those of other processes, too, and stops what drifted; blocks."""
        card = watched.backend.student.card
        count = self.kept.audit_count(card.name, card.version)
        if count == watched.audits:
            return
        watched.audits = count
        monitor = self.monitor(watched.backend)
        before = watched.backend.standing
        never = frozenset(monitor.drifted_labels())
        if monitor.is_withdrawn and not before.is_withdrawn:
            log.warning("the student %s is withdrawn: it disagrees with its teacher", watched.name)
            self.kept.change_state(watched.name, watched.version, "withdrawn")
        for label in sorted(never - before.never):
            log.warning("the student %s no longer says %r: that label drifted", watched.name, label)
        watched.backend.withdraw(Standing(monitor.is_withdrawn, never, before.threshold))

    def monitor(self, backend: StudentBackend) -> DriftMonitor:
        """The test of a student in use, over all its audits; blocks."""
        card = backend.student.card
        return drift_monitor(backend, self.kept.audits(card.name, card.version))

    def _tighten(self, watched: _Watched) -> None:
        notes, before = watched.backend.student.card.notes, watched.backend.standing
        tighter = notes.get("tighter_threshold")
        if tighter is not None:
            log.warning("the texts of the student %s have changed; it must be surer now", watched.name)
            watched.backend.withdraw(Standing(before.is_withdrawn, before.never, float(tighter)))

    async def _taken_up(self, watched: _Watched) -> None:
        """A new version answers now: its counts and tests begin anew."""
        version = watched.backend.student.card.version
        if watched.version != version:
            counts, watched.counts = watched.counts, StudentCounts()
            before, watched.version = watched.version, version
            watched.novelty, watched.audits = _novelty(watched.backend), -1
            await asyncio.to_thread(self.kept.count, watched.name, before, counts)
            await asyncio.to_thread(self._judge, watched)

    def _flush_soon(self) -> None:
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.ensure_future(self._flush_later())

    async def _flush_later(self) -> None:
        await asyncio.sleep(FLUSH_S)
        await asyncio.to_thread(self._flush)

    def _flush(self) -> None:
        """Keeps what is counted and taught, and looks what other processes found; what fails is kept for later."""
        try:
            for watched in self._watched.values():
                counts, watched.counts = watched.counts, StudentCounts()
                if counts.own:
                    try:
                        self.kept.count(watched.name, watched.version, counts)
                    except (sqlite3.Error, StorageError):
                        watched.counts = watched.counts.plus(counts)
                        raise
                self._judge(watched)
            for name in list(self._taught):
                rows = self._taught.pop(name)
                try:
                    self.kept.teach(name, rows)
                except (sqlite3.Error, StorageError):
                    self._taught.setdefault(name, [])[:0] = rows[-MAX_TAUGHT:]
                    raise
        except (sqlite3.Error, StorageError) as error:
            log.error("what students did was not kept: %s", error)

    def forget(self, scope: str) -> None:
        """Deletes what teachers said in a scope, also what is not written yet; may block."""
        for rows in self._taught.values():
            rows[:] = [row for row in rows if row.scope != scope]
        self.kept.forget(scope)


def drift_monitor(backend: StudentBackend, audits: list[StudentAudit]) -> DriftMonitor:
    """The test of a student after these audits."""
    from orchestrator.students import AgreementCertificate  # numpy
    from orchestrator.students.drift import DriftMonitor

    student = backend.student
    certificate = student.certificate
    allowed = 1.0 - certificate.promise.agreement if isinstance(certificate, AgreementCertificate) else 0.5
    monitor = DriftMonitor(allowed, student.card.notes.get("allowed_by_label", {}))
    for audit in audits:
        monitor.observe(audit.label, audit.disagrees)
    return monitor


def says_the_same(backend: StudentBackend, said: Prediction, answer: str) -> bool | None:
    """Whether a teacher's answer is what the student said; `None` if it is none of the student's labels."""
    from orchestrator.students import Student  # numpy
    from orchestrator.students.labels import is_same_record, read_label, read_record

    student = backend.student
    if isinstance(student, Student):
        label = read_label(answer, student.labels, student.task)
        if label is None:
            return False if 0 < len(answer.split()) <= FEW_WORDS else None
        return label.casefold() == said.label.casefold()
    record = read_record(answer)
    return None if record is None else is_same_record(read_record(said.answer) or {}, record, list(student.fields))


def _novelty(backend: StudentBackend) -> DriftTest:
    from orchestrator.students.drift import DriftTest  # numpy

    usual = float(backend.student.card.notes.get("novel_share", 0.0))
    return DriftTest(min(max(3 * usual, FEWEST_NOVEL), 0.5))
