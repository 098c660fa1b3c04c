"""Form, personal data, SQL, and verifiers made of verifiers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.verifiers import (
    LengthVerifier,
    PersonalDataVerifier,
    RegexVerifier,
    SqlVerifier,
    Verdict,
    all_of,
    any_of,
    weighted,
)
from orchestrator.verifiers.form.personal_data import is_card_number, is_iban


def verdict(verifier: Any, candidate: str, query: str = "") -> Verdict:
    found: Verdict = asyncio.run(verifier.verify(query, candidate))
    return found


class Says:
    def __init__(
        self, name: str, score: float | None, passed: bool | None, *, decisive: bool = False, cost_usd: float = 0.0
    ) -> None:
        self.name, self.asked = name, 0
        self._verdict = Verdict(
            name, score, passed, f"{name} objects" if not passed else "", cost_usd=cost_usd, decisive=decisive
        )

    async def verify(self, query: str, candidate: str) -> Verdict:
        self.asked += 1
        return self._verdict


def yes(**settings: Any) -> Says:
    return Says("yes", 0.9, True, **settings)


def no(**settings: Any) -> Says:
    return Says("no", 0.2, False, **settings)


def silent() -> Says:
    return Says("silent", None, None)


def test_all_of_passes_what_all_pass_and_asks_nobody_after_a_decisive_failure() -> None:
    assert verdict(all_of(yes(cost_usd=0.1), silent(), yes(cost_usd=0.2)), "x") == Verdict(
        "all_of(yes, silent, yes)", 0.9, True, cost_usd=pytest.approx(0.3)
    )
    last = yes()
    failed = verdict(all_of(yes(), no(decisive=True), last), "x")
    assert (failed.passed, failed.score, failed.decisive, failed.feedback, last.asked) == (
        False,
        0.2,
        True,
        "no: no objects",
        0,
    )
    soft = verdict(all_of(no(), last), "x")
    assert (soft.passed, soft.decisive, last.asked) == (False, False, 1)
    assert verdict(all_of(silent()), "x").abstained


def test_any_of_passes_what_one_passes() -> None:
    last = no()
    found = verdict(any_of(no(decisive=True), yes(), last), "x")
    assert (found.passed, found.score, last.asked) == (True, 0.9, 0)
    failed = verdict(any_of(no(decisive=True), no(decisive=True)), "x")
    assert (failed.passed, failed.decisive) == (False, True)
    assert not verdict(any_of(no(decisive=True), silent()), "x").decisive
    assert verdict(any_of(silent(), silent()), "x").abstained


def test_weighted_is_a_mean_of_opinions() -> None:
    found = verdict(weighted({yes(): 3.0, no(): 1.0, silent(): 5.0}), "x")
    assert (found.score, found.passed, found.decisive) == (pytest.approx(0.725), True, False)
    assert verdict(weighted({yes(): 1.0, no(): 3.0}), "x").passed is False
    assert verdict(weighted({silent(): 1.0}), "x").abstained


@pytest.mark.parametrize(
    "make",
    [
        all_of,
        any_of,
        lambda: weighted({}),
        lambda: weighted({yes(): 0.0}),
        lambda: RegexVerifier("("),
        lambda: SqlVerifier("NO"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        make()


def test_form() -> None:
    assert verdict(RegexVerifier(r"\d{4}-\d{2}-\d{2}"), "on 2025-03-04, at noon").evidence == ("2025-03-04",)
    assert verdict(RegexVerifier(r"\d{4}", whole=True), "in 2025").passed is False
    assert verdict(RegexVerifier(r"\d{4}", whole=True), " 2025\n").passed
    assert verdict(LengthVerifier(min_words=2, max_words=3), "one two").passed
    assert verdict(LengthVerifier(max_words=1, max_chars=3), "one two").feedback == (
        "the answer has 2 words, at most 1 are allowed; 7 characters, at most 3 are allowed"
    )
    assert verdict(LengthVerifier(min_words=1), "").passed is False


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("Write to ann.lee+x@mail.example.org today.", ["mail address"]),
        ("My card is 4111 1111 1111 1111, thanks.", ["card number"]),
        ("The order is 4111 1111 1111 1112.", []),
        ("Pay to DE89 3704 0044 0532 0130 00.", ["bank account"]),
        ("Part GB82 WEST 1234 5698 7654 33 is out of stock.", []),
        ("SSN 078-05-1120", ["social security number"]),
        ("Call +44 20 7946 0958 or (415) 555-2671.", ["telephone number"]),
        ("In 2024 we sold 1,234,567 lamps at 12.50, version 3.11.7.", []),
        ("2025-03-04T10:00:00 and 10.0.0.1", []),
    ],
)
def test_personal_data_is_found_by_kind(text: str, kinds: list[str]) -> None:
    found = verdict(PersonalDataVerifier(), text)
    assert found.feedback == (f"the answer holds personal data: {', '.join(kinds)}" if kinds else "")
    assert verdict(PersonalDataVerifier(), text, query=text).passed  # what the query says may be said again


@given(st.text(max_size=300))
def test_any_text_can_be_looked_at(text: str) -> None:
    assert verdict(PersonalDataVerifier(), text).passed is not None
    assert isinstance(is_card_number(text), bool)


def test_check_digits() -> None:
    assert is_iban("GB82 WEST 1234 5698 7654 32")
    assert not is_card_number("0" * 16)


SCHEMA = "CREATE TABLE lamps (name TEXT, euros INTEGER); INSERT INTO lamps VALUES ('Gale', 79), ('Calm', 49);"


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELECT name FROM lamps WHERE euros > 50", ""),
        ("Here:\n```sql\nWITH x AS (SELECT 1 AS a) SELECT * FROM x;\n```", ""),
        ("SELECT nme FROM lamps", "no such column"),
        ("SELEC name", "syntax error"),
        ("DELETE FROM lamps", "it does more than read"),
        ("DROP TABLE lamps", "it does more than read"),
        ("ATTACH '/tmp/x.db' AS x", "it does more than read"),
        ("PRAGMA writable_schema = 1", "it does more than read"),
        ("SELECT load_extension('x')", "it does more than read"),
        ("SELECT 1; DELETE FROM lamps", "one statement"),
        ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(i) FROM n", "it takes too long"),
        ("SELECT length(hex(zeroblob(900000000)))", "too big"),
        ("", "no SQL"),
        ("SELECT '\x00'", ""),
    ],
)
def test_sql_that_reads_and_runs_passes(sql: str, told: str) -> None:
    found = verdict(SqlVerifier(SCHEMA), sql)
    assert told in found.feedback
    assert found.passed is (told == "") or "\x00" in sql


def test_sql_is_judged_by_its_rows() -> None:
    verifier = SqlVerifier(SCHEMA, expected=[("Gale",), ("Calm",)])
    assert verdict(verifier, "SELECT name FROM lamps ORDER BY name").passed
    assert verdict(verifier, "SELECT name FROM lamps LIMIT 1").passed is False
