"""What a strategy can ask for."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.types import Way


@dataclass(frozen=True, slots=True)
class Draft:
    """Ask `model` for an answer of its own.

    Those of `sample` 1 and above are drawn with some randomness: the model has been asked already.

    One call may bring `several` answers, the samples from `sample` on: the prompt is read and paid once. With
    `way="program"` the model writes a program that prints the answer, which the sandbox runs.
    """

    model: str
    sample: int = 0
    several: int = 1
    way: Way = "words"


@dataclass(frozen=True, slots=True)
class Critique:
    """Ask `model` what is wrong with candidate number `candidate`, by the criteria of the query.

    What it finds is a verdict, never decisive.
    """

    candidate: int
    model: str


@dataclass(frozen=True, slots=True)
class Revise:
    """Ask `model` to mend candidate number `candidate` by its verdicts' feedback; the old one stays in play.

    With `beside`, in the light of those candidates (a debate). Several revisions of one candidate differ in `sample`.
    """

    candidate: int
    model: str
    beside: tuple[int, ...] = ()
    sample: int = 0


@dataclass(frozen=True, slots=True)
class Combine:
    """Ask `model` for one answer out of the candidates `of`."""

    of: tuple[int, ...]
    model: str


@dataclass(frozen=True, slots=True)
class Compare:
    """Ask `model` which of two candidates answers the question better; `first` is shown first.

    Two, one in each order, make one comparison: a preference that turns with the order speaks for nobody. What it
    finds are verdicts on both, never decisive.
    """

    first: int
    second: int
    model: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Nothing more is worth buying; `reason` goes into the answer.

    With `abstain`, the best candidate is not believable enough to be given.
    """

    reason: str
    abstain: bool = False


ModelAction = Draft | Critique | Revise | Combine | Compare
Action = ModelAction | Stop
