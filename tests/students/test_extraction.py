"""Students that copy typed fields out of texts."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from orchestrator.students import AgreementPromise, StudentTask, load_student, save_student
from orchestrator.students.extraction import ExtractionStudent
from orchestrator.students.spans import find_span, number_in, read_value, split, type_of
from orchestrator.students.training import TrainingError
from orchestrator.students.training.extract import RecordedText, train_extractor, unspanned_field

NAMES = ("Anna Berg", "José Núñez", "Li Wei", "Tom O'Neil", "Fatima Al-Sayed", "王芳")
FORMS = (
    "{n} wants to return order {o}, paid {p} EUR.",
    "Order {o}: refund of {p} for {n}",
    "please cancel {o} ({n}), I paid {p}",
    "Hi, this is {n}. My order number is {o}. It cost {p}!",
    "{n} here, where is order {o}?",
)


def record(rng: random.Random) -> RecordedText:
    name, order, price = rng.choice(NAMES), f"A-{rng.randint(1000, 9999)}", round(rng.uniform(5, 900), 2)
    form = rng.choice(FORMS)
    found = {"name": name, "order": order, "price": price if "{p}" in form else None}
    return RecordedText(form.format(n=name, o=order, p=price), found)


@pytest.fixture(scope="module")
def extractor() -> ExtractionStudent:
    rng = random.Random(0)
    return train_extractor([record(rng) for _ in range(300)], StudentTask(kind="extraction"), AgreementPromise())


def test_values_are_copied_typed_and_true(extractor: ExtractionStudent, tmp_path: Path) -> None:
    assert extractor.fields == {"name": "text", "order": "text", "price": "number"}
    rng = random.Random(99)
    given = 0
    for _ in range(100):
        row = record(rng)
        said = extractor.predict(row.text)
        if said.is_accepted:
            given += 1
            assert json.loads(said.answer) == row.record
    assert given > 80
    read = load_student(save_student(extractor, tmp_path / "s"))
    assert read.predict(FORMS[0].format(n="Li Wei", o="A-1234", p=5.5)) == extractor.predict(
        FORMS[0].format(n="Li Wei", o="A-1234", p=5.5)
    )


@pytest.mark.parametrize(
    "text", ["", "What is the capital of France?", "🙂", "the weather was fine on the whole coast"]
)
def test_what_is_foreign_is_not_answered(extractor: ExtractionStudent, text: str) -> None:
    assert not extractor.predict(text).is_accepted


def test_a_text_that_names_two_values_is_not_answered(extractor: ExtractionStudent) -> None:
    said = extractor.predict("Order A-1234: refund of 5.50 for Li Wei. Order A-9876: refund of 7.25 for Anna Berg")
    assert not said.is_accepted


def test_values_that_stand_nowhere_are_noticed() -> None:
    assert unspanned_field(RecordedText("paid 5 EUR", {"price": 5})) is None
    assert unspanned_field(RecordedText("paid five EUR", {"price": 5})) == "price"
    assert unspanned_field(RecordedText("by Anna", {"name": "Anna Berg"})) == "name"
    assert unspanned_field(RecordedText("by anna", {"name": "Anna", "city": None})) is None
    with pytest.raises(TrainingError, match="no value of any record stands in its text"):
        train_extractor(
            [RecordedText(f"text {n}", {"x": "absent"}) for n in range(60)], StudentTask(), AgreementPromise()
        )
    with pytest.raises(TrainingError, match="no record has any field"):
        train_extractor([RecordedText(f"text {n}", {}) for n in range(60)], StudentTask(), AgreementPromise())


@pytest.mark.parametrize(
    ("span", "number"),
    [
        ("5", 5.0),
        ("1,234.50", 1234.5),
        ("3,5", 3.5),
        ("1.234,50", None),
        ("-2", -2.0),
        ("12:30", None),
        ("", None),
        ("٣", 3.0),
    ],
)
def test_numbers(span: str, number: float | None) -> None:
    assert number_in(span) == number


def test_spans_and_types() -> None:
    text = "Write to ann@example.org, 12.5 kg, 3 boxes"
    tokens = split(text)
    assert find_span("ann@example.org", text, tokens) is not None
    assert find_span(12.5, text, tokens) is not None
    assert find_span("exampl", text, tokens) is None
    assert find_span(True, text, tokens) is None
    assert type_of([1, None]) == "integer"
    assert type_of([1, 2.5]) == "number"
    assert type_of(["a@b.de"]) == "email"
    assert type_of([None]) == "text"
    assert read_value("3.5", "integer") is None
    assert read_value("3", "integer") == 3
    assert read_value("nobody", "email") is None
