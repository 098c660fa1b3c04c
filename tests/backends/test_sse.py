"""Server-sent events: any cutting into chunks, any line ending, the same events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.backends.http.sse import EventParser

texts = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\x00"), min_size=1, max_size=30)


@given(
    st.lists(st.lists(texts, min_size=1, max_size=3), max_size=5),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.lists(st.integers(1, 7), min_size=1),
)
def test_how_bytes_are_cut_changes_nothing(events: list[list[str]], newline: str, cuts: list[int]) -> None:
    lines = [": comment", "event: message", ""]
    for event in events:
        lines += [f"data: {line}" for line in event] + [""]
    raw = (newline.join(lines) + newline + "x").encode()  # a last byte settles whether a CR was half of a CRLF
    parser, found, position, turn = EventParser(), [], 0, 0
    while position < len(raw):
        size = cuts[turn % len(cuts)]
        found += parser.feed(raw[position : position + size])
        position, turn = position + size, turn + 1
    assert found == ["\n".join(event) for event in events]


@given(st.binary(max_size=400))
def test_no_bytes_make_it_raise(raw: bytes) -> None:
    parser = EventParser()
    whole = parser.feed(raw)
    assert all(isinstance(event, str) for event in whole)


def test_an_event_without_end_is_cut_off() -> None:
    parser = EventParser(max_chars=100)
    parser.feed(b"data: " + b"x" * 90)
    with pytest.raises(ValueError, match="over 100 characters"):
        parser.feed(b"x" * 20)
