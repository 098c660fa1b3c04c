"""Streams: text as it is written where the route is one draft, taken back when it is beaten, and never two texts."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import (
    Answer,
    BackendError,
    BackendUnavailable,
    Budget,
    Event,
    Ledger,
    ModelProfile,
    NoAdequateModel,
    Orchestrator,
    OrchestratorError,
    Query,
    RemoteBackend,
    TextDelta,
    TextRevised,
    Trace,
    Verdict,
)
from orchestrator.search.live_text import LiveText
from orchestrator.testing import ScriptedBackend
from tests.support.faulty_server import chunk, completion, faulty_server, reply, stream
from tests.support.gateway import settled

SURE = ModelProfile("sure", 1.0, 1.0, skill=0.97)


class Refuses:
    """A check that no answer with this word passes."""

    name = "refuses"

    def __init__(self, word: str) -> None:
        self._word = word

    async def verify(self, query: str, candidate: str) -> Verdict:
        is_fine = self._word not in candidate
        return Verdict(self.name, float(is_fine), is_fine, "" if is_fine else "that word", decisive=True)


def shown(events: list[Any]) -> str:
    """What stands before the reader in the end."""
    text = ""
    for event in events:
        if isinstance(event, TextDelta):
            text += event.text
        elif isinstance(event, TextRevised):
            text = ""
    return text


def streamed(fleet: Orchestrator, query: str = "What is the answer?", **wishes: Any) -> list[Any]:
    with fleet:
        return list(fleet.stream_sync(query, **wishes))


def kinds(events: list[Any]) -> list[str]:
    return [event.kind if isinstance(event, Event) else type(event).__name__ for event in events]


def test_a_draft_is_shown_as_it_is_written_where_the_route_is_one_draft() -> None:
    model = ScriptedBackend("sure", "The answer is 42", profile=SURE, delta_chars=6)
    events = streamed(Orchestrator(model, memory=":memory:"))
    assert kinds(events) == [
        "recalled", "routed", "drafting", "TextDelta", "TextDelta", "TextDelta", "drafted", "answered", "Answer",
    ]  # fmt: skip
    assert shown(events) == events[-1].text == "The answer is 42"


def test_text_comes_while_the_server_still_writes() -> None:
    may_go_on = threading.Event()

    async def slow(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        writer.write(chunk("The answer"))
        await writer.drain()
        await asyncio.to_thread(may_go_on.wait, 10)
        writer.write(chunk(" is 42") + chunk(finish="stop") + b"data: [DONE]\n\n")
        await writer.drain()

    with faulty_server(slow) as server, Orchestrator(RemoteBackend(SURE, base_url=server.url)) as fleet:
        pieces = fleet.stream_text_sync("What is the answer?", strategy="single")
        assert next(pieces) == "The answer"
        may_go_on.set()
        assert "".join(pieces) == " is 42"


def test_a_search_tells_what_it_does_and_then_the_text() -> None:
    models = [ScriptedBackend(name, f"The answer is {n}", skill=0.6) for name, n in (("a", 1), ("b", 1), ("c", 1))]
    events = streamed(Orchestrator(*models, strategy="mixture"))
    told = kinds(events)
    assert told.count("drafting") > 1
    assert told[-3:] == ["answered", "TextDelta", "Answer"]
    assert shown(events) == events[-1].text


def test_a_candidate_that_is_shown_and_then_beaten_is_told_as_such() -> None:
    wrong = ScriptedBackend("sure", "The answer is forbidden", profile=SURE)
    right = ScriptedBackend("other", "The answer is 42", price=50.0, skill=0.98)
    events = streamed(Orchestrator(wrong, right, verifiers=[Refuses("forbidden")]))
    told = kinds(events)
    assert told.index("TextDelta") < told.index("TextRevised") < len(told) - 1 - told[::-1].index("TextDelta")
    revised = next(event for event in events if isinstance(event, TextRevised))
    assert revised.model == "sure"
    assert shown(events) == events[-1].text == "The answer is 42"


def test_a_stream_that_breaks_off_is_asked_for_again_and_what_was_shown_is_void() -> None:
    whole = stream(chunk("The answer is 42"), chunk(finish="stop"), b"data: [DONE]\n\n")
    with faulty_server(stream(chunk("The ans")), whole) as server:
        events = streamed(Orchestrator(RemoteBackend(SURE, base_url=server.url), strategy="single"))
    assert [type(e).__name__ for e in events if not isinstance(e, Event)] == [
        "TextDelta", "TextRevised", "TextDelta", "Answer",
    ]  # fmt: skip
    assert shown(events) == "The answer is 42"


def test_text_alone_cannot_be_taken_back_so_a_broken_stream_raises() -> None:
    with faulty_server(stream(chunk("The ans"))) as server:
        fleet = Orchestrator(RemoteBackend(SURE, base_url=server.url), strategy="single")
        with fleet:
            pieces = fleet.stream_text_sync("What is the answer?")
            assert next(pieces) == "The ans"
            with pytest.raises(BackendError, match="middle of the answer"):
                next(pieces)
    assert len(server.requests) == 1


def test_a_stream_is_retried_before_its_first_word() -> None:
    whole = stream(chunk("42"), chunk(finish="stop"), b"data: [DONE]\n\n")
    with faulty_server(reply(503, {"error": {"message": "busy"}}, "retry-after: 0"), whole) as server:
        events = streamed(Orchestrator(RemoteBackend(SURE, base_url=server.url), strategy="single"))
    assert shown(events) == "42"
    assert len(server.requests) == 2


def test_a_server_that_does_not_stream_is_read_all_the_same() -> None:
    with faulty_server(reply(200, completion("The answer is 42"), "content-type: application/json")) as server:
        events = streamed(Orchestrator(RemoteBackend(SURE, base_url=server.url), strategy="single"))
    assert shown(events) == events[-1].text == "The answer is 42"
    assert events[-1].usage.prefill_tokens == 10


def test_text_alone_is_what_was_shown_even_if_a_note_contradicts_it() -> None:
    model = ScriptedBackend("sure", "It costs 12 euros [m:1]", profile=SURE, delta_chars=4)

    async def play() -> tuple[list[str], Answer]:
        async with Orchestrator(model, ScriptedBackend("b", "79", price=9.0), memory=":memory:") as fleet:
            await fleet.remember("The Gale lantern costs 79 euros.")
            pieces = fleet.stream_text("What does the Gale lantern cost?")
            texts = [text async for text in pieces]
            assert pieces.answer is not None
            return texts, pieces.answer

    texts, answer = asyncio.run(play())
    assert len(texts) > 3
    assert "".join(texts) == answer.text == "It costs 12 euros [m:1]"


def test_what_may_be_withheld_or_ruled_out_is_not_shown_before_its_time() -> None:
    for wishes in ({"may_abstain": True, "quality": 0.999}, {"schema": {"type": "integer"}}):
        model = ScriptedBackend("sure", "7", profile=SURE)
        told = kinds(streamed(Orchestrator(model), **wishes))
        assert "TextDelta" not in told[: told.index("answered")]


def test_closing_cancels_and_settles() -> None:
    async def play() -> tuple[bool, Ledger]:
        model = ScriptedBackend("sure", "never", profile=SURE, seconds=60)
        async with Orchestrator(model) as fleet:
            async with fleet.stream("What is the answer?") as events:
                async for event in events:
                    if isinstance(event, Event) and event.kind == "drafting":
                        break
            first = model.cancelled
            trace, ledger = Trace(), Ledger(Budget(usd=1))
            plan = await fleet.plan(Query("What is the answer?"), trace)
            task = asyncio.ensure_future(fleet.execute(plan, trace, ledger, LiveText(lambda _: None)))
            assert await asyncio.to_thread(settled, lambda: len(model.asked) == 2)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return first, ledger

    was_cancelled, ledger = asyncio.run(play())
    assert was_cancelled
    assert ledger.reserved_nano == 0
    assert ledger.spent_usd > 0  # what a provider may charge for


def test_leaving_a_blocking_stream_cancels_it() -> None:
    model = ScriptedBackend("sure", "a" * 1_000, profile=SURE, delta_chars=1)
    with Orchestrator(model) as fleet:
        for text in fleet.stream_text_sync("What is the answer?"):
            assert text == "a"
            break
        assert fleet.answer_sync("What is the answer?").text == "a" * 1_000
        pieces = fleet.stream_text_sync("What is the answer?")
        next(pieces)
        pieces.close()  # type: ignore[attr-defined]


def test_errors_come_out_of_a_stream_as_they_come_out_of_an_answer() -> None:
    with Orchestrator(ScriptedBackend("m", BackendUnavailable("down"))) as fleet:
        with pytest.raises(BackendUnavailable):
            list(fleet.stream_sync("Anybody?"))
        with pytest.raises(BackendUnavailable):
            list(fleet.stream_text_sync("Anybody?"))
    with Orchestrator("calculator") as fleet, pytest.raises(NoAdequateModel):
        list(fleet.stream_text_sync("Who?"))


def test_a_fallback_is_shown_too() -> None:
    first = ScriptedBackend("first", BackendUnavailable("down"), profile=ModelProfile("first", 1, 1, skill=0.97))
    spare = ScriptedBackend("spare", "The answer is 2", profile=ModelProfile("spare", 1, 1, skill=0.97), delta_chars=5)
    events = streamed(Orchestrator(first, spare, fallbacks=["spare"]))
    assert "fallback" in kinds(events)
    assert shown(events) == events[-1].text == "The answer is 2"


REPLIES = st.one_of(
    st.sampled_from(["", "The answer is 1", "The answer is 2", "I do not know.", "forbidden 1", "A poem\nof rain ☂"]),
    st.just(BackendUnavailable("down")),
    st.none(),
)


@settings(max_examples=120, deadline=None)
@given(
    replies=st.lists(st.lists(REPLIES, min_size=1, max_size=4), min_size=1, max_size=3),
    skills=st.lists(st.sampled_from([0.3, 0.7, 0.95, 0.99]), min_size=3, max_size=3),
    strategy=st.sampled_from(["single", "adaptive", "cascade", "best_of_n", "draft_critique_revise"]),
    may_abstain=st.booleans(),
    has_check=st.booleans(),
    delta_chars=st.sampled_from([None, 1, 7]),
)
def test_what_was_shown_in_the_end_is_the_answer(
    replies: list[list[Any]],
    skills: list[float],
    strategy: str,
    may_abstain: bool,
    has_check: bool,
    delta_chars: int | None,
) -> None:
    def fleet() -> Orchestrator:
        models = [
            ScriptedBackend(f"m{n}", said, skill=skills[n], price=1.0 + n, delta_chars=delta_chars)
            for n, said in enumerate(replies)
        ]
        return Orchestrator(*models, strategy=strategy, verifiers=[Refuses("forbidden")] if has_check else [])

    async def play() -> None:
        events: list[Any] = []
        async with fleet() as first:
            try:
                async for event in first.stream("What is the answer?", may_abstain=may_abstain):
                    events.append(event)  # noqa: PERF401 - what came before an error counts
            except OrchestratorError:
                pass
            else:
                assert shown(events) == events[-1].text
        async with fleet() as second:
            pieces = second.stream_text("What is the answer?", may_abstain=may_abstain)
            texts: list[str] = []
            try:
                async for text in pieces:
                    texts.append(text)  # noqa: PERF401 - what came before an error counts
            except OrchestratorError:
                return
            assert pieces.answer is not None
            assert "".join(texts) == pieces.answer.text

    asyncio.run(play())
