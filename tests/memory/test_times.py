"""Time expressions mean what they meant when they were said."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.memory import Memory
from orchestrator.memory.text.times import with_dates

SAID = datetime(2023, 5, 8, 13, 56, tzinfo=UTC)  # a Monday


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I went yesterday.", "I went yesterday [2023-05-07]."),
        ("The day before yesterday it rained", "The day before yesterday [2023-05-06] it rained"),
        ("See you tomorrow!", "See you tomorrow [2023-05-09]!"),
        ("last Friday, at six", "last Friday [2023-05-05], at six"),
        ("last Monday", "last Monday [2023-05-01]"),
        ("next Monday", "next Monday [2023-05-15]"),
        ("next Sunday", "next Sunday [2023-05-14]"),
        ("last week", "last week [week of 2023-05-01]"),
        ("this weekend", "this weekend [2023-05-13 to 2023-05-14]"),
        ("next month", "next month [2023-06]"),
        ("last year", "last year [2022]"),
        ("3 days ago and two weeks ago", "3 days ago [2023-05-05] and two weeks ago [week of 2023-04-24]"),
        ("five months ago", "five months ago [2022-12]"),
        ("in a week", "in a week [week of 2023-05-15]"),
        ("a few days ago", "a few days ago"),
        ("900 years ago", "900 years ago [1123]"),
        ("999 years ago in 999 years", "999 years ago [1024] in 999 years [3022]"),
        ("this Monday", "this Monday"),
        ("the yesterdays of my life", "the yesterdays of my life"),
    ],
)
def test_expressions(text: str, expected: str) -> None:
    assert with_dates(text, SAID) == expected


def test_what_was_said_at_no_known_time_stays_as_it_is() -> None:
    assert with_dates("yesterday", None) == "yesterday"
    assert with_dates("in 999 years", datetime(9999, 1, 1, tzinfo=UTC)) == "in 999 years"


@given(st.text(max_size=200), st.datetimes(timezones=st.just(UTC)))
def test_nothing_is_lost_from_any_text(text: str, said: datetime) -> None:
    resolved = with_dates(text, said)
    position = 0
    for character in text:
        position = resolved.index(character, position) + 1


def test_a_packed_record_says_what_its_expressions_meant() -> None:
    with Memory() as memory:
        record = memory.remember("I went to the dentist yesterday.", speaker="Ann", time=SAID)
        packed = memory.recall("When was Ann at the dentist?").text
        assert record.text == "I went to the dentist yesterday."
    assert packed == "[m:1] (2023-05-08) Ann: I went to the dentist yesterday [2023-05-07]."
