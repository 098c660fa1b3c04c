"""Verifiers: equivalence found from text alone, structure, grounding, agreement."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.verifiers import (
    Agreement,
    ChoiceVerifier,
    GroundingVerifier,
    JsonSchemaVerifier,
    NumericVerifier,
    Source,
    Verdict,
    canonical_answer,
    equivalent,
    group_equivalent,
    parse_number,
    why_no_answer,
)

CODE = "def f(x):\n    return x\nassert f('ab') == ??"


@pytest.mark.parametrize(
    ("a", "b", "query"),
    [
        ("The answer is 1,234.", '{"reasoning": "...", "answer": "1234"}', ""),
        ("so it is \\boxed{\\frac{1}{2}}", "#### 0.5", ""),
        ("It costs $18 in total", "18 dollars", "How much does it cost?"),
        ("20 + 6 + 8 = 34", "34", "How many pens?"),
        ("**Answer:** Paris.", "The answer is paris", ""),
        ("The answer is (B).", "B) because it is blue", "Which?\nA. red\nB. blue"),
        ('{"answer": "[1,2]"}', "[1, 2]", ""),
        ('{"answer": "ab"}', "'ab'", CODE),
        ("540 meters per week", '"answer": "540"', "How many meters?"),
    ],
)
def test_the_same_answer_in_other_clothes(a: str, b: str, query: str) -> None:
    assert equivalent(a, b, query)


@pytest.mark.parametrize(
    ("a", "b", "query"),
    [
        ("12", "13", ""),
        ("The answer is A", "The answer is B", "?\nA. x\nB. y"),
        ("", "", ""),
        ('"Ab"', '"ab"', CODE),
        ("1/3", "0.3", ""),
        ("-5", "5", ""),
    ],
)
def test_different_answers_stay_apart(a: str, b: str, query: str) -> None:
    assert not equivalent(a, b, query)


@given(st.text(max_size=300), st.text(max_size=100))
def test_canonical_answers_never_raise_and_are_stable(text: str, query: str) -> None:
    answer = canonical_answer(text, query)
    assert answer == canonical_answer(text, query)
    assert (answer.kind == "empty") == (why_no_answer(text, query) is not None)


@given(st.integers(-(10**12), 10**12))
def test_any_way_of_writing_an_integer_is_read_back(value: int) -> None:
    for text in (str(value), f"{value:,}", f"**{value}**", f"{value}.0", f"{value} euros"):
        assert parse_number(text) == value


def test_groups_are_largest_first_and_leave_out_the_empty() -> None:
    assert group_equivalent(["It is 4", "", "answer: 5", "#### 4", "5.0", "4"], "How many?") == [[0, 3, 5], [2, 4]]


def verdict_of(verifier: object, candidate: str, query: str = "?") -> Verdict:
    return asyncio.run(verifier.verify(query, candidate))  # type: ignore[attr-defined]


def test_numeric_verifier() -> None:
    assert verdict_of(NumericVerifier("0.5"), "The answer is 1/2").passed
    failed = verdict_of(NumericVerifier(7), "The answer is 8")
    assert failed.passed is False
    assert "8" in failed.feedback
    assert verdict_of(NumericVerifier(7), "no idea").abstained


def test_choice_verifier() -> None:
    question = "Pick one.\nA. tea\nB. coffee"
    assert verdict_of(ChoiceVerifier("B"), "The answer is B", question).passed
    assert verdict_of(ChoiceVerifier(), "The answer is D", question).passed is False
    assert verdict_of(ChoiceVerifier(), "whatever", "no options here").abstained


def test_json_schema_verifier_names_the_failing_path() -> None:
    schema = {
        "type": "object",
        "required": ["total"],
        "properties": {"total": {"type": "number"}, "items": {"type": "array"}},
    }
    verifier = JsonSchemaVerifier(schema)
    assert verdict_of(verifier, 'Here you are:\n```json\n{"total": 3}\n```').passed
    failed = verdict_of(verifier, '{"total": "three"}')
    assert failed.passed is False
    assert failed.decisive
    assert "$.total" in failed.feedback
    assert verdict_of(verifier, "no json").passed is False
    assert verdict_of(verifier, '{"total": NaN}').passed is False
    with pytest.raises(ValueError, match="Schema"):
        JsonSchemaVerifier({"type": "nonsense"})


SOURCES = [
    Source("m:1", "The workshop moved to 14 Harbour Street in May."),
    Source("m:2", "Odalys looks after the furnace."),
]


@pytest.mark.parametrize(
    ("candidate", "passed"),
    [
        ("The workshop moved to 14 Harbour Street. [m:1]", True),
        ("Odalys looks after the furnace [m:2].", True),
        ("The workshop moved to 15 Harbour Street. [m:1]", False),
        ("Odalys looks after the furnace. [m:1]", False),
        ("The workshop moved. [m:9]", False),
        ("The king of Ruritania abdicated yesterday.", False),
    ],
)
def test_grounding(candidate: str, passed: bool) -> None:
    assert verdict_of(GroundingVerifier(SOURCES), candidate, "Where?").passed is passed


def test_grounding_abstains_without_sources() -> None:
    assert verdict_of(GroundingVerifier([]), "anything").abstained


def test_agreement_scores_by_the_share_of_other_drafts() -> None:
    verdict = verdict_of(Agreement(["The answer is 4", "#### 4", "5"]), "It must be 4", "How many?")
    assert verdict.score == pytest.approx(2 / 3)
    assert verdict_of(Agreement([]), "4").abstained


@pytest.mark.parametrize(
    "hostile",
    [
        "\n" * 100_000,
        "```json" + " \n" * 50_000,
        "answer" + " " * 100_000,
        "A" + " " * 100_000 + "x",
        "\n \n" * 50_000 + "B",
    ],
)
def test_runs_of_white_space_take_no_more_than_linear_time(hostile: str) -> None:
    """With the quadratic patterns that stood here once, this takes minutes."""
    question = "Pick one.\nA. tea\nB. coffee"
    assert verdict_of(JsonSchemaVerifier({"type": "object"}), hostile, question).passed is False
    assert verdict_of(ChoiceVerifier("A"), hostile, question).verifier == "choice"
    assert canonical_answer(hostile, hostile) == canonical_answer(hostile, hostile)
