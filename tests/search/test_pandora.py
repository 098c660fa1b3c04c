"""Drawing until an exact check is passed.

The index is the least expected cost per solve, and chances are learned without bias by stopping.
"""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.game24 import is_solution
from orchestrator.search.pandora import Box, Chance, Learned, best_plan, ceiling, fitted_chance, next_opening


def expected(box: Box, size: int, calls: int) -> float:
    """Cost per solve of a plan, summed up call by call."""
    usd, fails = 0.0, 1.0
    for call in range(calls):
        usd += fails * box.price_usd(size)
        fails *= 1.0 - box.chance.after(call * size).p_solve(size)
    return usd / (1.0 - fails)


@given(st.floats(0.05, 5), st.floats(0.05, 20), st.floats(0, 1), st.floats(0.001, 1), st.integers(1, 60))
def test_no_plan_of_equal_calls_is_cheaper_per_solve(
    alpha: float, beta: float, call_usd: float, draw_usd: float, left: int
) -> None:
    box = Box("b", Chance(alpha, beta), call_usd, draw_usd, left)
    best = best_plan(box)
    assert 1 <= best.draws <= left
    for size in {1, 2, min(8, left), left}:
        for calls in {1, 2, max(left // size, 1)}:
            if size * calls <= left:
                assert best.usd_per_solve <= expected(box, size, calls) * (1 + 1e-9)


def test_the_chance_of_some_draws_is_that_of_a_beta_binomial() -> None:
    rng = random.Random(0)
    chance, n = Chance(0.5, 3.0), 40_000
    solved = sum(rng.random() < 1 - (1 - rng.betavariate(0.5, 3.0)) ** 6 for _ in range(n)) / n
    assert chance.p_solve(6) == pytest.approx(solved, abs=0.01)
    assert Chance(2.0, 2.0).p_solve(1) == pytest.approx(0.5)
    assert Chance(2.0, 2.0).after(4).mean == 0.25


def test_the_cheaper_box_per_solve_is_opened_first_and_nothing_that_costs_more_than_it_brings() -> None:
    cheap, dear = Box("cheap", Chance(1, 9), 0.0, 0.01, 10), Box("dear", Chance(7, 3), 0.0, 0.2, 1)
    opening = next_opening([dear, cheap], value_usd=1.0)
    assert opening is not None
    assert opening.name == "cheap"
    tired = Box("cheap", Chance(1, 9).after(60), 0.0, 0.01, 10)
    opening = next_opening([dear, tired], value_usd=1.0)
    assert opening is not None
    assert opening.name == "dear"
    assert opening.usd_per_solve == pytest.approx(0.2 / 0.7)
    assert next_opening([dear, tired], value_usd=0.2) is None
    assert next_opening([Box("empty", Chance(), 0.0, 0.1, 0)], value_usd=9.0) is None


def test_the_price_of_the_prompt_makes_calls_larger() -> None:
    chance = Chance(0.2, 5.0)
    sizes = [best_plan(Box("b", chance, call_usd, 0.003, 100)).draws for call_usd in (0.0, 0.009, 0.1, 1.0)]
    assert sizes == sorted(sizes)
    assert sizes[0] == 1
    assert sizes[-1] >= 20


def test_chances_are_learned_although_drawing_stops_at_a_success() -> None:
    rng = random.Random(1)
    learned = Learned()
    assert learned.chance("chain") == Chance(1.0, 1.0)
    for _ in range(3_000):
        p, draws = rng.betavariate(0.5, 4.5), 0
        while draws < 30:
            draws += 1
            if rng.random() < p:
                break
        learned.observe("chain", int(draws < 30), draws)
    found = learned.chance("chain")
    assert found.mean == pytest.approx(0.1, abs=0.03)
    assert found.alpha + found.beta == pytest.approx(5.0, abs=2.5)
    assert fitted_chance([(1, 1)] * 50).mean > 0.9
    assert fitted_chance([(0, 10)] * 50).mean < 0.02


@pytest.mark.parametrize(
    ("p", "hit", "false", "expected"),
    [(0.5, 1.0, 0.0, 1.0), (0.5, 1.0, 1.0, 0.5), (0.2, 0.9, 0.1, 0.18 / 0.26), (0.0, 1.0, 0.0, 0.0)],
)
def test_a_check_that_errs_has_a_ceiling(p: float, hit: float, false: float, expected: float) -> None:
    assert math.isclose(ceiling(p, hit, false), expected)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Answer: (4 * 5) + (10 - 6) = 24", True),
        ("(10 - 6) * 5 + 4", True),
        ("4 * 6", False),
        ("Answer: 4 * 5 + 10 - 6 + 0 = 24", False),
        ("Answer: None", False),
        ("__import__('os')", False),
        ("(4 * 5 + (10 - 6) = 24", False),
        ("4 5 * + 10 - 6", False),
        ("(4 - 4) / 5 + 6 + 10", False),
        ("6 * 10 / (5 - (4 + 1))", False),
        ("", False),
    ],
)
def test_solutions_of_the_game_are_checked_exactly(answer: str, expected: bool) -> None:
    assert is_solution(answer, (4, 5, 6, 10)) is expected
