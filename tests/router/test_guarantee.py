"""Guarantees.

The bounds, the promise over many calibration sets, refusals, and the audit that withdraws what stops holding.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.router.guarantee.certificate import (
    Certificate,
    Promise,
    Refusal,
    betting_p_value,
    certify,
    clopper_pearson_upper,
)
from orchestrator.router.guarantee.monitor import Audit, Guard
from orchestrator.router.learning.evaluate import (
    Point,
    average_improvement,
    deferral_curve,
    expected_calibration_error,
    frontier,
    gap_recovered,
    reliability,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def traffic(n: int, seed: int, *, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predicted gain, cheap and reference scores; the prediction is informative.

    `shift` makes the cheap model worse.
    """
    rng = np.random.default_rng(seed)
    hardness = rng.normal(size=n)
    p_cheap, p_reference = 1 / (1 + np.exp(hardness * 1.5 - 1.2 + shift)), 1 / (1 + np.exp(hardness * 0.8 - 2.0))
    cheap, reference = (rng.random(n) < p_cheap).astype(float), (rng.random(n) < p_reference).astype(float)
    return p_reference - p_cheap + rng.normal(0, 0.05, n), cheap, reference


@pytest.mark.parametrize(
    ("failures", "n", "delta", "bound"), [(0, 100, 0.05, 0.02951), (3, 50, 0.1, 0.12876), (10, 10, 0.1, 1.0)]
)
def test_clopper_pearson_agrees_with_the_tables(failures: int, n: int, delta: float, bound: float) -> None:
    assert clopper_pearson_upper(failures, n, delta) == pytest.approx(bound, abs=2e-4)


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=60), st.floats(0.05, 0.95))
def test_p_values_are_probabilities_and_fall_as_the_claimed_mean_rises(values: list[float], mean: float) -> None:
    low, high = betting_p_value(np.array(values), mean), betting_p_value(np.array(values), min(mean + 0.04, 0.99))
    assert 0.0 <= high <= low + 1e-9 <= 1.0 + 1e-9


def test_a_true_hypothesis_is_rejected_at_most_as_often_as_promised() -> None:
    rng = np.random.default_rng(0)
    rejected = sum(betting_p_value((rng.random(200) < 0.1).astype(float), 0.1) <= 0.1 for _ in range(600))
    assert rejected / 600 <= 0.1 + 2 * (0.1 * 0.9 / 600) ** 0.5


@pytest.mark.parametrize("kind", ["net", "gross"])
def test_certified_thresholds_keep_their_promise_on_what_they_have_not_seen(kind: str) -> None:
    promise = Promise(0.05, 0.9, "strong", kind)  # type: ignore[arg-type]
    gain, cheap, reference = traffic(100_000, 99)
    broken, shares, runs = 0, [], 120
    for seed in range(runs):
        certificate = certify(*traffic(800, seed), promise)
        assert isinstance(certificate, Certificate)
        lost = np.where(gain <= certificate.threshold, reference - cheap, 0.0)
        broken += float((lost > 0).mean() if kind == "gross" else lost.mean()) > promise.max_loss
        shares.append(certificate.cheap_share)
    assert broken / runs <= promise.delta + 2 * (promise.delta * 0.9 / runs) ** 0.5
    assert np.mean(shares) > 0.2  # a promise kept by sending nothing would be worthless


def test_too_few_labels_are_refused_with_the_number_that_would_do() -> None:
    refusal = certify(*traffic(20, 0), Promise(0.02, 0.95))
    assert isinstance(refusal, Refusal)
    assert "20 labels" in refusal.reason
    assert refusal.labels_needed is not None
    assert refusal.labels_needed > 20
    nothing = certify(np.zeros(0), np.zeros(0), np.zeros(0), Promise(0.03, 0.9))
    assert isinstance(nothing, Refusal)
    assert nothing.labels_needed == 76  # (1 - 0.03)^76 <= 0.1
    hopeless = certify(np.zeros(500), np.zeros(500), np.ones(500), Promise(0.05))
    assert isinstance(hopeless, Refusal)
    assert hopeless.labels_needed is None


def test_more_labels_unlock_a_cheaper_threshold() -> None:
    small, large = (certify(*traffic(n, 5), Promise(0.05)) for n in (300, 5_000))
    assert isinstance(small, Certificate)
    assert isinstance(large, Certificate)
    assert large.cheap_share > small.cheap_share
    needed = small.labels_for_next_saving
    assert needed is None or needed >= 300


def test_a_certificate_says_what_it_rests_on_and_is_void_when_that_changes() -> None:
    versions = {"cheap": "2026-01", "strong": "2025-11"}
    certificate = certify(
        *traffic(500, 1), Promise(0.05), policy_hash="p1", model_versions=versions, now=NOW, valid_days=30
    )
    assert isinstance(certificate, Certificate)
    assert Certificate.from_json(certificate.as_json()) == certificate
    assert certificate.labels == 500
    assert certificate.is_valid(now=NOW + timedelta(days=29), policy_hash="p1", model_versions=versions)
    assert not certificate.is_valid(now=NOW + timedelta(days=31), policy_hash="p1", model_versions=versions)
    assert not certificate.is_valid(now=NOW, policy_hash="p2", model_versions=versions)
    assert not certificate.is_valid(now=NOW, policy_hash="p1", model_versions=versions | {"cheap": "2026-02"})
    other = certify(*traffic(500, 2), Promise(0.05), policy_hash="p1", model_versions=versions, now=NOW)
    assert isinstance(other, Certificate)
    assert other.data_hash != certificate.data_hash


