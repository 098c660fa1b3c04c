"""The calculator.

Exact where it answers, silent about everything that is not wholly a sum, a conversion or a date question.
"""

from __future__ import annotations

import asyncio
from datetime import date
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.backends.base import Request
from orchestrator.backends.local.calculator import CalculatorBackend, calculate
from orchestrator.types import Message
from orchestrator.verifiers.answers.arithmetic import NotArithmetic, evaluate, format_value

TODAY = date(2025, 3, 4)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What is 17 * 23?", "391"),
        ("12 * (19 + 4) - 7^2", "227"),
        ("2 + 3 * 4", "14"),
        ("What is 0x10?", "16"),
        ("0xff + 0b11 - 0O7", "251"),
        ("0 x 10", "0"),
        ("2x10", "20"),
        ("-2^2", "-4"),
        ("2^3^2", "512"),
        ("What is 15% of 4,740?", "711"),
        ("80 + 15%", "92"),
        ("200 - 5 %", "190"),
        ("0.1 + 0.2", "0.3"),
        ("10 / 4", "2.5"),
        ("1/3", "0.3333333333"),
        ("what's 100 divided by 8?", "12.5"),
        ("square root of 144", "12"),
        ("7 times 6 minus 2", "40"),
        ("5!", "120"),
        ("17 mod 5", "2"),
        ("half of 90", "45"),
        ("3 x 4", "12"),
        ("99999999999999999999 + 1", "100000000000000000000"),
        ("How many litres are in 3 gallons?", "11.356235352 litres"),
        ("5 km in miles", "3.106855961 miles"),
        ("convert 100 celsius to fahrenheit", "212 fahrenheit"),
        ("2 GiB in MiB", "2048 MiB"),
        ("How many days are between 2025-03-17 and 2025-06-30?", "105 days"),
        ("What date is 90 days after January 15, 2025?", "15 April 2025"),
        ("What date is 1 month after 31 January 2024?", "29 February 2024"),
        ("What day of the week was 20 July 1969?", "Sunday"),
        ("tomorrow + 2 weeks", "19 March 2025"),
        ("3 business days after 2025-03-06", "11 March 2025"),
    ],
)
def test_answers(question: str, answer: str) -> None:
    assert (calculate(question, today=TODAY) or "").partition(" (")[0] == answer


@pytest.mark.parametrize(
    "question",
    [
        "",
        "hello",
        "42",
        "What is 7?",
        "1 / 0",
        "5 mod 0",
        "9^9^9",
        "500!",
        "2^",
        "(1 + 2",
        "1 + 2)",
        "sqrt -4",
        "10% + 5",
        "Tom has 3 apples and buys 4 more. How many apples?",
        "What is 2 + 2 in binary?",
        "__import__('os').system('true') + 1",
        "5 km in kg",
        "5 parsecs in miles",
        "How many days are between 2025-02-30 and 2025-03-01?",
        "What date is 5 days after Christmas?",
        "999999 years after 2025-01-01",
        "1+" * 5_000 + "1",
        "(" * 300 + "1" + ")" * 300 + "+1",
    ],
)
def test_abstains(question: str) -> None:
    assert calculate(question, today=TODAY) is None


@given(
    st.recursive(
        st.integers(0, 999).map(str),
        lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(" ".join),
        max_leaves=8,
    )
)
def test_arithmetic_agrees_with_python(text: str) -> None:
    try:
        value = evaluate(text)
    except NotArithmetic:
        assert text.isdigit()
    else:
        assert value == eval(text)  # digits, blanks and + - * only


@given(st.text(max_size=60))
def test_no_text_makes_it_raise(text: str) -> None:
    answer = calculate(text, today=TODAY)
    assert answer is None or answer


@given(st.fractions(max_denominator=10_000))
def test_formatted_values_read_back(value: Fraction) -> None:
    assert abs(Fraction(format_value(value)) - value) <= abs(value) / 10**9


def test_the_backend_estimates_what_it_can_answer_and_abstains_with_a_reason() -> None:
    calculator = CalculatorBackend(today=lambda: TODAY)
    sum_, poem = (Request((Message("user", text),), text) for text in ("2 + 2", "Write a poem"))
    assert calculator.estimate(sum_) == pytest.approx(0.995)
    assert calculator.estimate(poem) == 0.0
    answer, refusal = asyncio.run(calculator.complete(sum_)), asyncio.run(calculator.complete(poem))
    assert (answer.text, answer.usage.total_tokens) == ("4", 0)
    assert refusal.abstained
    assert "not arithmetic" in refusal.note
