"""What several verdicts are worth together, before anything was learned, from labels, and from agreement alone."""

from __future__ import annotations

import json
import math
import random

import numpy as np
import pytest

from orchestrator.verifiers import Ensemble, Evidence, Verdict
from orchestrator.verifiers.learning import agree_ensemble, fit_ensemble

TRUE_RATES = {"sharp": (0.95, 0.1), "fair": (0.8, 0.3), "weak": (0.65, 0.45), "other": (0.85, 0.25)}


def verdict(name: str, passed: bool) -> Verdict:
    return Verdict(name, float(passed), passed)


def sample(
    n: int, *, p_right: float = 0.6, seed: int = 0, duplicate: str | None = None, blind: bool = False
) -> list[tuple[list[Verdict], bool]]:
    """Verdicts of verifiers with known rates, independent given the truth.

    `duplicate` repeats one of them under three names.
    """
    rng = random.Random(seed)
    rows = []
    for _ in range(n):
        right = rng.random() < p_right
        said = {name: rng.random() < (t if right else f) for name, (t, f) in TRUE_RATES.items()}
        verdicts = [verdict(name, passed) for name, passed in said.items()]
        if duplicate:
            verdicts += [verdict(f"{duplicate}{copy}", said[duplicate]) for copy in range(3)]
        if blind:
            verdicts.append(verdict("blind", True))
        rows.append((verdicts, right))
    return rows


def belief(ensemble: Ensemble, verdicts: list[Verdict], p_right: float) -> float:
    odds = p_right / (1 - p_right) * ensemble.ratio(verdicts)
    return odds / (1 + odds)


def test_before_anything_is_learned_it_is_cautious() -> None:
    plain = Ensemble()
    assert plain.ratio([]) == 1.0
    assert plain.ratio([Verdict.abstain("judge", "no idea")]) == 1.0
    assert 1 < plain.ratio([verdict("judge", True)]) < 5
    assert plain.ratio([Verdict("schema", 0.0, False, decisive=True), verdict("judge", True)]) == 0.0


def test_a_graded_verdict_lies_between_a_pass_and_a_failure() -> None:
    ratios = [Ensemble().ratio([Verdict("judge", score, score > 0.5)]) for score in (0.0, 0.3, 0.6, 1.0)]
    assert ratios == sorted(ratios)
    assert len(set(ratios)) == 4


def test_with_labels_the_posterior_is_calibrated_and_repeated_voices_share_what_they_say() -> None:
    for duplicate in (None, "fair"):
        ensemble = fit_ensemble(sample(2_000, duplicate=duplicate))
        unseen = sample(4_000, seed=1, duplicate=duplicate)
        stated = np.array([belief(ensemble, verdicts, 0.6) for verdicts, _ in unseen])
        right = np.array([ok for _, ok in unseen])
        for low, high in ((0.0, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1.01)):
            inside = (stated >= low) & (stated < high)
            if inside.sum() > 150:
                assert right[inside].mean() == pytest.approx(stated[inside].mean(), abs=0.08)


def test_few_labels_change_little() -> None:
    lucky = [([verdict("judge", True)], True)] * 3
    assert fit_ensemble(lucky).ratio([verdict("judge", True)]) < 2 * Ensemble().ratio([verdict("judge", True)])
    with pytest.raises(ValueError, match="no graded verdicts"):
        fit_ensemble([])


def test_without_labels_agreement_finds_out_who_sees_the_truth() -> None:
    ensemble = agree_ensemble([verdicts for verdicts, _ in sample(3_000)], p_right=0.6)
    for name, (t, f) in TRUE_RATES.items():
        assert math.log(ensemble.evidence[name].passed) == pytest.approx(math.log(t / f), abs=0.35)
    assert ensemble.evidence["sharp"].passed > ensemble.evidence["fair"].passed > ensemble.evidence["weak"].passed


def test_copies_of_one_verifier_have_one_voice_and_one_that_always_says_the_same_has_none() -> None:
    rows = sample(3_000, duplicate="weak", blind=True)
    ensemble = agree_ensemble([verdicts for verdicts, _ in rows], p_right=0.6)
    assert ensemble.share["weak"] == ensemble.share["weak2"] == 0.25
    assert (
        ensemble.evidence["sharp"].passed > ensemble.evidence["weak"].passed
    )  # four copies did not make themselves the truth
    assert ensemble.ratio([verdict("blind", True)]) == 1.0


def test_two_verifiers_do_not_tell_who_of_them_errs() -> None:
    rows = [[v for v in verdicts if v.verifier in ("sharp", "fair")] for verdicts, _ in sample(200)]
    with pytest.raises(ValueError, match="at least three"):
        agree_ensemble(rows, p_right=0.5)
    with pytest.raises(ValueError, match=r"\(0, 1\)"):
        agree_ensemble(rows, p_right=1.0)


def test_it_is_kept_as_json() -> None:
    ensemble = agree_ensemble([verdicts for verdicts, _ in sample(500, duplicate="fair")], p_right=0.6)
    again = Ensemble.from_dict(json.loads(json.dumps(ensemble.as_dict())))
    assert again.evidence == ensemble.evidence
    some = sample(1, seed=9, duplicate="fair")[0][0]
    assert again.ratio(some) == ensemble.ratio(some)
    with pytest.raises(ValueError, match="positive"):
        Evidence(-1.0, 1.0)
