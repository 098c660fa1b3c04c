"""One run of a pipeline: starts each step when all that it waits for has ended, and keeps what finished.

A step that finished is never done again: its value is kept before anything that it cost or changed could be repeated.
What was begun and may have changed something outside carries the same idempotency key when it is tried again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.backends.http.retry import LONGEST_WAIT_S
from orchestrator.budget import Budget, Ledger, from_nano
from orchestrator.errors import BudgetExceeded, OrchestratorError
from orchestrator.jsontypes import JsonMapping, JsonObject, JsonValue
from orchestrator.pipeline.compiled import Block, CompiledPipeline, Node
from orchestrator.pipeline.errors import ToolFailed
from orchestrator.pipeline.execution.result import RunFailed, RunResult, StepResult
from orchestrator.pipeline.execution.runtime import Runtime
from orchestrator.pipeline.execution.step_context import RunningStep, ScopeLimits
from orchestrator.pipeline.expressions.evaluation import Absent, ExpressionFailed, within_bounds
from orchestrator.pipeline.language.step import OnError, Step
from orchestrator.storage.journal import RunLedger, spent_usd
from orchestrator.storage.runs import KEEP, StoredStep
from orchestrator.tools.results import redacted
from orchestrator.trace import Event

DAY_S = 86_400.0
GRACE_S = 0.1  # a search whose time is over ends by itself, with its best answer
MAX_VALUE_CHARS = 20_000_000
log = logging.getLogger(__name__)


@dataclass
class RunScheduler:
    """`finished` are the steps of an earlier part of the run.

    It spends from what it is `within`, too, and takes at most `seconds`.

    It has more methods than other classes, because how steps start, wait, fail, repeat and are cancelled is one state
    machine; what a step may see of it is `StepContext`.
    """

    pipeline: CompiledPipeline
    inputs: dict[str, Any]
    host: Runtime
    id: str
    on_event: Callable[[Event], None] | None = None
    finished: Mapping[str, StoredStep] = field(default_factory=dict)
    purse: RunLedger | None = None
    is_kept: bool = False
    prefix: str = ""
    within: Ledger | None = None
    seconds: float | None = None
    steps: list[StepResult] = field(default_factory=list)
    latest: str | None = None
    simulated: bool = False
    stopped: str = ""
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._began_s = self.clock()
        self.begun = {path for path, step in self.finished.items() if step.status == "begun"}
        self._background: set[asyncio.Task[Any]] = set()
        limits = self.pipeline.document.budget
        budget = Budget(usd=limits.usd, tokens=limits.tokens, seconds=limits.seconds, calls=limits.calls) & Budget(
            seconds=self.seconds
        )
        if self.purse is None:
            journal = self.host.journal if self.is_kept else None
            self.purse = RunLedger(budget, within=self.within, journal=journal, run=self.id)
        self._may_stop = limits.when_spent == "best_so_far"
        self.around = ScopeLimits(self.purse, budget.seconds)

    def now_s(self) -> float:
        """Seconds since the run began."""
        return self.clock() - self._began_s

    def key_of(self, path: str) -> str:
        """Identifies the step at a path in this run: an idempotency key."""
        return hashlib.sha256(f"{self.id}\n{path}".encode()).hexdigest()[:32]

    def emit(self, kind: str, **detail: JsonValue) -> None:
        """Tells whoever looks at the run of something."""
        if self.on_event is not None:
            self.on_event(Event(kind, self.now_s(), detail))

    async def result(self) -> RunResult:
        """Runs to the end. Raises `RunFailed`."""
        values: dict[str, Any] = {"inputs": self.inputs, "env": self.pipeline.env}
        self.emit("run_started", run=self.id, pipeline=self.pipeline.name)
        output = await self._output(values)
        assert self.purse is not None
        background = asyncio.ensure_future(self.settle()) if self._background else None
        found = RunResult(
            self.id,
            output,
            bool(self.stopped),
            self.stopped,
            spent_usd(self.purse),
            self.now_s(),
            self.purse.calls,
            self.steps,
            self.simulated,
            background,
        )
        self.emit("run_finished", run=self.id, cost_usd=found.cost_usd, seconds=found.seconds, partial=found.partial)
        return found

    async def _output(self, values: JsonObject) -> Any:
        block = self.pipeline.block
        try:
            limit = self.around.deadline_s
            if limit is None:
                await self.block(block, values, self.prefix, self.around)
            else:
                async with asyncio.timeout(limit - self.now_s() + GRACE_S):
                    await self.block(block, values, self.prefix, self.around)
        except TimeoutError:
            if not self._may_stop:
                raise self._failed(
                    "", BudgetExceeded("the time for the run is over", limit="seconds", remedy="Raise budget.seconds")
                ) from None
            self.stopped = "seconds"
        try:
            return block.output(values)
        except ExpressionFailed as error:
            if not self.stopped:
                raise self._failed("output", error) from None
            return self.latest

    def abandon(self) -> None:
        """Ends the steps in the background."""
        for task in list(self._background):
            task.cancel()

    async def settle(self) -> None:
        """Waits for the steps in the background."""
        while self._background:
            await asyncio.gather(*self._background, return_exceptions=True)

    # Blocks

    async def block(self, block: Block, values: JsonObject, prefix: str, around: ScopeLimits) -> None:
        """Runs steps, each when all that it waits for has ended; their values go into `values`."""
        if len(block.nodes) == 1 and block.needed:
            node = block.nodes[0]
            values[node.name] = await self.one(node, values, prefix + node.name, around)
            return
        try:
            async with asyncio.TaskGroup() as group:
                chain = _Chain(self, block, values, prefix, around, group)
                for index, waits in enumerate(block.waits):
                    if waits == 0:
                        chain.start(index)
        except BaseExceptionGroup as failed:
            raise _first(failed) from None

    def in_background(self, work: Any) -> None:
        """Lets work go on beside the run."""
        task = asyncio.ensure_future(work)
        self._background.add(task)
        self.host.background.add(task)
        task.add_done_callback(self._background.discard)
        task.add_done_callback(self.host.background.discard)

    async def one(self, node: Node, values: JsonMapping, path: str, around: ScopeLimits) -> JsonValue:
        """One step, from its condition to what is kept of it."""
        earlier = self.finished.get(path)
        if earlier is not None and earlier.status != "begun":
            self._note(StepResult(path, node.step.verb, "kept", earlier.seconds, earlier.cost_usd, value=earlier.value))
            self._remember_answer(earlier.value)
            return earlier.value
        began_s = self.now_s()
        if node.when is not None:
            try:
                holds = node.when(values)
            except ExpressionFailed as error:
                return self._unanswerable(node, path, error)
            if holds is not True:
                return await self._end(node, path, "skipped", None, began_s, None)
        if self.stopped and not node.blocks:
            return None
        self.emit("step_started", step=path, verb=node.step.verb)
        purse, deadline_s = self._limits(node, around)
        running = RunningStep(self, node, path, values, ScopeLimits(purse, deadline_s))
        try:
            value, attempts, is_cached = await self._tried(node, running, values)
        except Exception as error:  # whatever a step does, its run ends in words, and what else finished is kept
            if not isinstance(error, OrchestratorError | TimeoutError | OSError | ValueError | LookupError | TypeError):
                log.exception("a step broke", extra={"run": self.id, "step": path})
            return await self._after_failure(node, path, error, began_s, purse, values)
        return await self._end(
            node, path, "cached" if is_cached else "done", value, began_s, purse, attempts=attempts, note=running.note
        )

    async def _tried(self, node: Node, running: RunningStep, values: JsonMapping) -> tuple[Any, int, bool]:
        """The value of a step, in how many attempts, and whether it comes from the cache."""
        step = node.step
        given = {name: compute(values) for name, compute in node.fields.items() if name != "on_error"}
        key = self._cache_key(node, given) if step.cache else ""
        if key and (found := await self._cached(key)) is not None:
            return found[0], 0, True
        if step.has_effects and self.is_kept and self.host.journal is not None:
            self._begin(node, running.path)
            await self.host.journal.kept(self.id)
        attempt = 1
        while True:
            if attempt > 1 and step.has_effects:
                self.begun.add(running.path)
            try:
                value = within_bounds(await self._in_time(step.perform(running, given), step, running))
                break
            except (OrchestratorError, TimeoutError, OSError) as error:
                if attempt >= step.attempts or not _is_retryable(error):
                    raise
                wait_s = max(
                    min(step.first_wait_s * 2 ** (attempt - 1), LONGEST_WAIT_S * 4),
                    getattr(error, "retry_after_s", None) or 0.0,
                )
                if running.seconds_left is not None and wait_s >= running.seconds_left:
                    raise
                self.emit(
                    "step_retrying",
                    step=running.path,
                    attempt=attempt + 1,
                    reason=self.redacted(str(error)),
                    wait_s=wait_s,
                )
                attempt += 1
                await asyncio.sleep(wait_s)
        if key:
            await self._cache(key, value, step.cache)
        if step.has_effects:
            self.begun.add(running.path)  # a retry of a step around this one does it again
        return value, attempt, False

    async def _in_time(self, work: Any, step: Step, running: RunningStep) -> Any:
        timeout_s = step.timeout
        if step.budget is not None and running.seconds_left is not None:
            # A search ends by itself, with the best that it has; anything else is ended.
            allowed_s = running.seconds_left + GRACE_S
            timeout_s = allowed_s if timeout_s is None else min(timeout_s, allowed_s)
        if timeout_s is None:
            return await work
        try:
            async with asyncio.timeout(timeout_s):
                return await work
        except TimeoutError:
            raise TimeoutError(f"it took longer than {timeout_s:g} s") from None

    def _limits(self, node: Node, around: ScopeLimits) -> tuple[Ledger, float | None]:
        """The account of a step, and until when it may work."""
        limits, whole = node.step.budget, self.pipeline.document.budget
        deadline_s = around.deadline_s
        if limits is None:
            return Ledger(within=around.purse), deadline_s
        share = limits.share

        def part(own: float | None, of: float | None) -> float | None:
            return own if share is None or of is None else share * of if own is None else min(own, share * of)

        seconds = part(limits.seconds, whole.seconds)
        tokens = part(limits.tokens, whole.tokens)
        if seconds is not None:
            end = self.now_s() + seconds
            deadline_s = end if deadline_s is None else min(end, deadline_s)
        budget = Budget(
            usd=part(limits.usd, whole.usd), tokens=None if tokens is None else int(tokens), calls=limits.calls
        )
        return Ledger(budget, within=around.purse), deadline_s

    # Ends

    async def _after_failure(
        self, node: Node, path: str, error: Exception, began_s: float, purse: Ledger, values: JsonMapping
    ) -> Any:
        told = self.redacted(str(error) or type(error).__name__)
        instead = node.step.on_error
        if instead == "skip":
            return await self._end(node, path, "failed", None, began_s, purse, error=told, note="it is skipped")
        if isinstance(instead, OnError):
            try:
                value = node.fields["on_error"](values)
            except ExpressionFailed as wrong:
                raise self._failed(path, wrong) from None
            note = "what on_error states is given"
            return await self._end(node, path, "failed", value, began_s, purse, error=told, note=note)
        if isinstance(error, BudgetExceeded) and self._may_stop:
            self.stopped = self.stopped or error.limit
            seconds = self.now_s() - began_s
            self._note(StepResult(path, node.step.verb, "skipped", seconds, spent_usd(purse), error=told))
            return None
        if self.stopped and isinstance(error, ExpressionFailed):
            return None
        self._note(StepResult(path, node.step.verb, "failed", self.now_s() - began_s, spent_usd(purse), error=told))
        if isinstance(error, RunFailed):
            raise error
        raise self._failed(path, error) from error

    def _unanswerable(self, node: Node, path: str, error: ExpressionFailed) -> None:
        """A condition that cannot be told: after a budget has ended the run, what it asks for may be missing."""
        if self.stopped and isinstance(error, Absent):
            return
        raise self._failed(path, error) from None

    def _failed(self, path: str, error: Exception) -> RunFailed:
        message = error.message if isinstance(error, OrchestratorError) else str(error) or type(error).__name__
        remedy = getattr(error, "remedy", "") or "Mend the step, or say by on_error what it gives instead"
        if self.is_kept:
            closed = remedy if remedy.endswith(("?", "!")) else f"{remedy.rstrip('.')}."
            remedy = f"{closed} What finished is kept: --resume {self.id}"
        where = f"step '{path}'" if path and path != "output" else "the output" if path else "the run"
        return RunFailed(
            f"{where} failed: {self.redacted(message)}",
            path=path,
            run=self.id,
            remedy=self.redacted(remedy),
            cause=error,
        )

    async def _end(
        self,
        node: Node,
        path: str,
        status: Any,
        value: Any,
        began_s: float,
        purse: Ledger | None,
        *,
        attempts: int = 1,
        error: str = "",
        note: str = "",
    ) -> Any:
        """Keeps what a step gave; returns when it may not be done again, if that matters."""
        seconds = self.now_s() - began_s
        nano = None if purse is not None and purse.price_unknown else purse.settled_nano if purse is not None else 0
        cost = None if nano is None else from_nano(nano)
        if self.is_kept and self.host.journal is not None and not node.blocks:
            self.host.journal.put(
                self.id, KEEP, self.id, path, status, self._as_json(value, path), nano, seconds, time.time()
            )
            if nano != 0 or node.step.has_effects:
                await self.host.journal.kept(self.id)
            else:
                self.host.journal.wake()
        self._note(StepResult(path, node.step.verb, status, seconds, cost, attempts, value, error, note))
        return value

    def _note(self, result: StepResult) -> None:
        self.steps.append(result)
        if self.on_event is not None:
            self.emit(
                "step_finished",
                step=result.path,
                verb=result.verb,
                status=result.status,
                seconds=result.seconds,
                cost_usd=result.cost_usd,
                error=result.error,
                note=result.note,
            )

    def _begin(self, node: Node, path: str) -> None:
        assert self.host.journal is not None
        self.host.journal.put(self.id, KEEP, self.id, path, "begun", None, 0, 0.0, time.time())

    def _remember_answer(self, value: Any) -> None:
        if isinstance(value, dict) and isinstance(value.get("text"), str) and "model" in value:
            self.latest = value["text"]
            self.simulated |= value.get("simulated") is True

    def _as_json(self, value: Any, path: str) -> str:
        try:
            text = json.dumps(value)
        except (TypeError, ValueError) as error:
            raise self._failed(path, TypeError(f"what it gives cannot be kept: {error}")) from None
        if len(text) > MAX_VALUE_CHARS:
            raise self._failed(path, ValueError(f"what it gives is too large to be kept: {len(text):,} characters"))
        return text

    def redacted(self, value: JsonValue) -> JsonValue:
        """A value with secrets of the environment replaced."""
        return redacted(value, self.pipeline.secrets)

    # Cache

    def _cache_key(self, node: Node, given: JsonMapping) -> str:
        stated = node.step.model_dump(
            mode="json",
            exclude={"when", "after", "retry", "timeout", "on_error", "budget", "background", "description"},
        )
        told = json.dumps(
            [self.host.owner, self.pipeline.digest, node.where, stated, given], sort_keys=True, default=str
        )
        return hashlib.sha256(told.encode()).hexdigest()

    async def _cached(self, key: str) -> tuple[Any] | None:
        if self.host.runs is None:
            return None
        return await asyncio.to_thread(self.host.runs.cached, key)

    async def _cache(self, key: str, value: Any, seconds: bool | float) -> None:
        if self.host.runs is not None:
            await asyncio.to_thread(self.host.runs.cache, key, value, DAY_S if seconds is True else float(seconds))

    async def called(self, pipeline: CompiledPipeline, inputs: JsonMapping, running: RunningStep) -> JsonValue:
        """Another pipeline within this one.

        Its steps are kept under the path of the step that calls it, and spend from its account.
        """
        limits = pipeline.document.budget
        budget = Budget(usd=limits.usd, tokens=limits.tokens, calls=limits.calls)
        inner = RunScheduler(
            pipeline,
            pipeline.inputs_of(inputs),
            self.host,
            self.id,
            self.on_event,
            self.finished,
            RunLedger(budget, within=running.purse),
            is_kept=self.is_kept,
            prefix=f"{running.path}.",
            seconds=running.seconds_left,
            steps=self.steps,
            clock=self.clock,
        )
        inner.begun, inner._background = (
            self.begun,
            self._background,
        )  # it is one run: what is begun or in the background is so for both
        found = await inner.result()
        self.latest = inner.latest or self.latest
        self.simulated |= inner.simulated
        self.stopped = self.stopped or inner.stopped
        return found.output


class _Chain:
    """The steps of one block as they come free."""

    def __init__(
        self,
        run: RunScheduler,
        block: Block,
        values: JsonObject,
        prefix: str,
        around: ScopeLimits,
        group: asyncio.TaskGroup,
    ) -> None:
        self._run, self._block, self._values, self._prefix, self._around, self._group = (
            run,
            block,
            values,
            prefix,
            around,
            group,
        )
        self._waits = list(block.waits)

    def start(self, index: int) -> None:
        if index in self._block.needed:
            self._group.create_task(self._go(index))
        else:
            self._run.in_background(self._beside(index))

    async def _go(self, index: int | None) -> None:
        """A step, then one of those that waited for it, and so on; the others of them begin beside it."""
        block = self._block
        while index is not None:
            node = block.nodes[index]
            self._values[node.name] = await self._run.one(node, self._values, self._prefix + node.name, self._around)
            following, index = block.next[index], None
            for each in following:
                self._waits[each] -= 1
                if self._waits[each] == 0:
                    if index is None and each in block.needed:
                        index = each
                    else:
                        self.start(each)

    async def _beside(self, index: int) -> None:
        node = self._block.nodes[index]
        try:
            await self._go(index)
        except OrchestratorError as error:
            log.warning(
                "a step in the background failed", extra={"step": self._prefix + node.name, "reason": error.message}
            )


def _is_retryable(error: BaseException | None) -> bool:
    if isinstance(error, RunFailed):  # of a step within
        return _is_retryable(error.cause)
    if isinstance(error, ToolFailed):
        return error.retryable
    return bool(getattr(error, "retryable", isinstance(error, TimeoutError | OSError)))


def _first(failed: BaseExceptionGroup[BaseException]) -> BaseException:
    """The failure that ended the others."""
    found: BaseException = failed
    while isinstance(found, BaseExceptionGroup):
        found = next(
            (each for each in found.exceptions if isinstance(each, BaseExceptionGroup | RunFailed)), found.exceptions[0]
        )
    return found
