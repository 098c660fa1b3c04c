"""A student that gives one of the labels that it learned, or abstains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from orchestrator.jsontypes import JsonObject
from orchestrator.students.acceptor import Acceptor, NoveltyGate, References, signals_of
from orchestrator.students.agreement import AgreementCertificate, NoAgreement
from orchestrator.students.linear_model import LinearModel
from orchestrator.students.task import StudentTask
from orchestrator.students.tokens import MAX_CHARS, tokens_of

NEVER = 2.0  # a threshold that no score reaches


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a student says of a text.

    Attributes:
        answer: The label, or the fields as JSON: what a teacher would have answered.
        p_agreement: P(the teacher would say the same), in [0, 1].
        is_accepted: Whether the student may answer; otherwise its teacher should.
        why_not: What kept it from answering; empty where it may.
        label: The label behind the answer, if it is one.
        is_novel: Whether the text is unlike all that the student learned from.
    """

    answer: str
    p_agreement: float
    is_accepted: bool
    why_not: str = ""
    label: str = ""
    is_novel: bool = False


@dataclass(frozen=True, slots=True)
class StudentCard:
    """What is to be known of a student.

    Attributes:
        name: Of the task.
        version: Counted from 1 with every student of the task.
        created: ISO 8601, UTC.
        teachers: Who labelled its texts, and how many each.
        rows: How many texts it was trained on.
        chosen: What model selection chose.
        measured: Out-of-fold figures: accuracy against the teacher, against gold where known, coverage.
        data_hash: Names the training texts and labels.
        notes: Further facts, as JSON.
    """

    name: str
    version: int = 1
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    teachers: Mapping[str, int] = field(default_factory=dict)
    rows: int = 0
    chosen: JsonObject = field(default_factory=dict)
    measured: JsonObject = field(default_factory=dict)
    data_hash: str = ""
    notes: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Student:
    """Gives labels to texts of its task.

    Attributes:
        task: Which queries are its own, and how its answers are written.
        labels: What it can say; `model` and `gate` speak of them by index.
        model: Reads texts.
        references: Texts like which others must be.
        gate: How like.
        acceptor: How probable agreement is.
        certificate: What was proven, or why nothing could be.
        card: Where it comes from.
        never: Labels that it must not give any longer, because their meaning drifted.

    Example:
        >>> from orchestrator.students import AgreementPromise, StudentTask
        >>> from orchestrator.students.training import LabelledText, train_student
        >>> pairs = ("my parcel is late", "post"), ("refund the invoice", "money")
        >>> rows = [LabelledText(f"{text}, number {n}", label) for n in range(60) for text, label in pairs]
        >>> student = train_student(rows, StudentTask(), AgreementPromise(0.8))
        >>> student.predict("my parcel is late, number 7").answer
        'post'
    """

    task: StudentTask
    labels: tuple[str, ...]
    model: LinearModel
    references: References
    gate: NoveltyGate
    acceptor: Acceptor
    certificate: AgreementCertificate | NoAgreement
    card: StudentCard
    never: frozenset[str] = frozenset()

    @property
    def threshold(self) -> float:
        """What a score must reach; above 1 where nothing was proven, so that it always abstains."""
        return self.certificate.threshold if isinstance(self.certificate, AgreementCertificate) else NEVER

    def predict(self, text: str) -> Prediction:
        """What it says of one text, without the words of the task around it."""
        tokens = tokens_of(text)
        if len(text) > MAX_CHARS or len(tokens) > self.gate.longest:
            return Prediction("", 0.0, False, "the text is longer than those that it learned from", is_novel=True)
        index, signals = signals_of(self.model.read_tokens(tokens), self.references)
        label, score = self.labels[index], self.acceptor.score(signals)
        why_not, is_novel = "", self.gate.is_novel(index, signals)
        if isinstance(self.certificate, NoAgreement):
            why_not = "no agreement with its teacher could be proven"
        elif label in self.never:
            why_not = f"the label {label!r} drifted"
        elif is_novel:
            why_not = "the text is unlike those that it learned from"
        elif score < self.threshold:
            why_not = f"agreement is too improbable ({score:.2f}, {self.threshold:.2f} is needed)"
        return Prediction(self.task.answer_of(label), score, not why_not, why_not, label, is_novel)

    def warm(self) -> None:
        """Works out beforehand what its words add, which else is done as they turn up (about 0.1 s)."""
        self.model.warm()
