"""What goes through a job: texts, and what teachers said of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from orchestrator.jsontypes import JsonObject, JsonValue

Part = Literal["", "train", "test"]


@dataclass(frozen=True, slots=True)
class TextRow:
    """One text.

    Attributes:
        id: Of the row in its job.
        text: Without the words of the task around it.
        source: Where it came from, in words.
        gold: The right answer, where it is known.
        label: What a teacher had answered before the job began.
        confidence: How sure that teacher was.
        teacher: Who that was.
        group: What belongs together.
        time: When it was; sorts.
        parent: The row that a synthetic text was made of.
        kind: What a synthetic text is: `paraphrase` or `negative`; empty for a real one.
        reason: Why it was rejected; empty while it is not.
        part: What it is for, once that is decided.
    """

    id: int
    text: str
    source: str
    gold: str | None = None
    label: str | None = None
    confidence: float = 1.0
    teacher: str = ""
    group: str = ""
    time: str = ""
    parent: int | None = None
    kind: str = ""
    reason: str = ""
    part: Part = ""

    @property
    def is_synthetic(self) -> bool:
        """Whether a model wrote the text."""
        return self.parent is not None


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one teacher, or the fleet's search, answered to one row.

    Attributes:
        row: The row's id.
        teacher: A model, or `fleet`.
        answer: The text; `None` where there is none, `error` says why.
        confidence: P(correct), in [0, 1].
        cost_usd: What it cost.
        model: The model whose answer was given.
        verdicts: What checks said.
        drafts: Other answers of the search, with what is believed of them: `{"text", "model", "confidence"}`.
        error: Why there is no answer.
    """

    row: int
    teacher: str
    answer: str | None
    confidence: float = 1.0
    cost_usd: float = 0.0
    model: str = ""
    verdicts: tuple[Mapping[str, JsonValue], ...] = ()
    drafts: tuple[Mapping[str, JsonValue], ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class Taught:
    """A row with the answer that it is taught by.

    Attributes:
        row: The text.
        answer: The answer as it was given.
        label: The label in it, or the record as JSON, or the answer itself.
        confidence: P(correct), in [0, 1].
        teacher: Who gave it.
        cost_usd: What it cost.
        drafts: Other answers, for pairs of preference.
        is_learned: Whether it is learned from and exported. What is not still counts when agreement is proven.
        corrected: The label that students learn instead, where this one is probably wrong.
    """

    row: TextRow
    answer: str
    label: str
    confidence: float
    teacher: str
    cost_usd: float = 0.0
    drafts: tuple[Mapping[str, JsonValue], ...] = ()
    is_learned: bool = True
    corrected: str = ""

    @property
    def is_exported(self) -> bool:
        """Whether it stands in the exported files."""
        if not self.answer:
            return False  # no student can be taught to say it
        return self.row.part == "test" or (self.row.part == "train" and self.is_learned and not self.corrected)


@dataclass
class Rejections:
    """Why rows were rejected, by id."""

    reasons: dict[int, str] = field(default_factory=dict)

    def add(self, row: int, reason: str) -> None:
        """The first reason of a row stands."""
        self.reasons.setdefault(row, reason)

    def counted(self) -> dict[str, int]:
        """How many rows each kind of reason took; the kind is what stands before the colon."""
        counts: dict[str, int] = {}
        for reason in self.reasons.values():
            kind = reason.split(":")[0]
            counts[kind] = counts.get(kind, 0) + 1
        return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def key_of(row: TextRow) -> str:
    """Names a row within a job, so that it is collected once; the same text with another label is another row."""
    named = f"{row.parent}\x1f{row.kind}\x1f{row.label}\x1f{row.text}"
    return hashlib.sha256(named.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def as_json(lesson: Lesson) -> JsonObject:
    """A lesson as it is kept."""
    return {
        "answer": lesson.answer,
        "model": lesson.model,
        "verdicts": [dict(each) for each in lesson.verdicts],
        "drafts": [dict(each) for each in lesson.drafts],
        "error": lesson.error,
    }
