"""What a strategy sees, and what it can ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from orchestrator.search.belief import Belief, VoteModel, VoteState, replay, to_belief, weigh
from orchestrator.types import Candidate
from verifiers import Verdict, canonical_answer

SHORT_ANSWER_WORDS = 8
# P(verdict | right) / P(verdict | wrong) for (passed, failed): cautious until learned from outcomes. A decisive failure counts 0.
LIKELIHOOD_RATIOS: dict[str, tuple[float, float]] = {"grounding": (2.0, 0.4), "json_schema": (1.1, 0.0), "choice": (1.0, 0.0)}
DEFAULT_RATIOS = (2.5, 0.4)


@dataclass(frozen=True, slots=True)
class Draft:
    """Ask `model` for an answer of its own. Those of `sample` 1 and above are drawn with some randomness: the model has been asked already."""

    model: str
    sample: int = 0


@dataclass(frozen=True, slots=True)
class Revise:
    """Ask `model` to mend candidate number `candidate` by its verdicts' feedback; the old one stays in play."""

    candidate: int
    model: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Nothing more is worth buying; `reason` goes into the answer."""

    reason: str


Action = Draft | Revise | Stop


@dataclass(frozen=True, slots=True)
class Choice:
    """A model that may still be asked: P(right) in [0, 1], expected price in USD (`None`: unknown) and seconds."""

    model: str
    p_success: float
    cost_usd: float | None
    latency_s: float


@dataclass(frozen=True)
class SearchState:
    """Immutable; the loop makes a new one after every result. `choices` are the models left to ask, cheapest first.

    `running` is what was begun and has not ended, `begun` every draft so far; `seconds_left` the time until the deadline (`None`: there is none).
    """

    question: str
    choices: tuple[Choice, ...]
    priors: dict[str, float]
    candidates: tuple[Candidate, ...] = ()
    quality: float = 0.85
    value_usd: float = 0.05
    vote_model: VoteModel = field(default_factory=VoteModel)
    chosen: str | None = None
    running: tuple[Action, ...] = ()
    begun: tuple[Draft, ...] = ()
    seconds_left: float | None = None

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The group of each candidate: equal keys are equivalent answers. Free text stands for itself."""
        return tuple(group_key(candidate.text, self.question) or f"text#{index}" for index, candidate in enumerate(self.candidates))

    @cached_property
    def comparable(self) -> bool:
        """Whether agreement means anything: some answer is short enough to be given twice in the same form."""
        return any(not key.startswith("text#") for key in self.keys)

    @cached_property
    def votes(self) -> tuple[tuple[str, float], ...]:
        """(group, P(model right)) of every draft that is not ruled out; a revision does not vote beside its own draft."""
        return tuple(
            (key, self.prior(candidate))
            for key, candidate in zip(self.keys, self.candidates, strict=True)
            if not candidate.ruled_out and candidate.revises is None
        )

    def prior(self, candidate: Candidate) -> float:
        own = candidate.completion.confidence
        return own if own is not None else self.priors.get(candidate.model, 0.5)

    @cached_property
    def likelihood_ratio(self) -> dict[str, float]:
        """Per group, the strongest support that one of its members has from verifiers."""
        ratios: dict[str, float] = {}
        for key, candidate in zip(self.keys, self.candidates, strict=True):
            ratio = 1.0
            for verdict in candidate.verdicts:
                ratio *= ratio_of(verdict)
            ratios[key] = max(ratios.get(key, 0.0), ratio)
        return ratios

    @cached_property
    def vote_state(self) -> VoteState:
        return weigh(replay(self.votes, self.vote_model), self.likelihood_ratio)

    @cached_property
    def belief(self) -> Belief:
        if not self.candidates:
            return Belief()
        if self.comparable:
            return to_belief(self.vote_state)
        shares: dict[str, float] = {}
        for key, candidate in zip(self.keys, self.candidates, strict=True):
            odds = self.prior(candidate) / max(1 - self.prior(candidate), 1e-9) * self.likelihood_ratio[key]
            shares[key] = 0.0 if candidate.ruled_out else odds / (1 + odds)
        return Belief(shares, 1 - max(shares.values()))

    @cached_property
    def leader(self) -> int | None:
        """Index of the best candidate: in the leading group, one that no verifier faults, from the model most often right."""
        usable = [i for i, candidate in enumerate(self.candidates) if not candidate.ruled_out]
        if not usable:
            return None
        lead = max(self.belief.groups.get(self.keys[i], 0.0) for i in usable)
        members = [i for i in usable if self.belief.groups.get(self.keys[i], 0.0) == lead]
        return max(members, key=lambda i: (_score(self.candidates[i]), self.prior(self.candidates[i]), -i))

    @property
    def first_model(self) -> str | None:
        """The routed model if it may still be asked, else the cheapest."""
        names = [choice.model for choice in self.choices]
        return self.chosen if self.chosen in names else next(iter(names), None)

    @property
    def confidence(self) -> float:
        if self.leader is None:
            return 0.0
        believed = self.belief.groups.get(self.keys[self.leader], 0.0)
        return self.vote_model.stated(believed) if self.comparable else believed


Strategy = Callable[[SearchState], Sequence[Action]]


def group_key(text: str, question: str) -> str | None:
    """What an answer is compared by: equal keys are equivalent answers. `None` for free text, which is like no other."""
    answer = canonical_answer(text, question)
    alone = answer.kind == "text" and len(answer.key.split()) > SHORT_ANSWER_WORDS
    return None if alone else f"{answer.kind}:{answer.key}"


def ratio_of(verdict: Verdict) -> float:
    if verdict.passed is None:
        return 1.0
    passed, failed = LIKELIHOOD_RATIOS.get(verdict.verifier, DEFAULT_RATIOS)
    return passed if verdict.passed else 0.0 if verdict.decisive else failed


def _score(candidate: Candidate) -> float:
    scores = [verdict.score for verdict in candidate.verdicts if verdict.score is not None]
    return sum(scores) / len(scores) if scores else 0.5
