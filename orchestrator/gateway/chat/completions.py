"""How a chat completion comes about.

Passed through to the model that the caller names, or routed, and searched where one draft may not do.

Every answer is in OpenAI's dialect, as bytes: the other dialects translate it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from orchestrator.backends.base import Backend, tokenizer_of
from orchestrator.backends.dialects.dialect import flatten_content
from orchestrator.backends.http.answer_json import parse_whole_answer
from orchestrator.backends.http.prefix_cache import cache_salt_of
from orchestrator.backends.http.retry import LONGEST_WAIT_S, backoff_s
from orchestrator.backends.provider_errors import failure_in, told_failure, too_slow
from orchestrator.backends.tool_calls import with_arguments
from orchestrator.backends.usage import usage_in, usage_of_all
from orchestrator.budget import Budget, Ledger, from_nano
from orchestrator.config.models import AutoConfig
from orchestrator.engine.answer import NO_ANSWER_P
from orchestrator.engine.plan import Plan
from orchestrator.errors import BackendError, BadResponse, BudgetExceeded, NoAdequateModel
from orchestrator.gateway.accounts.principals import Principal
from orchestrator.gateway.accounts.request_account import RequestAccount, settled_usage
from orchestrator.gateway.chat.job import ChatJob
from orchestrator.gateway.chat.options import Options
from orchestrator.gateway.chat.passthrough import StreamPart, going_on, relay_stream
from orchestrator.gateway.chat.provenance import Provenance
from orchestrator.gateway.chat.request import ChatRequest
from orchestrator.gateway.chat.stream_start import Begun
from orchestrator.gateway.chat.synthetic import completion, pieces, told_as_events, usage_dict
from orchestrator.gateway.chat.tool_runs import ToolRuns
from orchestrator.gateway.errors import GatewayError
from orchestrator.gateway.http import sse
from orchestrator.jsontypes import JsonObject
from orchestrator.router import ModelProfile, Preference, Route
from orchestrator.router.success import DEFAULT_SKILL
from orchestrator.search.prompts import notes_messages
from orchestrator.tokens.estimate import TokenizerFamily, estimate_tokens
from orchestrator.trace import Event, Trace
from orchestrator.types import Answer, Completion, Query, ToolCall, Usage
from orchestrator.verifiers import why_no_answer

if TYPE_CHECKING:
    from orchestrator.agent import RunStore
    from orchestrator.backends.relay import Relay, RelayedResponse
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.gateway.chat.pipeline_models import Pipelines

ATTEMPTS = 3
SEARCH_CALLS = 8  # of whose tokens a search holds in a limited minute
MIN_OUTPUT_TOKENS = 16  # the responses API takes no smaller limit
AUTO = "auto"
_UNLIMITED = Budget()
T = TypeVar("T")
log = logging.getLogger(__name__)


class Completions:
    """All of it over one fleet.

    `autos` are the names behind `auto:`, `pipelines` those behind `pipeline:`; `timeout_s` bounds a request that states
    no budget of seconds; `later` lets work go on beside the requests; `tools` says which keys may use which tools.
    """

    def __init__(
        self,
        engine: Orchestrator,
        autos: dict[str, AutoConfig],
        *,
        timeout_s: float,
        later: Callable[[Awaitable[Any]], None],
        pipelines: Pipelines | None = None,
        tools: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.engine = engine
        self._pipelines = pipelines
        self.autos = autos
        self._timeout_s = timeout_s
        self._later = later
        self._relays: dict[str, Relay] = {
            name: make()
            for name, backend in engine.backends.items()
            if (make := getattr(backend, "relay", None)) is not None
        }
        self.tool_runs = ToolRuns(self, tools or {})
        self._capabilities = frozenset().union(*(backend.profile.capabilities for backend in engine.backends.values()))

    @property
    def models(self) -> list[str]:
        """Every name that a caller may ask for."""
        pipelines = self._pipelines.models if self._pipelines is not None else ()
        return [AUTO, *(f"{AUTO}:{name}" for name in self.autos), *pipelines, *self.engine.backends]

    def job(self, tab: RequestAccount, asked: ChatRequest, options: Options, facts: Provenance) -> ChatJob:
        """One completion under the limits of the engine, the caller and the gateway."""
        budget = options.budget if self.engine.budget == _UNLIMITED else self.engine.budget & options.budget
        seconds = self._timeout_s if budget.seconds is None else min(budget.seconds, self._timeout_s)
        return ChatJob(tab, asked, options, facts, budget, time.monotonic() + seconds)

    async def whole(self, job: ChatJob) -> bytes:
        """The answer as one JSON object. Raises what `to_gateway_error` knows."""
        model = job.asked.body["model"]
        if self.tool_runs.wanted(job):
            return orjson.dumps(await self.tool_runs.whole(job))
        if model in self.engine.backends:
            job.facts.reason = "the caller named it"
            return await self._draft(job, [model], None)
        if self._pipelines is not None and model in self._pipelines.models:
            return await self._pipelines.whole(job)
        plan, drafts = await self._planned(job)
        if drafts is not None:
            return await self._draft(_with_notes(job, plan), drafts, plan)
        answer = _fit(job, await self._search(job, plan, None))
        return orjson.dumps(
            completion(
                job,
                answer.text,
                answer.usage,
                refusal="no answer is believed enough" if answer.abstained else None,
                calls=unique_ids(answer.calls),
                signed=answer.signed,
                is_cut=answer.is_cut,
            )
        )

    async def stream(self, job: ChatJob) -> AsyncIterator[bytes]:
        """The answer as events, opened: what raises here raises before anything was sent.

        The iterator itself raises nothing but `Gone` and cancellation; an answer that breaks off ends with an event
        that says so.
        """
        model = job.asked.body["model"]
        if self.tool_runs.wanted(job):
            return self.tool_runs.stream(job)
        if model in self.engine.backends:
            job.facts.reason = "the caller named it"
            return await self._open(job, [model], None)
        if self._pipelines is not None and model in self._pipelines.models:
            return self._pipelines.stream(job)
        plan, drafts = await self._planned(job)
        if drafts is not None:
            return await self._open(_with_notes(job, plan), drafts, plan)
        return self._searched(job, plan)

    async def answer(self, job: ChatJob, *, only: str | None) -> Answer:
        """The answer as the engine gives it; of one model alone, if `only` names it."""
        return await self._search(job, await self.planned(job, only=only), None)

    async def _planned(self, job: ChatJob) -> tuple[Plan, Iterable[str] | None]:
        """The plan of an `auto` request, and the models of which one draft will do, in turn.

        `None` where the search decides.
        """
        plan = await self.planned(job)
        chosen, beyond = plan.route.chosen, job.asked.beyond_search()
        if chosen is None:
            assert job.facts.trace is not None
            await self.engine.execute(plan, job.facts.trace)  # asks nobody, and raises what it knows of why not
            raise NoAdequateModel(f"no model can answer this: {plan.route.reason}", remedy="See /v1/route")
        if beyond:
            job.facts.reason = f"{plan.route.reason} (one draft: {beyond})"
            return plan, [*_in_turn(plan.route, chosen), *plan.fallbacks]
        draft = plan.single_draft_model()
        if draft is None or draft not in self._relays:
            return plan, None
        return plan, [*_in_turn(plan.route, draft), *plan.fallbacks]

    async def planned(self, job: ChatJob, *, only: str | None = None) -> Plan:
        """What would be done for an `auto` request; no model is asked."""
        auto, allowed = self.models_of(job, only=only)
        trace = job.facts.trace = Trace(id=job.tab.id)
        query, strategy, preference = self.query_of(job, auto, allowed, has_fallbacks=only is None)
        needs = job.asked.needs() & self._capabilities
        plan = await self.engine.plan(
            query, trace, budget=job.budget, strategy=strategy, preference=preference, needs=needs
        )
        job.facts.route, job.facts.reason = plan.route, plan.route.reason
        return plan

    def models_of(self, job: ChatJob, *, only: str | None) -> tuple[AutoConfig, frozenset[str] | None]:
        """What the name of the model stands for, and which models may answer (`None`: all). Raises `GatewayError`."""
        if only is not None:
            return AutoConfig(), frozenset((only,))
        auto, principal = self._auto(job.asked.body["model"]), job.tab.principal
        if principal.models is None:
            return auto, None
        allowed = frozenset(name for name in self.engine.backends if principal.may_use(name))
        if not allowed:
            message = "this key may use no model of this fleet"
            raise GatewayError(403, message, code="model_not_allowed", should_retry=False)
        return auto, allowed

    def query_of(
        self, job: ChatJob, auto: AutoConfig, allowed: frozenset[str] | None, *, has_fallbacks: bool
    ) -> tuple[Query, str | None, Preference | None]:
        """The query of a request, how it is searched for, and what outranks its quality."""
        asked, options = job.asked, job.options
        beyond = asked.beyond_search()
        query = asked.query(
            job.tab.served.scope,
            schema=None if beyond else asked.schema,
            quality=auto.quality if options.quality is None else options.quality,
            models=allowed,
            fallbacks=self._fallbacks(allowed) if has_fallbacks else None,
            uses_memory=options.memory is not False,
            criteria=options.criteria,
            value_usd=options.value_usd,
            may_abstain=options.may_abstain,
            max_tokens=asked.max_tokens,
            temperature=asked.body.get("temperature"),
            recall_limits=job.recall_limits,
        )
        strategy = "single" if beyond else options.strategy or auto.strategy
        is_best = auto.objective == "best" and options.quality is None
        return query, strategy, Preference("best") if is_best else None

    def _fallbacks(self, allowed: frozenset[str] | None) -> tuple[str, ...] | None:
        """The fleet's fallbacks that the caller may use, unless those are all that it may use."""
        names = tuple(name for name in self.engine.fallbacks if allowed is None or name in allowed)
        return () if allowed is not None and set(names) >= allowed else names

    def _auto(self, name: str) -> AutoConfig:
        if name == AUTO:
            return AutoConfig()
        auto = self.autos.get(name.removeprefix(f"{AUTO}:"))
        if auto is None:
            raise GatewayError(
                404,
                f"there is no model {name!r}. There are: {', '.join(self.models)}",
                code="model_not_found",
                param="model",
            )
        return auto

    def _envelope(self, job: ChatJob, stated: Budget, tokens_each: int, worth: float) -> Budget:
        """What a search may use.

        Never more than the accounts have left, nor than a right answer is worth where nobody says otherwise. Of a
        minute's tokens it takes what a few calls of `tokens_each` may use, so that others have some, too.
        """
        stated = stated & Budget(seconds=max(job.left_s, 0.0))
        tokens = job.tab.left_tokens()
        if tokens is not None:
            calls = math.ceil(SEARCH_CALLS * worth)
            stated = stated & Budget(tokens=max(min(tokens, calls * tokens_each), tokens_each))
        if not any(account.limits.usd is not None for account in job.tab.principal.chain):
            return stated
        left = self._left_usd(job)
        worth *= self.engine.value_usd if job.options.value_usd is None else job.options.value_usd
        return stated & Budget(usd=min(worth, left) if stated.usd is None else min(stated.usd, left))

    def _left_usd(self, job: ChatJob) -> float:
        left = job.tab.left_nano()
        return float("inf") if left is None else from_nano(left)

    # One draft, as the model writes it

    async def _draft(self, job: ChatJob, models: Iterable[str], plan: Plan | None) -> bytes:
        """A whole answer of the first of `models` that gives one."""

        async def once(model: str) -> bytes:
            relay = self._relays.get(model)
            if relay is None:
                return await self._local(job, model)
            reply = await self._post(job, model, relay, job.asked.body)
            try:
                async with asyncio.timeout(max(job.left_s, 0.001)):
                    content = await reply.read()
            except TimeoutError:
                raise too_slow(model) from None
            payload, has_changed = _payload(content, model, relay.key)
            usage = self._used(job, model, payload)
            if not usage.estimated:
                reply.count(usage)
            job.facts.name_response(payload.get("id"))
            job.tab.settle(self._backend(model).profile, usage, unseen_calls=reply.unseen_calls)
            job.facts.simulated = bool(payload.get("simulated"))
            if job.facts.keeps_content:
                job.facts.text = _text_of(payload) or ""
            if plan is not None:
                self._took(job, plan, model, _text_of(payload), usage)
            return orjson.dumps(payload) if has_changed else content

        return await self._first(job, models, once)

    async def _open(self, job: ChatJob, models: Iterable[str], plan: Plan | None) -> AsyncIterator[bytes]:
        """A stream of the first of `models` that begins to answer."""
        body = job.asked.body

        async def once(model: str) -> AsyncIterator[bytes]:
            relay = self._relays.get(model)
            if relay is None:
                content = await self._local(job, model)
                return pieces(job, orjson.loads(content))
            reply = await self._post(job, model, relay, body)
            source = _Source(self, job, models, plan)
            if "json" in reply.headers.get("content-type", "").lower():  # it does not stream, or tells of a failure
                return await self._in_pieces(job, model, relay, reply, source)
            begun = Begun(reply, model, relay.key)
            try:
                async with asyncio.timeout(max(job.left_s, 0.001)):
                    await begun.begin()
            except BaseException:
                reply.cancel()
                raise
            return relay_stream(job, StreamPart(model, begun), source)

        return await self._first(job, models, once)

    async def _in_pieces(
        self, job: ChatJob, model: str, relay: Relay, reply: RelayedResponse, source: _Source
    ) -> AsyncIterator[bytes]:
        """A whole answer where a stream was asked for."""
        payload, _ = _payload(await reply.read(), model, relay.key)
        usage = self._used(job, model, payload)
        job.facts.name_response(payload.get("id"))
        job.tab.settle(self._backend(model).profile, usage, unseen_calls=reply.unseen_calls)
        source.took(model, _text_of(payload), usage)
        told = {"usage": usage_dict(usage) if usage_in(payload) is None else payload["usage"], "model": model}
        return pieces(job, {"id": "", "created": int(job.tab.call.at), **payload, **told})

    async def _first(self, job: ChatJob, models: Iterable[str], once: Callable[[str], Awaitable[T]]) -> T:
        """Tries until a model answers: again what may pass, then the next one.

        What may have been billed is booked before it is asked again.
        """
        last: BackendError | None = None
        turn = list(models)
        for model in turn:
            if model in self._relays:
                self._relays[model].retries.called()
            for attempt in range(1, ATTEMPTS + 1):
                began = time.perf_counter()
                try:
                    brought = await once(model)
                except BackendError as error:
                    last = error
                    job.tab.served.model = model
                    job.tab.failed(error)
                    job.facts.attempts.append(
                        {"model": model, "error": error.code, "seconds": round(time.perf_counter() - began, 6)}
                    )
                    wait_s = backoff_s(error, attempt)
                    is_over = attempt == ATTEMPTS or not error.retryable or (error.may_be_billed and attempt > 1)
                    is_over |= (
                        error.status in (429, 529) and model != turn[-1]
                    )  # it has too much to do; others have not
                    relay = self._relays.get(model)
                    if (
                        is_over
                        or wait_s > min(LONGEST_WAIT_S, job.left_s)
                        or not (relay is None or relay.retries.take())
                    ):
                        break
                    await asyncio.sleep(wait_s)
                else:
                    job.facts.model = job.tab.served.model = model
                    job.facts.simulated |= self._backend(model).profile.simulated
                    job.facts.attempts.append({"model": model, "seconds": round(time.perf_counter() - began, 6)})
                    return brought
            if job.left_s <= 0:
                break
        assert last is not None  # there is at least one model
        raise last

    def _family(self, model: str) -> TokenizerFamily:
        return tokenizer_of(self._backend(model))

    def _used(self, job: ChatJob, model: str, payload: JsonObject) -> Usage:
        """What all answers of a call used: as their server tells, else about so much."""
        family = self._family(model)

        def read() -> int:
            return job.asked.prompt_tokens(family)

        def written() -> int:
            return estimate_tokens(_written(payload), family)

        told = usage_in(payload)
        return (
            Usage(read(), written(), estimated=True)
            if told is None
            else usage_of_all(told, job.asked.several, read, written)
        )

    async def _post(self, job: ChatJob, model: str, relay: Relay, body: JsonObject) -> RelayedResponse:
        asked, profile = job.asked, self._backend(model).profile
        prompt, most = asked.worst_prompt_tokens(), asked.max_tokens
        is_bounded = job.tab.has_limits or job.budget.usd is not None or job.budget.tokens is not None
        if most is None and is_bounded:
            most = self._longest(job, model, prompt, relay.most_calls)
            body = {**body, "max_completion_tokens": most}
        if relay.keeps_prefixes_apart:  # one tenant's prompts must not be guessed by the time that another's take
            stated = body.get("cache_salt")
            body = {
                **body,
                "cache_salt": cache_salt_of(job.tab.served.scope, stated if isinstance(stated, str) else ""),
            }
        output = max(profile.max_output_tokens if most is None else most, MIN_OUTPUT_TOKENS) * asked.several
        worst = profile.worst_usd(prompt, output)
        times = relay.most_calls
        await job.tab.hold(
            None if worst is None else worst * times, (prompt + output) * times, within=job.budget, calls=times
        )
        return await relay.chat(body, timeout_s=max(job.left_s, 0.001))

    def _longest(self, job: ChatJob, model: str, prompt: int, calls: int) -> int:
        """How many tokens an answer may have whose length the caller leaves open, where money or tokens are limited.

        As long as the model writes, and the window and what is left of the limits allow; where they would allow less
        than `max_tokens` of the configuration, that many, so that the call is refused.
        """
        profile = self._backend(model).profile
        room = profile.context_tokens - job.asked.prompt_tokens(self._family(model))
        longest = max(min(profile.max_output_tokens, room), MIN_OUTPUT_TOKENS)
        left, answers = job.tab.left_for_a_call(job.budget), calls * job.asked.several
        fits = longest
        reading, all_of_it = profile.worst_usd(prompt, 0), profile.worst_usd(prompt, longest)
        if left.usd is not None and reading is not None and all_of_it is not None and all_of_it > reading:
            paid = (left.usd - calls * reading) / answers * longest / (all_of_it - reading)
            fits = min(fits, math.floor(paid) - 1)  # one less: sums of money are rounded up
        if left.tokens is not None:
            fits = min(fits, (left.tokens - calls * prompt) // answers)
        return max(fits, min(longest, self.engine.max_tokens))

    async def _local(self, job: ChatJob, model: str) -> bytes:
        """An answer of a backend in this process: a calculator, or from memory."""
        backend = self._backend(model)
        request = job.asked.request(job.asked.max_tokens or backend.profile.max_output_tokens)
        prompt = job.asked.worst_prompt_tokens()
        await job.tab.hold(
            backend.profile.cost_usd(prompt, request.max_tokens), prompt + request.max_tokens, within=job.budget
        )
        done = await backend.complete(request)
        job.tab.settle(backend.profile, done.usage)
        job.facts.confidence, job.facts.simulated = done.confidence, done.simulated
        job.facts.model, job.facts.text = model, done.text or ""
        return orjson.dumps(
            completion(
                job, done.text or "", done.usage, refusal=(done.note or "it abstains") if done.abstained else None
            )
        )

    def _took(self, job: ChatJob, plan: Plan, model: str, text: str | None, usage: Usage) -> None:
        """Tells the engine what the routed draft was, so that it is logged, learned from and audited.

        Its caller does not wait for that.
        """
        # What is no answer is not right because its model usually is.
        is_answer = text is None or why_no_answer(text, plan.query.text) is None
        is_fallback = model in plan.fallbacks  # nobody weighed it for this query
        p = self._backend(model).profile.skill or DEFAULT_SKILL if is_fallback else plan.route.p_success(model)
        job.facts.confidence = p if is_answer else NO_ANSWER_P
        if text is None or is_fallback or not self.engine.has_observers:
            return
        completion = Completion(
            model, text, usage, latency_s=job.tab.call.elapsed_s, ttft_s=job.facts.ttft_s, simulated=job.facts.simulated
        )
        trace = job.facts.trace or Trace(id=job.tab.id)
        self._later(self.engine.record_draft(plan, completion, job.tab.cost_usd, trace))

    # A search

    async def _search(self, job: ChatJob, plan: Plan, on_event: Callable[[Event], None] | None) -> Answer:
        """Searches within an envelope of money that is held on the accounts first."""
        trace = job.facts.trace
        assert trace is not None
        trace.on_event = on_event

        async def search(budget: Budget, ledger: Ledger) -> Answer:
            return await self.engine.execute(replace(plan, budget=budget), trace, ledger)

        each = job.asked.worst_prompt_tokens() + plan.request.max_tokens
        return await self.paid(job, plan.budget, each, search)

    def runs_for(self, principal: Principal) -> RunStore | None:
        """Where runs with tools of a key are kept."""
        return None if self._pipelines is None else self._pipelines.host_for(principal).agent_runs

    async def paid(
        self,
        job: ChatJob,
        stated: Budget,
        tokens_each: int,
        work: Callable[[Budget, Ledger], Awaitable[Answer]],
        worth: float = 1.0,
    ) -> Answer:
        """What `work` gives within an envelope of money that is held on the accounts first.

        `worth` is how many right answers it is worth at most, where nobody says otherwise.
        """
        budget = await job.tab.hold_envelope(lambda: self._envelope(job, stated, tokens_each, worth))
        ledger, usage = Ledger(budget), None
        try:
            answer = await work(budget, ledger)
            usage = answer.usage
        except BudgetExceeded as error:
            raise job.tab.explained(error, stated) from None
        finally:  # also when it fails or the caller leaves: what was begun by then is paid
            spent = None if ledger.price_unknown else ledger.spent_usd
            job.tab.settle_usd(spent, usage or settled_usage(ledger), tokens=ledger.settled_tokens)
        facts = job.facts
        facts.model = job.tab.served.model = answer.model
        facts.confidence, facts.simulated, facts.stopped = answer.confidence, answer.simulated, answer.stopped
        facts.text = answer.text
        return answer

    async def _searched(self, job: ChatJob, plan: Plan) -> AsyncIterator[bytes]:
        """A search as events: its progress as comments (or typed events, if asked for), then the answer in pieces."""
        yield sse.comment(f"orchestrator searches; {plan.route.reason}")

        async def search(on_event: Callable[[Event], None]) -> JsonObject:
            answer = _fit(job, await self._search(job, plan, on_event))
            refusal = "no answer is believed enough" if answer.abstained else None
            calls = unique_ids(answer.calls)
            return completion(
                job,
                answer.text,
                answer.usage,
                refusal=refusal,
                calls=calls,
                signed=answer.signed,
                is_cut=answer.is_cut,
            )

        async with aclosing(told_as_events(job, search)) as events:
            async for event in events:
                yield event

    def _backend(self, model: str) -> Backend:
        return self.engine.backends[model]


class _Source:
    """Where the rest of a stream comes from, and who is told of its end (see
    `orchestrator.gateway.chat.passthrough`).
    """

    def __init__(self, completions: Completions, job: ChatJob, models: Iterable[str], plan: Plan | None) -> None:
        self._completions = completions
        self._job = job
        self._models = (
            list(models) if isinstance(models, list) else ([] if plan is None else [o.model for o in plan.route.usable])
        )
        self._plan = plan
        self.keeps_text = plan is not None or job.options.resume or job.facts.keeps_content

    def profile(self, model: str) -> ModelProfile:
        return self._completions._backend(model).profile

    def family(self, model: str) -> TokenizerFamily:
        return self._completions._family(model)

    def took(self, model: str, text: str | None, usage: Usage) -> None:
        self._job.facts.text = text or ""
        if self._plan is not None:
            self._completions._took(self._job, self._plan, model, text, usage)

    async def rest(self, written: str, tried: Sequence[str]) -> StreamPart | None:
        """Another model's continuation of what was written so far; the same one's, where the caller named it.

        `None` where there is none.
        """
        others = [model for model in self._models if model not in tried and model in self._completions._relays]
        if self._plan is None and len(tried) == 1:
            others = list(tried)
        for model in others:
            relay = self._completions._relays[model]
            body = {**self._job.asked.body, "messages": [*self._job.asked.messages, *going_on(written)]}
            try:
                reply = await self._completions._post(self._job, model, relay, body)
            except BackendError as error:
                self._job.tab.failed(error)
                self._job.facts.attempts.append({"model": model, "error": error.code, "resumed": True})
                continue
            return StreamPart(model, Begun(reply, model, relay.key))
        return None


def unique_ids(calls: Sequence[ToolCall]) -> list[ToolCall]:
    """Calls with ids that are told apart from those of other turns: clients look results up by them."""
    found = []
    for call in calls:
        id = call.id if call.id and not call.id.removeprefix("call_").isdigit() else f"call_{secrets.token_hex(12)}"
        found.append(call if id == call.id else replace(call, id=id, wire=call.wire and {**call.wire, "id": id}))
    return found


def _fit(job: ChatJob, answer: Answer) -> Answer:
    """Raises `GatewayError` on an answer that does not have the form that was asked for.

    Who reads it by a program must not be given it.
    """
    given = next((c for c in answer.candidates if c.text == answer.text), None)
    if job.asked.schema is not None and given is not None and given.ruled_out:
        told = next((v.feedback for v in given.verdicts if v.decisive and v.passed is False), "")
        raise GatewayError(
            502, f"no model gave an answer of the form that was asked for: {told}"[:500], code="schema_not_satisfied"
        )
    return answer


def _in_turn(route: Route, chosen: str) -> Iterator[str]:
    """The chosen model, then where to go when it cannot be reached, the most promising first."""
    yield chosen
    for option in sorted(route.usable, key=lambda option: -option.p_success):
        if option.model != chosen:
            yield option.model


def _with_notes(job: ChatJob, plan: Plan) -> ChatJob:
    """The job with what memory holds for it."""
    return replace(job, asked=job.asked.with_notes(notes_messages(plan.recall)))


def _payload(content: bytes, model: str, key: str | None) -> tuple[JsonObject, bool]:
    """A whole answer as clients can read it, and whether it is another than its server gave. Raises `BackendError`."""
    has_changed = False
    try:
        payload = orjson.loads(content)
    except orjson.JSONDecodeError:
        try:
            payload, has_changed = parse_whole_answer(content), True
        except ValueError:
            raise BadResponse(f"{model}: the answer is not JSON", remedy="Check the server") from None
    if not isinstance(payload, dict):
        raise BadResponse(f"{model}: the answer holds no choices", remedy="Check the server")
    if b'"error"' in content and (failure := failure_in(payload)) is not None:
        raise told_failure(model, failure, usage_in(payload), key=key)
    if not isinstance(payload.get("choices"), list) or not payload["choices"]:
        raise BadResponse(f"{model}: the answer holds no choices", remedy="Check the server")
    if not all(
        isinstance(choice, dict) and isinstance(choice.get("message", choice), dict) for choice in payload["choices"]
    ):
        payload["choices"], has_changed = (
            [_choice(choice) for choice in payload["choices"] if isinstance(choice, dict)],
            True,
        )
    if not payload["choices"]:
        raise BadResponse(f"{model}: the answer holds no choices", remedy="Check the server")
    for choice in (
        payload["choices"]
        if b'"tool_calls"' in content or b'"content":[' in content or b'"content": [' in content
        else ()
    ):
        if isinstance(choice, dict):
            has_changed |= flatten_content(choice.get("message")) | with_arguments(choice.get("message"))
    if sse.is_path(payload.get("model")):
        payload["model"], has_changed = model, True
    return payload, has_changed


def _choice(choice: JsonObject) -> JsonObject:
    return (
        choice
        if isinstance(choice.get("message", choice), dict)
        else {**choice, "message": {"role": "assistant", "content": ""}}
    )


def _text_of(payload: JsonObject) -> str | None:
    choices = payload["choices"]
    message = choices[0].get("message") if choices and isinstance(choices[0], dict) else None
    content = message.get("content") if isinstance(message, dict) else None
    return content if isinstance(content, str) else None


def _written(payload: JsonObject) -> str:
    """All that a model wrote in an answer: texts, thoughts, calls, of every choice."""
    choices = (choice for choice in payload["choices"] if isinstance(choice, dict))
    return "\n".join(orjson.dumps(choice.get("message") or choice.get("text")).decode() for choice in choices)
