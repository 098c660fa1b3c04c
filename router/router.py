"""The router: success model and policy in one object."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from orchestrator.router.learning.learner import Learner
from orchestrator.router.outcome import Outcome
from orchestrator.router.policy import Constraints, Needs, Preference, Route, choose
from orchestrator.router.profile import ModelProfile
from orchestrator.router.success import SuccessModel


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a decision rests on: for each model where its P(correct) comes from and how much it is expected to write.

    `ease` is in log-odds, 0 for a query of average ease; `familiarity` is in (0, 1], 1 for one like the training
    queries.
    """

    query: str
    ease: float
    familiarity: float
    sources: Mapping[str, str]
    expected_tokens: Mapping[str, float]


class Assessed(NamedTuple):
    """P(correct) in (0, 1) and the expected output tokens of each model, in the order in which the models were
    given.

    `unfamiliar`: the query is unlike those that were graded, so that P(correct) is a guess. `without_skill`: the models
    of which nothing is known.
    """

    p_success: list[float]
    tokens: list[float] | None
    unfamiliar: bool = False
    without_skill: frozenset[str] = frozenset()


class Router:
    """Routes queries.

    Holds one immutable `SuccessModel`, swapped as a whole when it learns, so a decision never sees half an update.
    """

    def __init__(self, success: SuccessModel | None = None) -> None:
        self.success = success or pretrained()
        self._learner = Learner(self.success)
        self._learning = threading.Lock()

    def route(
        self,
        query: str,
        models: Iterable[ModelProfile],
        *,
        quality: float = 0.8,
        needs: Needs | None = None,
        constraints: Constraints | None = None,
        known: Mapping[str, float] | None = None,
        preference: Preference | None = None,
    ) -> Route:
        """Decides for one query.

        `known` holds success probabilities in [0, 1] that are better informed than the prediction.

        A model that can tell for itself whether it can answer (a calculator, a search over memory) is passed through
        `known`.
        """
        fleet = tuple(models)
        assessed = self.assess([query], fleet)[0]
        return decide(
            assessed, fleet, quality=quality, needs=needs, constraints=constraints, known=known, preference=preference
        )

    def assess(self, queries: Sequence[str], models: Sequence[ModelProfile]) -> list[Assessed]:
        """What each decision rests on; several queries at once take half the time of one by one."""
        p, tokens, unfamiliar = self.success.assess(queries, models)
        lengths = [None] * len(queries) if tokens is None else tokens.tolist()
        unknown = self.success.without_skill(models)
        return [Assessed(*row, unknown) for row in zip(p.tolist(), lengths, unfamiliar.tolist(), strict=True)]

    def route_many(
        self,
        queries: Sequence[str],
        models: Iterable[ModelProfile],
        *,
        quality: float = 0.8,
        needs: Needs | None = None,
        constraints: Constraints | None = None,
    ) -> list[Route]:
        """One decision for each query; faster than one by one."""
        fleet = tuple(models)
        assessed = self.assess(queries, fleet)
        return [decide(one, fleet, quality=quality, needs=needs, constraints=constraints) for one in assessed]

    def explain(self, query: str, models: Sequence[ModelProfile]) -> Explanation:
        """What a decision about this query rests on."""
        success = self.success
        _, tokens, _ = success.assess([query], models)
        expected = [profile.output_tokens for profile in models] if tokens is None else tokens[0].tolist()
        sources = {profile.name: success.source_of(profile) for profile in models}
        lengths = {profile.name: round(length, 1) for profile, length in zip(models, expected, strict=True)}
        return Explanation(query, success.ease(query), success.familiarity(query), sources, lengths)

    def relearn(
        self, base: SuccessModel, outcomes: Iterable[Outcome], profiles: Mapping[str, ModelProfile] | None = None
    ) -> None:
        """Forgets what it has learned and learns `outcomes` on top of `base` instead; swapped in when that is done.

        Raises as `learn` does.
        """
        learner = Learner(base)
        learned = learner.learn(outcomes, profiles)
        with self._learning:
            self._learner, self.success = learner, learned

    def learn(self, outcomes: Iterable[Outcome], profiles: Mapping[str, ModelProfile] | None = None) -> None:
        """Sharpens the success model with graded outcomes, beside all that it was given before.

        Raises `ValueError` on bad scores.
        """
        with self._learning:
            if self._learner.model is not self.success:  # somebody swapped the model: learning begins anew on top of it
                self._learner = Learner(self.success)
            self.success = self._learner.learn(outcomes, profiles)


def decide(
    assessed: Assessed,
    models: Sequence[ModelProfile],
    *,
    quality: float = 0.8,
    needs: Needs | None = None,
    constraints: Constraints | None = None,
    known: Mapping[str, float] | None = None,
    preference: Preference | None = None,
) -> Route:
    """The decision that follows from what was assessed of a query. `known` goes before it.

    Raises `ValueError` on known probabilities above 1.
    """
    p_success = dict(zip((profile.name for profile in models), assessed.p_success, strict=True))
    if len(p_success) < len(models):
        raise ValueError(f"two models of one name among {', '.join(profile.name for profile in models)}: rename one")
    if known:
        p_success |= known
        above = next((name for name, p in known.items() if p > 1.0), None)
        if above is not None:
            raise ValueError(f"known: P(correct) of {above!r} lies in [0, 1], not at {known[above]!r}")
    return choose(
        models,
        p_success,
        quality=quality,
        needs=needs,
        constraints=constraints,
        preference=preference,
        expected_tokens=assessed.tokens,
        unfamiliar=assessed.unfamiliar,
        certain=known or (),
        without_skill=assessed.without_skill,
    )


@lru_cache(maxsize=1)
def pretrained() -> SuccessModel:
    """The shipped success model, read once a process (it is immutable)."""
    return SuccessModel.load()
