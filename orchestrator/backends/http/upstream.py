"""One model behind one server or several.

Which of them is asked, how many calls it gets at once, and when it is left alone.

Bodies are chat completions; what goes out and comes back is the provider's dialect. Nothing is retried here (see
`resilience`), but with `hedge` a call that takes longer than 95 % of those before it is made a second time, and the one
that answers first counts. The other one is cancelled and stays on the bill: `PendingResponse.unseen_calls`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from orchestrator.backends.dialects import Outgoing, dialect_named
from orchestrator.backends.dialects.dialect import as_conversation, text_prompt
from orchestrator.backends.http.gemini_cache import CachedContents
from orchestrator.backends.http.load_reports import LoadReports
from orchestrator.backends.http.pacer import Pacer
from orchestrator.backends.http.prefix_cache import PrefixMemory, marked
from orchestrator.backends.http.replicas import (
    Placed,
    Pool,
    Replica,
    Replicas,
    call_priority,
    endpoint_of,
    endpoints_allowed,
    read_tokens,
)
from orchestrator.backends.http.retry import RetryBudget
from orchestrator.backends.http.server_group import DESTINATION, ServerGroup, handed_params, reading_body
from orchestrator.backends.http.transport_choice import AnyResponse, Transport, Way, transport_for, wire
from orchestrator.backends.provider_errors import OVERLOADED, TransportError, broken, error_of
from orchestrator.errors import BackendError, BackendRejected, BackendUnavailable, BadResponse
from orchestrator.jsontypes import JsonObject
from orchestrator.providers.addresses import address_of
from orchestrator.providers.auth import headers_for
from orchestrator.providers.provider import Provider
from orchestrator.serving.engine_load import ORCA_ANSWER, ORCA_REQUEST, load_in_header
from orchestrator.types import Usage

Pace = Callable[[float, bool], float]
"""(tokens to read, whether the answer is streamed) -> seconds until its head usually comes."""
LATE_S = 10.0
log = logging.getLogger(__name__)
HEDGE_QUANTILE, HEDGE_LEAST, HEDGE_WINDOW = 0.95, 20, 200


@dataclass(frozen=True, slots=True)
class CallSettings:
    """What every call to a model has.

    `defaults` are fields of a chat completion that hold where a request states none; `extra_body` is laid over the body
    as it is sent, in the words of the provider; `headers` go over ours. No call takes longer than `timeout_s`; at most
    `rpm` are sent a minute.
    """

    defaults: dict[str, Any] = field(default_factory=dict)
    extra_body: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    timeout_s: float | None = None
    rpm: float | None = None


class Upstream:
    """`name` is the model's name in errors, `model` the provider's.

    The key goes into a header and appears nowhere else.

    It has more attributes than other classes: all that a call to one model needs is decided once, here.
    """

    def __init__(
        self,
        name: str,
        provider: Provider,
        model: str,
        replicas: Sequence[Replica],
        *,
        key: str | None = None,
        hedge: bool = False,
        expected_output: float = 250.0,
        most_tokens: int = 8_192,
        prefixes: PrefixMemory | None = None,
        prefill_tokens_per_s: float | None = None,
        serving: ServerGroup | None = None,
        pace: Pace | None = None,
        settings: CallSettings | None = None,
        way: Way | None = None,
        wire: Transport | None = None,
    ) -> None:
        self.name = name
        self.provider = provider
        self.model = model
        self.dialect = dialect_named(provider.dialect)
        self.takes_text = provider.completions
        """Whether its server completes a text with no conversation around it, as far as is known."""
        self.replicas = Replicas(replicas, prefill_tokens_per_s=prefill_tokens_per_s)
        self._serving = serving or ServerGroup()
        tells = provider.tells_load and len(replicas) > 1 and self._serving.reads_load
        self.reports = LoadReports(self.replicas) if tells else None
        self.retries = RetryBudget()
        self.hedges = hedge
        self.key = key
        self._headers = {
            **headers_for(provider, key),
            "content-type": "application/json",
            "accept-encoding": "identity",
            "user-agent": "orchestrator",
            **({ORCA_REQUEST: "TEXT"} if tells else {}),
            **({} if settings is None else settings.headers),
        }
        self._settings = settings
        self._pacer = None if settings is None or settings.rpm is None else Pacer(settings.rpm)
        self._expected_output = expected_output
        self._most_tokens = most_tokens
        self.prefixes = prefixes
        self._contents = CachedContents(provider, model, self._posted) if provider.cache == "gemini" else None
        self._pace = pace or _any_pace
        self._way = way or Way()
        self._direct = frozenset(replica.base_url for replica in replicas if self._way.is_direct(replica.base_url))
        self._wire = wire
        self._waits: deque[float] = deque(maxlen=HEDGE_WINDOW)

    def __repr__(self) -> str:
        return f"Upstream({self.name!r}, {self.provider.name!r}, {[replica.base_url for replica in self.replicas.all]})"

    @property
    def where(self) -> str:
        """The model and the address of its first server, for messages."""
        return f"{self.name} at {self.replicas.all[0].base_url}"

    @property
    def most_calls(self) -> int:
        """How often one call may be billed at most."""
        return 2 if self.hedges else 1

    async def ask(self, body: JsonObject, *, timeout_s: float, extra: JsonObject | None = None) -> PendingResponse:
        """Sends a chat completion and waits for the head of the answer.

        `extra` is laid over the body as it is sent, in the words of the provider. Raises `BackendError` unless its
        status is 200.
        """
        if text_prompt(body) is not None:
            return await self._complete_text(body, timeout_s)
        return await self._ask(body, timeout_s, extra)

    async def _complete_text(self, body: JsonObject, timeout_s: float) -> PendingResponse:
        """A text's completion, by a conversation where the server knows nothing else."""
        if self.takes_text:
            try:
                return await self._ask(body, timeout_s)
            except BackendRejected as error:
                if error.status not in (404, 405, 501):
                    raise
                self.takes_text = False
        return await self._ask(as_conversation(body, self.provider), timeout_s)

    async def _ask(self, body: JsonObject, timeout_s: float, extra: JsonObject | None = None) -> PendingResponse:
        settings = self._settings
        ends_at: float | None = None
        if settings is not None:
            body = {**settings.defaults, **body}
            if settings.timeout_s is not None:
                timeout_s, ends_at = min(timeout_s, settings.timeout_s), time.monotonic() + settings.timeout_s
        if self._pacer is not None:
            timeout_s -= await self._pacer.enter(timeout_s, self.where)
        if self.provider.tells_load and (priority := call_priority.get()) is not None:
            body = {**body, "priority": priority}
        plan = self.prefixes.plan(body) if self.prefixes is not None else None
        if plan is not None:
            keyed = {"prompt_cache_key": plan.key} if plan.key else {}
            body = {**body, "messages": marked(body["messages"], plan), **keyed}
        written = 0
        if self._contents is not None and plan is not None and plan.marks:
            body, written = await self._contents.used(body, plan, timeout_s)
        outgoing = self.dialect.outgoing(body, self.provider, self.model, most_tokens=self._most_tokens)
        if settings is not None and settings.extra_body:
            outgoing = replace(outgoing, body=_laid_over(outgoing.body, settings.extra_body))
        if extra:
            outgoing = replace(outgoing, body=_laid_over(outgoing.body, extra))
        if self._serving.hands_over:
            answering = await self._handed_over(outgoing, body, timeout_s)
        elif self.hedges:
            answering = await self._hedged(outgoing, body, timeout_s)
        else:
            answering = await self._send(self._placed(body), outgoing, body, timeout_s)
        answering.written_tokens = written
        answering.ends_at = ends_at
        return answering

    async def post(self, path: str, body: JsonObject, *, timeout_s: float) -> PendingResponse:
        """Sends a body of another kind (`/embeddings`, `/systemone`) to the first server, with the model's name."""
        first = Placed(self.replicas.all[0], 0.0)
        return await self._send(first, Outgoing(path, {"model": self.model, **body}), body, timeout_s)

    def _placed(self, body: JsonObject, *, without: Replica | None = None, pool: Pool | None = None) -> Placed:
        if self.reports is not None:
            self.reports.want()
        among = endpoints_allowed.get()
        expected = self._expected_output
        return self.replicas.choose(body, expected_output=expected, without=without, among=among, pool=pool)

    async def _handed_over(self, outgoing: Outgoing, body: JsonObject, timeout_s: float) -> PendingResponse:
        """Reads the prompt on one server and writes the answer on another (vLLM's `kv_transfer_params`).

        Where the first of them fails, the second does both.
        """
        began, handed = time.monotonic(), None
        try:
            first = replace(outgoing, body=reading_body(outgoing.body))
            answering = await self._send(self._placed(body, pool="prefill"), first, body, timeout_s)
            handed = handed_params(await answering.read())
        except (BackendUnavailable, BadResponse) as error:
            log.warning("%s: a prompt was not handed over: %s", self.name, error)
        if handed:
            outgoing = replace(outgoing, body={**outgoing.body, "kv_transfer_params": handed})
        left_s = timeout_s - (time.monotonic() - began)
        return await self._send(self._placed(body, pool="decode"), outgoing, body, max(left_s, 0.001))

    async def _posted(self, path: str, body: JsonObject, timeout_s: float) -> bytes:
        return await (await self.post(path, body, timeout_s=timeout_s)).read()

    async def _send(self, placed: Placed, outgoing: Outgoing, body: JsonObject, timeout_s: float) -> PendingResponse:
        replica = placed.replica
        where = f"{self.name} at {replica.base_url}"
        if not replica.breaker.enter():
            message = f"{where}: it failed too often; it is tried again in {replica.breaker.left_s:.1f} s"
            raise BackendUnavailable(message, remedy="Add another model or server")
        try:
            await replica.limit.enter(timeout_s)
        except TimeoutError:
            replica.breaker.left()
            message = f"{where}: no room in time: it works at its limit"
            raise BackendUnavailable(message, remedy="Add another model or server") from None
        except BaseException:
            replica.breaker.left()
            raise
        began = time.perf_counter()
        try:
            reply = await self._post(replica, outgoing, timeout_s, where)
        except BaseException as error:
            replica.limit.leave()
            _note_failure(replica, error, waited_s=time.perf_counter() - began)
            raise
        wait_s = time.perf_counter() - began
        replica.calls += 1
        replica.breaker.succeeded()
        replica.limit.succeeded(wait_s if body.get("stream") else None)
        if self.hedges:
            self._waits.append(wait_s / self._usual_s(body))
        self._note_load(replica, reply.headers)
        return PendingResponse(reply, replica, self.where, self._compare(placed))

    def _note_load(self, replica: Replica, headers: Mapping[str, str]) -> None:
        told = headers.get(ORCA_ANSWER)
        if told is not None and not (load := load_in_header(told)).is_empty:
            replica.told, replica.told_s = load, time.monotonic()

    def _compare(self, placed: Placed) -> Callable[[int], None]:
        """What is done with the cached tokens that a call reports."""

        def compare(found: int) -> None:
            if self.replicas.note_cached(placed.replica, placed.cached_tokens, found):
                log.warning(
                    "%s at %s: it reports far fewer cached tokens than were foreseen; it holds less than was thought, "
                    "or does not report them (SGLang: --enable-cache-report)",
                    self.name,
                    placed.replica.base_url,
                )

        return compare

    async def _post(self, replica: Replica, outgoing: Outgoing, timeout_s: float, where: str) -> AnyResponse:
        headers = {**self._headers, **outgoing.headers} if outgoing.headers else self._headers
        try:
            base_url = self._serving.via or replica.base_url
            if self._serving.via:
                headers = {**headers, DESTINATION: endpoint_of(replica.base_url)}
            transport = self._wire or (wire() if base_url in self._direct else transport_for(base_url, self._way))
            url = address_of(base_url, outgoing.path) if "?" in base_url else base_url + outgoing.path
            reply = await transport.post(url, headers, orjson.dumps(outgoing.body), timeout_s=timeout_s)
            if reply.status == 200:
                return reply
            content = await reply.read()
        except TransportError as error:
            raise broken(where, error) from error
        variable = self.provider.key_variable
        raise error_of(where, reply.status, reply.headers, content, key=self.key, key_variable=variable)

    def hedge_after_s(self, body: JsonObject) -> float | None:
        """How long 95 % of the calls would have waited for the head of this answer; `None` while too little is known.

        What is compared is how much longer than usual they took: a long prompt, or an answer that comes whole, takes
        its time.
        """
        if len(self._waits) < HEDGE_LEAST:
            return None
        ordered = sorted(self._waits)
        return ordered[min(int(HEDGE_QUANTILE * len(ordered)), len(ordered) - 1)] * self._usual_s(body)

    def _usual_s(self, body: JsonObject) -> float:
        return max(self._pace(read_tokens(body), bool(body.get("stream"))), 1e-6)

    async def _hedged(self, outgoing: Outgoing, body: JsonObject, timeout_s: float) -> PendingResponse:
        placed = self._placed(body)
        calls = [asyncio.ensure_future(self._send(placed, outgoing, body, timeout_s))]
        answer: PendingResponse | None = None
        try:
            after_s = self.hedge_after_s(body)
            done, _ = await asyncio.wait(calls, timeout=after_s)
            if not done and after_s is not None and self.retries.take():
                other = self._placed(body, without=placed.replica)
                calls.append(asyncio.ensure_future(self._send(other, outgoing, body, max(timeout_s - after_s, 0.001))))
            answer = await _first_answer(calls)
            return answer
        finally:
            for call in calls:
                call.cancel()
            for ended in await asyncio.gather(*calls, return_exceptions=True):
                if isinstance(ended, PendingResponse) and ended is not answer:
                    ended.cancel()


