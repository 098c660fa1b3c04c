"""Proofs, drift and promotion: what holds is simulated many times, and counted."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.students.agreement import (
    AgreementCertificate,
    AgreementPromise,
    NoAgreement,
    certify_agreement,
    refit_share,
)
from orchestrator.students.drift import DriftMonitor, DriftTest, allowed_by_label
from orchestrator.students.promotion import StudentOutcome, compare_students
from orchestrator.students.training.noise import find_noise
from orchestrator.students.training.rows import LabelledText
from tests.support.tickets import LABELS, tickets

RUNS = 400


def _stream(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, whether each agrees, and the probability that it does."""
    scores = rng.random(n)
    p = 0.75 + 0.25 * scores**0.5
    return scores, rng.random(n) < p, p


@pytest.mark.parametrize("n", [150, 400, 1_500])
def test_a_promise_is_broken_no_more_often_than_it_says(n: int) -> None:
    rng = np.random.default_rng(n)
    everything = np.sort(rng.random(200_000))
    truth = 0.75 + 0.25 * everything**0.5
    broken = 0
    for _ in range(RUNS):
        scores, agrees, _ = _stream(rng, n)
        found = certify_agreement(scores, agrees, AgreementPromise(0.95, 0.9))
        if isinstance(found, AgreementCertificate):
            broken += truth[everything >= found.threshold].mean() < 0.95
    assert broken / RUNS <= 0.1


def test_many_refits_together_keep_it() -> None:
    rng = np.random.default_rng(0)
    everything = np.sort(rng.random(100_000))
    truth = 0.75 + 0.25 * everything**0.5
    broken = 0
    for _ in range(100):
        scores, agrees, _ = _stream(rng, 900)
        for refit in range(1, 31):
            count = 180 + 24 * refit
            found = certify_agreement(scores[:count], agrees[:count], AgreementPromise(0.95, 0.9), refit=refit)
            if isinstance(found, AgreementCertificate) and truth[everything >= found.threshold].mean() < 0.95:
                broken += 1
                break
    assert broken <= 10
    assert sum(refit_share(k) for k in range(1, 10_000)) <= 1.0
    with pytest.raises(ValueError, match="counted from 1"):
        refit_share(0)


def test_more_agreement_covers_more() -> None:
    rng = np.random.default_rng(1)
    scores = rng.random(1_000)
    coverage = []
    for worst in (0.5, 0.8, 0.9, 0.97):
        agrees = np.random.default_rng(2).random(1_000) < worst + (1 - worst) * scores
        found = certify_agreement(scores, agrees, AgreementPromise())
        coverage.append(found.coverage if isinstance(found, AgreementCertificate) else 0.0)
    assert coverage == sorted(coverage)
    assert coverage[-1] == pytest.approx(1.0)


def test_it_refuses_and_says_what_is_missing() -> None:
    few = certify_agreement(np.ones(30), np.ones(30, dtype=bool), AgreementPromise())
    assert isinstance(few, NoAgreement)
    assert few.labels_needed is not None
    enough = certify_agreement(np.ones(few.labels_needed), np.ones(few.labels_needed, dtype=bool), AgreementPromise())
    assert isinstance(enough, AgreementCertificate)
    hopeless = certify_agreement(np.linspace(0, 1, 900), np.arange(900) % 3 > 0, AgreementPromise())
    assert isinstance(hopeless, NoAgreement)
    assert hopeless.labels_needed is None
    assert "disagrees on 33" in hopeless.reason
    nothing = certify_agreement(np.zeros(0), np.zeros(0, dtype=bool), AgreementPromise())
    assert isinstance(nothing, NoAgreement)
    for wrong in (0.0, 1.0, float("nan")):
        with pytest.raises(ValueError, match="strictly between"):
            AgreementPromise(wrong)


def test_equal_scores_are_let_through_together() -> None:
    scores = np.full(500, 0.5)
    found = certify_agreement(scores, np.arange(500) % 100 > 0, AgreementPromise())
    assert isinstance(found, AgreementCertificate)
    assert found.coverage == 1.0
    assert found.disagreement == pytest.approx(0.01)


