"""What came of a job."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from orchestrator.distill.evaluate import AnyStudent, Evaluation
from orchestrator.jsontypes import JsonObject


@dataclass(frozen=True)
class JobResult:
    """What came of a job.

    Attributes:
        folder: Where everything lies.
        collected: How many texts there are.
        kept: How many rows were left, to learn from and to test on.
        rejected: How many rows each reason took.
        spent_usd: What the job cost, all runs together.
        ended_early: Why teaching ended before every text was answered; empty where it did not.
        files: What was exported.
        student: The student, `None` where none is trained here.
        version: Its number.
        state: What became of it: `serving`, `candidate`, or `refused`.
        reason: Why.
        evaluation: On the held-out texts.
    """

    folder: Path
    collected: int
    kept: int
    rejected: dict[str, int]
    spent_usd: float
    ended_early: str
    files: tuple[Path, ...]
    student: AnyStudent | None = None
    version: int = 0
    state: str = ""
    reason: str = ""
    evaluation: Evaluation | None = None

    def as_dict(self) -> JsonObject:
        """As JSON."""
        found: JsonObject = {
            "folder": str(self.folder),
            "collected": self.collected,
            "kept": self.kept,
            "rejected": self.rejected,
            "spent_usd": round(self.spent_usd, 6),
            "ended_early": self.ended_early,
            "files": [str(path) for path in self.files],
            "version": self.version or None,
            "state": self.state,
            "reason": self.reason,
            "evaluation": None if self.evaluation is None else self.evaluation.as_dict(),
        }
        if self.student is not None:
            is_there = self.state == "serving"
            found["student"] = str(self.folder / student_file(self.student.card.name)) if is_there else None
            found["certificate"] = asdict(self.student.certificate)
            found["measured"] = dict(self.student.card.measured)
        return found


def student_file(name: str) -> str:
    """The file of the student in use."""
    return f"{name}.student"
