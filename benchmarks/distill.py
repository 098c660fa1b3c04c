"""How much a student may take over under a promise, and whether the promise holds.

`python -m benchmarks.distill --data DIR --json FILE`.

- ag_news: labels of a language model, with gold. Every text gets its out-of-fold answer and score (ten folds) once; in
  each of 200 re-splits 400 of them certify agreement .95 with confidence .9, and the other 600 are tested.
  `coverage_400` is the mean share of them that the student takes, `broken` the share of splits in which it agrees on
  fewer than 95 % of what it takes, `pair_accuracy` that of student and teacher together against gold.
- `broken_refits`: 30 students one after the other, each certified on all labels that had come in by then (200 at first,
  25 more each time, drawn from the 1,000 with replacement). A run counts as broken if any of its 30 certificates lets
  through answers of which, among all 1,000 texts, fewer than 95 % agree.
- emotion: the same re-splits; the teacher is right too seldom to be learned from.
- banking77: gold as teacher, trained on 10,003 texts, tested on 3,080 others. The five standard classifiers are shown.
- drift (SIMULATED): audits of the certified ag_news student; after 300 of them the teacher gives one class another
  name. `alarm_after` is the median number of audits from there to an alarm, `false_alarms` the share of streams of
  2,000 audits without any change that end in one.
- noise (SIMULATED): 10, 20 and 30 % of the gold labels of 70 % of ag_news are replaced at random (five seeds). `auc` is
  how well the cleaning ranks wrong labels before right ones, `loss` how many points of accuracy on the other 30 % a
  student loses that learns from what the cleaning left, against one that learns from the clean labels.
- `p50_us`: of answering, by a student of 1,000 banking questions, 3,080 questions that it never saw; `load_ms` of its
  file in a process that has loaded the package; `train_s` of a student of the 1,000 news texts.
- tracer: the gate of tracer-llm on the same answers and splits, where build/tracer has it (`make bench-peers`).
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.output import write_json
from orchestrator.students import (
    AgreementCertificate,
    AgreementPromise,
    Student,
    StudentTask,
    load_student,
    save_student,
)
from orchestrator.students.agreement import certify_agreement
from orchestrator.students.drift import DriftMonitor
from orchestrator.students.training import LabelledText, train_student
from orchestrator.students.training.design import Design
from orchestrator.students.training.fitting import fit_models
from orchestrator.students.training.noise import clean_labels
from orchestrator.students.training.rows import assign_folds
from orchestrator.students.training.train import held_out_answers, learn_to_accept, select_settings

PROMISE = AgreementPromise(0.95, 0.9)
N_LABELS, N_SPLITS, N_FOLDS = 400, 200, 10
REFIT_RUNS, REFITS, FIRST_LABELS, MORE_LABELS = 200, 30, 200, 25
CHANGE_AFTER, STREAM, STREAMS = 300, 2_000, 200
NOISE_RATES, NOISE_SEEDS = (0.1, 0.2, 0.3), 5
TRACER = Path("build/tracer/bin/python")


def read_rows(folder: Path, name: str, limit: int | None = None) -> list[LabelledText]:
    with (folder / "distill" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))[:limit]
    return [
        LabelledText(
            row["text"],
            row.get("teacher") or row["gold"],
            float(row.get("teacher_confidence") or 1.0),
            gold=row["gold"],
        )
        for row in found
    ]


class Answers:
    """Out-of-fold answers of students to all texts of a task, once and for all."""

    def __init__(self, rows: Sequence[LabelledText], seed: int = 0) -> None:
        self.labels = sorted({row.label for row in rows})
        self.k = len(self.labels)
        self.y = np.array([self.labels.index(row.label) for row in rows])
        self.design = Design.of([row.text for row in rows])
        self.folds = assign_folds(self.y, [""] * len(rows), N_FOLDS, seed)
        confidence = np.array([row.confidence for row in rows], dtype=np.float32)
        settings = select_settings(self.design, self.y, [""] * len(rows), self.k, seed)
        self.held_out = held_out_answers(self.design, self.y, confidence, self.folds, self.k, settings, seed)
        self.agrees = self.held_out.answers == self.y
        self.scores = learn_to_accept(self.held_out, self.agrees, self.folds, self.design.lengths, self.k).scores


def split_rows(n: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    for _ in range(N_SPLITS):
        order = rng.permutation(n)
        yield order[:N_LABELS], order[N_LABELS:]


def resplit(rows: Sequence[LabelledText], answers: Answers) -> dict[str, float]:
    """Coverage, broken promises, and accuracy of pair and teacher, over the re-splits."""
    gold = np.array([answers.labels.index(row.gold) if row.gold in answers.labels else -1 for row in rows])
    coverage, broken, pair, teacher = [], [], [], []
    for labelled, tested in split_rows(len(rows)):
        given = accepted(answers, labelled, tested)
        said, taught = answers.held_out.answers[tested], answers.y[tested]
        coverage.append(given.mean())
        broken.append(bool(given.any()) and answers.agrees[tested][given].mean() < PROMISE.agreement)
        pair.append(np.mean(np.where(given, said, taught) == gold[tested]))
        teacher.append(np.mean(taught == gold[tested]))
    return {
        "coverage_400": round(float(np.mean(coverage)), 4),
        "broken": round(float(np.mean(broken)), 4),
        "pair_accuracy": round(float(np.mean(pair)), 4),
        "teacher_accuracy": round(float(np.mean(teacher)), 4),
    }


def accepted(answers: Answers, labelled: np.ndarray, tested: np.ndarray, refit: int = 1) -> np.ndarray:
    """Which of the tested answers are given after certifying on the labelled ones."""
    found = certify_agreement(answers.scores[labelled], answers.agrees[labelled], PROMISE, refit=refit)
    if not isinstance(found, AgreementCertificate):
        return np.zeros(len(tested), dtype=bool)
    return answers.scores[tested] >= found.threshold


def broken_refits(rows: Sequence[LabelledText], first: Answers) -> float:
    """The share of runs of 30 refits in which any certificate is broken."""
    students = [first, *(Answers(rows, seed) for seed in (1, 2))]
    everything = np.arange(len(rows))
    broken = 0
    for run in range(REFIT_RUNS):
        rng = np.random.default_rng(run)
        labels = rng.integers(0, len(rows), FIRST_LABELS + MORE_LABELS * REFITS)
        for refit in range(1, REFITS + 1):
            answers = students[refit % len(students)]
            given = accepted(answers, labels[: FIRST_LABELS + MORE_LABELS * (refit - 1)], everything, refit)
            if given.any() and answers.agrees[given].mean() < PROMISE.agreement:
                broken += 1
                break
    return round(broken / REFIT_RUNS, 4)


def drift(rows: Sequence[LabelledText], answers: Answers) -> dict[str, float]:
    """SIMULATED: how soon a change is noticed, and how often none is."""
    student = train_student(rows, StudentTask(), PROMISE)
    allowed = student.card.notes["allowed_by_label"]
    given = accepted(answers, np.arange(len(rows)), np.arange(len(rows)))
    stream = np.flatnonzero(given)
    said, agrees = answers.held_out.answers, answers.agrees
    delays, false = [], 0
    for seed in range(STREAMS):
        rng = np.random.default_rng(seed)
        changed = seed % answers.k
        monitor, audits = DriftMonitor(1 - PROMISE.agreement, allowed), 0
        for row in rng.choice(stream, CHANGE_AFTER):
            monitor.observe(answers.labels[said[row]], not agrees[row])
        while not monitor.is_alarm and audits < STREAM:
            row = rng.choice(stream)
            disagrees = answers.y[row] == changed or not agrees[row]
            monitor.observe(answers.labels[said[row]], bool(disagrees))
            audits += 1
        delays.append(audits)
        quiet = DriftMonitor(1 - PROMISE.agreement, allowed)
        for row in rng.choice(stream, STREAM):
            quiet.observe(answers.labels[said[row]], not agrees[row])
        false += quiet.is_alarm
    return {"alarm_after": float(statistics.median(delays)), "false_alarms": round(false / STREAMS, 4)}


def noise(rows: Sequence[LabelledText]) -> dict[str, float]:
    """SIMULATED: what cleaning finds of labels that were replaced at random, and what that is worth."""
    labels = sorted({row.gold or "" for row in rows})
    aucs, losses = [], []
    for rate in NOISE_RATES:
        for seed in range(NOISE_SEEDS):
            rng = np.random.default_rng(seed)
            tested = rng.random(len(rows)) < 0.3
            clean = [LabelledText(row.text, row.gold or "") for row, test in zip(rows, tested, strict=True) if not test]
            test = [LabelledText(row.text, row.gold or "") for row, test in zip(rows, tested, strict=True) if test]
            wrong = np.zeros(len(clean), dtype=bool)
            wrong[rng.choice(len(clean), round(rate * len(clean)), replace=False)] = True
            noisy = [
                LabelledText(row.text, other_label(row.label, labels, rng) if bad else row.label)
                for row, bad in zip(clean, wrong, strict=True)
            ]
            cleaned, found = clean_labels(noisy, seed=seed)
            aucs.append(auc(wrong, 1.0 - found.p_label))
            learned = [LabelledText(row.text, row.learned) for row in cleaned if row.is_learned]
            losses.append(accuracy(clean, test) - accuracy(learned, test))
    return {"auc": round(statistics.fmean(aucs), 4), "loss": round(100 * statistics.fmean(losses), 3)}


def other_label(label: str, labels: Sequence[str], rng: np.random.Generator) -> str:
    return str(rng.choice([other for other in labels if other != label]))


def auc(positive: np.ndarray, score: np.ndarray) -> float:
    """The chance that a positive one scores higher than a negative one; equal scores count half."""
    from scipy.stats import rankdata

    n = int(positive.sum())
    ranks = rankdata(score)[positive].sum() - n * (n + 1) / 2
    return float(ranks / (n * (len(positive) - n)))


def accuracy(train: Sequence[LabelledText], test: Sequence[LabelledText]) -> float:
    """Of a student, without any abstention."""
    rows = [*train, *test]
    labels = sorted({row.label for row in rows})
    y = np.array([labels.index(row.label) for row in rows])
    design = Design.of([row.text for row in rows])
    known, asked = np.arange(len(train)), np.arange(len(train), len(rows))
    settings = select_settings(Design.of([row.text for row in train]), y[known], [""] * len(train), len(labels), 0)
    fitted = fit_models(design, known, y[known], len(labels), settings)
    return float((fitted.probabilities(asked).argmax(axis=1) == y[asked]).mean())


def banking(folder: Path) -> dict[str, float]:
    train, test = read_rows(folder, "banking77_train"), read_rows(folder, "banking77_test")
    student = train_student(train, StudentTask(), AgreementPromise(0.95, 0.9, against="gold"))
    predictions = [student.predict(row.text) for row in test]
    right = np.array([p.answer == row.gold for p, row in zip(predictions, test, strict=True)])
    given = np.array([p.is_accepted for p in predictions])
    print(f"banking77: of what it takes {right[given].mean():.4f} are right", file=sys.stderr)
    for name, reached in standard_classifiers(train, test).items():
        print(f"banking77: {name} {reached:.4f}", file=sys.stderr)
    return {"coverage": round(float(given.mean()), 4), "student_accuracy": round(float(right.mean()), 4)}


def standard_classifiers(train: Sequence[LabelledText], test: Sequence[LabelledText]) -> dict[str, float]:
    """Five that scikit-learn's users would try first."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import ComplementNB
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    models = {
        "words, logistic regression": (TfidfVectorizer(), LogisticRegression(C=10, max_iter=300)),
        "words, linear SVM": (TfidfVectorizer(), LinearSVC()),
        "characters, linear SVM": (TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5)), LinearSVC()),
        "words, naive Bayes": (TfidfVectorizer(), ComplementNB()),
        "words, random forest": (TfidfVectorizer(), RandomForestClassifier(200, random_state=0)),
    }
    texts, labels = [row.text for row in train], [row.label for row in train]
    found = {}
    for name, parts in models.items():
        said = make_pipeline(*parts).fit(texts, labels).predict([row.text for row in test])
        found[name] = float(np.mean([s == row.gold for s, row in zip(said, test, strict=True)]))
    return found


