"""From labelled texts to a student: folds, model selection, acceptor, certificate, final fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.jsontypes import JsonObject
from orchestrator.students.acceptor import SIGNALS, Acceptor, NoveltyGate, References, signals_of, stack
from orchestrator.students.agreement import AgreementCertificate, AgreementPromise, certify_agreement
from orchestrator.students.drift import allowed_by_label
from orchestrator.students.student import Student, StudentCard
from orchestrator.students.task import StudentTask
from orchestrator.students.training.design import Design, Rows
from orchestrator.students.training.fitting import FitSettings, Fitted, fit_models
from orchestrator.students.training.rows import LabelledText, assign_folds, rows_hash
from orchestrator.students.vocabulary import Vector

N_FOLDS = 10
SELECTION_FOLDS = 3
FEWEST_ROWS = 40
MAX_REFERENCES = 512
CANDIDATES = tuple(FitSettings(penalty, share) for penalty in (1.0, 3.0, 10.0) for share in (0.0, 0.15))
TEMPERATURES = (0.4, 0.55, 0.75, 1.0, 1.4)
ACCEPTOR_PENALTY = 0.1
NOT_LEARNED = -1  # in place of a label
GATED = 0.0  # the score of a novel text: nothing lets it through


class TrainingError(ValueError):
    """Rows from which no student can be made, with what to do about it."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


@dataclass(frozen=True)
class HeldOut:
    """What students say of texts that they were not trained on, one row a text.

    Attributes:
        answers: The label that is said, as an index, shape (n,).
        signals: Of each answer, shape (n, 9).
    """

    answers: NDArray[np.int64]
    signals: Vector

    def of(self, rows: Rows) -> HeldOut:
        """Of some rows only."""
        return HeldOut(self.answers[rows], self.signals[rows])


@dataclass(frozen=True)
class Accepting:
    """What decides whether a student answers, before anything is proven.

    Attributes:
        gate: Keeps away what is new.
        acceptor: How probable agreement is.
        scores: Of held-out answers, each by an acceptor that did not see it; 0 for those that the gate keeps away.
    """

    gate: NoveltyGate
    acceptor: Acceptor
    scores: NDArray[np.float64]


def train_student(
    rows: Sequence[LabelledText],
    task: StudentTask,
    promise: AgreementPromise,
    *,
    name: str = "student",
    version: int = 1,
    seed: int = 0,
) -> Student:
    """Trains a student and certifies it on out-of-fold answers.

    Args:
        rows: At least 40, of at least two labels with three texts each.
        task: Which queries are its own.
        promise: What is to be proven; where it cannot be, the student abstains from everything.
        name: Of the task.
        version: Counted from 1: the proofs of all versions together spend the promise's delta once.
        seed: Decides folds and references. The same rows and seed make the same student.

    Raises:
        TrainingError: The rows allow no student.
    """
    check_rows(rows)
    labels = sorted({row.learned for row in rows if row.is_learned})
    y = np.array([labels.index(row.learned) if row.is_learned else NOT_LEARNED for row in rows])
    design = Design.of([row.text for row in rows])
    groups = [row.group for row in rows]
    learned = np.flatnonzero(y != NOT_LEARNED)
    settings = select_settings(design, y, groups, len(labels), seed)
    confidence = np.array([row.confidence for row in rows], dtype=np.float32)
    folds = assign_folds(y, groups, N_FOLDS, seed)
    held_out = held_out_answers(design, y, confidence, folds, len(labels), settings, seed)
    said = [labels[answer] for answer in held_out.answers.tolist()]
    agrees_with_teacher = np.array([s == row.label for s, row in zip(said, rows, strict=True)])
    accepting = learn_to_accept(held_out, agrees_with_teacher, folds, design.lengths, len(labels))
    agrees, judged = judged_answers(rows, labels, held_out.answers, promise)
    certificate = certify_agreement(accepting.scores[judged], agrees[judged], promise, refit=version)
    given = np.zeros(len(rows), dtype=bool)
    if isinstance(certificate, AgreementCertificate):
        given[judged] = accepting.scores[judged] >= certificate.threshold
    fitted = fit_models(design, learned, y[learned], len(labels), settings)
    model = fitted.as_model()
    references = pick_references(design, y, confidence, learned, len(labels), seed)
    card = StudentCard(
        name,
        version,
        teachers=dict(Counter(row.teacher for row in rows)),
        rows=len(learned),
        chosen={"inverse_penalty": settings.inverse_penalty, "counts_share": settings.counts_share},
        measured=_measured(rows, said, judged, given),
        data_hash=rows_hash(rows),
        notes=_notes(rows, said, agrees, given, accepting.scores, promise),
    )
    parts = model, references, accepting.gate, accepting.acceptor
    return Student(task, tuple(labels), *parts, certificate, card)


