"""Ranking by signs of relevance.

Each sign does what its name says, the index agrees with itself however it grew, and old memories are upgraded.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.memory import HashingEncoder, Memory, NewRecord, Thresholds
from orchestrator.memory.record import Scope
from orchestrator.memory.retrieval import scope_index as scope_index_module
from orchestrator.memory.retrieval.relevance import SIGNALS, Asked, signals_of
from orchestrator.memory.retrieval.scope_index import ScopeIndex
from orchestrator.memory.text.traits import Traits, traits_of
from orchestrator.memory.text.words import counted, distinct
from orchestrator.memory.training.tune import CONVERSATIONS, read_conversations

CHAT = [
    ("Ada", "Did you find the earring?"),
    ("Zina", "Yes, in the lining of the trumpet case."),
    ("Ada", "I could kiss you!"),
    ("Emeka", "The rice is in the freezer, nine boxes of it."),
]


def chat(memory: Memory, scope: str = "chat") -> ScopeIndex:
    memory.remember_many([NewRecord(text, speaker, session="s1") for speaker, text in CHAT], scope)
    index = ScopeIndex(memory.store, Scope.parse(scope), memory.encoder)
    index.refresh()
    return index


def signals(memory: Memory, query: str) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    index = chat(memory)
    found = signals_of(index, Asked.of(query, memory.encoder, index), np.arange(len(index)))
    return dict(zip(SIGNALS, found.T, strict=True))


def test_every_sign_says_what_its_name_says() -> None:
    with Memory() as memory:
        found = signals(memory, "Where did Zina find the earring?")
    assert found["asks"].tolist() == [1, 0, 0, 0]
    assert found["speaker"].tolist() == [0, 1, 0, 0]
    assert found["numbers"].tolist() == [0, 0, 0, 1]
    assert found["coverage"].argmax() == 0
    assert np.flatnonzero(found["answers"]).tolist() == [1]  # the only turn whose predecessor asks
    assert found["answers"][1] > 0.5
    assert found["words_nearby"][1] > found["words"][1]
    assert (found["meaning_nearby"] >= found["meaning"] - 1e-6).all()


def test_an_answer_is_found_through_the_question_before_it() -> None:
    with Memory() as memory:
        chat(memory)
        assert (
            memory.recall("Where was the lost earring?", "chat").items[0].record.text.startswith("Yes, in the lining")
        )


def test_the_score_is_a_probability_that_does_not_depend_on_how_much_else_is_there() -> None:
    rng = np.random.default_rng(0)
    scores = []
    for others in (10, 300):
        with Memory() as memory:
            memory.remember("The spare key hangs behind the kitchen clock.")
            memory.remember_many(
                [
                    NewRecord(f"The {rng.choice(['boat', 'roof', 'bill'])} number {i} was painted grey.")
                    for i in range(others)
                ]
            )
            scores.append([item.score for item in memory.recall("Where does the spare key hang?").items[:2]])
    assert all(0.1 < best < 1.0 for best, _ in scores)
    assert all(second < best / 5 for best, second in scores)


def test_what_a_user_says_of_himself_is_told_from_an_assistants_advice() -> None:
    turns = [
        ("user", "I bought a green folding bicycle for my commute. Which lock is good?"),
        ("assistant", "A folding lock is compact, a chain is harder to cut."),
    ]
    with Memory() as memory:
        memory.remember_many([NewRecord(text, speaker, session="chat") for speaker, text in turns], "s")
        index = ScopeIndex(memory.store, Scope.parse("s"), memory.encoder)
        index.refresh()
        found = signals_of(index, Asked.of("Which bicycle do I use?", memory.encoder, index), np.arange(2))
    by_name = dict(zip(SIGNALS, found.T, strict=True))
    assert by_name["assistant"].tolist() == [0, 1]
    assert by_name["personal"].tolist() == [1, 0]
    assert by_name["asks"].tolist() == [0.5, 0]  # it states something before it asks


def test_neighbours_of_another_session_or_of_none_do_not_count() -> None:
    with Memory() as memory:
        memory.remember_many([NewRecord(text, speaker) for speaker, text in CHAT], "loose")
        index = ScopeIndex(memory.store, Scope.parse("loose"), memory.encoder)
        index.refresh()
        query = "Where did Zina find the earring?"
        found = signals_of(index, Asked.of(query, memory.encoder, index), np.arange(4))
    by_name = dict(zip(SIGNALS, found.T, strict=True))
    assert not by_name["answers"].any()
    assert by_name["meaning_nearby"] == pytest.approx(by_name["meaning"])


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=8), st.integers(0, 3))
def test_an_index_that_grew_in_pieces_equals_one_that_was_read_at_once(pieces: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    words = "lamp oil ferry cat harbour trumpet rice violin".split()
    with Memory(encoder=HashingEncoder(64)) as memory:
        scope = Scope.parse("s")
        grown = ScopeIndex(memory.store, scope, memory.encoder)
        for size in pieces:
            texts = [" ".join(rng.choice(words, 4)) + rng.choice(["?", ".", " 7."]) for _ in range(size)]
            memory.remember_many(
                [NewRecord(str(t), str(rng.choice(["A", "B"])), session=str(rng.choice(["x", "y"]))) for t in texts],
                "s",
            )
            grown.refresh()
        whole = ScopeIndex(memory.store, scope, memory.encoder)
        whole.refresh()
        asked = Asked.of("lamp trumpet A", memory.encoder, whole)
        everything = np.arange(len(whole))
        assert signals_of(grown, asked, everything) == pytest.approx(signals_of(whole, asked, everything), abs=1e-4)
        cosines = whole.vectors @ asked.vector
        assert whole.cosines(asked.vector) == (
            pytest.approx(cosines.mean(), abs=1e-5),
            pytest.approx(cosines.std(), abs=1e-4),
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scope_index_module, "DIRECT", 0)
            grown.cosines(asked.vector)
            memory.remember("one more lamp", "s")
            grown.refresh()
            mean, spread = grown.cosines(asked.vector)
        cosines = grown.vectors @ asked.vector
        assert (mean, spread) == (pytest.approx(cosines.mean(), abs=1e-5), pytest.approx(cosines.std(), abs=1e-4))


def test_a_large_scope_is_ranked_as_a_whole_one_would_be() -> None:
    rng = np.random.default_rng(1)
    nouns = [f"thing{i}" for i in range(300)]
    start = datetime(2025, 1, 1, tzinfo=UTC)
    records = [
        NewRecord(
            f"The {rng.choice(nouns)} stands beside the {rng.choice(nouns)}, {i} cm apart.",
            "Ann",
            start + timedelta(hours=i),
            f"s{i // 20}",
        )
        for i in range(1_500)
    ]
    for judged_whole in (1_000, 10_000):
        with Memory(thresholds=Thresholds(judged_whole=judged_whole)) as memory:
            memory.remember_many([*records, NewRecord("The spare key hangs behind the clock.", "Ann", start, "s99")])
            assert memory.recall("Where does the spare key hang?").items[0].record.id == 1_501


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Where is Biscuit?", Traits(2, 1, False, False)),
        ("Look! [shares a picture: a red door]", Traits(0, 0, False, False)),
        ("Is it red? [shares a picture: a door]", Traits(2, 0, False, False)),
        ("We met Ann and Bob and Cy and Dan in Ghent.", Traits(0, 3, False, True)),
        ("I burnt the rice yesterday. What can I cook?", Traits(1, 0, False, True)),
        ("Oh no! What kind of dog did you get?", Traits(2, 0, False, False)),
        ("I called twice.", Traits(0, 0, True, True)),
        ("[" * 100_000, Traits(0, 0, False, False)),
        (" " * 100_000 + "]", Traits(0, 0, False, False)),
    ],
)
def test_traits(text: str, expected: Traits) -> None:
    assert traits_of(text) == expected


def test_words_are_compared_by_their_stems() -> None:
    assert distinct("Lamps, a lamp, and LAMP!") == distinct("lamp")
    assert distinct("painted paintings") == distinct("paint painting")
    codes, counts = counted("lamp lamps oil the".split())
    assert (len(codes), sorted(counts.tolist())) == (2, [1, 2])


def test_packing_takes_what_brings_most_for_its_tokens() -> None:
    long = "The ferry timetable, in full: " + ", ".join(
        f"{hour}:{minute:02d}" for hour in range(6, 22) for minute in (5, 35)
    )
    with Memory() as memory:
        memory.remember(long)
        memory.remember("The ferry leaves at 19:40.")
        memory.remember("The ferry does not run on Sundays.")
        found = memory.recall("When does the ferry leave?", token_budget=40)
    assert len(found.items) == 2
    assert found.tokens <= 40


def test_the_conversations_that_it_learns_from_are_sound() -> None:
    conversations = list(read_conversations(CONVERSATIONS.read_text(encoding="utf-8").splitlines()))
    assert sum(len(c.questions) for c in conversations) >= 130
    for conversation in conversations:
        assert all(0 <= turn < len(conversation.turns) for _, turns in conversation.questions for turn in turns)
    with pytest.raises(ValueError, match="line 2 is no"):
        list(read_conversations(["-- 2024-01-01", "no speaker here"]))


def test_what_was_said_at_the_time_asked_for_ranks_first() -> None:
    with Memory(clock=lambda: datetime(2025, 3, 20, tzinfo=UTC).timestamp()) as memory:
        for month in range(1, 13):
            memory.remember(
                f"I repaired bicycle number {month}.", speaker="Piet", time=datetime(2024, month, 10, tzinfo=UTC)
            )
        memory.remember("I repaired bicycle number 13.", speaker="Piet", time=datetime(2025, 3, 12, tzinfo=UTC))
        for query, expected in (("What did Piet repair in May 2024?", 5), ("What did Piet repair last week?", 13)):
            assert f"number {expected}." in memory.recall(query).items[0].record.text
            assert dict(memory.recall(query).items[0].signals)["when"] > 0.2


def test_a_second_step_leads_from_what_is_found_first() -> None:
    filler = [NewRecord(f"Lamp {i} has a brass foot of {i} cm.", session="s1") for i in range(60)]
    filler += [
        NewRecord(f"The boathouse has a {thing}.", session=thing)
        for thing in ("damp floor", "red key hook", "wide door")
    ]
    first = NewRecord("The key of the boathouse is kept by Zebedee.", session="s2")
    second = NewRecord("Zebedee moved his workshop to Quay Street.", session="s3")
    with Memory() as memory:
        memory.remember_many([*filler, first, second])
        found = {
            item.record.text: dict(item.signals)["linked"]
            for item in memory.recall("Who keeps the key of the boathouse?", limit=60).items
        }
    assert found.pop(second.text) > 0.1
    assert max(found.values()) <= 0.1


def test_a_reranker_has_the_last_word_among_the_best() -> None:
    class ByLength:
        def scores(self, query: str, texts: list[str]) -> list[float]:
            return [-float(len(text)) for text in texts]

    texts = ["The safe is blue and stands behind the clock.", "The safe is blue.", "The blue safe is heavy."]
    with Memory(reranker=ByLength()) as memory:
        memory.remember_many([NewRecord(text) for text in texts])
        found = memory.recall("What colour is the safe?")
        assert [item.record.text for item in found.items] == sorted(texts, key=len)
        assert [item.score for item in found.items] == sorted((item.score for item in found.items), reverse=True)


def test_diversity_passes_over_what_says_nothing_new() -> None:
    texts = [
        "The safe is blue.",
        "The safe is light blue.",
        "The safe is dark blue.",
        "The safe stands behind the clock in Ghent.",
    ]
    with Memory() as memory:
        memory.remember_many([NewRecord(text) for text in texts])
        plain = [item.record.id for item in memory.recall("What is blue, the safe?", limit=4).items]
        diverse = [item.record.id for item in memory.recall("What is blue, the safe?", limit=4, diversity=0.7).items]
    assert plain[-1] == 4
    assert diverse.index(4) < plain.index(4)
    assert diverse[0] == plain[0]


@pytest.mark.parametrize("judged_whole", [1, 1_000])
def test_where_everything_is_hidden_or_little_is_there_nothing_goes_wrong(judged_whole: int) -> None:
    said = datetime(2024, 1, 2, tzinfo=UTC)
    with Memory(thresholds=Thresholds(judged_whole=judged_whole)) as memory:
        memory.remember_many([NewRecord(f"Lamp {i} stands in room {i}.", "Ann", said) for i in range(5)])
        assert not memory.recall("Where does lamp 3 stand?", as_of=said - timedelta(days=1))
        assert "Lamp 3 " in memory.recall("Where does lamp 3 stand?", as_of=said).items[0].record.text