def speed(folder: Path) -> dict[str, float]:
    news = read_rows(folder, "ag_news")
    began = time.perf_counter()
    train_student(news[:1_000], StudentTask(), PROMISE)
    train_s = time.perf_counter() - began
    rows = read_rows(folder, "banking77_train")
    rng = np.random.default_rng(0)
    thousand = enough_of_each([rows[at] for at in rng.permutation(len(rows))], 1_000)
    with tempfile.TemporaryDirectory() as place:
        path = save_student(train_student(thousand, StudentTask(), PROMISE), Path(place) / "banking.student")
        loads = []
        for _ in range(9):
            began = time.perf_counter()
            student = load_student(path)
            loads.append(time.perf_counter() - began)
    assert isinstance(student, Student)
    student.warm()
    took = []
    for row in read_rows(folder, "banking77_test"):
        began = time.perf_counter()
        student.predict(row.text)
        took.append(time.perf_counter() - began)
    return {
        "p50_us": round(1e6 * statistics.median(took), 1),
        "load_ms": round(1e3 * statistics.median(loads), 1),
        "train_s": round(train_s, 2),
    }


def enough_of_each(rows: Sequence[LabelledText], n: int) -> list[LabelledText]:
    """The first `n` of the rows whose label stands among them three times."""
    found = list(rows[:n])
    labels = [row.label for row in found]
    return [row for row in found if labels.count(row.label) >= 3]


