"""A student that copies typed fields out of a text: each token is the beginning of a field, its going on, or neither.

A linear tagger over each word, its shape, its beginning and end, and those of two neighbours on either side. What a
word adds at each distance is worked out once. A value is always a span of the text, so that nothing is invented.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.students.agreement import AgreementCertificate, NoAgreement
from orchestrator.students.spans import FieldType, Token, read_value, split
from orchestrator.students.student import NEVER, Prediction, StudentCard
from orchestrator.students.task import StudentTask
from orchestrator.students.tokens import MAX_CHARS
from orchestrator.students.vocabulary import Vector

WINDOW = (-2, -1, 0, 1, 2)
MAX_CACHED_WORDS = 50_000
OUTSIDE = "O"
EDGE = "\x00edge"  # what stands before the first token and after the last


def tags_of(fields: Sequence[str]) -> list[str]:
    """What a token can be: outside, or the beginning or the going on of a field."""
    return [OUTSIDE, *(f"{mark}:{name}" for name in fields for mark in ("B", "I"))]


def word_features(word: str) -> list[str]:
    """What is seen of one token: itself, its shape, how it begins and ends."""
    if word == EDGE:
        return [EDGE]
    low = word.casefold()[:40]
    shape = re.sub(r"[^\W\d_]+", lambda match: "X" if match.group()[0].isupper() else "x", word[:40])
    shape = re.sub(r"\d", "9", shape)
    return [f"w={low}", f"s={shape}", f"p={low[:3]}", f"e={low[-3:]}"]


@dataclass
class TagModel:
    """The linear tagger.

    Attributes:
        columns: Features of a word by name.
        weights: Shape (features, 5 distances, tags).
        bias: Shape (tags,).
    """

    columns: Mapping[str, int]
    weights: NDArray[np.float32]
    bias: Vector
    _cache: dict[str, NDArray[np.float32]] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def tag(self, tokens: Sequence[Token]) -> Vector:
        """P(tag) of each token, shape (tokens, tags)."""
        edge = [EDGE, EDGE]
        words = [*edge, *(token.text for token in tokens), *edge]
        with self._lock:
            rows = np.stack([self._row(word) for word in words])
        n = len(tokens)
        scores = self.bias + sum(rows[2 + distance : 2 + distance + n, at] for at, distance in enumerate(WINDOW))
        raised = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(raised / raised.sum(axis=1, keepdims=True))

    def known(self, tokens: Sequence[Token]) -> float:
        """The share of tokens that stood in the training texts."""
        seen = sum(f"w={token.text.casefold()[:40]}" in self.columns for token in tokens)
        return seen / max(len(tokens), 1)

    def _row(self, word: str) -> NDArray[np.float32]:
        row = self._cache.get(word)
        if row is None:
            if len(self._cache) >= MAX_CACHED_WORDS:
                self._cache.clear()
            found = [at for name in word_features(word) if (at := self.columns.get(name)) is not None]
            row = self._cache[word] = self.weights[found].sum(axis=0)
        return row


@dataclass(frozen=True, slots=True)
class ExtractionStudent:
    """Gives a JSON object of typed fields, or abstains.

    Attributes:
        task: Which queries are its own.
        fields: The type of each field.
        model: Tags tokens.
        known: The least share of known tokens.
        longest: The most tokens.
        certificate: What was proven, or why nothing could be.
        card: Where it comes from.
    """

    task: StudentTask
    fields: Mapping[str, FieldType]
    model: TagModel
    known: float
    longest: int
    certificate: AgreementCertificate | NoAgreement
    card: StudentCard

    @property
    def threshold(self) -> float:
        """What the confidence must reach; above 1 where nothing was proven."""
        return self.certificate.threshold if isinstance(self.certificate, AgreementCertificate) else NEVER

    def predict(self, text: str) -> Prediction:
        """What it says of one text, without the words of the task around it."""
        tokens = split(text)
        if len(text) > MAX_CHARS or len(tokens) > self.longest:
            return Prediction("", 0.0, False, "the text is longer than those that it learned from", is_novel=True)
        record, confidence = self.extract(text, tokens)
        why_not, is_novel = "", self.model.known(tokens) < self.known
        if isinstance(self.certificate, NoAgreement):
            why_not = "no agreement with its teacher could be proven"
        elif is_novel:
            why_not = "the text is unlike those that it learned from"
        elif confidence < self.threshold:
            why_not = f"agreement is too improbable ({confidence:.2f}, {self.threshold:.2f} is needed)"
        answer = json.dumps(record, ensure_ascii=False)
        return Prediction(answer, confidence, not why_not, why_not, is_novel=is_novel)

    def extract(self, text: str, tokens: Sequence[Token]) -> tuple[JsonObject, float]:
        """The record, and the probability that all of it is right as the tagger sees it."""
        if not tokens:
            return dict.fromkeys(self.fields), 0.0
        p = self.model.tag(tokens)
        record: JsonObject = {}
        confidence = 1.0
        for at, (name, kind) in enumerate(self.fields.items()):
            record[name], sure = _best_span(text, tokens, p, 1 + 2 * at, kind)
            confidence *= sure
        return record, confidence

    def warm(self) -> None:
        """Nothing is to be worked out beforehand."""


def _best_span(text: str, tokens: Sequence[Token], p: Vector, begin: int, kind: FieldType) -> tuple[JsonValue, float]:
    """The likeliest value of a field, or `None` where it is likelier that there is none; and how likely."""
    starts = p[:, begin]
    first = int(starts.argmax())
    sure = float(starts[first])
    if sure < 0.5:
        return None, 1.0 - sure
    last = first
    while last + 1 < len(tokens) and p[last + 1, begin + 1] > 0.5:
        last += 1
        sure *= float(p[last, begin + 1])
    if last + 1 < len(tokens):
        sure *= 1.0 - float(p[last + 1, begin + 1])
    others = np.delete(starts, first)
    sure *= 1.0 - float(others.max(initial=0.0))  # a second beginning: the text names two
    value = read_value(text[tokens[first].start : tokens[last].end], kind)
    return value, sure if value is not None else 0.0
