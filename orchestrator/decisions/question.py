"""What is asked, and what is answered: the same whoever decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from orchestrator.errors import InvalidQuery
from orchestrator.types import Usage

Kind = Literal["predicate", "choice", "score"]
PREDICATE = ("yes", "no")
MAX_OPTIONS, MAX_LEVELS = 255, 10


@dataclass(frozen=True, slots=True)
class Question:
    """`choice` is one of several `options` (with what each means, or ""), `score` one of levels from the lowest to the
    highest, `predicate` yes or no.

    Raises `InvalidQuery` on too few or too many options.
    """

    ask: str
    kind: Kind = "predicate"
    options: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind == "predicate":
            return
        most = MAX_LEVELS if self.kind == "score" else MAX_OPTIONS
        if not 2 <= len(self.options) <= most:
            raise InvalidQuery(
                f"a {self.kind} needs 2 to {most} options, not {len(self.options)}", remedy="Name them in `options`"
            )

    @property
    def labels(self) -> list[str]:
        """The options of a question; yes and no where it names none."""
        return list(PREDICATE) if self.kind == "predicate" else list(self.options)


@dataclass(frozen=True, slots=True)
class Decision:
    """P(each label), in the order of the question's labels; they add up to 1.

    `is_calibrated`: the numbers were held against known answers.
    """

    kind: Kind
    probabilities: Mapping[str, float]
    is_calibrated: bool = False

    @property
    def p(self) -> float:
        """P(yes) of a predicate; of others P(the likeliest label)."""
        return self.probabilities["yes"] if self.kind == "predicate" else max(self.probabilities.values())

    @property
    def choice(self) -> str:
        """The likeliest label."""
        return max(self.probabilities, key=lambda label: self.probabilities[label])

    @property
    def score(self) -> float:
        """The expected level, in [0, 1] from the lowest to the highest."""
        return sum(level * p for level, p in enumerate(self.probabilities.values())) / max(
            len(self.probabilities) - 1, 1
        )


@dataclass(frozen=True, slots=True)
class Decisions:
    """The answers by the questions' names, and what they cost: only reading is paid, for the most part."""

    answers: Mapping[str, Decision]
    usage: Usage
    model: str


def decision(question: Question, weights: Mapping[str, float]) -> Decision:
    """Weights, at least 0, as probabilities. Raises `ValueError` if they are none."""
    found = [max(float(weights.get(label, 0.0)), 0.0) for label in question.labels]
    total = sum(found)
    if not 0.0 < total < float("inf"):
        raise ValueError("no option has any weight")
    return Decision(
        question.kind, {label: weight / total for label, weight in zip(question.labels, found, strict=True)}
    )


def yes_or_no(question: Question, p: float) -> Decision:
    """A stated P(yes). Raises `ValueError` on what is no probability."""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"a probability of {p}")
    return decision(question, {"yes": p, "no": 1.0 - p})
