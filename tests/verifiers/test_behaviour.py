"""Choosing among programs by what they do: those that behave alike vote together, with the tests that they pass."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from orchestrator.verifiers.code.behaviour import (
    BehaviourVote,
    SuggestedTest,
    as_test,
    suggested_tests,
    vote_by_behaviour,
)
from orchestrator.verifiers.sandbox import Sandbox, level_at_hand

needs_isolation = pytest.mark.skipif(level_at_hand()[0] == "none", reason=f"no isolation here: {level_at_hand()[1]}")
ADD, ADD_AGAIN, SUB, RAISES, ZERO = (
    "def f(a, b):\n    return a + b",
    "def f(a, b):\n    return sum((a, b))",
    "def f(a, b):\n    return a - b",
    "def f(a, b):\n    raise ValueError",
    "def f(a, b):\n    return 0",
)


def vote(programs: Sequence[str], tests: Mapping[str, int], most: int | None = None) -> BehaviourVote:
    async def run() -> BehaviourVote:
        async with Sandbox() as sandbox:
            return await vote_by_behaviour(programs, tests, sandbox, most_executions=most)

    return asyncio.run(run())


@needs_isolation
def test_programs_that_behave_alike_vote_together_with_the_tests_they_pass() -> None:
    found = vote(
        [SUB, ADD, ZERO, ADD_AGAIN, RAISES, SUB, SUB], {"f(1, 2) == 3": 3, "f(2, 2) == 4": 1, "f(3, 1) == 2": 1}
    )
    assert [(group.programs, group.votes, group.score) for group in found.groups[:2]] == [
        ((1, 3), 4.0, 8.0),
        ((0, 5, 6), 1.0, 3.0),
    ]
    assert found.best == (1, 3)
    assert found.confidence == pytest.approx(8 / (11 + 0.3 * 7**0.5 * 4))  # beside what nobody wrote
    assert found.executions == 5 * 3


@needs_isolation
def test_few_programs_that_agree_are_less_sure_than_many() -> None:
    tests = {"f(1, 2) == 3": 2}
    shares = [vote([ADD] * n + [RAISES] * n, tests).confidence for n in (1, 4, 16)]
    assert shares == sorted(shares)
    assert shares[0] < 0.75
    assert shares[-1] < 0.95


@needs_isolation
def test_two_programs_that_fail_the_same_test_differently_are_not_of_one_mind() -> None:
    found = vote([SUB, ZERO, RAISES], {"f(1, 2) == 3": 1})
    assert [group.programs for group in found.groups] == [(0,), (1,), (2,)]
    assert found.confidence == 0.0
    assert found.best == (0, 1, 2)  # nothing speaks for any of them


@needs_isolation
def test_a_limit_leaves_the_inputs_that_most_tests_use() -> None:
    tests = {"f(1, 2) == 3": 5, "f(9, 9) == 0": 1}
    limited = vote([ADD, SUB], tests, most=2)
    assert limited.executions == 2
    assert limited.best == (0,)
    assert vote([ADD, SUB], tests, most=1).executions == 0
    assert vote([ADD, SUB], {}).groups[0].programs == (0, 1)
    assert vote([], tests).best == ()


@needs_isolation
def test_results_are_compared_as_values() -> None:
    tests = {"f(1, 2) == 3.0": 1, "abs(f(1, 2) - 3) < 1e-6": 1, "f({1}, {2}) == 0": 1}
    assert vote([ADD], tests).groups[0].votes == 2.0


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("f(1) == [1, 2]", SuggestedTest("f(1) == [1, 2]", "f(1)", "[1, 2]")),
        ("f(1) == -1", SuggestedTest("f(1) == -1", "f(1)", "-1")),
        ("f(1) is None", SuggestedTest("f(1) is None", "f(1)", "None")),
        ("not f(1)", SuggestedTest("not f(1)", "f(1)", "False")),
        ("f(1)", SuggestedTest("f(1)", "f(1)", "True")),
        ("f(1) == g(2)", SuggestedTest("f(1) == g(2)")),
        ("f(1) < 2", SuggestedTest("f(1) < 2")),
    ],
)
def test_what_a_test_expects(condition: str, expected: SuggestedTest) -> None:
    assert as_test(condition) == expected


def test_tests_are_found_in_what_a_model_wrote() -> None:
    texts = [
        "assert f(1)==2\nassert f( 1 ) == 2, 'message'\nassert g(1) == 1\nassert f(2) ==\nprint(f(3))\nassert f(3) == "
        "4",
        "    assert f(1) == 2\n" + "assert f(9) == 9\n" * 10,
        "",
    ]
    assert suggested_tests(texts, "f") == {"f(1) == 2": 3, "f(3) == 4": 1, "f(9) == 9": 4}
