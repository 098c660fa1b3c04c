"""A student as a model of the fleet: in this process, free, and silent where it may not speak."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.backends.base import LocalBackend, Request
from orchestrator.config.model_entry import StudentAuditConfig
from orchestrator.errors import ConfigError
from orchestrator.router import ModelProfile
from orchestrator.types import Completion, Usage

if TYPE_CHECKING:
    from orchestrator.students import Prediction, Student, StudentTask
    from orchestrator.students.extraction import ExtractionStudent

MAX_REMEMBERED_CHARS = 4_000
LOOK_AGAIN_S = 1.0  # how often its file is looked at
MAX_REMEMBERED = 1_024
log = logging.getLogger(__name__)
NOT_OWN = "the query is not of this student's task"
FEWEST_GOLD = 30


@dataclass(frozen=True, slots=True)
class Standing:
    """What became of a student in use. `threshold` is what its score must reach where that was raised."""

    is_withdrawn: bool = False
    never: frozenset[str] = frozenset()
    threshold: float | None = None


class StudentBackend(LocalBackend):
    """Answers queries of its task where agreement with its teacher was proven, and abstains from all others.

    The file may be replaced while it is in use: the new student answers from then on. Only single questions are a
    student's own: not conversations, tools, pictures, or several answers at once.
    """

    def __init__(self, name: str, path: str | Path, audits: StudentAuditConfig | None = None) -> None:
        super().__init__(
            ModelProfile(
                name, 0.0, 0.0, context_tokens=10_000_000, skill=0.5, output_tokens=8, ttft_s=0.0, tokens_per_s=1e6
            )
        )
        self.path = Path(path)
        self.audits = audits or StudentAuditConfig()
        self.standing = Standing()
        self._lock = threading.Lock()
        self._remembered: OrderedDict[str, Prediction] = OrderedDict()
        self._looked = time.monotonic()
        self._stamp = _stamp_of(self.path)
        self.student = _load(name, self.path)
        self.reading: threading.Thread | None = None  # of a new file

    @property
    def teacher_is_right(self) -> float:
        """P(the teacher's answer is right), in (0, 1]: against gold where enough is known, else as teachers stated."""
        measured, notes = self.student.card.measured, self.student.card.notes
        if measured.get("gold_rows", 0) >= FEWEST_GOLD:
            return float(measured["teacher_accuracy"])
        return float(notes.get("teacher_confidence", 1.0))

    def text_of(self, request: Request) -> str | None:
        """The text that a request is about, if it is one of the student's own task."""
        return text_in(request, self.student.task)

    def predict(self, request: Request) -> Prediction | None:
        """What the student says, or `None` if the request is not its own."""
        text = self.text_of(request)
        if text is None:
            return None
        with self._lock:
            known = self._remembered.get(text)
        if known is not None:
            return known
        student = self.student
        said = student.predict(text)
        with self._lock:
            if student is self.student and len(text) <= MAX_REMEMBERED_CHARS:
                self._remembered[text] = said
            while len(self._remembered) > MAX_REMEMBERED:
                self._remembered.popitem(last=False)
        return said

    def why_silent(self, said: Prediction, request: Request) -> str:
        """What keeps it from giving this answer; empty where nothing does."""
        if self.standing.is_withdrawn:
            return "it no longer agrees with its teacher, and is withdrawn"
        if said.why_not:
            return said.why_not
        if said.label in self.standing.never:
            return f"the label {said.label!r} drifted"
        if self.standing.threshold is not None and said.p_agreement < self.standing.threshold:
            return "its texts have changed, so that it must be surer than before"
        if request.schema is not None and not _is_json(said.answer):
            return "an answer in JSON is asked for, and it gives plain labels"
        return ""

    def estimate(self, request: Request) -> float | None:
        """P(correct) where it may answer: P(agreement) times P(the teacher is right); 0.0 where it may not."""
        self._look_again()
        said = self.predict(request)
        if said is None or self.why_silent(said, request):
            return 0.0
        return said.p_agreement * self.teacher_is_right

    async def complete(self, request: Request) -> Completion:
        """The student's answer, or an abstention that says why."""
        start = time.perf_counter()
        said = self.predict(request)
        why = NOT_OWN if said is None else self.why_silent(said, request)
        elapsed = time.perf_counter() - start
        if said is None or why:
            return Completion(self.profile.name, None, latency_s=elapsed, note=why)
        usage = Usage(output_tokens=max(len(said.answer) // 4, 1), estimated=True)
        p = said.p_agreement * self.teacher_is_right
        return Completion(self.profile.name, said.answer, usage, elapsed, confidence=p)

    def withdraw(self, standing: Standing) -> None:
        """Changes what it may still say, until its file is replaced."""
        self.standing = standing

    def _look_again(self) -> None:
        """Takes up a new file, at most once a second; it is read beside the queries."""
        now = time.monotonic()
        if now - self._looked < LOOK_AGAIN_S:
            return
        self._looked = now
        stamp = _stamp_of(self.path)
        if stamp is not None and stamp != self._stamp:
            self._stamp = stamp
            self.reading = threading.Thread(target=self._take_up, daemon=True)
            self.reading.start()

    def _take_up(self) -> None:
        """Reads the file; one that cannot be read leaves the old student in use."""
        try:
            student = _load(self.profile.name, self.path)
        except ConfigError as error:
            log.error("a new student cannot be used", extra={"student": self.profile.name, "reason": error.message})
            return
        with self._lock:
            self._remembered.clear()
            self.student, self.standing = student, Standing()


def text_in(request: Request, task: StudentTask) -> str | None:
    """The text inside a request that a student of this task might answer, else `None`."""
    if request.tools or request.parts or request.several > 1:
        return None
    roles = [message.role for message in request.messages]
    if roles.count("user") > 1 or "assistant" in roles or "tool" in roles:
        return None
    if [rule.strip() for rule in request.rules] != ([] if task.system is None else [task.system.strip()]):
        return None
    return task.text_of(request.question)


def _load(name: str, path: Path) -> Student | ExtractionStudent:
    from orchestrator.students import StudentFileError, load_student  # numpy

    try:
        student = load_student(path)
    except StudentFileError as error:
        raise ConfigError(f"models.{name}: {error}", remedy=error.remedy) from None
    threading.Thread(target=student.warm, daemon=True).start()
    return student


def _stamp_of(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _is_json(answer: str) -> bool:
    try:
        json.loads(answer)
    except ValueError:
        return False
    return True