def check_rows(rows: Sequence[LabelledText]) -> None:
    """Raises `TrainingError` on rows from which nothing can be learned."""
    rows = [row for row in rows if row.is_learned]
    if len(rows) < FEWEST_ROWS:
        raise TrainingError(
            f"{len(rows)} labelled texts are left, at least {FEWEST_ROWS} are needed",
            "Collect more texts, or look at why rows were rejected",
        )
    counts = Counter(row.learned for row in rows)
    if len(counts) < 2:
        raise TrainingError(
            f"all {len(rows)} texts have the label {next(iter(counts))!r}",
            "A student must have something to tell apart: collect texts of other labels",
        )
    few = sorted(label for label, count in counts.items() if count < 3)
    if few:
        raise TrainingError(
            f"the labels {', '.join(map(repr, few[:5]))} have fewer than three texts",
            "Leave them out (filter: fewest_per_label), or collect more texts of them",
        )


def select_settings(design: Design, y: NDArray[np.int64], groups: Sequence[str], k: int, seed: int) -> FitSettings:
    """The candidate whose held-out probabilities lose the least: log-loss over three folds at its best temperature.

    How sure a candidate is on the whole does not matter, since the acceptor is calibrated afterwards.
    """
    folds = assign_folds(y, groups, SELECTION_FOLDS, seed + 1)
    losses = {each: np.zeros(len(TEMPERATURES)) for each in CANDIDATES}
    is_learned = y != NOT_LEARNED
    for fold in range(SELECTION_FOLDS):
        train, test = np.flatnonzero((folds != fold) & is_learned), np.flatnonzero((folds == fold) & is_learned)
        for penalty in sorted({each.inverse_penalty for each in CANDIDATES}):
            readings = fit_models(design, train, y[train], k, FitSettings(penalty, 0.0)).readings(test)
            for each in CANDIDATES:
                if each.inverse_penalty == penalty:
                    p = np.array([r.linear + each.counts_share * (r.bayes - r.linear) for r in readings])
                    losses[each] += [_log_loss(p, y[test], temperature) for temperature in TEMPERATURES]
    return min(CANDIDATES, key=lambda each: losses[each].min())


def _log_loss(p: Vector, y: NDArray[np.int64], temperature: float) -> float:
    softened = np.maximum(p, 1e-9) ** (1.0 / temperature)
    return -float(np.log(softened[np.arange(len(y)), y] / softened.sum(axis=1)).sum())


def held_out_answers(
    design: Design,
    y: NDArray[np.int64],
    confidence: Vector,
    folds: NDArray[np.int64],
    k: int,
    settings: FitSettings,
    seed: int,
) -> HeldOut:
    """Each row as a student sees it that was trained on the other folds."""
    answers = np.zeros(len(y), dtype=np.int64)
    signals = np.zeros((len(y), len(SIGNALS)), dtype=np.float32)
    for fold in np.unique(folds):
        train, test = np.flatnonzero((folds != fold) & (y != NOT_LEARNED)), np.flatnonzero(folds == fold)
        fitted = fit_models(design, train, y[train], k, settings)
        references = pick_references(design, y, confidence, train, k, seed)
        answers[test], signals[test] = _signals(fitted, references, test)
    return HeldOut(answers, signals)


def _signals(fitted: Fitted, references: References, rows: Rows) -> tuple[NDArray[np.int64], Vector]:
    found = [signals_of(reading, references) for reading in fitted.readings(rows)]
    return np.array([label for label, _ in found]), stack([signals for _, signals in found])


def learn_to_accept(
    held_out: HeldOut, agrees: NDArray[np.bool_], folds: NDArray[np.int64], lengths: NDArray[np.int64], k: int
) -> Accepting:
    """From held-out answers, of which it is known whether they agree, to a way to accept answers.

    `agrees`, `folds` and `lengths` (words of each text) have shape (n,); what shares a fold is not learned from each
    other. `k` is the number of labels.
    """
    gate = NoveltyGate.fit(held_out.answers, held_out.signals, lengths, k)
    scores = np.zeros(len(agrees))
    for fold in np.unique(folds):
        own = folds == fold
        scores[own] = _fit_acceptor(held_out.signals[~own], agrees[~own]).scores(held_out.signals[own])
    scores[gate.are_novel(held_out.answers, held_out.signals)] = GATED
    return Accepting(gate, _fit_acceptor(held_out.signals, agrees), scores)


