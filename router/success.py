"""P(model answers the query correctly): item response theory with features on both sides.

    P(right | query, model) = sigmoid(bias + slope * ease(query) + own(query))

`ease` is shared by all models and learned from everybody's outcomes; `own` is the model's head, its difference from the
others, shrunk towards zero; bias and slope are its two abilities (two-parameter logistic model, Birnbaum 1968). A new
model needs one number; outcomes sharpen it. On a query unlike all that it was trained on, own fades, ease becomes what
is stated of its kind (`orchestrator.router.difficulty`), and P(correct) widens towards the middle.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from orchestrator.router.assessment import Assessment, Scored, certainty
from orchestrator.router.calibration import Array, logit, sigmoid
from orchestrator.router.difficulty import DifficultyPrior, stated_difficulty
from orchestrator.router.features.feature_space import Encoder, FeatureSpace, Points, Scales
from orchestrator.router.features.features import Floats
from orchestrator.router.heads import Ability, FleetParameters, Heads
from orchestrator.router.learned_kinds import LearnedKinds
from orchestrator.router.length import LengthModel, ModelLength
from orchestrator.router.outcome import query_hashes
from orchestrator.router.profile import ModelProfile
from orchestrator.text.static_encoder import static_encoder

PRETRAINED = Path(__file__).parent / "pretrained"
DEFAULT_SKILL = 0.7
FORMAT = 4
READABLE = (3, 4)
MAX_FLEETS = 16


class SuccessModel:
    """Predicts success. Immutable: `Learner` makes new ones. Without a space every query is of average ease."""

    def __init__(
        self,
        space: FeatureSpace | None = None,
        heads: Heads | None = None,
        abilities: Mapping[str, Ability] | None = None,
        lengths: LengthModel | None = None,
        *,
        prior: DifficultyPrior | None = None,
        kinds: LearnedKinds | None = None,
    ) -> None:
        if (space is None) != (heads is None):
            raise ValueError("a feature space and its heads come together")
        if (
            space is not None
            and heads is not None
            and (heads.sparse.shape[0], heads.dense.shape[0]) != (space.buckets, space.dense_size)
        ):
            raise ValueError("these heads belong to another feature space: train again")
        self.space = space
        self.heads = heads
        self.abilities = dict(abilities or {})
        self.lengths = lengths
        self.prior = prior
        self.kinds = kinds
        self._fleets: dict[tuple[int, ...], tuple[FleetParameters, tuple[ModelProfile, ...]]] = {}
        self._column = {name: index + 1 for index, name in enumerate(heads.models)} if heads else {}

    @classmethod
    def load(cls, folder: str | Path = PRETRAINED, *, encoder: Encoder | None = None) -> SuccessModel:
        """Reads `router.npz` and `router.json`; the shipped pair by default. Never unpickles.

        Raises `ValueError` on files of another version, damaged ones, two that do not belong together, or a router that
        was trained with another encoder than the one handed in; `FileNotFoundError` where there are none.
        """
        folder = Path(folder)
        if not (folder / "router.json").exists():
            message = f"{folder}: no router.json there; `orchestrator train-router LOG --out {folder}` makes one"
            raise FileNotFoundError(message)
        try:
            stored = json.loads((folder / "router.json").read_text(encoding="utf-8"))
            with (folder / "router.npz").open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                loaded = {name: arrays[name] for name in arrays.files}
            return cls._assembled(folder, stored, loaded, encoder)
        except (KeyError, TypeError, AttributeError, IndexError, EOFError, BadZipFile) as error:
            message = f"{folder}: router.json or router.npz is damaged ({type(error).__name__}: {error}); train again"
            raise ValueError(message) from None

    @classmethod
    def _assembled(
        cls, folder: Path, stored: dict[str, Any], loaded: dict[str, NDArray[Any]], encoder: Encoder | None
    ) -> SuccessModel:
        if stored.get("format") not in READABLE:
            message = f"{folder}: a router of format {stored.get('format')!r}, this version reads {FORMAT}: train again"
            raise ValueError(message)
        wanted = stored["encoder"]
        if encoder is None and str(wanted).startswith("static:"):
            encoder = static_encoder()  # the one that ships with the package needs nobody to hand it in
        if wanted is not None and (encoder is None or encoder.fingerprint != wanted):
            given = "none was given" if encoder is None else f"{encoder.fingerprint!r} is at hand"
            raise ValueError(f"{folder}: trained with encoder {wanted!r}, {given}: pass encoder=... or train again")
        heads = Heads(
            loaded.pop("sparse").astype(np.float32),
            loaded.pop("dense").astype(np.float32),
            tuple(stored["models"]),
            stored["mean_ease"],
            stored.get("prior_ease", 0.0),
            loaded.pop("effects", np.zeros((0, 0))).astype(np.float32),
        )
        if heads.dense.shape[1] != len(heads.models) + 1 or not np.isfinite(heads.dense).all():
            raise ValueError(f"{folder}: router.json and router.npz do not belong together; train again")
        learned = {name: loaded.pop(name) for name in list(loaded) if name.startswith("kind")}
        lengths = None
        if "length_weights" in loaded:
            lines = {name: ModelLength(*numbers) for name, numbers in stored["lengths"].items()}
            lengths = LengthModel(loaded.pop("length_weights"), stored["length_mean"], lines)
        space = FeatureSpace(
            loaded, buckets=stored["buckets"], encoder=encoder if wanted else None, scales=Scales(**stored["scales"])
        )
        abilities = {name: Ability(*pair) for name, pair in stored["abilities"].items()}
        kinds = LearnedKinds.from_arrays(learned)
        return cls(space, heads, abilities, lengths, prior=stated_difficulty(), kinds=kinds)

    @staticmethod
    def encoder_of(folder: str | Path) -> str | None:
        """The fingerprint of the encoder that the router in `folder` was trained with; `None` if with none.

        Raises as `load` does.
        """
        stored = json.loads((Path(folder) / "router.json").read_text(encoding="utf-8"))
        name = stored.get("encoder")
        return None if name is None else str(name)

    def save(self, folder: str | Path) -> None:
        """Writes both files, each replaced in one step. Raises `ValueError` when there is nothing trained to save."""
        if self.space is None or self.heads is None:
            raise ValueError("this success model has no trained weights to save")
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, Any] = {
            **self.space.arrays,
            "sparse": self.heads.sparse.astype(np.float16),
            "dense": self.heads.dense.astype(np.float16),
            "effects": self.heads.effects.astype(np.float16),
        }
        described = {
            "format": FORMAT,
            "buckets": self.space.buckets,
            "encoder": self.space.encoder.fingerprint if self.space.encoder else None,
            "scales": asdict(self.space.scales),
            "models": list(self.heads.models),
            "mean_ease": self.heads.mean_ease,
            "prior_ease": self.heads.prior_ease,
            "abilities": {name: [a.bias, a.slope] for name, a in sorted(self.abilities.items())},
        }
        if self.kinds is not None:
            arrays |= self.kinds.as_arrays()
        if self.lengths is not None:
            arrays["length_weights"] = self.lengths.weights
            described["length_mean"] = self.lengths.mean
            described["lengths"] = {
                name: [m.log_tokens, m.slope, m.spread] for name, m in sorted(self.lengths.models.items())
            }
        with (folder / "router.npz.new").open("wb") as file:
            np.savez_compressed(file, **arrays)
        (folder / "router.json.new").write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
        for name in ("router.npz", "router.json"):
            (folder / f"{name}.new").replace(folder / name)

    def ability(self, profile: ModelProfile) -> Ability:
        """Known parameters of the model, else those of the model it is `like`, else from its `skill`, else a cautious
        default.
        """
        for name in (profile.name, profile.like):
            if name is not None and name in self.abilities:
                return self.abilities[name]
        return Ability(logit(DEFAULT_SKILL if profile.skill is None else profile.skill))

    def source_of(self, profile: ModelProfile) -> str:
        """Where this model's P(correct) comes from, in words."""
        for name, whose in ((profile.name, "its own outcomes"), (profile.like, f"the outcomes of {profile.like}")):
            if name is not None and name in self.abilities:
                return whose + (", with a head" if name in self._column else "")
        return "a cautious default" if profile.skill is None else f"its stated skill, {profile.skill}"

    def without_skill(self, profiles: Sequence[ModelProfile]) -> frozenset[str]:
        """The models of which nothing is known: no outcomes, no model that they are like, no stated skill.

        Their P(correct) rests on a cautious default.
        """
        return self._parameters(profiles).without_skill

    def predict(self, query: str, profiles: Iterable[ModelProfile]) -> dict[str, float]:
        """P(correct) in (0, 1) for every model; the query's features are computed once."""
        known = list(profiles)
        return dict(zip((p.name for p in known), self.predict_many([query], known)[0].tolist(), strict=True))

    def predict_many(self, queries: Sequence[str], profiles: Sequence[ModelProfile]) -> Array:
        """P(correct) in (0, 1), shape (queries, models)."""
        return self.assess(queries, profiles)[0]

    def assess(self, queries: Sequence[str], profiles: Sequence[ModelProfile]) -> Assessment:
        """What is expected of each model on each query."""
        bias, slope, columns, _ = self._parameters(profiles)
        if self.space is None:
            return Assessment(np.tile(sigmoid(bias), (len(queries), 1)), None, np.zeros(len(queries), dtype=bool))
        points = self.space.points(queries)
        scores = self.project(points)
        tokens = self.lengths.expected_tokens(points.dense, points.familiarity, profiles) if self.lengths else None
        margin = scores.take(columns, axis=1)
        margin += slope * scores[:, :1]
        margin += bias
        margin *= certainty(points.familiarity)[:, None]
        if self.kinds is not None:
            margin += self.kinds.shifts(points.looks.located, points.familiarity, profiles)
        return Assessment(sigmoid(margin), tokens, self._familiarities(points) < self.space.unfamiliar_below)

    def ease(self, query: str) -> float:
        """How easy the query looks, in log-odds; 0 is the mean of the training queries, negative is harder."""
        return float(self.scores([query])[0, 0])

    def familiarity(self, query: str) -> float:
        """1 where training queries lie, towards 0 far away from all of them; 1 without training.

        Outcomes of the same kind raise it.
        """
        return float(self._familiarities(self.space.points([query]))[0]) if self.space else 1.0

    def scores(self, queries: Sequence[str]) -> Array:
        """Ease (column 0), the heads of trained models, and a last column of zeros for all others.

        Shape (queries, models + 2).
        """
        if self.space is None or self.heads is None:
            return np.zeros((len(queries), 2))
        return self.project(self.space.points(queries))

    def scored(self, queries: Sequence[str]) -> Scored:
        """`scores` and what else a `Learner` needs of each query."""
        if self.space is None or self.heads is None:
            nothing = np.zeros((len(queries), 0), dtype=np.float32)
            return Scored(np.zeros((len(queries), 2)), nothing, nothing, np.ones(len(queries), dtype=np.float32))
        points = self.space.points(queries)
        dense = points.dense * points.familiarity[:, None]
        return Scored(self.project(points), dense, points.looks.located, points.familiarity)

    def project(self, points: Points) -> Array:
        """`scores` of points of this model's space."""
        if self.heads is None:
            return np.zeros((len(points), 2))
        out = np.zeros((len(points), self.heads.dense.shape[1] + 1), dtype=np.float64)
        scored = out[:, :-1]
        scored += points.dense @ self.heads.dense
        if len(points) == 1:
            scored += points.values @ self.heads.sparse.take(points.indices, axis=0)
        else:
            for row, (start, end) in enumerate(pairwise(points.offsets.tolist())):
                scored[row] += points.values[start:end] @ self.heads.sparse.take(points.indices[start:end], axis=0)
        if len(self.heads.effects):  # they hold for the very kind only: they fade twice
            effects = points.dense[:, -points.n_domains :] @ self.heads.effects
            scored[:, : effects.shape[1]] += effects * points.familiarity[:, None]
        scored[:, 0] -= self.heads.mean_ease
        scored *= points.familiarity[:, None]
        novel = np.flatnonzero(points.familiarity < 1.0)
        if self.prior is not None and len(novel):
            stated = self.prior.ease(points.looks.of(novel), self.space.encoder if self.space else None)
            scored[novel, 0] += (1.0 - points.familiarity[novel]) * (stated - self.heads.prior_ease)
        return out

    def _familiarities(self, points: Points) -> Floats:
        if self.kinds is None:
            return points.familiarity
        return np.asarray(1.0 - (1.0 - points.familiarity) * (1.0 - self.kinds.familiarity(points.looks.located)))

    def was_trained_on(self, queries: Sequence[str]) -> NDArray[np.bool_]:
        """Which queries the weights come from: such must not calibrate or judge them. Shape (len(queries),)."""
        seen = self.space.arrays.get("trained_on") if self.space else None
        return np.zeros(len(queries), dtype=bool) if seen is None else np.isin(query_hashes(queries), seen)

    @cached_property
    def fingerprint(self) -> str:
        """A short hash of everything that a prediction depends on."""
        digest = hashlib.sha256(repr(sorted(self.abilities.items())).encode())
        if self.heads is not None:
            digest.update(
                self.heads.sparse.astype(np.float16).tobytes() + self.heads.dense.astype(np.float16).tobytes()
            )
            digest.update(self.heads.effects.astype(np.float16).tobytes() + repr(self.heads.prior_ease).encode())
        if self.lengths is not None:
            digest.update(self.lengths.weights.tobytes() + repr(sorted(self.lengths.models.items())).encode())
        if self.kinds is not None:
            for name, array in sorted(self.kinds.as_arrays().items()):
                digest.update(name.encode() + array.tobytes())
        return digest.hexdigest()[:16]

    def _parameters(self, profiles: Sequence[ModelProfile]) -> FleetParameters:
        """What is known of each model. A fleet is asked about again and again: the last ones are kept, by identity."""
        key = tuple(map(id, profiles))
        found = self._fleets.get(key)
        if found is None:
            abilities = [self.ability(profile) for profile in profiles]
            bias, slope = np.array([a.bias for a in abilities]), np.array([a.slope for a in abilities])
            columns = np.array([self.own_column(profile) for profile in profiles], dtype=np.int64)
            if len(self._fleets) >= MAX_FLEETS:
                self._fleets.clear()
            known = FleetParameters(bias, slope, columns, frozenset(p.name for p in profiles if not self._knows(p)))
            # The profiles are kept, too, so that no other object can take over their identity.
            found = self._fleets[key] = (known, tuple(profiles))
        return found[0]

    def _knows(self, profile: ModelProfile) -> bool:
        return profile.skill is not None or profile.name in self.abilities or profile.like in self.abilities

    def own_column(self, profile: ModelProfile) -> int:
        """The model's own head, or that of the model that it is like, else the column of zeros."""
        for name in (profile.name, profile.like):
            if name is not None and name in self._column:
                return self._column[name]
        return -1
