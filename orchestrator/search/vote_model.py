"""How votes count: the parameters of the belief, fitted to graded answers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

from orchestrator.search.guessing import REFERENCE_BITS

TABLES = ("pulls", "copying", "silence", "classes", "ability", "strays")
ANY_MODEL = "*"
CALLS = "calls:"  # how the key of a group of tool calls begins
NO_CALL, ONE_CALL, SEVERAL_CALLS = CALL_CLASSES = ("calls:none", "calls:one", "calls:several")
ONE_CLASS: tuple[tuple[str, float], ...] = ()
# Until outcomes say otherwise: most wrong calls are one call, whatever is right.
CALL_SHARES = ((NO_CALL, 0.2), (ONE_CALL, 0.5), (SEVERAL_CALLS, 0.3))
CALL_STRAYS = tuple(
    (ANY_MODEL, truth, said, p)
    for truth, of_truth in (
        (NO_CALL, (0.0, 0.8, 0.2)),
        (ONE_CALL, (0.25, 0.55, 0.2)),
        (SEVERAL_CALLS, (0.1, 0.4, 0.5)),
    )
    for said, p in zip(CALL_CLASSES, of_truth, strict=True)
)
MOST = 1_000.0  # any number of a vote model


@dataclass(frozen=True)
class VoteModel:
    """How drafts depend on each other. Defaults suit short exact answers; `calibrate` fits them to outcomes.

    `concentration` is that of an answer of ten bits; one of b bits has (b / 10)^`guessing` times as much. `pulls` are
    (model, pull > 0), 1 for models that are not named. `copying` are (model, model, P(one says what the other said,
    whatever is right)), in [0, 1). `repeat` and `other_way` in [0, 1] say how much a further vote of a model counts.

    `silence` are (model, P(it gives no answer where it has no right one)), in [0, 1), 0 for models that are not named.
    `hopeless` is the share of questions that no model gets right. `easier` shifts the ease of a question whose answer
    takes b bits by `easier` log(`typical_bits` / b), in units of `spread`. `length_sharing` is for prices: see
    `lengths`.

    `classes` are (prefix of a group's key, share of the questions whose right answer is of that class), for answers
    that come in classes of which models miss some more than others: no call of a tool, one, several. Without any, all
    answers are of one. `ability` are (model, class, how much its log-odds of being right differ there). `strays` are
    (model, class of the right answer, class of what it says instead, P(it does)), after Dawid & Skene 1979; for models
    that are not named those of the model `*`, else all classes alike.

    `slope` and `intercept` are Platt scaling (Platt 1999) of the confidence that is stated and compared with targets:
    models err together in ways that one ease a question does not hold.
    """

    spread: float = 2.0
    concentration: float = 4.0
    slope: float = 1.0
    intercept: float = 0.0
    repeat: float = 0.3
    other_way: float = 0.8
    guessing: float = 0.5
    hopeless: float = 0.0
    easier: float = 0.0
    typical_bits: float = REFERENCE_BITS
    length_sharing: float = 0.0
    pulls: tuple[tuple[str, float], ...] = ()
    copying: tuple[tuple[str, str, float], ...] = ()
    silence: tuple[tuple[str, float], ...] = ()
    classes: tuple[tuple[str, float], ...] = ONE_CLASS
    ability: tuple[tuple[str, str, float], ...] = ()
    strays: tuple[tuple[str, str, str, float], ...] = ()

    def __post_init__(self) -> None:
        for name in TABLES:  # lists of lists, where they come out of a file
            object.__setattr__(self, name, tuple(tuple(row) for row in getattr(self, name)))
        numbers = [getattr(self, name) for name in self.__dataclass_fields__ if name not in TABLES]
        rows = [row for name in TABLES for row in getattr(self, name)]
        numbers += [number for row in rows for number in row[-1:]]
        if not all(isinstance(number, int | float) and abs(number) < MOST for number in numbers):
            raise ValueError(f"the numbers of a vote model must be finite, and below {MOST:g}: {self}"[:500])
        if not all(isinstance(name, str) for row in rows for name in row[:-1]):
            raise ValueError("pulls, copying, silence, ability and strays must name models, and classes be named")
        if any(share <= 0 for _, share in self.classes) or any(not 0 <= p <= 1 for *_, p in self.strays):
            raise ValueError("shares of classes must be > 0, and probabilities of strays in [0, 1]")
        if self.slope <= 0:
            raise ValueError(f"slope must be > 0, not {self.slope}")
        chances = [p for *_, p in self.copying] + [p for _, p in self.silence]
        if any(pull <= 0 for _, pull in self.pulls) or any(not 0 <= p < 1 for p in chances):
            raise ValueError("pulls must be > 0, and probabilities of copying and of silence in [0, 1)")
        if not 0 <= self.length_sharing <= 1:
            raise ValueError(f"length_sharing must lie in [0, 1], not {self.length_sharing}")
        if not 0 <= self.hopeless < 1 or self.typical_bits <= 0:
            raise ValueError(
                f"hopeless must lie in [0, 1) and typical_bits be > 0, not {self.hopeless}, {self.typical_bits}"
            )
        if not (0 <= self.repeat <= 1 and 0 <= self.other_way <= 1):
            raise ValueError(f"repeat and other_way lie in [0, 1], not {self.repeat}, {self.other_way}")
        if self.spread < 0 or self.concentration <= 0:
            raise ValueError(f"spread must be >= 0 and concentration > 0, not {self.spread}, {self.concentration}")

    def pull(self, voter: str) -> float:
        """How much a model errs as others do: above 0, 1 for one of which nothing is known."""
        return self._pulls.get(voter, 1.0)

    def p_copies(self, one: str, other: str) -> float:
        """P(`one` says what `other` said without having found it by itself)."""
        return self._copying.get((one, other), 0.0) if one != other else 0.0

    def p_silent(self, voter: str) -> float:
        """P(`voter` gives no answer, where it has no right one)."""
        return self._silence.get(voter, 0.0)

    @cached_property
    def for_calls(self) -> VoteModel:
        """The same for drafts that may call tools; with cautious shares of classes where none were fitted."""
        return self if self.classes else replace(self, classes=CALL_SHARES, strays=CALL_STRAYS)

    @cached_property
    def shares(self) -> tuple[float, ...]:
        """The share of questions whose right answer is of each class; (1.0,) where there is one class."""
        total = sum(share for _, share in self.classes)
        return tuple(share / total for _, share in self.classes) or (1.0,)

    def class_of(self, key: str) -> int:
        """The number of the class that a group's key is of: the first whose name the key begins with, else the last."""
        found = (number for number, (prefix, _) in enumerate(self.classes) if key.startswith(prefix))
        return next(found, max(len(self.classes) - 1, 0))

    def p_in_classes(self, p: float, voter: str) -> tuple[float, ...]:
        """P(correct) of a model in each class, where it is `p` over all questions."""
        if not self.classes:
            return (p,)
        p = min(max(p, 1e-4), 1 - 1e-4)
        shifts = (self._ability.get((voter, name), 0.0) for name, _ in self.classes)
        return tuple(1.0 / (1.0 + math.exp(-(math.log(p / (1.0 - p)) + shift))) for shift in shifts)

    def p_stray(self, voter: str) -> tuple[tuple[float, ...], ...]:
        """By class of what is said (rows) and of what is right: P(a wrong answer of the model is of that class)."""
        names = [name for name, _ in self.classes]
        if not names:
            return ((1.0,),)
        who = voter if voter in self._strays else ANY_MODEL
        stated = self._strays.get(who, {})
        return tuple(tuple(stated.get((truth, said), 1.0 / len(names)) for truth in names) for said in names)

    def concentration_of(self, bits: float) -> float:
        """Of answers that take `bits` to guess, in votes: how many wrong ones a new wrong answer weighs as much as."""
        return float(self.concentration * (bits / REFERENCE_BITS) ** self.guessing)

    @cached_property
    def _pulls(self) -> dict[str, float]:
        return dict(self.pulls)

    @cached_property
    def _silence(self) -> dict[str, float]:
        return dict(self.silence)

    @cached_property
    def _ability(self) -> dict[tuple[str, str], float]:
        return {(model, name): shift for model, name, shift in self.ability}

    @cached_property
    def _strays(self) -> dict[str, dict[tuple[str, str], float]]:
        found: dict[str, dict[tuple[str, str], float]] = {}
        for model, truth, said, p in self.strays:
            found.setdefault(model, {})[truth, said] = p
        return found

    @cached_property
    def _copying(self) -> dict[tuple[str, str], float]:
        return {pair: p for one, other, p in self.copying for pair in ((one, other), (other, one))}

    def stated(self, p: float, votes: int = 2) -> float:
        """The confidence to state where the belief after some votes is `p`; 0 and 1 stay what they are.

        One vote is believed as its model's share of right answers, which needs no scaling.
        """
        if votes < 2 or not 0.0 < p < 1.0 or (self.slope, self.intercept) == (1.0, 0.0):
            return p
        log_odds = self.slope * math.log(p / (1.0 - p)) + self.intercept
        return 0.5 * (1.0 + math.tanh(0.5 * log_odds))
