"""The OpenAI dialect against a real server that misbehaves.

Every failure is a typed error, and the ledger knows what may be billed.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from orchestrator import Answer, BackendError, Budget, Completion, Message, Orchestrator
from orchestrator.backends.base import Delta, Request
from orchestrator.backends.remote import RemoteBackend
from orchestrator.budget import Ledger
from orchestrator.errors import BackendRejected, BackendUnavailable, BadResponse, RateLimited
from orchestrator.router import ModelProfile
from orchestrator.search.controller import Search
from orchestrator.search.state import Choice, SearchState
from orchestrator.search.strategies.registry import single
from orchestrator.trace import Trace
from tests.support.faulty_server import END, Script, chunk, completion, faulty_server, hang_up, reply, silence, stream

PROFILE = ModelProfile("m", 1.0, 2.0)
REQUEST = Request((Message("user", "What is 2 + 2?"),), "What is 2 + 2?", max_tokens=100)


def ask(url: str, *, deadline_s: float | None = 20.0, several: int = 1, **options: Any) -> Completion:
    async def run() -> Completion:
        backend = RemoteBackend(PROFILE, base_url=url, model="m", **options)
        try:
            return await backend.complete(
                Request(REQUEST.messages, REQUEST.question, max_tokens=100, deadline_s=deadline_s, several=several)
            )
        finally:
            await backend.aclose()

    return asyncio.run(run())


def read_stream(url: str, **options: Any) -> tuple[list[str], Completion | None, BackendError | None]:
    async def run() -> tuple[list[str], Completion | None, BackendError | None]:
        backend = RemoteBackend(PROFILE, base_url=url, model="m", **options)
        texts: list[str] = []
        try:
            async for piece in backend.stream(REQUEST):
                if isinstance(piece, Delta):
                    texts.append(piece.text)
                else:
                    return texts, piece, None
        except BackendError as error:
            return texts, None, error
        finally:
            await backend.aclose()
        return texts, None, None

    return asyncio.run(run())


def test_a_whole_answer_with_its_usage() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}
    with faulty_server(reply(200, completion("4", usage))) as server:
        answer = ask(server.url)
    assert (answer.text, answer.usage.prefill_tokens, answer.usage.output_tokens, answer.usage.cached_tokens) == (
        "4",
        10,
        5,
        4,
    )
    assert not answer.usage.estimated
    assert server.requests[0]["messages"] == [{"role": "user", "content": "What is 2 + 2?"}]


def test_several_answers_to_one_prompt() -> None:
    choices = [
        {"index": i, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        for i, text in enumerate("456")
    ]
    broken = [*choices, {"index": 3, "message": None}, "nonsense"]
    for told, usage in ((choices, {"prompt_tokens": 10, "completion_tokens": 3}), (broken, None)):
        with faulty_server(reply(200, {"choices": told, "usage": usage})) as server:
            answer = ask(server.url, several=3)
        assert (answer.text, answer.others) == ("4", ("5", "6"))
        assert server.requests[0]["n"] == 3
        assert answer.usage.estimated is (usage is None)


@pytest.mark.parametrize(
    "usage",
    [
        {},
        {"prompt_tokens": -1, "completion_tokens": 5},
        {"prompt_tokens": "10", "completion_tokens": None},
        {"prompt_tokens": True},
    ],
)
def test_usage_that_cannot_be_true_is_estimated_and_says_so(usage: dict[str, Any]) -> None:
    with faulty_server(reply(200, completion("4", usage))) as server:
        answer = ask(server.url)
    assert answer.usage.estimated
    assert answer.usage.prefill_tokens > 0
    assert answer.usage.output_tokens > 0


@pytest.mark.parametrize(
    ("script", "error", "says"),
    [
        (reply(200, b"<html>welcome</html>"), BadResponse, "not JSON"),
        (reply(200, b""), BadResponse, "empty answer"),
        (reply(200, b"[1, 2]"), BadResponse, "not a JSON object"),
        (reply(200, {"choices": []}), BadResponse, "no choices"),
        (reply(200, {"choices": [{"message": {"content": None}}]}), BadResponse, "no text"),
        (reply(200, {"error": {"message": "upstream is gone"}}), BadResponse, "upstream is gone"),
        (reply(200, b'{"choices": [', claim_bytes=50), BadResponse, "broke off"),
        (reply(200, b"[" * 100_000), BadResponse, "not JSON"),
        (hang_up, BadResponse, "broke off"),
        (reply(400, {"error": {"message": "bad temperature"}}), BackendRejected, "bad temperature"),
        (reply(401, {"error": "no key"}), BackendRejected, "API key"),
        (reply(404, b"nope"), BackendRejected, "base_url"),
        (reply(500, b"\xff\xfe garbage"), BackendUnavailable, "HTTP 500"),
        (reply(429, {"error": {"message": "slow down"}}, "retry-after: 0"), RateLimited, "slow down"),
    ],
)
def test_every_bad_answer_is_a_typed_error(script: Script, error: type[BackendError], says: str) -> None:
    with faulty_server(script) as server, pytest.raises(error, match=says) as caught:
        ask(server.url, attempts=1)
    assert caught.value.may_be_billed == (error is BadResponse)
    assert caught.value.remedy


@pytest.mark.parametrize("first", [reply(429, b"", "retry-after-ms: 1"), reply(503, b"", "retry-after: 0"), reply(500)])
def test_what_may_pass_is_tried_again(first: Script) -> None:
    with faulty_server(first, reply(200, completion("4"))) as server:
        assert ask(server.url).text == "4"
    assert len(server.requests) == 2


def test_a_wait_that_would_outlast_the_deadline_is_not_begun() -> None:
    with faulty_server(reply(429, b"", "retry-after: 60")) as server, pytest.raises(RateLimited) as caught:
        ask(server.url, deadline_s=1.0)
    assert caught.value.retry_after_s == 60
    assert len(server.requests) == 1


def test_a_request_that_is_refused_for_good_is_sent_once() -> None:
    with faulty_server(reply(400)) as server, pytest.raises(BackendRejected):
        ask(server.url)
    assert len(server.requests) == 1


def test_silence_ends_at_the_deadline_and_may_be_billed() -> None:
    with faulty_server(silence) as server, pytest.raises(BackendUnavailable, match="in time") as caught:
        ask(server.url, deadline_s=0.2)
    assert caught.value.may_be_billed


def test_nobody_listening_is_said_plainly() -> None:
    with pytest.raises(BackendUnavailable, match="cannot connect") as caught:
        ask("http://127.0.0.1:9/v1", attempts=1)
    assert not caught.value.may_be_billed


def test_the_key_appears_in_no_error_repr_log_or_trace(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    key = "sk-secret"
    backend = RemoteBackend(PROFILE, base_url="http://127.0.0.1:9/v1", model="m", key=key)
    told = [repr(backend), repr(backend.upstream), repr(backend.upstream.replicas.all)]
    echo = {"error": {"message": f"Incorrect API key provided: {key}"}}
    with faulty_server(reply(401, echo)) as server, pytest.raises(BackendRejected, match="API key") as caught:
        ask(server.url, key=key)
    told += [str(caught.value), repr(caught.value), caught.value.detail]
    with faulty_server(stream(chunk("a"), b'data: {"error": {"message": "no sk-secret"}}\n\n')) as server:
        told.append(str(read_stream(server.url, key=key)[2]))
    with faulty_server(reply(500, echo)) as server:
        state, trace = search(server.url, Ledger(Budget(usd=1.0)), key=key)
    told += [str(trace.as_dict(with_search=True)), repr(state), caplog.text]
    assert all(key not in text for text in told)


@pytest.mark.parametrize(
    "events",
    [
        (
            chunk("The answer "),
            chunk("is 4"),
            chunk(finish="stop"),
            chunk(usage={"prompt_tokens": 9, "completion_tokens": 4}),
            END,
        ),
        (chunk("The answer is 4"), chunk(finish="stop", usage={"prompt_tokens": 9, "completion_tokens": 4}), END),
        (
            b": keep-alive\n\n",
            chunk("The answer is 4", finish="stop", usage={"prompt_tokens": 9, "completion_tokens": 4}),
        ),
    ],
)
def test_a_stream_in_any_of_the_usual_forms(events: tuple[bytes, ...]) -> None:
    with faulty_server(stream(*events)) as server:
        texts, answer, error = read_stream(server.url)
    assert error is None
    assert answer is not None
    assert "".join(texts) == answer.text == "The answer is 4"
    assert (answer.usage.prefill_tokens, answer.usage.output_tokens, answer.usage.estimated) == (9, 4, False)
    assert answer.ttft_s is not None
    assert server.requests[0]["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(
    "events",
    [
        (chunk("The ans"),),
        (chunk("The ans"), b"data: {broken\n\n"),
        (chunk("The ans"), b'data: {"error": {"message": "out of memory"}}\n\n'),
        (),
    ],
)
def test_a_stream_that_breaks_off_is_an_error_that_may_be_billed_and_what_was_read_stays_read(
    events: tuple[bytes, ...],
) -> None:
    with faulty_server(stream(*events)) as server:
        texts, answer, error = read_stream(server.url)
    assert answer is None
    assert isinstance(error, BadResponse)
    assert error.may_be_billed
    assert texts == (["The ans"] if events else [])


def search(url: str, ledger: Ledger, **options: Any) -> tuple[SearchState, Trace]:
    async def run() -> tuple[SearchState, Trace]:
        backend = RemoteBackend(PROFILE, base_url=url, model="m", attempts=1, **options)
        trace = Trace()
        state = SearchState(REQUEST.question, (Choice("m", 0.8, 0.001, 1.0),), {"m": 0.8})
        result = await Search({"m": backend}, (), ledger, trace).run(state, single, REQUEST)
        await backend.aclose()
        return result.state, trace

    return asyncio.run(run())


def test_garbage_is_settled_at_its_worst_case_and_asked_once_more_under_a_reservation_of_its_own() -> None:
    ledger = Ledger(Budget(usd=1.0))
    with faulty_server(reply(200, b"garbage"), reply(200, completion("4"))) as server:
        state, trace = search(server.url, ledger)
    assert [candidate.text for candidate in state.candidates] == ["4"]
    assert ledger.calls == 2
    assert ledger.reserved_nano == 0
    real_usd = (10 * 1.0 + 5 * 2.0) / 1e6
    assert ledger.spent_usd > real_usd + 100 * 2.0 / 1e6  # the garbage counts with all the tokens that it may have cost
    assert trace.root.children[0].attributes["cost_usd"] == pytest.approx(ledger.spent_usd)


def test_garbage_is_not_asked_again_when_the_budget_holds_one_call_only() -> None:
    ledger = Ledger(Budget(calls=1))
    with faulty_server(reply(200, b"garbage"), reply(200, completion("4"))) as server:
        state, _ = search(server.url, ledger)
    assert not state.candidates
    assert len(server.requests) == 1


def test_a_refused_call_costs_nothing() -> None:
    ledger = Ledger(Budget(usd=1.0))
    with faulty_server(reply(500)) as server:
        state, _ = search(server.url, ledger)
    assert not state.candidates
    assert (ledger.settled_nano, ledger.reserved_nano, ledger.calls) == (0, 0, 0)


def test_a_broken_model_is_replaced_by_the_next_one_and_the_answer_is_billed_in_full() -> None:
    async def run(bad: str, good: str) -> Answer:
        profiles = {"bad": ModelProfile("bad", 0.1, 0.1, skill=0.9), "good": ModelProfile("good", 1.0, 1.0, skill=0.9)}
        urls = {"bad": bad, "good": good}
        backends = {name: RemoteBackend(p, base_url=urls[name], model=name, attempts=1) for name, p in profiles.items()}
        async with Orchestrator(backends, strategy="cascade") as orchestrator:
            return await orchestrator.answer("What is the tallest tree?")

    with faulty_server(reply(500)) as bad, faulty_server(reply(200, completion("The answer is hyperion"))) as good:
        answer = asyncio.run(run(bad.url, good.url))
    assert answer.model == "good"
    assert answer.cost_usd == pytest.approx(15 / 1e6)
    assert answer.trace is not None
    assert "HTTP 500" in str(answer.trace.as_dict())