def _fit_acceptor(signals: Vector, agrees: NDArray[np.bool_]) -> Acceptor:
    from sklearn.linear_model import LogisticRegression

    means, scales = signals.mean(axis=0), np.maximum(signals.std(axis=0), 1e-6)
    if agrees.all() or not agrees.any():  # nothing to tell apart: how sure it is decides
        weights = np.zeros(len(SIGNALS), dtype=np.float32)
        weights[:2] = 0.5
        return Acceptor(means, scales, weights, 3.0 if agrees.all() else -3.0)
    model = LogisticRegression(C=ACCEPTOR_PENALTY, max_iter=300).fit((signals - means) / scales, agrees)
    return Acceptor(means, scales, model.coef_[0].astype(np.float32), float(model.intercept_[0]))


def judged_answers(
    rows: Sequence[LabelledText], labels: Sequence[str], answers: NDArray[np.int64], promise: AgreementPromise
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Whether each answer is the label, and the rows of which that may be asked.

    Synthetic texts prove nothing about real ones, and against gold only rows with a known label count.
    """
    truth = [row.gold if promise.against == "gold" else row.label for row in rows]
    agrees = np.array([labels[answer] == right for answer, right in zip(answers, truth, strict=True)])
    judged = [i for i, row in enumerate(rows) if not row.is_synthetic and truth[i] is not None]
    return agrees, np.array(judged, dtype=np.int64)


def pick_references(
    design: Design, y: NDArray[np.int64], confidence: Vector, rows: Rows, k: int, seed: int
) -> References:
    """At most 512 of the rows, as evenly spread over the labels as they allow."""
    rng = np.random.default_rng(seed)
    turn = np.zeros(len(rows))
    for label in np.unique(y[rows]):
        own = np.flatnonzero(y[rows] == label)
        turn[rng.permutation(own)] = np.arange(len(own))
    picked = rows[np.argsort(turn, kind="stable")[:MAX_REFERENCES]]
    picked = picked[np.lexsort((picked, y[picked]))]
    return References(design.vectors[picked], np.searchsorted(y[picked], np.arange(k + 1)), confidence[picked])


def _notes(
    rows: Sequence[LabelledText],
    said: Sequence[str],
    agrees: NDArray[np.bool_],
    given: NDArray[np.bool_],
    scores: NDArray[np.float64],
    promise: AgreementPromise,
) -> JsonObject:
    """What a student in use is watched by."""
    notes: JsonObject = {
        "teacher_confidence": float(np.mean([row.confidence for row in rows])),
        "novel_share": float(np.mean(scores == GATED)),
    }
    if given.any():
        own = np.flatnonzero(given)
        allowed = allowed_by_label([said[at] for at in own.tolist()], agrees[own].tolist(), 1.0 - promise.agreement)
        notes |= {"allowed_by_label": allowed, "tighter_threshold": float(np.median(scores[given]))}
    return notes


def _measured(
    rows: Sequence[LabelledText], said: Sequence[str], judged: NDArray[np.int64], given: NDArray[np.bool_]
) -> JsonObject:
    """Figures of the out-of-fold answers."""
    measured: JsonObject = {
        "agreement_with_teacher": float(np.mean([s == row.label for s, row in zip(said, rows, strict=True)])),
        "coverage": float(given[judged].mean()) if len(judged) else 0.0,
        "synthetic_share": float(np.mean([row.is_synthetic for row in rows])),
    }
    known = [at for at in judged.tolist() if rows[at].gold is not None]
    if known:
        right = [said[at] == rows[at].gold for at in known]
        taught = [rows[at].label == rows[at].gold for at in known]
        pair = [s if given[at] else t for at, s, t in zip(known, right, taught, strict=True)]
        measured |= {
            "gold_rows": len(known),
            "student_accuracy": float(np.mean(right)),
            "teacher_accuracy": float(np.mean(taught)),
            "pair_accuracy": float(np.mean(pair)),
        }
    return measured
