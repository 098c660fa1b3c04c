"""What calibration found, as a value, as settings of an `Orchestrator`, and as a file."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.config import defaults
from orchestrator.errors import ConfigError
from orchestrator.jsontypes import JsonMapping, JsonObject
from orchestrator.router import Router, SuccessModel
from orchestrator.router.calibration import logit
from orchestrator.router.heads import Ability
from orchestrator.search.calibration.policies import ByValue, FixedOrder, Mixture, Policy, strategy_of
from orchestrator.search.state import Strategy
from orchestrator.search.vote_model import VoteModel
from orchestrator.verifiers import Ensemble

if TYPE_CHECKING:
    from orchestrator.config.models import Config

FORMAT = 1
MAX_USD = 1e9


@dataclass(frozen=True, slots=True)
class Calibration:
    """`expected_accuracy` and `expected_usd` are what `policy` is estimated to reach on such questions.

    `p_success` and `cost_usd` are each model's share of right answers and mean price. `value_usd` is what a right
    answer is worth to the policy where it searches by value, and to the search that it falls back to.
    """

    p_success: Mapping[str, float]
    cost_usd: Mapping[str, float]
    vote_model: VoteModel
    policy: Policy
    value_usd: float
    expected_accuracy: float
    expected_usd: float
    ensemble: Ensemble | None = None
    """What verdicts on answers are worth, where graded answers were checked."""

    def __post_init__(self) -> None:
        """Raises `ValueError` on what no calibration can be."""
        shares, prices = list(self.p_success.values()), list(self.cost_usd.values())
        if not shares or not all(isinstance(p, int | float) and 0 < p < 1 for p in shares):
            raise ValueError("p_success must name models, each with a share between 0 and 1")
        numbers = [*prices, self.value_usd, self.expected_usd, self.expected_accuracy]
        if set(self.cost_usd) != set(self.p_success) or not all(
            isinstance(n, int | float) and 0 <= n < MAX_USD for n in numbers
        ):
            raise ValueError("cost_usd must name the same models, and prices be numbers of USD, at least 0")
        parts = (self.policy.first, self.policy.second) if isinstance(self.policy, Mixture) else (self.policy,)
        unknown = {model for part in parts if isinstance(part, FixedOrder) for model in part.models} - set(
            self.p_success
        )
        if unknown:
            raise ValueError(f"the policy names models of which nothing is known: {', '.join(sorted(unknown))}")

    @property
    def strategy(self) -> Strategy:
        """Follows the policy, unless a query says itself what a right answer is worth."""
        return strategy_of(self.policy, usual_usd=self.value_usd)

    @property
    def router(self) -> Router:
        """Knows each model's share of right answers, and nothing of single queries."""
        return Router(SuccessModel(abilities={name: Ability(logit(p), 0.0) for name, p in self.p_success.items()}))

    @property
    def settings(self) -> JsonObject:
        """What an `Orchestrator` takes: `Orchestrator(backends, **calibration.settings)`.

        The quality is 1, so that the policy alone says when to stop.
        """
        found: JsonObject = {
            "strategy": self.strategy,
            "vote_model": self.vote_model,
            "value_usd": self.value_usd,
            "router": self.router,
            "quality": 1.0,
        }
        return found if self.ensemble is None else {**found, "ensemble": self.ensemble}

    def save(self, path: str | Path) -> None:
        """Writes a JSON file, replaced in one step."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        stored = {"format": FORMAT, **asdict(self), "policy": _policy_to_json(self.policy)}
        stored["ensemble"] = None if self.ensemble is None else self.ensemble.as_dict()
        new = path.with_name(path.name + ".new")
        new.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
        new.replace(path)

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Reads what `save` wrote. Raises `ValueError` on anything else, and `OSError` where there is no such file."""
        try:
            stored = json.loads(Path(path).read_text(encoding="utf-8"))
            if stored.pop("format") != FORMAT:
                raise ValueError(f"this version reads format {FORMAT}")
            if (weights := stored.pop("ensemble", None)) is not None:
                stored["ensemble"] = Ensemble.from_dict(weights)
            stored |= {"vote_model": VoteModel(**stored["vote_model"]), "policy": _policy_from_json(stored["policy"])}
            return cls(**stored)
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError, RecursionError) as error:
            raise ValueError(f"{path}: not a calibration of the search: {error}") from None


def calibrated_settings(config: Config, models: Collection[str]) -> JsonObject:
    """The settings in the file that a configuration names under `search`: they decide on strategy, value and quality.

    Raises `ConfigError` where the file cannot be used with these models, or another strategy is named beside it.
    """
    assert config.search is not None
    if config.strategy != defaults.STRATEGY:
        raise ConfigError(
            f"search and strategy ({config.strategy}) both say how to search", remedy="Leave out one of them"
        )
    try:
        found = Calibration.load(config.search)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"search: {config.search} cannot be used: {error}", remedy="Make it with: orchestrator calibrate-search"
        ) from None
    missing = sorted(set(found.p_success) - set(models))
    if missing:
        raise ConfigError(
            f"search: {config.search} was made for models that this fleet lacks: {', '.join(missing)}",
            remedy="Run orchestrator calibrate-search again, or name the models as they were named then",
        )
    return found.settings


def _policy_to_json(policy: Policy) -> JsonObject:
    if isinstance(policy, Mixture):
        return {"share": policy.share, "first": _policy_to_json(policy.first), "second": _policy_to_json(policy.second)}
    return asdict(policy)


def _policy_from_json(stored: JsonMapping) -> Policy:
    if "share" in stored:
        first, second = (_simple_from_json(stored[name]) for name in ("first", "second"))
        return Mixture(first, second, float(stored["share"]))
    return _simple_from_json(stored)


def _simple_from_json(stored: JsonMapping) -> FixedOrder | ByValue:
    if "value_usd" in stored:
        return ByValue(float(stored["value_usd"]))
    if not isinstance(stored["models"], list) or not isinstance(stored["agree"], int):
        raise TypeError("a fixed order has a list of models, and how many must agree")
    return FixedOrder(tuple(stored["models"]), stored["agree"])
