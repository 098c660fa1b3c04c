"""Tokens without a tokenizer, held against what seven public vocabularies count (token_counts.json says which text has
how many).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.tokens.estimate import (
    FAMILIES,
    FAMILY_THAT_COUNTS_MOST,
    bound_tokens,
    estimate_tokens,
    family_of,
    request_bound,
    request_estimate,
)

RECORDED: list[dict[str, Any]] = json.loads((Path(__file__).parent / "token_counts.json").read_text(encoding="utf-8"))
MODELS = {"cl100k": "gpt-3.5-turbo", "o200k": "openai/gpt-4o", "qwen": "qwen3-32b", "deepseek": "deepseek-chat"}


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: recorded["kind"])
def test_no_vocabulary_counts_more_than_the_bound(recorded: dict[str, Any]) -> None:
    assert (
        max(recorded["counts"].values())
        <= bound_tokens(recorded["text"])
        <= len(recorded["text"].encode()) + 2 + len(recorded["text"])
    )


@pytest.mark.parametrize("recorded", [r for r in RECORDED if r["is_usual"]], ids=lambda recorded: recorded["kind"])
def test_what_people_send_is_not_underestimated_nor_much_overestimated(recorded: dict[str, Any]) -> None:
    for vocabulary, count in recorded["counts"].items():
        family = family_of(MODELS.get(vocabulary, "some-model"))
        assert estimate_tokens(recorded["text"], family) >= 0.93 * count, vocabulary
    dearest = max(recorded["counts"].values())
    assert estimate_tokens(recorded["text"]) <= 2.4 * dearest


def test_families_are_known_by_their_models_names() -> None:
    assert family_of("openai/gpt-4o-mini") is FAMILIES["gpt-4o"]
    assert family_of("Qwen/Qwen3-32B") is FAMILIES["qwen"]
    assert family_of("claude-sonnet-4-5") is FAMILY_THAT_COUNTS_MOST
    digits = "31415926535897932384"
    assert estimate_tokens(digits, family_of("gpt-5")) < estimate_tokens(digits, family_of("qwen3"))


@given(st.text(), st.text())
def test_more_text_is_never_fewer_tokens_at_most(one: str, other: str) -> None:
    assert bound_tokens(one) <= bound_tokens(one + other) + 1
    assert bound_tokens(one + other) <= bound_tokens(one) + bound_tokens(other)


def test_a_long_text_is_judged_by_samples() -> None:
    text = RECORDED[0]["text"] * 400
    assert estimate_tokens(text) == pytest.approx(400 * estimate_tokens(RECORDED[0]["text"]), rel=0.1)


Q = {"role": "user", "content": "hi"}
BIG = "look up the order of a customer by its number, " * 200


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [{"type": "function", "function": {"name": "f", "description": BIG}}]},
        {"functions": [{"name": "f", "description": BIG}]},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"description": BIG}}}},
        {
            "messages": [
                Q,
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": BIG}}],
                },
            ]
        },
        {"messages": [Q, {"role": "tool", "tool_call_id": "c", "content": BIG}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": BIG}]}]},
        {"messages": [Q, {"role": "assistant", "content": "x", "reasoning_content": BIG}]},
        {
            "messages": [
                {"role": "user", "content": [{"type": "tool_result", "content": [{"type": "text", "text": BIG}]}]}
            ]
        },
        {"prediction": {"type": "content", "content": BIG}},
    ],
)
def test_every_part_of_a_request_counts(more: dict[str, Any]) -> None:
    body = {"model": "m", "messages": [Q], **more}
    assert estimate_tokens(BIG) <= request_estimate(body) <= estimate_tokens(BIG) + 500
    assert bound_tokens(BIG) <= request_bound(body)
    assert request_estimate(body) <= request_bound(body)


def test_what_is_no_text_counts_by_its_kind_and_not_by_its_bytes() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1_000_000}}
    body = {"messages": [{"role": "user", "content": [picture] * 3}]}
    assert 3 * 1_105 <= request_estimate(body) <= 10_000
    assert request_bound(body) < 20_000
    document = {"type": "file", "file": {"file_data": "data:application/pdf;base64," + "A" * 1_000_000}}
    assert request_bound({"messages": [{"role": "user", "content": [document]}]}) >= 1_000_000


def test_labels_and_settings_cost_nothing() -> None:
    labelled = {"messages": [Q], "metadata": {"a": BIG}, "user": BIG, "temperature": 0.5, "stop": None}
    assert request_estimate(labelled) == request_estimate({"messages": [Q]})
    assert request_bound(labelled) == request_bound({"messages": [Q]})


@given(st.text(max_size=200), st.integers(1, 5))
def test_any_text_is_estimated(text: str, times: int) -> None:
    assert 0 <= estimate_tokens(text * times) <= 4.3 * len((text * times).encode("utf-8", "replace")) + 2


def test_blanks_are_a_text_too() -> None:
    assert estimate_tokens(" " * 100) >= 1
    assert estimate_tokens("\n" * 100_000) > 0
