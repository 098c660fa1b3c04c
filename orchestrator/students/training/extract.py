"""From texts with records to a student that extracts."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.jsontypes import JsonObject
from orchestrator.students.acceptor import FEWEST_LONGEST, LONGER
from orchestrator.students.agreement import AgreementCertificate, AgreementPromise, certify_agreement
from orchestrator.students.extraction import (
    EDGE,
    WINDOW,
    ExtractionStudent,
    TagModel,
    tags_of,
    word_features,
)
from orchestrator.students.labels import is_same_record
from orchestrator.students.spans import FieldType, Token, find_span, split, type_of
from orchestrator.students.student import StudentCard
from orchestrator.students.task import StudentTask
from orchestrator.students.training.rows import assign_folds
from orchestrator.students.training.train import FEWEST_ROWS, TrainingError

N_FOLDS = 5
INVERSE_PENALTY = 3.0
NOVELTY_QUANTILE = 0.01


@dataclass(frozen=True, slots=True)
class RecordedText:
    """One text with the fields that its teacher found in it; a field that is not there is `None` or left out."""

    text: str
    record: JsonObject
    group: str = ""
    teacher: str = ""
    is_synthetic: bool = False
    is_learned: bool = True
    gold: JsonObject | None = None


def train_extractor(
    rows: Sequence[RecordedText],
    task: StudentTask,
    promise: AgreementPromise,
    *,
    name: str = "student",
    version: int = 1,
    seed: int = 0,
) -> ExtractionStudent:
    """Trains a tagger and certifies whole records on out-of-fold answers.

    Rows with a value that is no span of their text teach nothing (`unspanned_field` finds them); they count as
    disagreements. Raises `TrainingError` where no student can be made.
    """
    if len(rows) < FEWEST_ROWS:
        raise TrainingError(f"{len(rows)} texts are left, at least {FEWEST_ROWS} are needed", "Collect more texts")
    fields = fields_of(rows)
    if not fields:
        raise TrainingError("no record has any field", "The teacher's answers must be JSON objects with values")
    tokens = [split(row.text) for row in rows]
    tags = [_tags(row, each, list(fields)) if row.is_learned else None for row, each in zip(rows, tokens, strict=True)]
    folds = assign_folds(["" for _ in rows], [row.group for row in rows], N_FOLDS, seed)
    scores, agrees, known = np.zeros(len(rows)), np.zeros(len(rows), dtype=bool), np.zeros(len(rows))
    for fold in np.unique(folds):
        train = [at for at in range(len(rows)) if folds[at] != fold and tags[at] is not None]
        model = _fit(train, tokens, tags, len(tags_of(list(fields))))
        nothing = certify_agreement(np.zeros(0), np.zeros(0, dtype=bool), promise)
        student = ExtractionStudent(task, fields, model, 0.0, 0, nothing, StudentCard(name))
        for at in np.flatnonzero(folds == fold).tolist():
            record, scores[at] = student.extract(rows[at].text, tokens[at])
            truth = rows[at].gold if promise.against == "gold" else rows[at].record
            agrees[at] = truth is not None and is_same_record(record, truth, list(fields))
            known[at] = model.known(tokens[at])
    least = float(np.quantile(known, NOVELTY_QUANTILE))
    scores[known < least] = 0.0
    judged = np.array([not row.is_synthetic and (promise.against == "teacher" or row.gold is not None) for row in rows])
    certificate = certify_agreement(scores[judged], agrees[judged], promise, refit=version)
    model = _fit([at for at in range(len(rows)) if tags[at] is not None], tokens, tags, len(tags_of(list(fields))))
    coverage = certificate.coverage if isinstance(certificate, AgreementCertificate) else 0.0
    card = StudentCard(
        name,
        version,
        teachers=dict(Counter(row.teacher for row in rows)),
        rows=len(rows),
        chosen={"inverse_penalty": INVERSE_PENALTY},
        measured={
            "agreement_with_teacher": float(agrees.mean()),
            "coverage": coverage,
            "synthetic_share": float(np.mean([row.is_synthetic for row in rows])),
        },
    )
    longest = max(int(LONGER * max(map(len, tokens))), FEWEST_LONGEST)
    return ExtractionStudent(task, fields, model, least, longest, certificate, card)


def fields_of(rows: Sequence[RecordedText]) -> dict[str, FieldType]:
    """The fields of the records, in alphabetical order, with the narrowest type of their values."""
    names = sorted({name for row in rows for name, value in row.record.items() if value is not None})
    return {name: type_of([row.record.get(name) for row in rows]) for name in names}


def unspanned_field(row: RecordedText) -> str | None:
    """A field whose value does not stand in the text, or `None`."""
    tokens = split(row.text)
    for name, value in row.record.items():
        if value is not None and find_span(value, row.text, tokens) is None:
            return name
    return None


def _tags(row: RecordedText, tokens: list[Token], fields: list[str]) -> list[int] | None:
    """The tag of every token, or `None` where a value does not stand in the text."""
    tags = [0] * len(tokens)
    for at, name in enumerate(fields):
        value = row.record.get(name)
        if value is None:
            continue
        span = find_span(value, row.text, tokens)
        if span is None:
            return None
        tags[span[0]] = 1 + 2 * at
        for position in range(span[0] + 1, span[1] + 1):
            tags[position] = 2 + 2 * at
    return tags


def _fit(rows: Sequence[int], tokens: Sequence[list[Token]], tags: Sequence[list[int] | None], n_tags: int) -> TagModel:
    from scipy import sparse
    from sklearn.linear_model import LogisticRegression

    words = [[EDGE, EDGE, *(token.text for token in tokens[row]), EDGE, EDGE] for row in rows]
    seen = Counter(name for text in words for word in set(text) for name in word_features(word))
    columns = {name: at for at, name in enumerate(sorted(name for name, count in seen.items() if count > 1))}
    cached: dict[str, list[int]] = {}
    indices: list[int] = []
    ends = [0]
    y: list[int] = []
    for row, text in zip(rows, words, strict=True):
        y += tags[row] or []
        for position in range(2, len(text) - 2):
            for at, distance in enumerate(WINDOW):
                word = text[position + distance]
                if word not in cached:
                    cached[word] = [columns[name] for name in word_features(word) if name in columns]
                indices += [column * len(WINDOW) + at for column in cached[word]]
            ends.append(len(indices))
    labels: NDArray[np.int64] = np.array(y, dtype=np.int64)
    weights = np.zeros((len(columns) * len(WINDOW), n_tags), dtype=np.float32)
    bias = np.full(n_tags, -30.0, dtype=np.float32)
    present = np.unique(labels)
    if len(present) < 2:
        raise TrainingError(
            "no value of any record stands in its text", "Extraction copies spans: ask the teacher for values verbatim"
        )
    matrix = sparse.csr_matrix((np.ones(len(indices), dtype=np.float32), indices, ends), (len(y), len(weights)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the steps were used up: what is found by then is good enough
        model = LogisticRegression(C=INVERSE_PENALTY, max_iter=200, tol=1e-3).fit(matrix, labels)
    if len(present) == 2:
        weights[:, present[1]], bias[present] = model.coef_[0], (0.0, model.intercept_[0])
    else:
        weights[:, present], bias[present] = model.coef_.T, model.intercept_
    return TagModel(columns, weights.reshape(len(columns), len(WINDOW), n_tags), bias)
