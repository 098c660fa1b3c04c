"""A trained reward: P(correct) of an answer from its form and, with an encoder, its meaning.

A logistic regression (scikit-learn, extra `train`).

It learns what wrong answers of one's own fleet look like: hedged, cut off, far from the question, unusually long.
Trained on few answers it says little: its probabilities come from cross-validation. What is stored is numbers in JSON;
nothing is unpickled.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.verifiers.answers.equivalence import canonical_answer
from orchestrator.verifiers.verdict import Verdict

FORMAT = 1
MAX_CHARS = 20_000
MIN_EXAMPLES = 20
FOLDS = 5
Encode = Callable[[Sequence[str]], Any]

_HEDGE = re.compile(
    r"\b(?:maybe|perhaps|probably|might|not sure|unclear|I think|I believe|approximately|it seems|cannot be "
    r"determined)\b",
    re.IGNORECASE,
)
_REFUSAL = re.compile(r"\b(?:I cannot|I can't|I'm sorry|I am sorry|as an AI|unable to)\b", re.IGNORECASE)
_TURN = re.compile(r"\b(?:wait|actually|however|hold on|let me re-?check|correction)\b", re.IGNORECASE)
_WORD = re.compile(r"\w{2,}")
FEATURES = (
    "log_words", "log_lines", "hedges", "refuses", "turns", "ends_whole", "marked", "is_number", "is_text", "digits",
    "question_words", "repeats",
    "code", "log_question_words",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class GradedAnswer:
    """An example: a query, an answer, and whether it was right."""

    query: str
    answer: str
    right: bool


def features_of(query: str, answer: str) -> list[float]:
    """What an answer looks like; the order is that of `FEATURES`."""
    text = answer[:MAX_CHARS]
    words, lines = _WORD.findall(text.casefold()), [line.strip() for line in text.splitlines() if line.strip()]
    asked = set(_WORD.findall(query[:MAX_CHARS].casefold()))
    canonical = canonical_answer(text, query)
    return [
        math.log1p(len(words)),
        math.log1p(len(lines)),
        min(len(_HEDGE.findall(text)), 5) / 5,
        float(bool(_REFUSAL.search(text))),
        min(len(_TURN.findall(text)), 5) / 5,
        float(text.rstrip()[-1:] in ".!?}])`\"'0123456789"),
        float(canonical.text != text.strip()),
        float(canonical.kind == "number"),
        float(canonical.kind == "text"),
        sum(c.isdigit() for c in text) / max(len(text), 1),
        sum(word in asked for word in set(words)) / max(len(set(words)), 1),
        1.0 - len(set(lines)) / max(len(lines), 1),
        float("```" in text),
        math.log1p(len(asked)),
    ]


class RewardVerifier:
    """Scores an answer by a trained `RewardModel`; passes from `at_least` on. Not decisive."""

    name = "reward"

    def __init__(self, model: RewardModel, *, at_least: float = 0.5) -> None:
        self._model, self._at_least = model, at_least

    async def verify(self, query: str, candidate: str) -> Verdict:
        """Predicts P(correct) from features of the answer."""
        p = self._model.p_right(query, candidate)
        return Verdict(self.name, p, p >= self._at_least)


@dataclass(frozen=True)
class RewardModel:
    """Weights over standardised features and, if it was trained with one, the dimensions of an encoder (named by
    `encoder`).
    """

    weights: tuple[float, ...]
    intercept: float
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    encoder: str | None = None
    encode: Encode | None = None

    def p_right(self, query: str, answer: str) -> float:
        """In (0, 1). One dot product, and one call of the encoder if there is one."""
        x = features_of(query, answer) + _meaning(self.encode, [answer])[0]
        z = self.intercept + sum(
            w * (v - m) / s for w, v, m, s in zip(self.weights, x, self.mean, self.scale, strict=True)
        )
        return 1.0 / (1.0 + math.exp(-min(max(z, -30.0), 30.0)))

    def save(self, path: str | Path) -> None:
        """Writes the model as JSON."""
        stored = {
            "format": FORMAT,
            "features": list(FEATURES),
            "encoder": self.encoder,
            "weights": self.weights,
            "intercept": self.intercept,
        }
        Path(path).write_text(json.dumps({**stored, "mean": self.mean, "scale": self.scale}), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path, *, encode: Encode | None = None, encoder: str | None = None) -> RewardModel:
        """Raises `ValueError` on a file of another kind, or trained with another encoder than the one named."""
        try:
            stored = json.loads(Path(path).read_text(encoding="utf-8"))
            if (stored["format"], tuple(stored["features"])) != (FORMAT, FEATURES):
                raise ValueError(f"{path}: a reward of another version; train it again")
            numbers = (tuple(map(float, stored[name])) for name in ("weights", "mean", "scale"))
            weights, mean, scale = numbers
            intercept, wanted = float(stored["intercept"]), stored["encoder"]
        except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ValueError(f"{path}: not a trained reward ({type(error).__name__})") from None
        if wanted != encoder or (wanted is not None) != (encode is not None):
            raise ValueError(f"{path}: trained with encoder {wanted!r}, given is {encoder!r}")
        return cls(weights, intercept, mean, scale, wanted, encode)


def train_reward(
    examples: Sequence[GradedAnswer], *, encode: Encode | None = None, encoder: str | None = None
) -> RewardModel:
    """A reward from graded answers; answers to one query stay together in cross-validation.

    `encoder` names what `encode` is.

    Raises `ValueError` on fewer than 20 examples, on examples that are all right or all wrong, or an encoder without a
    name.
    """
    right = [example.right for example in examples]
    if len(examples) < MIN_EXAMPLES or all(right) or not any(right):
        raise ValueError(
            f"a reward needs at least {MIN_EXAMPLES} graded answers, right ones and wrong ones; these are "
            f"{len(right)}, {sum(right)} right"
        )
    if (encode is None) != (encoder is None):
        raise ValueError("an encoder and its name come together")
    import numpy as np  # heavy
    from sklearn.linear_model import LogisticRegression, LogisticRegressionCV  # optional and heavy: extra `train`
    from sklearn.model_selection import GroupKFold, cross_val_predict

    rows = [
        features_of(e.query, e.answer) + m
        for e, m in zip(examples, _meaning(encode, [e.answer for e in examples]), strict=True)
    ]
    x, y = np.array(rows), np.array(right, dtype=int)
    mean, spread = x.mean(axis=0), x.std(axis=0)
    scale = np.where(spread > 1e-6, spread, 1.0)  # what never varied has no weight
    x = (x - mean) / scale
    groups = np.unique([e.query for e in examples], return_inverse=True)[1]
    folds = (
        list(GroupKFold(min(FOLDS, len(np.unique(groups)))).split(x, y, groups)) if len(np.unique(groups)) > 1 else []
    )
    if any(len(np.unique(y[train])) < 2 for train, _ in folds):
        folds = []
    strengths = np.geomspace(1e-4, 1.0, 9)
    strength = 0.01
    if folds:
        chosen = LogisticRegressionCV(
            Cs=strengths, cv=folds, scoring="neg_log_loss", max_iter=500, l1_ratios=(0.0,), use_legacy_attributes=False
        )
        strength = float(chosen.fit(x, y).C_)
    fitted = LogisticRegression(C=strength, max_iter=500).fit(x, y)
    slope, intercept = 1.0, 0.0
    if folds:
        unseen = cross_val_predict(
            LogisticRegression(C=strength, max_iter=500), x, y, cv=folds, method="decision_function"
        )
        platt = LogisticRegression(C=1.0).fit(unseen[:, None], y)
        slope, intercept = max(float(platt.coef_[0, 0]), 0.0), float(platt.intercept_[0])
    weights = tuple((slope * fitted.coef_[0]).tolist())
    bias = slope * float(fitted.intercept_[0]) + intercept
    return RewardModel(weights, bias, tuple(mean.tolist()), tuple(scale.tolist()), encoder, encode)


def _meaning(encode: Encode | None, answers: Sequence[str]) -> list[list[float]]:
    if encode is None:
        return [[] for _ in answers]
    return [[float(value) for value in row] for row in encode([answer[:MAX_CHARS] for answer in answers])]
