"""A student, its teacher, and both together, on texts that nobody trained on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from orchestrator.config.distill_job import DistillJob
from orchestrator.distill.answers import label_in
from orchestrator.distill.rows import Taught
from orchestrator.jsontypes import JsonObject
from orchestrator.router.guarantee.certificate import clopper_pearson_upper
from orchestrator.students import Prediction, Student
from orchestrator.students.extraction import ExtractionStudent
from orchestrator.students.labels import is_same_record, read_record
from orchestrator.students.promotion import StudentOutcome

AnyStudent = Student | ExtractionStudent
INTERVAL_DELTA = 0.05


@dataclass(frozen=True, slots=True)
class HeldOutPoint:
    """One held-out text: what was said, how surely, and what was right."""

    score: float
    is_given: bool
    agrees: bool
    student_is_right: bool | None
    teacher_is_right: bool | None
    teacher_usd: float


@dataclass(frozen=True)
class Evaluation:
    """Figures of the held-out texts; shares in [0, 1], `None` where nothing is known.

    Attributes:
        texts: How many there are.
        coverage: The share that the student answers.
        agreement: Of those, how many its teacher answers in the same way.
        agreement_low: The exact lower 95 % bound of that.
        student_accuracy: Against gold, without abstaining.
        teacher_accuracy: Against gold.
        pair_accuracy: The student where it answers, else the teacher, against gold.
        teacher_usd: What the teacher costs for a text, in the mean.
        pair_usd: What both together cost.
        points: One for each text.
    """

    texts: int
    coverage: float
    agreement: float | None
    agreement_low: float | None
    student_accuracy: float | None
    teacher_accuracy: float | None
    pair_accuracy: float | None
    teacher_usd: float
    pair_usd: float
    points: tuple[HeldOutPoint, ...]

    def as_dict(self) -> JsonObject:
        """Without the single points."""
        found = asdict(self)
        del found["points"]
        return {name: round(value, 6) if isinstance(value, float) else value for name, value in found.items()}


def evaluate(job: DistillJob, student: AnyStudent, rows: Sequence[Taught]) -> Evaluation:
    """Asks the student all held-out rows."""
    tested = [each for each in rows if each.row.part == "test"]
    points = tuple(_point(job, student, each) for each in tested)
    given = [point for point in points if point.is_given]
    wrong = sum(not point.agrees for point in given)
    pair = [p.student_is_right if p.is_given else p.teacher_is_right for p in points if p.teacher_is_right is not None]
    usd = [point.teacher_usd for point in points]
    return Evaluation(
        len(points),
        len(given) / max(len(points), 1),
        1.0 - wrong / len(given) if given else None,
        1.0 - clopper_pearson_upper(wrong, len(given), INTERVAL_DELTA) if given else None,
        _share([p.student_is_right for p in points]),
        _share([p.teacher_is_right for p in points]),
        _share(pair),
        sum(usd) / max(len(usd), 1),
        sum(point.teacher_usd for point in points if not point.is_given) / max(len(usd), 1),
        points,
    )


def outcomes_of(student: AnyStudent, rows: Sequence[Taught]) -> list[StudentOutcome]:
    """What the student would do with each row."""
    said = [student.predict(each.row.text) for each in rows]
    return [
        StudentOutcome(prediction.is_accepted, says_label(student, prediction, each.label))
        for prediction, each in zip(said, rows, strict=True)
    ]


def says_label(student: AnyStudent, said: Prediction, label: str) -> bool:
    """Whether a student says what a row is taught by."""
    if isinstance(student, Student):
        return said.label == label
    return is_same_record(read_record(said.answer) or {}, json.loads(label), list(student.fields))


def _point(job: DistillJob, student: AnyStudent, taught: Taught) -> HeldOutPoint:
    said = student.predict(taught.row.text)
    gold = label_in(job, taught.row.gold)
    return HeldOutPoint(
        said.p_agreement,
        said.is_accepted,
        says_label(student, said, taught.label),
        None if gold is None else says_label(student, said, gold),
        None if gold is None else _is_same(job, taught.label, gold),
        taught.cost_usd,
    )


def _is_same(job: DistillJob, one: str, other: str) -> bool:
    if job.task.kind == "extraction":
        return is_same_record(json.loads(one), json.loads(other), sorted(job.task.fields))
    return one == other


def _share(values: Sequence[bool | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