def _laid_over(body: JsonObject, extra: JsonObject) -> JsonObject:
    """A body with further fields; objects are merged, anything else is replaced."""
    merged = dict(body)
    for name, value in extra.items():
        before = merged.get(name)
        merged[name] = _laid_over(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return merged


def _any_pace(tokens: float, streams: bool) -> float:
    return 1.0


async def _first_answer(calls: list[asyncio.Task[PendingResponse]]) -> PendingResponse:
    """The answer of the first call that has one, with a note of how many others may be billed.

    If none has, raises an error that may be billed, if any is, else the last.
    """
    waiting = set(calls)
    errors: list[BaseException] = []
    while waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        answers = [call.result() for call in calls if call in done and call.exception() is None]
        errors += [error for call in done if (error := call.exception()) is not None]
        if answers:
            answers[0].unseen_calls = sum(map(_may_be_billed, errors)) + len(answers) - 1 + len(waiting)
            return answers[0]
    raise next(filter(_may_be_billed, errors), errors[-1])


def _may_be_billed(error: BaseException) -> bool:
    return not isinstance(error, BackendError) or error.may_be_billed


class PendingResponse:
    """An answer under way. Read it to its end, or `cancel` it: only then the next call gets its place."""

    __slots__ = ("_compare", "_has_left", "_reply", "_where", "ends_at", "replica", "unseen_calls", "written_tokens")

    def __init__(
        self, reply: AnyResponse, replica: Replica, where: str, compare: Callable[[int], None] | None = None
    ) -> None:
        self._compare = compare
        self._reply = reply
        self._where = where
        self._has_left = False
        self.replica = replica
        self.unseen_calls = 0
        self.written_tokens = 0
        self.ends_at: float | None = None  # by the monotonic clock: when its model's time for one call is over

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the answer, names in small letters."""
        return self._reply.headers

    def count(self, usage: Usage) -> None:
        """Notes what the server read, and how much of it from its cache."""
        self.replica.prefill_tokens += usage.prefill_tokens
        self.replica.cached_tokens += usage.cached_tokens
        if self._compare is not None:
            self._compare(usage.cached_tokens)

    def whole_usage(self, reported: Usage) -> Usage:
        """What is reported, and what was written to an explicit cache before the call."""
        written = self.written_tokens
        return (
            reported + Usage(written, cache_write_tokens=written, cache_write_1h_tokens=written)
            if written
            else reported
        )

    async def read(self) -> bytes:
        """The whole body. Raises `BackendError` where it breaks off."""
        try:
            return await self._reply.read()
        except TransportError as error:
            raise self.broken(error) from error
        except BaseException:
            self._reply.cancel()
            raise
        finally:
            self._leave()

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes.

        Raises `TransportError` where it breaks off (see `broken`); whoever reads it calls `cancel` in the end, whatever
        happened.
        """
        return self._reply.chunks() if self.ends_at is None else self._in_time(self.ends_at)

    async def _in_time(self, ends_at: float) -> AsyncIterator[bytes]:
        async for chunk in self._reply.chunks():
            yield chunk
            if time.monotonic() > ends_at:
                raise TransportError("the time for one call is over", may_be_billed=True, is_timeout=True)

    def broken(self, error: TransportError) -> BackendError:
        """What a body that broke off means; it speaks against the server."""
        self.spoiled()
        return broken(self._where, error)

    def cancel(self) -> None:
        """Ends the call, unless it is over."""
        self._reply.cancel()
        self._leave()

    def spoiled(self) -> None:
        """What came cannot be read as an answer: that speaks against the server, too."""
        self.replica.breaker.failed()

    def _leave(self) -> None:
        if not self._has_left:
            self._has_left = True
            self.replica.limit.leave()


def _note_failure(replica: Replica, error: BaseException, *, waited_s: float) -> None:
    """What a failure says about the server: that it is down, that it has too much to do, or nothing.

    Silence counts only after a wait that is long for anybody: who allows little time must not close a server to those
    who allow more.
    """
    status = error.status if isinstance(error, BackendError) else None
    is_late = status is None and _may_be_billed(error) and not isinstance(error, BadResponse)
    if is_late and waited_s < LATE_S:
        replica.breaker.left()
        return
    if is_late or status in OVERLOADED:
        replica.limit.overloaded()
    is_down = isinstance(error, BackendError) and error.retryable and status not in (408, 409, 429)
    if is_down or is_late:
        replica.breaker.failed()
    else:
        replica.breaker.left()
