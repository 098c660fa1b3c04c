"""Pipelines behind the gateway.

As the model `pipeline:NAME` of a conversation, and as runs that can be looked at, cancelled and resumed.

A run spends from the budgets of the key that began it, and is seen by that key alone.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from orchestrator.budget import Budget, Ledger, from_nano
from orchestrator.engine.streaming import events_of
from orchestrator.errors import BudgetExceeded
from orchestrator.gateway.accounts.principals import Principal
from orchestrator.gateway.accounts.request_account import RequestAccount, settled_usage
from orchestrator.gateway.chat.client_request import ClientRequest
from orchestrator.gateway.chat.synthetic import completion, pieces, progress
from orchestrator.gateway.errors import GatewayError
from orchestrator.gateway.http import sse
from orchestrator.gateway.http.error_mapping import to_gateway_error
from orchestrator.jsontypes import JsonMapping, JsonObject, JsonValue
from orchestrator.memory.errors import ScopeError
from orchestrator.pipeline.analysis.diagram import svg
from orchestrator.pipeline.execution.durable import new_id
from orchestrator.pipeline.execution.result import RunFailed, RunResult
from orchestrator.pipeline.execution.runtime import Runtime
from orchestrator.pipeline.pipeline import Pipeline
from orchestrator.storage.runs import Runs, StoredRun
from orchestrator.trace import Event
from orchestrator.types import Usage

if TYPE_CHECKING:
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.gateway.chat.job import ChatJob

PREFIX = "pipeline:"
ASKED = ("question", "query", "message", "prompt", "text")
EARLIER = ("history", "messages")
TOLD = ("error", "reason")  # may name addresses of tools
log = logging.getLogger(__name__)


class Pipelines:
    """Those of one configuration, checked against its fleet. Raises `InvalidPipeline` on one that is wrong."""

    def __init__(
        self,
        files: Mapping[str, str],
        engine: Orchestrator,
        runs: Runs,
        *,
        timeout_s: float,
        later: Callable[[Awaitable[Any]], None],
    ) -> None:
        self._loaded = loaded(files, list(engine.backends))
        self.models = tuple(f"{PREFIX}{name}" for name in self._loaded)
        self._engine = engine
        self._host = Runtime(engine, runs=runs)
        self._timeout_s = timeout_s
        self._later = later

    def allowed(self, principal: Principal) -> dict[str, Pipeline]:
        """The pipelines that a key may run, by name."""
        return {name: each for name, each in self._loaded.items() if principal.may_use(f"{PREFIX}{name}")}

    def described(self) -> dict[str, JsonObject]:
        """All pipelines by name: what they take, their steps, and their graph as SVG."""
        return {name: {**each.as_dict(), "svg": svg(each)} for name, each in self._loaded.items()}

    def named(self, principal: Principal, name: str) -> Pipeline:
        """Raises `GatewayError` on one that is not there, or that this key may not run."""
        if name not in self._loaded:
            known = ", ".join(self.allowed(principal)) or "none"
            raise GatewayError(404, f"there is no pipeline {name!r}. There are: {known}", code="pipeline_not_found")
        if not principal.may_use(f"{PREFIX}{name}"):
            raise GatewayError(
                403, f"this key may not run the pipeline {name!r}", code="model_not_allowed", should_retry=False
            )
        return self._loaded[name]

    def host_for(self, principal: Principal) -> Runtime:
        """What runs of a key share: its own runs, and the scopes of its organisation."""

        def scope_of(scope: str) -> str:
            try:
                return principal.scope(None if scope == "default" else scope)
            except GatewayError as problem:
                raise ScopeError(problem.message) from None

        return self._host.for_owner(f"{principal.org}/{principal.key}", scope_of, f"{principal.org}/pipelines")

    async def paid(
        self,
        tab: RequestAccount,
        pipeline: Pipeline,
        stated: Budget,
        work: Callable[[Ledger, float], Awaitable[RunResult]],
    ) -> RunResult:
        """Runs `work` on an account within the budgets of the key, and books what it spent, however it ends."""
        envelope = await tab.hold_envelope(lambda: self._envelope(tab, pipeline, stated))
        ledger = Ledger(envelope)
        try:
            return await work(ledger, envelope.seconds or self._timeout_s)
        except RunFailed as error:
            if isinstance(error.cause, BudgetExceeded):
                error.cause = tab.explained(error.cause, stated)
            raise
        finally:
            spent = None if ledger.price_unknown else ledger.spent_usd
            tab.settle_usd(spent, settled_usage(ledger), tokens=ledger.settled_tokens)

    def _envelope(self, tab: RequestAccount, pipeline: Pipeline, stated: Budget) -> Budget:
        """What a run may use: what it and its caller allow, and never more than the accounts have left."""
        stated = stated & Budget(usd=pipeline.document.budget.usd) & Budget(seconds=self._timeout_s)
        tokens = tab.left_tokens()
        if tokens is not None:
            stated = stated & Budget(tokens=max(tokens, 1))
        left = tab.left_nano()
        if left is None:
            return stated
        if stated.usd is None:  # a step is worth what a right answer is
            stated = stated & Budget(usd=self._engine.value_usd * sum(1 for _ in pipeline.block.walk()))
        return stated & Budget(usd=from_nano(left))

    # As a model

    async def whole(self, job: ChatJob) -> bytes:
        """The output of a run as one chat completion."""
        return orjson.dumps(await self._completion(job, None))

    async def stream(self, job: ChatJob) -> AsyncIterator[bytes]:
        """Progress as comments (or typed events, if asked for), then the output in pieces."""
        running = events_of(lambda on_event: self._completion(job, on_event))
        try:
            async for step in running:
                if isinstance(step, Event):
                    yield progress(outside(step), typed=job.options.events)
                else:
                    async for piece in pieces(job, step):
                        yield piece
        except Exception as error:
            problem = problem_for(error, job.tab.id)
            job.facts.failed = problem.code or "error"
            yield sse.event(problem.as_openai())
        finally:
            await running.aclose()

    async def _completion(self, job: ChatJob, on_event: Callable[[Event], None] | None) -> JsonObject:
        model = str(job.asked.body["model"])
        principal = job.tab.principal
        pipeline = self.named(principal, model.removeprefix(PREFIX))
        given = inputs_of(pipeline, job.asked.messages, job.options.inputs or {})
        host = self.host_for(principal)
        job.facts.model = job.tab.served.model = model
        job.facts.reason = "the caller named it"
        job.facts.run = new_id()

        async def work(ledger: Ledger, seconds: float) -> RunResult:
            return await pipeline.run(
                given, host=host, id=job.facts.run, within=ledger, seconds=seconds, on_event=on_event
            )

        found = await self.paid(job.tab, pipeline, replace(job.budget, seconds=max(job.left_s, 0.001)), work)
        self._afterwards(found)
        job.facts.simulated, job.facts.stopped = found.simulated, found.stopped
        used = Usage(job.tab.served.prefill_tokens, job.tab.served.output_tokens)
        return completion(job, as_text(found.output), used)

    def _afterwards(self, found: RunResult) -> None:
        """Steps in the background go on after the answer; the configuration is not closed under them."""
        if found.background is not None:
            self._later(found.settled())

    # Runs

    def begin(
        self,
        call: ClientRequest,
        pipeline: Pipeline,
        name: str,
        body: JsonMapping,
        on_event: Callable[[Event], None] | None,
        id: str,
    ) -> JsonValue:
        """The work of a new run: a coroutine that gives its result."""
        tab = call.tab
        assert tab is not None
        given = pipeline.inputs_of(body.get("inputs") or {})
        host = self.host_for(call.principal)
        tab.served.model = f"{PREFIX}{name}"

        async def work(ledger: Ledger, seconds: float) -> RunResult:
            return await pipeline.run(given, host=host, id=id, within=ledger, seconds=seconds, on_event=on_event)

        async def whole() -> RunResult:
            found = await self.paid(tab, pipeline, Budget(**body.get("budget") or {}), work)
            self._afterwards(found)
            return found

        return whole()

    async def resume(self, call: ClientRequest, stored: StoredRun, body: JsonMapping) -> RunResult:
        """Goes on with a run. Raises `GatewayError` where its file is gone or changed."""
        pipeline = self._served(stored, is_same=True)
        host = self.host_for(call.principal)

        async def work(ledger: Ledger, seconds: float) -> RunResult:
            return await pipeline.resume(stored.id, host=host, within=ledger, seconds=seconds)

        return await self._paid_run(call, pipeline, body, work)

    async def replay(self, call: ClientRequest, stored: StoredRun, body: JsonMapping) -> RunResult:
        """A new run with the inputs of an earlier one; what its steps gave is taken over up to `from`.

        By the pipeline as it is served now. Raises `GatewayError` where it is gone.
        """
        pipeline = self._served(stored, is_same=False)
        host = self.host_for(call.principal)

        async def work(ledger: Ledger, seconds: float) -> RunResult:
            return await pipeline.replay(stored.id, host=host, begin=body.get("from"), within=ledger, seconds=seconds)

        return await self._paid_run(call, pipeline, body, work)

    def _served(self, stored: StoredRun, *, is_same: bool) -> Pipeline:
        """The pipeline of a run; the very file that it began with, if it must be the same. Raises `GatewayError`."""
        for each in self._loaded.values():
            if each.name == stored.pipeline and (each.digest == stored.digest or not is_same):
                return each
        told = f"the run began with a pipeline that is not served any more: {stored.pipeline}"
        raise GatewayError(409, told, code="pipeline_changed")

    async def _paid_run(
        self,
        call: ClientRequest,
        pipeline: Pipeline,
        body: JsonMapping,
        work: Callable[[Ledger, float], Awaitable[RunResult]],
    ) -> RunResult:
        tab = call.tab
        assert tab is not None
        found = await self.paid(tab, pipeline, Budget(**body.get("budget") or {}), work)
        self._afterwards(found)
        return found

    async def aclose(self) -> None:
        """Ends what runs share."""
        await self._host.aclose()


def inputs_of(pipeline: Pipeline, messages: list[JsonObject], given: JsonMapping) -> JsonObject:
    """The inputs of a conversation.

    Its last message is what is asked, earlier ones the history, if the pipeline takes one; the rest is `given`.

    Raises `GatewayError` if nothing says where the message should go.
    """
    takes = pipeline.schema["properties"]
    texts = [name for name, each in takes.items() if each.get("type") == "string" and "enum" not in each]
    asked = next((name for name in ASKED if name in texts), None)
    if asked is None:
        needed = [name for name in texts if name in pipeline.schema["required"] and name not in given]
        asked = needed[0] if len(needed) == 1 else None
    if asked is None:
        told = (
            f"the pipeline {pipeline.name} has no input for a message: call it {ASKED[0]}, or POST "
            "/v1/pipelines/NAME/runs"
        )
        raise GatewayError(400, told, code="no_input_for_messages", param="messages")
    earlier = next((name for name in EARLIER if name in takes and takes[name].get("type") == "array"), None)
    turns = [{"role": turn["role"], "content": _text(turn.get("content"))} for turn in messages[:-1]]
    history = {earlier: turns} if earlier is not None else {}
    return {asked: _text(messages[-1].get("content")), **history, **given}


def _text(content: JsonValue) -> str:
    if isinstance(content, list):
        return "\n".join(part["text"] for part in content if part.get("type") == "text")
    return content or ""


def as_text(output: JsonValue) -> str:
    """An output as the content of a message."""
    return output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)


def loaded(files: Mapping[str, str], models: Collection[str]) -> dict[str, Pipeline]:
    """The pipelines of some files, checked against the models of a fleet. Raises `InvalidPipeline`."""
    return {name: Pipeline.load(path, models=models, root=_root(path)) for name, path in files.items()}


def _root(path: str) -> Path:
    return Path(path).resolve().parent


def outside(event: Event) -> Event:
    """An event as its tenant may see it."""
    return replace(event, detail={name: value for name, value in event.detail.items() if name not in TOLD})


def problem_for(error: Exception, id: str) -> GatewayError:
    """The error that a caller is told of a failed run."""
    problem = to_gateway_error(error)
    if problem is None:
        log.exception("a run failed", extra={"request": id})
        problem = GatewayError(
            500, "an error of the gateway; its operator can look for the request id", code="internal"
        )
    return problem