def test_no_drift_is_no_alarm() -> None:
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(200):
        monitor = DriftMonitor(0.05, {"a": 0.05, "b": 0.1})
        for label, disagrees in zip(rng.choice(["a", "b"], 1_500), rng.random(1_500) < 0.05, strict=True):
            monitor.observe(str(label), bool(disagrees))
            if monitor.is_alarm:
                alarms += 1
                break
    assert alarms <= 10  # five in a hundred


@pytest.mark.parametrize("before", [0, 300, 3_000])
def test_a_change_is_noticed_soon_however_late_it_comes(before: int) -> None:
    rng = np.random.default_rng(before)
    test = DriftTest(0.05)
    for disagrees in rng.random(before) < 0.02:
        test.observe(bool(disagrees))
    audits = 0
    while not test.is_alarm:
        test.observe(bool(rng.random() < 0.3))
        audits += 1
    assert audits <= 150


def test_one_label_of_many_is_stopped_alone() -> None:
    rng = np.random.default_rng(4)
    names = [f"label {n}" for n in range(40)]
    monitor = DriftMonitor(0.05, dict.fromkeys(names, 0.08))
    for _ in range(4_000):
        label = str(rng.choice(names))
        monitor.observe(label, label == "label 7" or bool(rng.random() < 0.01))
    assert monitor.drifted_labels() == ["label 7"]
    assert not monitor.is_withdrawn
    assert monitor.as_dict()["drifted_labels"] == ["label 7"]


def test_what_a_label_may_do_is_what_it_did() -> None:
    found = allowed_by_label(["a"] * 100 + ["b"] * 100, [True] * 100 + [True] * 80 + [False] * 20, 0.05)
    assert found["a"] >= 0.05
    assert 0.2 < found["b"] < 0.4


def test_a_worse_student_is_not_promoted_and_a_better_one_is() -> None:
    rng = np.random.default_rng(0)

    def outcomes(coverage: float, wrong: float, n: int) -> list[StudentOutcome]:
        return [StudentOutcome(bool(rng.random() < coverage), bool(rng.random() > wrong)) for _ in range(n)]

    promoted = [compare_students(outcomes(0.7, 0.09, 600), outcomes(0.7, 0.02, 600)).is_no_worse for _ in range(60)]
    assert sum(promoted) <= 6
    assert compare_students(outcomes(0.9, 0.01, 900), outcomes(0.5, 0.03, 900)).is_no_worse
    same = outcomes(0.7, 0.03, 600)
    assert compare_students(same, same).is_no_worse
    assert not compare_students(same[:30], same[:30]).is_no_worse
    assert not compare_students([], []).is_no_worse


@pytest.mark.parametrize("rate", [0.1, 0.3])
def test_wrong_labels_are_found(rate: float) -> None:
    rng = np.random.default_rng(3)
    rows = tickets(400, seed=11)
    wrong = rng.random(400) < rate
    noisy = [
        LabelledText(row.text, str(rng.choice([name for name in LABELS if name != row.label])) if bad else row.label)
        for row, bad in zip(rows, wrong, strict=True)
    ]
    found = find_noise(noisy)
    order = np.argsort(found.p_label)
    assert wrong[order[: int(wrong.sum())]].mean() > 0.75
    assert wrong[found.is_suspect].mean() > 0.6
    right = [found.best[at] == rows[at].label for at in np.flatnonzero(found.is_suspect & wrong)]
    assert np.mean(right) > 0.85


def test_a_teacher_that_doubts_itself_is_doubted() -> None:
    rows = [LabelledText(row.text, row.label, 0.4 if n % 10 == 0 else 0.95) for n, row in enumerate(tickets(300))]
    found = find_noise(rows)
    doubted = [found.p_label[n] for n in range(0, 300, 10)]
    assert np.mean(doubted) < np.mean(found.p_label)


def test_too_few_rows_are_not_judged() -> None:
    assert not find_noise(tickets(10)).is_suspect.any()
    assert not find_noise([LabelledText(f"t {n}", "same") for n in range(100)]).is_suspect.any()


def test_an_answer_without_a_label_is_audited_once() -> None:
    monitor, plain = DriftMonitor(0.05, {}), DriftTest(0.05)
    for disagrees in [False] * 20 + [True] * 2:
        monitor.observe("", disagrees)
        plain.observe(disagrees)
    assert monitor.tests[""].audits == plain.audits == 22
    assert monitor.tests[""].e_value == plain.e_value
    assert monitor.drifted_labels() == []
