"""`verify`: checks a text that is there already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, PrivateAttr

from orchestrator.jsontypes import JsonMapping, JsonValue
from orchestrator.pipeline.checks.verifiers import verdict_of
from orchestrator.pipeline.expressions.types import BOOL, NUMBER, TEXT, ValueType, list_of, record
from orchestrator.pipeline.language.contracts import AnswerCheck, CheckContext, StepContext
from orchestrator.pipeline.language.fields import TextField
from orchestrator.pipeline.language.step import Step

if TYPE_CHECKING:
    from orchestrator.verifiers import Verdict

VERDICT = record(
    check=TEXT, passed=BOOL.maybe("a check may abstain"), score=NUMBER.maybe("a check may abstain"), feedback=TEXT
)


class VerifyStep(Step):
    """Holds a text against checks, one after the other; with `all: false` it stops at the first that fails.

    A text passes if a check could tell and none failed. Where none could tell, `score` is null, and `feedback` says
    why.
    """

    verb: ClassVar[str] = "verify"
    verify: Annotated[list[Any], Field(min_length=1)]
    """The checks, cheap and certain ones first."""
    text: TextField
    """What is checked."""
    question: TextField | None = None
    """What it answers."""
    all: bool = True
    """Make every check, also after one has failed."""
    _checks: Sequence[AnswerCheck] = PrivateAttr(default_factory=list)

    def gives(self, at: CheckContext) -> ValueType:
        self._checks = at.checks(self.verify, "verify")
        return record(passed=BOOL, score=NUMBER.maybe("no check could tell"), verdicts=list_of(VERDICT), feedback=TEXT)

    async def perform(self, running: StepContext, given: JsonMapping) -> JsonValue:
        question, text = given.get("question") or "", given["text"]
        verdicts: list[tuple[str, Verdict]] = []
        for check in self._checks:
            verdicts.append((check.name, await verdict_of(await check.verifier(running), question, text, running)))
            if verdicts[-1][1].passed is False and not self.all:
                break
        scores = [verdict.score for _, verdict in verdicts if verdict.score is not None]
        failed = [verdict for _, verdict in verdicts if verdict.passed is False]
        return {
            "passed": not failed and bool(scores),
            "score": min(scores, default=None),
            "verdicts": [
                {"check": name, "passed": v.passed, "score": v.score, "feedback": v.feedback} for name, v in verdicts
            ],
            "feedback": "; ".join(v.feedback for v in (failed if scores else [v for _, v in verdicts]) if v.feedback),
        }
