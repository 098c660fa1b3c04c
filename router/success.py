"""P(model answers the query correctly): item-response form, a difficulty shared by all models and two ability numbers per model.

    P(right | query, model) = sigmoid(ability + slope * ease(query)),   ease(query) = weights . features, mean 0 on the training queries

(two-parameter logistic model of item response theory, Birnbaum 1968). A new model needs one number; outcomes sharpen it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from router.calibration import fit_logistic, logit, sigmoid
from router.features import DIMENSIONS, SURFACE, Features
from router.profile import ModelProfile

PRETRAINED = Path(__file__).parent / "pretrained"
DEFAULT_SKILL = 0.7
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Ability:
    """A model's parameters: log-odds of success on a query of mean ease, and how strongly ease moves them."""

    bias: float
    slope: float = 1.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """One graded answer: `score` in [0, 1]."""

    query: str
    model: str
    score: float


class SuccessModel:
    """Predicts success. Immutable: learning returns a new one."""

    def __init__(
        self,
        weights: NDArray[np.float32] | None = None,
        abilities: Mapping[str, Ability] | None = None,
        *,
        surface_bounds: NDArray[np.float32] | None = None,
    ) -> None:
        self._weights = np.zeros(DIMENSIONS, dtype=np.float32) if weights is None else weights
        self._bounds = np.array([[0.0], [1.0]], dtype=np.float32).repeat(len(SURFACE), axis=1) if surface_bounds is None else surface_bounds
        if self._weights.shape != (DIMENSIONS,):
            raise ValueError(f"weights of shape {self._weights.shape} do not fit this version's {DIMENSIONS} features: train them again")
        self.abilities = dict(abilities or {})

    @classmethod
    def load(cls, folder: str | Path = PRETRAINED) -> SuccessModel:
        """Reads `weights.npz` and `abilities.json`; the shipped pair by default. Raises `ValueError` on another version's files."""
        folder = Path(folder)
        stored = json.loads((folder / "abilities.json").read_text(encoding="utf-8"))
        if stored.get("format") != FORMAT:
            raise ValueError(f"{folder}: router weights of format {stored.get('format')!r}, this version reads {FORMAT}: train them again")
        with np.load(folder / "weights.npz", allow_pickle=False) as arrays:
            weights, bounds = arrays["weights"].astype(np.float32), arrays["surface_bounds"].astype(np.float32)
        return cls(weights, {name: Ability(*pair) for name, pair in stored["abilities"].items()}, surface_bounds=bounds)

    def save(self, folder: str | Path) -> None:
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(folder / "weights.npz", weights=self._weights.astype(np.float16), surface_bounds=self._bounds)
        abilities = {name: [round(a.bias, 4), round(a.slope, 4)] for name, a in sorted(self.abilities.items())}
        (folder / "abilities.json").write_text(json.dumps({"format": FORMAT, "abilities": abilities}, indent=1) + "\n", encoding="utf-8")

    def ease(self, query: str) -> float:
        """How easy the query looks, in log-odds; 0 is the mean of the training queries, negative is harder."""
        return Features.of(query).clipped(self._bounds).dot(self._weights)

    def ability(self, profile: ModelProfile) -> Ability:
        """Known parameters of the model, else those of the model it is `like`, else from its `skill`, else a cautious default."""
        for name in (profile.name, profile.like):
            if name is not None and name in self.abilities:
                return self.abilities[name]
        return Ability(logit(DEFAULT_SKILL if profile.skill is None else profile.skill))

    def predict(self, query: str, profiles: Iterable[ModelProfile]) -> dict[str, float]:
        """P(right) in (0, 1) for every model; the query's features are computed once."""
        ease = self.ease(query)
        abilities = {profile.name: self.ability(profile) for profile in profiles}
        return {name: float(sigmoid(np.array(a.bias + a.slope * ease))) for name, a in abilities.items()}

    def learn(self, outcomes: Iterable[Outcome], profiles: Mapping[str, ModelProfile] | None = None) -> SuccessModel:
        """A new model whose abilities also fit `outcomes`; each model's old parameters are the prior, worth about 12 outcomes."""
        by_model: dict[str, list[Outcome]] = {}
        ease: dict[str, float] = {}
        for outcome in outcomes:
            by_model.setdefault(outcome.model, []).append(outcome)
            if outcome.query not in ease:
                ease[outcome.query] = self.ease(outcome.query)
        updated = dict(self.abilities)
        for name, graded in by_model.items():
            prior = self.ability((profiles or {}).get(name) or ModelProfile(name))
            x = np.array([[1.0, ease[o.query]] for o in graded])
            y = np.array([o.score for o in graded], dtype=float)
            bias, slope = fit_logistic(x, y, prior_mean=np.array([prior.bias, prior.slope]), prior_sd=np.array([1.0, 0.5]))
            updated[name] = Ability(float(bias), float(slope))
        return SuccessModel(self._weights, updated, surface_bounds=self._bounds)
