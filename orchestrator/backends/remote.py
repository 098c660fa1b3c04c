"""Any model behind HTTP as a backend: whatever it speaks, it is asked and answers like every other.

A chat completion of OpenAI's goes in (`chat`, for everything that can be asked), or a `Request` (`complete`, `stream`,
for search). What a provider does otherwise stands in its row of `orchestrator.providers.table`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from orchestrator.backends.base import Delta, Request, as_wire, estimate_prompt_tokens
from orchestrator.backends.http.answer_json import parse_answer, parse_whole_answer
from orchestrator.backends.http.prefix_cache import CacheMode, PrefixMemory, cache_salt_of
from orchestrator.backends.http.replicas import Replica
from orchestrator.backends.http.retry import DEFAULT_DEADLINE_S, with_retries
from orchestrator.backends.http.server_group import ServerGroup
from orchestrator.backends.http.sse import EventParser
from orchestrator.backends.http.timings import reading_s
from orchestrator.backends.http.transport_choice import HttpxTransport, Transport, Way, transport_for
from orchestrator.backends.http.upstream import CallSettings, PendingResponse, Upstream
from orchestrator.backends.provider_errors import TransportError, failure_in, stream_error, too_slow
from orchestrator.backends.relay import Relay
from orchestrator.backends.remote_answers import ReadChunks, answer_of, calls_of, mean_logprob, signed_in
from orchestrator.backends.usage import usage_in, usage_of_all
from orchestrator.errors import BadResponse, ConfigError
from orchestrator.jsontypes import JsonObject
from orchestrator.providers.addresses import checked_address, is_nearby
from orchestrator.providers.provider import Provider
from orchestrator.providers.table import PROVIDERS
from orchestrator.router import ModelProfile
from orchestrator.text.excerpt import excerpt
from orchestrator.tokens.estimate import estimate_tokens, family_of
from orchestrator.types import Completion, Usage

if TYPE_CHECKING:
    import httpx

    from orchestrator.backends.dialects import StreamReader
    from orchestrator.backends.relay import Relay


class RemoteBackend:
    """Asks `model` of a `provider` (a row, or its name) at `base_url`, or at the `replicas` that serve the same model.

    `base_url` is the address that ends in `/v1`; without it the provider's own. `attempts` bounds the tries of one
    call, `hedge` repeats calls that take longer than 95 % of those before them, `cache` says when a prefix is marked to
    be kept, `settings` what every call has, `serving` how several servers are reached together. The servers are reached
    directly or by the environment's proxy, unless `way` or a client of one's own (`transport`) says otherwise; `wire`
    replaces the network, for tests.
    """

    def __init__(
        self,
        profile: ModelProfile,
        *,
        base_url: str | None = None,
        model: str | None = None,
        provider: Provider | str = "compatible",
        key: str | None = None,
        replicas: Sequence[Replica] = (),
        attempts: int = 3,
        hedge: bool = False,
        cache: CacheMode = "auto",
        settings: CallSettings | None = None,
        serving: ServerGroup | None = None,
        way: Way | None = None,
        transport: httpx.AsyncClient | None = None,
        wire: Transport | None = None,
    ) -> None:
        row = PROVIDERS[provider] if isinstance(provider, str) else provider
        servers = list(replicas) or [Replica(_address(base_url or row.base_url))]
        self._profile = profile
        self._attempts = attempts
        self._way = way or Way()
        self.upstream = Upstream(
            profile.name,
            row,
            model or profile.name,
            servers,
            key=key,
            hedge=hedge,
            expected_output=profile.output_tokens,
            most_tokens=profile.max_output_tokens,
            prefixes=PrefixMemory(row, profile, cache),
            prefill_tokens_per_s=profile.prefill_tokens_per_s,
            serving=serving,
            pace=lambda tokens, streams: profile.latency_s(0.0 if streams else None, tokens),
            settings=settings,
            way=way,
            wire=HttpxTransport(client=transport) if transport is not None else wire,
        )

    @property
    def profile(self) -> ModelProfile:
        """What is known of the model: name, prices, context, capabilities."""
        return self._profile

    @property
    def provider(self) -> Provider:
        """The row of the provider table that says how its API is spoken."""
        return self.upstream.provider

    @property
    def most_calls(self) -> int:
        """How often one call may be billed at most: twice where it is hedged."""
        return self.upstream.most_calls

    @property
    def is_available(self) -> bool:
        """Whether it may be asked: not while it rests after too many failures."""
        return self.upstream.replicas.is_available

    def __repr__(self) -> str:
        return f"RemoteBackend({self._profile.name!r}, {self.provider.name!r}, model={self.upstream.model!r})"

    def estimate(self, request: Request) -> float | None:
        """`None`: a remote model cannot tell by itself whether it can answer."""
        return None

    def expected_cached_tokens(self, request: Request) -> int:
        """About how many tokens of the prompt its provider's cache holds."""
        prefixes = self.upstream.prefixes
        return (
            0
            if prefixes is None or prefixes.is_empty
            else prefixes.expected_cached_tokens(self._messages(request), self._salt(request))
        )

    def _messages(self, request: Request) -> list[JsonObject]:
        return [as_wire(message, self._profile.name) for message in request.messages]

    def _salt(self, request: Request) -> str:
        return cache_salt_of(request.scope) if self.provider.cache_salt and request.scope else ""

    async def complete(self, request: Request) -> Completion:
        """One answer, retried where that may help and costs nothing twice. Raises a `BackendError`."""
        return await with_retries(
            lambda left_s: self._complete_once(request, left_s),
            deadline_s=request.deadline_s,
            attempts=self._attempts_for(request),
            budget=self.upstream.retries,
        )

    async def chat(self, body: JsonObject, *, deadline_s: float | None = None) -> JsonObject:
        """Any chat completion, as it is: tools, pictures, log-probabilities, several choices.

        `usage` is in it, in OpenAI's words, if it was reported.
        """

        async def once(left_s: float) -> JsonObject:
            return (await self._asked(body, left_s))[0]

        return await with_retries(once, deadline_s=deadline_s, attempts=self._attempts, budget=self.upstream.retries)

    async def stream(self, request: Request) -> AsyncIterator[Delta | Completion]:
        """Yields deltas, then the completion.

        Its beginning is retried like a `complete`. A stream that ends early raises `BadResponse`; what was read stays
        read.
        """
        deadline_s = DEFAULT_DEADLINE_S if request.deadline_s is None else request.deadline_s
        if request.timeout_s is not None:
            deadline_s = min(deadline_s, request.timeout_s)
        start = time.perf_counter()
        body = {**self._body(request), "stream": True}
        answering = await with_retries(
            lambda left_s: self.upstream.ask(body, timeout_s=left_s, extra=request.extra_body),
            deadline_s=deadline_s,
            attempts=self._attempts_for(request),
            budget=self.upstream.retries,
        )
        if answering.headers.get("content-type", "").startswith("application/json"):  # it does not stream
            done = self._whole(request, *self._understood(await answering.read(), answering), answering, start)
            if done.text:
                yield Delta(done.text)
            yield done
            return
        read = ReadChunks(self.upstream)
        parser, reader = EventParser(), self.upstream.dialect.reader(self.provider)
        ttft_s: float | None = None
        try:
            async for data in answering.chunks():
                for text in read.texts(self._events(parser, reader, data)):
                    ttft_s = time.perf_counter() - start if ttft_s is None else ttft_s
                    yield Delta(text)
                if read.is_marked_done:
                    break
                if time.perf_counter() - start > deadline_s:
                    raise too_slow(self.upstream.where)
            if not (read.is_marked_done or reader.is_done or read.finish_reason):
                raise BadResponse(
                    f"{self.upstream.where}: the stream ended in the middle of the answer", remedy="Ask again"
                )
            if read.usage is not None:
                read.usage = answering.whole_usage(read.usage)
                answering.count(read.usage)
        except TransportError as error:
            raise answering.broken(error) from error
        except BadResponse:
            answering.spoiled()
            raise
        finally:
            answering.cancel()
        yield Completion(
            self._profile.name,
            read.text,
            read.usage or self._estimated(request, read.text + read.thoughts),
            latency_s=time.perf_counter() - start,
            ttft_s=ttft_s,
            finish_reason=read.finish_reason or "stop",
            simulated=read.is_simulated or self._profile.simulated,
            thoughts=read.thoughts,
            unseen_calls=answering.unseen_calls,
            calls=read.calls,
            signed=read.signed,
        )

    def relay(self) -> Relay:
        """Another way to the same model: requests passed on as they are, and answers as bytes."""
        return Relay(self.upstream)

    async def aclose(self) -> None:
        """Closes the idle connections of the running event loop."""
        if self.upstream.reports is not None:
            await self.upstream.reports.aclose()
        for replica in self.upstream.replicas.all:
            await transport_for(replica.base_url, self._way).close_idle(replica.base_url)
        await asyncio.sleep(0)

    async def _complete_once(self, request: Request, left_s: float) -> Completion:
        start = time.perf_counter()
        left_s = left_s if request.timeout_s is None else min(left_s, request.timeout_s)
        payload, reported, answering = await self._asked(self._body(request), left_s, extra=request.extra_body)
        return self._whole(request, payload, reported, answering, start)

    def _whole(
        self, request: Request, payload: JsonObject, reported: Usage | None, answering: PendingResponse, start: float
    ) -> Completion:
        """What an answer that came in one piece says. Raises `BadResponse` where it holds no text."""
        choices: list[dict[str, Any]] = payload["choices"]
        text, calls = answer_of(choices[0]), calls_of(choices[0])
        if text is None and calls:
            text = ""
        if text is None:
            answering.spoiled()
            raise BadResponse(
                f"{self.upstream.where}: the answer holds no text: {str(choices[0])[:200]}", remedy="Check the server"
            )
        others = tuple(other for further in choices[1:] if (other := answer_of(further)) is not None)
        message = choices[0].get("message") or {}
        thoughts = message.get("reasoning_content")
        if reported is not None:
            family = family_of(self.upstream.model)
            reported = usage_of_all(
                reported,
                len(choices),
                lambda: estimate_prompt_tokens(request.messages, request.forms, family),
                lambda: sum(estimate_tokens(each, family) for each in (text, *others)),
            )
        return Completion(
            self._profile.name,
            text,
            reported
            or self._estimated(request, "".join((thoughts if isinstance(thoughts, str) else "", text, *others))),
            latency_s=time.perf_counter() - start,
            ttft_s=reading_s(self.provider, payload, answering.headers),
            finish_reason=str(choices[0].get("finish_reason") or "stop"),
            simulated=bool(payload.get("simulated")) or self._profile.simulated,
            others=others,
            thoughts=thoughts if isinstance(thoughts, str) else "",
            unseen_calls=answering.unseen_calls,
            certainty=mean_logprob(choices[0]) if request.certainty else None,
            calls=calls,
            signed=signed_in(message) if calls else {},
        )

    async def _asked(
        self, body: JsonObject, left_s: float, *, extra: JsonObject | None = None
    ) -> tuple[JsonObject, Usage | None, PendingResponse]:
        """A chat completion with at least one choice, and the usage that it reports."""
        answering: PendingResponse | None = None
        try:
            async with asyncio.timeout(left_s) as limit:
                answering = await self.upstream.ask(body, timeout_s=left_s, extra=extra)
                if answering.ends_at is not None:  # by the clock of event loops
                    limit.reschedule(min(answering.ends_at, limit.when() or answering.ends_at))
                content = await answering.read()
        except TimeoutError as error:
            raise too_slow(self.upstream.where) from error
        return *self._understood(content, answering), answering

    def _understood(self, content: bytes, answering: PendingResponse) -> tuple[JsonObject, Usage | None]:
        """The chat completion in a body, and the usage that it reports."""
        try:
            completion = self._completion(content)
        except BadResponse:
            answering.spoiled()
            raise
        usage = usage_in(completion)
        if usage is not None:
            usage = answering.whole_usage(usage)
            answering.count(usage)
        return completion, usage

    def _completion(self, content: bytes) -> JsonObject:
        where = self.upstream.where
        try:
            payload = parse_whole_answer(content)
        except ValueError:
            problem = "an empty answer" if not content.strip() else f"the answer is not JSON: {excerpt(content)}"
            raise BadResponse(
                f"{where}: {problem}", remedy="Check that base_url points to the API that `provider` names"
            ) from None
        if not isinstance(payload, dict):
            raise BadResponse(
                f"{where}: the answer is not a JSON object: {excerpt(content)}", remedy="Check the server"
            )
        completion = self.upstream.dialect.completion(payload, self.provider)
        choices = completion.get("choices")
        if (failure := failure_in(completion)) is not None:
            raise stream_error(where, failure, key=self.upstream.key)
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            raise BadResponse(f"{where}: the answer holds no choices: {excerpt(content)}", remedy="Check the server")
        return completion

    def _body(self, request: Request) -> JsonObject:
        most = min(request.max_tokens, self._profile.max_output_tokens)
        body: dict[str, Any] = {"messages": self._messages(request), "max_tokens": most}
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if request.seed is not None and "seed" not in self.provider.lacks:
            body["seed"] = request.seed
        if request.stop:
            body["stop"] = list(request.stop)
        if request.reasoning is not None:
            body["reasoning_effort"] = request.reasoning
        if request.several > 1:
            body["n"] = request.several
        if request.tools:
            body["tools"] = list(request.tools)
            if request.tool_choice is not None:
                body["tool_choice"] = request.tool_choice
            if request.parallel_tool_calls is not None:
                body["parallel_tool_calls"] = request.parallel_tool_calls
        if request.certainty and self.provider.logprobs:
            body["logprobs"] = True
        if salt := self._salt(request):
            body["cache_salt"] = salt
        if request.schema is not None and "json" in self._profile.capabilities and self._takes_schema(request.schema):
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": request.schema},
            }
        return body

    def _takes_schema(self, schema: JsonObject) -> bool:
        """Hosted providers hold a model to objects only: any other value is asked for in the prompt, and checked.

        Servers of one's own (llama.cpp, vLLM, Ollama) hold it to any value.
        """
        return self._is_own_server or schema.get("type", "object") == "object"

    @property
    def _is_own_server(self) -> bool:
        host = urlsplit(self.upstream.replicas.all[0].base_url).hostname or ""
        return self.provider.is_local or (not self.provider.base_url and is_nearby(host))

    def _attempts_for(self, request: Request) -> int:
        return self._attempts if request.retries is None else request.retries + 1

    def _estimated(self, request: Request, written: str) -> Usage:
        """About what a call used whose server does not tell it."""
        family = family_of(self.upstream.model)
        read = estimate_prompt_tokens(request.messages, request.forms, family)
        return Usage(read, estimate_tokens(written, family), estimated=True)

    def _events(self, parser: EventParser, reader: StreamReader, data: bytes) -> Iterator[JsonObject | None]:
        """The chunks that some bytes complete, one by one: those before a broken one count.

        `None` stands for the end mark.
        """
        where = self.upstream.where
        try:
            for event in parser.feed(data):
                if event.strip() == "[DONE]":
                    yield None
                    continue
                parsed = parse_answer(event)
                if not isinstance(parsed, dict):
                    raise ValueError("an event is not an object")
                yield from reader.read(parsed)
        except ValueError as error:
            raise BadResponse(
                f"{where}: the stream holds something that is not an event: {error}", remedy="Ask again"
            ) from None


def _address(stated: str) -> str:
    try:
        return checked_address(stated)
    except ValueError as error:
        raise ConfigError(str(error), remedy="For example http://127.0.0.1:8000/v1") from None
