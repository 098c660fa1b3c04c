"""The statistics that decide: errors of the first kind by simulation, and what must hold for any data."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.evaluation.paired import (
    compare_costs,
    cost_ratio_interval,
    difference_interval,
    holm,
    mean_interval,
    p_loses,
    p_loses_at_end,
)

DIFFERENCES = st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=5, max_size=80).map(np.array)


@pytest.mark.parametrize(("lost", "margin"), [(0.03, 0.03), (0.06, 0.03), (0.12, 0.02), (0.3, 0.1)])
def test_what_loses_exactly_the_margin_is_called_harmless_as_rarely_as_promised(lost: float, margin: float) -> None:
    rng = np.random.default_rng(0)
    won = lost - margin
    draws = rng.choice([-1.0, 0.0, 1.0], p=[lost, 1 - lost - won, won], size=(2_000, 180))
    at_end = np.mean([p_loses_at_end(row, margin) <= 0.1 for row in draws])
    whenever = np.mean([p_loses(row, margin) <= 0.1 for row in draws])
    assert at_end < 0.13  # a score test is right in the long run; three standard errors of 2,000 draws are 0.02
    assert whenever <= 0.1


def test_peeking_after_every_example_does_not_make_a_false_alarm_likelier() -> None:
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(300):
        row = rng.choice([-1.0, 0.0, 1.0], p=[0.25, 0.5, 0.25], size=200)
        alarms += any(p_loses(row[:n], 0.0) <= 0.1 for n in range(5, 201, 5))
    assert alarms / 300 <= 0.1


@given(DIFFERENCES)
def test_bounds_hold_the_mean_and_turn_round_with_the_sign(differences: np.ndarray) -> None:
    found, turned = difference_interval(differences), difference_interval(-differences)
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert turned.low == pytest.approx(-found.high, abs=2e-3)


@given(DIFFERENCES, st.floats(0.0, 0.3), st.floats(0.0, 0.3))
def test_a_larger_allowance_is_never_harder_to_keep(differences: np.ndarray, one: float, other: float) -> None:
    low, high = sorted((one, other))
    for test in (p_loses, p_loses_at_end):
        assert test(differences, high) <= test(differences, low) + 1e-9


def test_costs_that_are_dealt_by_a_coin_do_not_differ() -> None:
    rng = np.random.default_rng(2)
    found = []
    for seed in range(60):
        pairs = rng.lognormal(0.0, 2.0, (120, 2)) / 1_000
        found.append(compare_costs(pairs[:, 0], pairs[:, 1], seed=seed).same)
    assert np.mean(np.array(found) <= 0.05) <= 0.12


def test_half_the_cost_is_found_cheaper_and_the_same_cost_is_not() -> None:
    usd = np.random.default_rng(3).lognormal(0.0, 1.0, 150)
    assert compare_costs(usd, usd / 2).no_cheaper < 0.001
    assert compare_costs(usd, usd) == (1.0, 1.0)
    assert compare_costs(usd / 2, usd).no_cheaper > 0.9
    ratio = cost_ratio_interval(usd, usd / 2)
    assert ratio.low == pytest.approx(0.5)
    assert cost_ratio_interval(np.zeros(3), usd[:3]).value == 1.0


def test_graded_scores_are_tested_by_their_mean() -> None:
    rng = np.random.default_rng(4)
    better = rng.uniform(-0.2, 0.3, 200)
    assert p_loses_at_end(better, 0.02) < 0.001
    assert p_loses_at_end(-better, 0.02) > 0.9


def test_no_examples_show_nothing() -> None:
    nothing = np.array([])
    assert p_loses(nothing, 0.1) == p_loses_at_end(nothing, 0.1) == 1.0
    assert (mean_interval(nothing).low, mean_interval(nothing).high) == (0.0, 1.0)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_correction_for_several_never_lowers_a_p_value_and_keeps_their_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= a <= 1 for p, a in zip(p_values, adjusted, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert all(adjusted[a] <= adjusted[b] for a, b in pairwise(order.tolist()))