def tracer(answers: Answers) -> float | None:
    """Coverage of TRACER's gate, by the same lead of the first label over the second."""
    if not TRACER.exists():
        return None
    lead, splits = answers.held_out.signals[:, 1], list(split_rows(len(answers.y)))
    with tempfile.TemporaryDirectory() as place:
        source, target = Path(place) / "in.npz", Path(place) / "out.json"
        np.savez(
            source,
            scores=lead,
            answers=answers.held_out.answers,
            labels=answers.y,
            splits=np.array([labelled for labelled, _ in splits]),
            agreement=PROMISE.agreement,
        )
        subprocess.run([TRACER, Path(__file__).with_name("tracer_gate.py"), source, target], check=True)
        thresholds = json.loads(target.read_text())
    taken, broken = [], []
    for (_, tested), threshold in zip(splits, thresholds, strict=True):
        given = np.zeros(len(tested), dtype=bool) if threshold is None else lead[tested] >= threshold
        taken.append(given.mean())
        broken.append(bool(given.any()) and answers.agrees[tested][given].mean() < PROMISE.agreement)
    print(f"tracer: broken in {np.mean(broken):.4f} of the splits", file=sys.stderr)
    return round(float(np.mean(taken)), 4)


def measure(folder: Path) -> dict[str, Any]:
    news = read_rows(folder, "ag_news")
    answers = Answers(news)
    of_news = resplit(news, answers)
    print(f"ag_news: the teacher alone {of_news.pop('teacher_accuracy'):.4f}", file=sys.stderr)
    emotion = read_rows(folder, "emotion")
    result: dict[str, Any] = {
        "ag_news": {**of_news, "broken_refits": broken_refits(news, answers)},
        "emotion": {"coverage": resplit(emotion, Answers(emotion))["coverage_400"]},
        "banking77": banking(folder),
        "drift": drift(news, answers),
        "noise": noise(news),
        **speed(folder),
    }
    reached = tracer(answers)
    if reached is not None:
        result["tracer"] = {"coverage_400": reached}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    write_json(measure(arguments.data), arguments.json)


if __name__ == "__main__":
    main()
