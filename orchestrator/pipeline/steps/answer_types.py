"""What of an answer later steps can use, as types. Nothing here loads an engine."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.pipeline.expressions.types import BOOL, NUMBER, TEXT, ValueType, list_of, record

UNPRICED = "the price of a model may be unknown"
ANSWER = {
    "text": TEXT,
    "confidence": NUMBER,
    "model": TEXT,
    "verified": BOOL,
    "partial": BOOL,
    "abstained": BOOL,
    "citations": list_of(TEXT),
    "entities": list_of(record(name=TEXT)),
    "cost_usd": NUMBER.maybe(UNPRICED),
    "seconds": NUMBER,
    "simulated": BOOL,
}
"""What every answer of a model has."""


def answer_type(value: ValueType | None = None) -> ValueType:
    """The type of an answer; `value` is that of its JSON, where it has one."""
    return record(ANSWER) if value is None else record(ANSWER, value=value)


def choice_type(labels: Sequence[str]) -> ValueType:
    """Of one of several labels, with how likely each is."""
    return record(label=TEXT, confidence=NUMBER, by=TEXT, probabilities=record(dict.fromkeys(labels, NUMBER)))
