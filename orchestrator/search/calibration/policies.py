"""Policies that `calibrate` chooses among: values that say whom to ask next, which become strategies of the engine.

`FixedOrder` holds what people use without a belief: a single model, a majority, a cascade that stops at agreement. The
answer is always the one that is believed most, so that a policy says only whom to ask and when to stop.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from orchestrator.search.actions import Action, Draft, Stop
from orchestrator.search.state import SearchState, Strategy
from orchestrator.search.strategies.adaptive import adaptive
from orchestrator.search.strategies.moves import reached

HASH_BITS = 32


@dataclass(frozen=True, slots=True)
class FixedOrder:
    """Asks `models` one after another until `agree` of them say the same.

    One model with `agree=1` is that model alone; three with 2 are a cascade whose third is asked where the first two
    differ; five with 3 are a majority that stops as soon as it is decided.
    """

    models: tuple[str, ...]
    agree: int = 1

    def __post_init__(self) -> None:
        are_names = isinstance(self.models, tuple) and all(isinstance(name, str) for name in self.models)
        if (
            not are_names
            or not self.models
            or len(set(self.models)) < len(self.models)
            or not 1 <= self.agree <= len(self.models)
        ):
            raise ValueError(f"a fixed order names different models, and agree between 1 and their number: {self}")

    @property
    def in_words(self) -> str:
        """For people."""
        if len(self.models) == 1:
            return f"ask {self.models[0]}"
        return f"ask {', '.join(self.models)} in turn until {self.agree} agree"


@dataclass(frozen=True, slots=True)
class ByValue:
    """The strategy `adaptive`, with a right answer worth `value_usd`."""

    value_usd: float

    def __post_init__(self) -> None:
        if not 0 <= self.value_usd < math.inf:
            raise ValueError(f"value_usd must be a number of USD, at least 0, not {self.value_usd!r}")

    @property
    def in_words(self) -> str:
        """For people."""
        return f"ask whoever brings most for the price, a right answer being worth {self.value_usd:.6f} USD"


@dataclass(frozen=True, slots=True)
class Mixture:
    """`second` for a share of all questions, `first` for the others; a question always gets the same.

    Under a limit on the mean price, some mixture of two policies is best (Altman 1999, "Constrained Markov decision
    processes", chapter 4).
    """

    first: FixedOrder | ByValue
    second: FixedOrder | ByValue
    share: float

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"share must lie in [0, 1], not {self.share}")

    @property
    def in_words(self) -> str:
        """For people."""
        return f"for {self.share:.0%} of the questions {self.second.in_words}; else {self.first.in_words}"

    def policy_for(self, question: str) -> FixedOrder | ByValue:
        """By a hash of the question."""
        digest = hashlib.sha256(question.encode("utf-8", "replace")).digest()
        return self.second if int.from_bytes(digest[: HASH_BITS // 8]) < self.share * 2**HASH_BITS else self.first


Policy = FixedOrder | ByValue | Mixture


def strategy_of(policy: Policy, *, usual_usd: float | None = None) -> Strategy:
    """The strategy that follows `policy`.

    A query to which a right answer is worth something else than `usual_usd` is searched by that value.

    Where a fixed order cannot be followed, it goes on as `adaptive`: an answer that a check rules out, free text (which
    nobody can agree on), models of which none is here or answers.
    """

    def follow(state: SearchState) -> Sequence[Action]:
        if usual_usd is not None and state.value_usd != usual_usd:
            return adaptive(state)
        chosen = policy.policy_for(state.question) if isinstance(policy, Mixture) else policy
        if isinstance(chosen, ByValue):
            return adaptive(replace(state, value_usd=chosen.value_usd))
        return _in_order(chosen, state)

    return follow


def _in_order(policy: FixedOrder, state: SearchState) -> Sequence[Action]:
    if state.running:
        return []
    cannot_agree = bool(state.candidates) and not state.comparable and policy.agree > 1
    if cannot_agree or any(candidate.ruled_out or candidate.revises is not None for candidate in state.candidates):
        return adaptive(state)
    votes = Counter(key for key, _ in state.votes if key is not None)
    most = max(votes.values(), default=0)
    if most >= policy.agree:
        return [Stop(f"{most} of {len(state.votes)} models agree" if policy.agree > 1 else "one draft")]
    if state.candidates and state.confidence >= state.quality:
        return [Stop(reached(state))]
    left = {choice.model for choice in state.choices}
    following = next((model for model in policy.models if model in left), None)
    if following is not None:
        return [Draft(following)]
    answered = any(state.non_answer(index) is None for index in range(len(state.candidates)))
    return [Stop("nobody else of the policy is left to ask")] if answered else adaptive(state)
