"""What has one value at a time: a new value ends the old one, which stays as history.

And what says the same is kept once, with where it was said.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.memory import HashingEncoder, Memory, NewRecord
from orchestrator.memory.text.duplicates import canonical
from orchestrator.memory.text.facts import facts_in, is_one_statement
from orchestrator.memory.text.words import words_in

SAID = datetime(2024, 6, 8, tzinfo=UTC)


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("speaker", "text", "expected"),
    [
        ("Ann", "I live in Porto.", ("ann", "lives in", "porto", "2024-06-08")),
        (
            "Ann",
            "We just moved from Porto to New York City last week.",
            ("ann", "lives in", "new york city", "2024-05-27"),
        ),
        ("", "Ann moved to Lisbon in May", ("ann", "lives in", "lisbon", "2024-05-01")),
        ("Bob", "I've lived in Rome since 2019", ("bob", "lives in", "rome", "2019-01-01")),
        ("", "Ann works at Google, Inc.", ("ann", "works at", "google", "2024-06-08")),
        ("Ann", "My new email is a@b.com.", ("ann", "email", "a@b.com", "2024-06-08")),
        ("Ann", "I got married last week", ("ann", "marital status", "married", "2024-05-27")),
        ("", "The Gale lantern costs 45.50 euros.", ("gale lantern", "costs", "45.50 euros", "2024-06-08")),
        (
            "",
            "The deadline of the Kestrel project is now 3 May.",
            ("kestrel project", "deadline", "3 may", "2024-06-08"),
        ),
        ("", "The office opens at nine.", ("office", "opens", "nine", "2024-06-08")),
    ],
)
def test_facts_are_recognised(speaker: str, text: str, expected: tuple[str, str, str, str]) -> None:
    (fact,) = facts_in(text, speaker, SAID)
    assert fact.since is not None
    assert (*fact[:3], str(fact.since.date())) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Does Ann live in Rome?",
        "I would live in Rome",
        "I don't live in Rome anymore",
        "If I lived in Rome, I would sing.",
        "I will work at Google",
        "Change starts small.",
        "The library is now open",
        "It costs nine euros.",
    ],
)
def test_what_states_nothing_is_no_fact(text: str) -> None:
    assert facts_in(text, "Ann", SAID) == []


@given(st.text(max_size=300), st.text(max_size=20))
def test_any_text_can_be_looked_at(text: str, speaker: str) -> None:
    assert len(facts_in(text, speaker, SAID)) <= 8
    assert isinstance(is_one_statement(text), bool)


def porto_and_lisbon(memory: Memory) -> None:
    memory.remember("I live in Porto.", speaker="Ann", time=day("2023-01-02"))
    memory.remember("I moved to Lisbon in May!", speaker="Ann", time=day("2024-06-08"))


def test_a_new_value_ends_the_old_one_which_stays_as_history() -> None:
    with Memory() as memory:
        porto_and_lisbon(memory)
        assert memory.recall("Where does Ann live?").text == "[m:2] (2024-06-08) Ann: I moved to Lisbon in May!"
        both = (
            "[m:1] (2023-01-02, until 2024-05-01, see m:2) Ann: I live in Porto.\n[m:2] (2024-06-08) Ann: I moved "
            "to Lisbon in May!"
        )
        assert memory.recall("Where did Ann live before?").text == both
        assert memory.recall("Where does Ann live?", history=True).text == both
        then = memory.recall("Where does Ann live?", as_of=day("2024-05-20"))  # she had moved, but nobody had said so
        assert [item.record.text for item in then.items] == ["I live in Porto."]
        assert not memory.recall("Where does Ann live?", as_of=day("2022-01-01"))


def test_the_order_in_which_facts_arrive_does_not_matter() -> None:
    with Memory() as memory:
        memory.remember("I moved to Lisbon.", speaker="Ann", time=day("2024-06-08"))
        memory.remember("I live in Porto.", speaker="Ann", time=day("2023-01-02"))
        assert [r.superseded_by for r in memory.export("default")] == [None, 1]


def test_who_moves_back_lives_there_again() -> None:
    with Memory() as memory:
        places = [
            ("I live in Porto.", "2023-01-02"),
            ("I live in Lisbon.", "2023-05-01"),
            ("I live in Porto.", "2023-09-01"),
        ]
        memory.remember_many([NewRecord(text, "Ann", day(when)) for text, when in places])
        assert [(r.text, r.superseded_by) for r in memory.export("default")] == [
            ("I live in Porto.", 2),
            ("I live in Lisbon.", 3),
            ("I live in Porto.", None),
        ]
        memory.remember("I live in Porto.", speaker="Ann", time=day("2023-10-01"))
        assert memory.count() == 3


def test_forgetting_the_new_value_brings_the_old_one_back() -> None:
    with Memory() as memory:
        porto_and_lisbon(memory)
        memory.remember("I live in Rome.", speaker="Ann", time=day("2025-01-01"))
        memory.forget("default", [2])
        assert [(r.id, r.superseded_by) for r in memory.export("default")] == [(1, 3), (3, None)]
        memory.forget("default", [3])
        assert [(r.id, r.superseded_by, r.valid_until) for r in memory.export("default")] == [(1, None, None)]
        assert "Porto" in memory.recall("Where does Ann live?").text
        memory.remember("I live in Faro.", speaker="Ann", time=day("2026-01-01"))  # it can be ended again
        assert "Porto" not in memory.recall("Where does Ann live?").text


def test_a_long_story_is_not_over_because_one_of_its_facts_is() -> None:
    with Memory() as memory:
        memory.remember(
            "I live in Porto. The cat is called Rex. I like plums. The bells are loud.",
            speaker="Ann",
            time=day("2023-01-02"),
        )
        memory.remember("I live in Lisbon.", speaker="Ann", time=day("2024-01-02"))
        assert [r.superseded_by for r in memory.export("default")] == [None, None]


def test_other_people_and_other_scopes_keep_their_facts() -> None:
    with Memory() as memory:
        memory.remember("I live in Porto.", "a", speaker="Ann")
        memory.remember("I live in Lisbon.", "a", speaker="Bob")
        memory.remember("I live in Lisbon.", "b", speaker="Ann")
        assert all(r.superseded_by is None for scope in ("a", "b") for r in memory.export(scope))


def test_what_is_over_can_be_said_explicitly() -> None:
    with Memory() as memory:
        old, new = (
            memory.remember("The password is on the fridge.").id,
            memory.remember("Look for the password in the safe.").id,
        )
        memory.supersede("default", old, by=new, at=datetime.now(UTC) - timedelta(hours=1))
        assert [item.record.id for item in memory.recall("Where is the password?").items] == [new]
        memory.supersede("default", new)
        assert not memory.recall("Where is the password?")
        for wrong in ((99, None), (old, 99), (old, old)):
            with pytest.raises(KeyError):
                memory.supersede("default", wrong[0], by=wrong[1])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("The office opens at nine.", "the  office opens at nine", True),
        ("The office opens at nine.", "the office opens at NINE", False),
        ("Zoe’s cat is blue!", "Zoe's cat is blue", True),
        ("The cafe\u0301 is blue.", "The café is blue.", True),
        ("Send it to us.", "Send it to US.", False),
        ("Polish people came.", "polish people came.", False),
        ("f(x) is small", "f x is small", False),
        ("Let's eat, Grandma.", "Let's eat Grandma.", False),
        ("The code is 3.5.", "The code is 35.", False),
        ("Use C++ here.", "Use C here.", False),
        ("密码是 ab12。", "密码是 ab12", True),
        ("密码是 ab12。", "密码是 AB12。", False),
        ("The office opens at nine.", "The office opens at ten.", False),
        ("I do like plums.", "I do not like plums.", False),
        ("You live in Porto.", "You live in Porto?", False),
        ("It is -5 degrees in Oslo.", "It is 5 degrees in Oslo.", False),
        ("Ann bit the dog.", "The dog bit Ann.", False),
        ("I just really like ripe plums!", "I like ripe plums", False),
    ],
)
def test_only_what_says_the_same_is_a_repeat(one: str, other: str, same: bool) -> None:
    assert (canonical(NewRecord(one), words_in(one)) == canonical(NewRecord(other), words_in(other))) is same
    with Memory(encoder=HashingEncoder(16)) as memory:
        assert memory.remember(one).id == 1
        assert memory.remember(other).id == (1 if same else 2)


def test_a_repeat_is_kept_as_a_mention() -> None:
    with Memory() as memory:
        first = memory.remember("The office opens at nine.", time=day("2023-01-02"), source="mail")
        for when in ("2023-02-02", "2023-02-02", "2023-03-03"):
            assert memory.remember("The office opens at nine", time=day(when), source="chat").id == first.id
        assert memory.count() == 1
        assert [(m.time, m.source, m.times) for m in memory.mentions("default", first.id)] == [
            (day("2023-01-02"), "mail", 1),
            (day("2023-02-02"), "chat", 2),
            (day("2023-03-03"), "chat", 1),
        ]
        assert memory.recall("When does the office open?").text.startswith(
            "[m:1] (2023-01-02, said 4 times, last 2023-03-03) The office"
        )
        assert memory.mentions("other", first.id) == []
        memory.forget("default", [first.id])
        assert memory.mentions("default", first.id) == []
        assert memory.remember("The office opens at nine.").id == 2


def test_short_replies_of_a_conversation_stand_for_themselves() -> None:
    talk = [
        NewRecord(text, "Ann", session="s")
        for text in ("Yes.", "Yes.", "My red kite flew away!", "My red kite flew away!")
    ]
    with Memory() as memory:
        assert [r.id for r in memory.remember_many(talk)] == [1, 2, 3, 3]


def test_a_repeat_needs_no_room_in_a_full_scope() -> None:
    with Memory() as memory:
        memory.limit("default", max_records=1)
        memory.remember("The safe is blue.")
        assert memory.remember("The safe is blue!").id == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("I live in Porto.", "I lived in Lisbon."),
        ("I live in Porto.", "Before that I lived in Lisbon."),
        ("I live in Porto.", "I also live in Lisbon."),
        ("I live in Porto.", "I live in Lisbon, too."),
        ("The shop opens at 8.", "The shop opens at 10 tomorrow."),
        ("The shop opens at 8.", "Today the shop opens at 10."),
        ("The shop opens at 8.", "The shop opens at 10 this week."),
        ("The shop closes at 6.", "The shop closes at 4 today."),
        ("The ticket costs 9 euros.", "The ticket costs 7 euros today."),
        ("My boss is Tom.", "My boss is ill."),
        ("My boss is Tom.", "My boss is on holiday."),
        ("The wifi password is blue77.", "The wifi password is secret."),
        ("The deadline is 3 May.", "The deadline is near."),
        ("The deadline is on Friday.", "The deadline is strict."),
        ("My favourite colour is green.", "My favourite colour is nice."),
        ("The ticket costs 9 euros.", "The ticket costs 8 euros online."),
        ("The ticket costs 9 euros.", "The ticket costs 11 euros at the door."),
        ("The ticket costs 9 euros.", "The ticket costs 10 dollars."),
        ("The ticket costs 9 euros.", "The ticket costs 20 euros return."),
        ("The room costs 90 euros.", "The room costs 120 euros including breakfast."),
        ("The room costs 90 euros a night.", "The room costs 500 euros a week."),
        ("The bike costs 900 euros.", "The bike costs 400 euros used."),
        ("The shop opens at 8.", "The shop opens again at 3."),
        ("I work at Siemens.", "I work at Bosch."),
        ("The office opens at nine on Mondays.", "The office opens at ten on Saturdays."),
        ("The ticket costs 5 euros for children.", "The ticket costs 9 euros for adults."),
        ("I live in Porto.", "In my dream I live in Rome."),
        ("I live in Porto.", "Bob said I live in Rome."),
        ("Ann lives in Porto.", "Ann lives in Rome in winter."),
        ("I live in Oslo.", "We lived in Rome."),
        ("My pin is 1234", "My pin is blocked"),
        ("My rent is 900", "My rent is too high"),
        ("My name is Ann", "My name is on the list"),
        ("The shop opens at 9", "The shop opens 2 new stores"),
        ("The museum costs 5 euros (kids).", "The museum costs 10 euros (adults)."),
        ("The price is 5 euros at Aldi", "The price is 6 euros at Lidl"),
        ("Our budget is 5k", "Our budget is approved"),
    ],
)
def test_what_is_of_another_time_group_or_kind_ends_nothing(one: str, other: str) -> None:
    with Memory() as memory:
        memory.remember(one, speaker="Ann", time=day("2025-05-01"))
        memory.remember(other, speaker="Ann", time=day("2025-05-02"))
        assert [record.superseded_by for record in memory.export("default")] == [None, None]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("I live in Porto.", "I moved to Lisbon in May!"),
        ("I live in Porto.", "I live in Lisbon."),
        ("The shop opens at 8.", "The shop now opens at 9."),
        ("The ticket costs 9 euros.", "The ticket now costs 10 euros."),
        ("The Gale lantern costs 45.50 euros.", "The Gale lantern costs 79 euros."),
        ("The deadline is 3 May.", "The deadline was moved to 9 May."),
        ("My boss is Tom.", "My new boss is Eva."),
        ("I work at Siemens.", "I now work at Bosch."),
        ("My phone number is 123456.", "My new phone number is 654321."),
    ],
)
def test_a_plain_new_value_ends_the_old_one(one: str, other: str) -> None:
    with Memory() as memory:
        memory.remember(one, speaker="Ann", time=day("2025-05-01"))
        memory.remember(other, speaker="Ann", time=day("2025-05-20"))
        assert [record.superseded_by for record in memory.export("default")] == [2, None]