def test_scores_that_are_no_scores_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        certify(np.zeros(2), np.array([0.0, np.nan]), np.ones(2), Promise(0.05))
    with pytest.raises(ValueError, match="one length"):
        certify(np.zeros(2), np.zeros(3), np.zeros(3), Promise(0.05))
    for wrong in (0.0, 1.0, -0.1):
        with pytest.raises(ValueError, match="strictly between"):
            Promise(wrong)


# ---- audit ----


def test_the_audit_seldom_alarms_while_the_promise_holds_and_soon_when_it_is_broken() -> None:
    def audits_to_alarm(seed: int, mean: float) -> float:
        rng, audit = np.random.default_rng(seed), Audit(0.128)
        for start in range(0, 3_000, 20):
            draws = rng.random(20)
            audit = audit.observe(np.where(draws < 0.06, -1.0, np.where(draws < 0.12 + mean, 1.0, 0.0)).tolist())
            if audit.is_alarm:
                return start + 20
        return float("inf")

    false_alarms = sum(np.isfinite(audits_to_alarm(seed, 0.128)) for seed in range(100))
    assert false_alarms <= 5 + 2 * (100 * 0.05 * 0.95) ** 0.5
    assert float(np.median([audits_to_alarm(seed, 0.256) for seed in range(60)])) <= 200


def test_the_order_of_audits_does_not_matter_and_bad_losses_are_refused() -> None:
    assert Audit(0.1).observe([1.0, 0.0, -1.0]).e_value == pytest.approx(
        Audit(0.1).observe([-1.0, 1.0]).observe([0.0]).e_value
    )
    with pytest.raises(ValueError, match=r"\[-1, 1\]"):
        Audit(0.1).observe([1.5])
    with pytest.raises(ValueError, match=r"\[-1, 1\]"):
        Audit(0.1).observe([float("nan")])


def test_a_guard_tightens_first_and_withdraws_then() -> None:
    certificate = certify(*traffic(2_000, 3), Promise(0.05), now=NOW)
    assert isinstance(certificate, Certificate)
    guard = Guard.of(certificate)
    assert guard.sends_cheap(certificate.threshold)
    gains = np.linspace(-0.2, certificate.threshold, 40).tolist()
    for _ in range(20):
        guard = guard.observe([1.0, 0.0], gains)
        if guard.state != "holds":
            break
    assert guard.state == "tightened"
    assert guard.audit.alpha == Guard.of(certificate).audit.alpha == 0.025  # the two tests share the 5 %
    assert guard.threshold is not None
    assert guard.threshold < certificate.threshold
    for _ in range(200):
        guard = guard.observe([1.0, 1.0, 0.0], gains)
    assert guard.state == "withdrawn"
    assert not guard.sends_cheap(-1.0)
    assert guard.observe([0.0], gains) is guard


# ---- metrics ----


def test_apgr_of_perfect_random_and_reversed_rankings() -> None:
    weak, strong = np.array([1.0, 1.0, 0.0, 0.0] * 50), np.ones(200)
    perfect, reversed_ = gap_recovered(strong - weak, weak, strong), gap_recovered(weak - strong, weak, strong)
    assert perfect.apgr == pytest.approx(0.75)
    assert (perfect.cpt50, perfect.cpt80) == (25.0, 40.0)
    assert reversed_.apgr == pytest.approx(0.25)
    shuffled = np.random.default_rng(0).random(200)
    assert gap_recovered(shuffled, weak, strong).apgr == pytest.approx(0.5, abs=0.08)
    with pytest.raises(ValueError, match="no gap"):
        gap_recovered(shuffled, strong, weak)


def test_the_frontier_is_the_upper_hull_and_its_area_the_mean_height() -> None:
    points = [Point(1, 0.5), Point(2, 0.4), Point(3, 0.9), Point(2, 0.6), Point(4, 0.9)]
    assert frontier(points) == [Point(1, 0.5), Point(3, 0.9)]
    assert average_improvement(points, low_usd=1, high_usd=3) == pytest.approx(0.7)
    assert average_improvement(points, low_usd=3, high_usd=5) == pytest.approx(0.9)
    assert frontier([]) == []


def test_calibration_and_deferral_curves() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(20_000)
    assert expected_calibration_error(p, (rng.random(20_000) < p).astype(float)) < 0.02
    assert expected_calibration_error(p, (rng.random(20_000) < p / 2).astype(float)) == pytest.approx(0.25, abs=0.03)
    assert sum(b.count for b in reliability(p, p)) == 20_000
    curve = deferral_curve(np.array([2.0, 1.0]), np.array([0.0, 1.0]), np.array([1.0, 1.0]))
    assert curve.tolist() == [0.5, 1.0, 1.0]
