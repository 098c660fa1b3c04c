"""Answers from memory alone: quoted, cited, newest first, or an honest nothing."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest

from orchestrator.backends.base import Request
from orchestrator.backends.local.extractive import ExtractiveBackend, extract
from orchestrator.memory import Memory, NewRecord
from orchestrator.types import Completion, Message

NOTES = (
    ("Every lantern has a warranty of twelve years. Lightning is covered, gulls are not.", datetime(2023, 1, 1)),
    ("Our workshop is in the old boathouse at 3 Tar Lane.", datetime(2019, 4, 2)),
    ("We moved the workshop to 14 Harbour Street on 18 May 2024.", datetime(2024, 5, 18)),
    ("Odalys Brandt looks after the glass furnace.", datetime(2023, 6, 20)),
    ("Where is the blue ladder?", datetime(2025, 1, 1)),
)


@pytest.fixture
def memory() -> Memory:
    memory = Memory()
    for text, time in NOTES:
        memory.remember(text, time=time)
    return memory


def answer(memory: Memory, question: str) -> Completion:
    recalled = memory.recall(question, token_budget=500).items
    return asyncio.run(ExtractiveBackend().complete(Request((Message("user", question),), question, recalled=recalled)))


@pytest.mark.parametrize(
    ("question", "quotes", "citation"),
    [
        ("How long is the warranty on a lantern?", "twelve years", "m:1"),
        ("Where is the workshop?", "14 Harbour Street", "m:3"),
        ("Who looks after the furnace?", "Odalys Brandt", "m:4"),
    ],
)
def test_quotes_the_sentence_and_cites_it(memory: Memory, question: str, quotes: str, citation: str) -> None:
    found = answer(memory, question)
    assert found.text is not None
    assert quotes in found.text
    assert found.text.endswith(f"[{citation}]")
    assert found.citations == (citation,)
    assert found.confidence is not None
    assert 0.3 <= found.confidence <= 0.95


@pytest.mark.parametrize(
    "question",
    [
        "Who painted the ceiling?",
        "Where is the blue ladder?",
        "Who wrote the epic of Gilgamesh?",
        "the",
        "?",
        "When was the warranty?",
    ],
)
def test_abstains_when_the_memory_does_not_hold_the_answer(memory: Memory, question: str) -> None:
    found = answer(memory, question)
    assert found.abstained
    assert "memory" in found.note


@pytest.mark.parametrize(
    ("told", "question", "wrong"),
    [
        ("Ann is not allergic to gluten.", "What is Ann allergic to?", "gluten"),
        ("If the board agrees, Mira will lead the team.", "Who leads the team?", "Mira"),
        ("Mira was head of the lab until 2019.", "Who is the head of the lab?", "Mira"),
        ("Ravi no longer manages the warehouse.", "Who manages the warehouse?", "Ravi"),
        ("Nobody but Tom thinks that the bridge opens at nine.", "When does the bridge open?", "nine"),
        ("The Gale lantern costs 79 euros.", "How much does the Moth lantern cost?", "79"),
        ("Lena denied that the contract costs 900 euros.", "How much does the contract cost?", "900"),
        ("The launch was planned for 3 May but never happened.", "When was the launch?", "3 May"),
        ("In my dream the office moved to Paris.", "Where is the office?", "Paris"),
        ("Bob said that the safe code is 4711.", "What is the safe code?", "4711"),
        ("Anna ist nicht gegen Gluten allergisch.", "Wogegen ist Anna allergisch?", "Gluten"),
        ("Ana no es alérgica al gluten.", "¿A qué es alérgica Ana?", "gluten"),
        ("Анна не руководит отделом.", "Кто руководит отделом?", "Анна"),
        ("王强不再保管密码。", "谁保管密码？", "王强"),
    ],
)
def test_what_is_not_plainly_said_is_not_quoted_as_a_fact(told: str, question: str, wrong: str) -> None:
    with Memory() as memory:
        memory.remember(told)
        found = answer(memory, question)
    assert found.text is None or wrong not in found.text or (found.confidence or 0.0) < 0.5


@pytest.mark.parametrize(
    ("told", "question"),
    [
        ("Ann is not allergic to gluten.", "Is Ann allergic to gluten?"),
        ("Mira was head of the lab until 2019.", "Who was head of the lab?"),
        ("Sara will lead the team from May.", "Who will lead the team?"),
        ("Anna leitet die Werkstatt.", "Wer leitet die Werkstatt?"),
        ("王强保管密码。", "谁保管密码？"),
    ],
)
def test_what_the_question_asks_for_is_quoted(told: str, question: str) -> None:
    with Memory() as memory:
        memory.remember(told)
        found = answer(memory, question)
    assert found.text is not None
    assert told in found.text


def test_confidence_grows_with_the_evidence() -> None:
    with Memory() as memory:
        memory.remember_many([NewRecord(text) for text in ("The Gale lantern costs 79 euros.", "We sell lanterns.")])
        sure, unsure = (
            answer(memory, f"How much does the {name} cost?").confidence for name in ("Gale lantern", "lamp")
        )
    assert (sure or 0.0) > (unsure or 0.0)


def test_an_empty_memory_says_that_it_is_empty() -> None:
    assert extract("Who founded it?", ()) is None
    assert "holds nothing" in answer(Memory(), "Who founded it?").note


def test_its_estimate_is_the_confidence_of_its_answer(memory: Memory) -> None:
    for question in ("Where is the workshop?", "Who painted the ceiling?"):
        request = Request((Message("user", question),), question, recalled=memory.recall(question).items)
        assert ExtractiveBackend().estimate(request) == (answer(memory, question).confidence or 0.0)
