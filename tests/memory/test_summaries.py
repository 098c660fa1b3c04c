"""Summaries: telling sentences with citations, or a writer's as far as the records support them.

Made again only when something has changed.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from orchestrator.memory import HashingEncoder, Memory, NewRecord
from orchestrator.memory.record import Record
from orchestrator.memory.text.support import cited_in, is_supported, sentences_of
from orchestrator.memory.training.tune import CONVERSATIONS, read_conversations
from orchestrator.tokens.estimate import quick_tokens

TURNS = next(iter(read_conversations(CONVERSATIONS.read_text(encoding="utf-8").splitlines()))).turns


@pytest.fixture
def memory() -> Memory:
    made = Memory(encoder=HashingEncoder(16))
    made.remember_many(TURNS, "a")
    return made


def test_it_quotes_what_tells_most_in_order_with_citations(memory: Memory) -> None:
    summary = memory.summarize("a", token_budget=150)
    cited = cited_in(summary.text)
    assert quick_tokens(summary.text) <= 150
    assert cited == sorted(cited)
    assert len(cited) >= 5
    assert (summary.level, summary.made_by, summary.tokens) == ("scope", "extract", 150)
    records = {record.id: record for record in memory.export("a")}
    for line in summary.text.splitlines():
        (record_id,) = cited_in(line)
        assert line.rsplit(": ", 1)[1].split(" [")[0] in records[record_id].text
    assert "?" not in summary.text.replace("?]", "")
    assert not memory.summarize("a", token_budget=0).text
    with pytest.raises(ValueError, match="must not be negative"):
        memory.summarize("a", token_budget=-1)


def test_a_session_has_a_summary_of_its_own(memory: Memory) -> None:
    session = TURNS[0].session
    summary = memory.summarize("a", session=session, token_budget=100)
    of_session = {record.id for record in memory.export("a") if record.session == session}
    assert set(cited_in(summary.text)) <= of_session
    assert memory.summarize("a", session="unknown").text == ""
    assert memory.summarize("empty").text == ""
    assert memory.scopes() == ["a"]  # a name that was mistyped is no scope afterwards
    assert all(each.sources for each in memory.summaries("a"))


def test_what_has_not_changed_is_not_made_again(memory: Memory) -> None:
    calls: list[str] = []

    def writer(prompt: str) -> str:
        calls.append(prompt)
        return "\n".join(line for line in prompt.splitlines() if line.startswith("[m:"))[:400]

    memory.summarize("a", writer=writer)
    first = len(calls)
    assert first >= len({turn.session for turn in TURNS}) * 2 + 1  # each stretch, each session, the scope
    memory.summarize("a", writer=writer)
    assert len(calls) == first
    memory.remember("I bought a blue piano for 900 euros in Ghent.", "a", speaker="Nora", session=TURNS[-1].session)
    memory.summarize("a", writer=writer)
    assert len(calls) <= first + 3
    levels = [summary.level for summary in memory.summaries("a")]
    assert levels.count("scope") == 1
    assert levels.count("session") == len({turn.session for turn in TURNS})


def test_forgetting_a_record_deletes_every_summary_that_rests_on_it(memory: Memory) -> None:
    summary = memory.summarize("a")
    gone = cited_in(summary.text)[0]
    memory.forget("a", [gone])
    assert all(gone not in one.sources for one in memory.summaries("a"))
    assert gone not in cited_in(memory.summarize("a").text)
    memory.forget("a")
    assert memory.summaries("a") == []


def test_what_is_over_is_not_summed_up() -> None:
    with Memory(encoder=HashingEncoder(16)) as memory:
        memory.remember_many([NewRecord("I live in Porto.", "Ann"), NewRecord("I live in Lisbon now.", "Ann")])
        assert "Porto" not in memory.summarize().text


def test_a_record_deleted_while_a_writer_writes_does_not_come_back_in_a_summary() -> None:
    with Memory(encoder=HashingEncoder(16)) as memory:
        secret = memory.remember("The code of the safe is 7731.").id
        memory.remember("The safe stands behind the clock.")
        calls: list[str] = []

        def writer(prompt: str) -> str:
            calls.append(prompt)
            memory.forget("default", [secret])
            return "The code of the safe is 7731. [m:1]\nThe safe stands behind the clock. [m:2]"

        summary = memory.summarize(writer=writer)
        assert "7731" not in summary.text
        assert "7731" not in "".join(one.text for one in memory.summaries())
        assert "clock" in summary.text


def test_a_writers_sentences_are_kept_as_far_as_they_are_supported(memory: Memory) -> None:
    def writer(prompt: str) -> str:
        return (
            "Piet lives above a bakery in Utrecht [m:2].\n"
            "- Nora catalogues old sea charts in the archive [m:5]. Piet has 4 dogs [m:2].\n"
            "Nora loves Paris [m:5].\nUncited claim about Piet.\nNora found a chart [m:9999]."
        )

    kept = memory.summarize("a", session=TURNS[0].session, writer=writer)
    assert kept.made_by == "writer"
    assert kept.text.splitlines() == [
        "Piet lives above a bakery in Utrecht [m:2].",
        "Nora catalogues old sea charts in the archive [m:5].",
    ]
    nothing = memory.summarize("a", session=TURNS[0].session, writer=lambda prompt: "I can't help with that.")
    assert nothing.made_by == "extract instead of <lambda>"
    assert nothing.text


RECORD = Record(
    7, "s", "I adopted two kittens, not dogs, yesterday.", "Nora", datetime(2024, 7, 14, tzinfo=UTC), "", ""
)


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("Nora did not adopt dogs but two kittens [m:7].", True),
        (
            "Nora adopted two kittens [m:7].",
            False,
        ),  # the source denies something, the sentence does not: not certain enough
        ("On 13 July 2024 Nora adopted kittens, not dogs [m:7].", True),
        ("On 12 July 2024 Nora adopted kittens, not dogs [m:7].", False),
        ("Nora adopted three kittens, not dogs [m:7].", False),
        ("Nora and Piet adopted kittens, not dogs [m:7].", False),
        ("Nora did not adopt dogs but two kittens [m:8].", False),
        ("Nora did not adopt dogs but two kittens.", False),
    ],
)
def test_support(sentence: str, expected: bool) -> None:
    assert is_supported(sentence, {7: RECORD}) is expected


def test_citations_and_sentences_are_read_in_all_usual_forms() -> None:
    assert cited_in("a [m:1, m:2]; b [m:3].") == [1, 2, 3]
    assert sentences_of("One [m:1]. Two. [m:2]\n* Three costs 1.5 euros [m:3]") == [
        "One [m:1].",
        "Two. [m:2]",
        "Three costs 1.5 euros [m:3]",
    ]
