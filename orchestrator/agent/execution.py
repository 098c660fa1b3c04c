"""Executes the calls of one step: checked, approved, within time, at most once where that is due.

A call without effects that was made before with equal arguments is not made again: its result is given again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.agent.approval import ApprovalRequest, Approve, decide
from orchestrator.agent.journal import APPROVED, BEGUN, DONE, REFUSED, WAITING, RunRecord
from orchestrator.errors import OrchestratorError
from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.tools import CallContext, Tool, ToolFailed, ToolSet
from orchestrator.tools.results import ToolResult, failure, read_result, trimmed
from orchestrator.types import CalledTool, ToolCall
from orchestrator.verifiers.calls.call_set import ProposedCall, functions_of
from orchestrator.verifiers.calls.evidence import CallSchemaVerifier

log = logging.getLogger(__name__)
QUICK_CHARS = 10_000  # a longer result is read beside the event loop
MAX_CALLS, MAX_AT_ONCE, MAX_STEP_CHARS = 64, 16, 200_000  # of one step
UNCERTAIN = (
    "it was begun before an interruption, and nobody knows whether it took effect: it was not called again. Find out "
    "whether it did, or say so in the answer"
)


class NeedsApproval(Exception):
    """Nobody is there who could approve; `calls` are those that wait for it."""

    def __init__(self, calls: Sequence[ToolCall]) -> None:
        super().__init__(f"{len(calls)} calls wait for approval")
        self.calls = tuple(calls)


@dataclass
class Execution:
    """Calls tools for one run.

    Args:
        tools: What may be called.
        record: Where it is kept that a call begins, and what it gave.
        approve: Who is asked about tools that need approval; `None`: nobody, such calls wait.
        decided: What was decided about calls by their ids, elsewhere.
        seconds_left: The time that the run has left; `None` without a limit.
        emit: Told of each call as it begins and ends.
    """

    tools: ToolSet
    record: RunRecord
    approve: Approve | None
    decided: dict[str, bool]
    seconds_left: Callable[[], float | None]
    emit: Callable[..., None]
    max_chars: int
    _always: set[str] = field(default_factory=set)
    _counts: dict[str, int] = field(default_factory=dict)
    _known: dict[str, ToolResult] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._max_chars_each = self.max_chars
        self._schema = CallSchemaVerifier(functions_of(self.tools.wire))

    async def run(self, step: int, calls: Sequence[ToolCall]) -> list[CalledTool]:
        """The results of the calls of one step, in their order.

        Calls without effects run at the same time; others one after the other. Raises `NeedsApproval` before anything
        is called.
        """
        mistakes = [await self._mistake(call) for call in calls[:MAX_CALLS]]
        mistakes += [f"only {MAX_CALLS} calls are made in one step: make the others later"] * (len(calls) - MAX_CALLS)
        self._tell_repeats(calls, mistakes)
        sound = {f"{step}.{number}": call for number, call in enumerate(calls) if not mistakes[number]}
        refused = await self._refused(sound)
        self._max_chars_each = min(self.max_chars, MAX_STEP_CHARS // max(len(calls), 1))
        at_once = asyncio.Semaphore(MAX_AT_ONCE)
        pending: dict[int, asyncio.Task[CalledTool]] = {}
        found: dict[int, CalledTool] = {}
        try:
            for number, (call, wrong) in enumerate(zip(calls, mistakes, strict=True)):
                path = f"{step}.{number}"
                if wrong or call.id in refused:
                    told = wrong or "the user did not approve this call: do not call it again without being asked to"
                    found[number] = CalledTool(call, told, failed=True, was_called=False)
                elif self._tool(call).effects == "none":
                    pending[number] = asyncio.ensure_future(self._in_turn(at_once, path, call))
                else:
                    found[number] = await self._called(path, call)
            for number, task in pending.items():
                found[number] = await task
        finally:
            for task in pending.values():
                task.cancel()
            if pending:
                await asyncio.gather(*pending.values(), return_exceptions=True)
        return [found[number] for number in range(len(calls))]

    def _tell_repeats(self, calls: Sequence[ToolCall], mistakes: list[str]) -> None:
        """Marks calls with effects that stand in one step more than once."""
        seen: set[str] = set()
        for number, call in enumerate(calls):
            if mistakes[number] or self._tool(call).effects == "none":
                continue
            if (same := _same(call)) in seen:
                mistakes[number] = "the same call stands in this step already: it is made once"
            seen.add(same)

    def _tool(self, call: ToolCall) -> Tool:
        found = self.tools.get(call.name)
        assert found is not None  # a call of another is a mistake
        return found

    async def _mistake(self, call: ToolCall) -> str:
        """What is wrong with a call, and what would be right; "" for a sound one."""
        try:
            errors = await self._schema.errors(ProposedCall(call.name, call.arguments, call.written))
        except (ValueError, TimeoutError) as error:  # its schema cannot be applied: the tool itself will tell
            log.debug("the schema of %s cannot be applied: %s", call.name, error)
            errors = []
        if errors:
            return "; ".join(errors[:3])
        tool = self._tool(call)
        self._counts[call.name] = self._counts.get(call.name, 0) + 1
        if tool.max_calls is not None and self._counts[call.name] > tool.max_calls:
            return f"{call.name} may be called {tool.max_calls} times in a run: answer with what you have"
        if tool.effects != "none" and (before := self._known.get(_same(call))) is not None:
            return f"this was called before with the same arguments, and gave: {before.text[:500]}"
        return ""

    async def _refused(self, calls: Mapping[str, ToolCall]) -> set[str]:
        """The ids of calls, by their paths, that somebody decided against. What was decided once is decided."""
        waiting, refused = [], set()
        for path, call in calls.items():
            if not self._tool(call).needs_approval:
                continue
            on_record = self.record.kept_value(path)
            before = None if on_record is None else on_record[0]
            is_approved = before != REFUSED
            if before in (None, WAITING):
                decision = await self._decided_now(call, is_known=before == WAITING)
                if decision is None:
                    waiting.append(call)
                    await self.record.keep(path, WAITING)
                    continue
                is_approved = decision
                await self.record.keep(path, APPROVED if is_approved else REFUSED)
            if not is_approved:
                refused.add(call.id)
        if waiting:
            raise NeedsApproval(waiting)
        return refused

    async def _decided_now(self, call: ToolCall, *, is_known: bool) -> bool | None:
        """What somebody decides about a call; `None` where nobody is there to decide.

        What was decided elsewhere is about calls that whoever decided has been told of (`is_known`).
        """
        if is_known and call.id in self.decided:
            return self.decided[call.id]
        if call.name in self._always:
            return True
        if self.approve is None:
            return None
        request = ApprovalRequest(call.name, call.arguments or {}, self.record.id, call.id)
        decision = await decide(self.approve, request)
        self.emit("approved" if decision != "no" else "refused", tool=call.name, call=call.id)
        if decision == "always":
            self._always.add(call.name)
        return decision != "no"

    async def _in_turn(self, at_once: asyncio.Semaphore, path: str, call: ToolCall) -> CalledTool:
        async with at_once:
            return await self._called(path, call)

    async def _called(self, path: str, call: ToolCall) -> CalledTool:
        """One call, made now, made before, or begun before and not to be made again."""
        tool, same = self._tool(call), _same(call)
        on_record = self.record.kept_value(path)
        if on_record is not None and on_record[0] == DONE:
            result = _read(on_record[1])
            self._known[same] = result
            return CalledTool(call, result.text, result.failed)
        if tool.effects == "none" and same in self._known:
            result = self._known[same]
            return CalledTool(call, result.text, result.failed, reused=True)
        if on_record is not None and on_record[0] == BEGUN and tool.effects == "once":
            return CalledTool(call, UNCERTAIN, failed=True)
        if tool.effects != "none":
            await self.record.keep(path, BEGUN)
        self.emit("calling", tool=call.name, call=call.id)
        start = time.perf_counter()
        result = await self._result(tool, path, call)
        seconds = time.perf_counter() - start
        told = {"failed": result.failed, "seconds": seconds, "trimmed": result.trimmed}
        self.emit("called", tool=call.name, call=call.id, **told)
        self._known[same] = result
        await self.record.keep(path, DONE, {"text": result.text, "failed": result.failed})
        return CalledTool(call, result.text, result.failed, seconds)

    async def _result(self, tool: Tool, path: str, call: ToolCall) -> ToolResult:
        """What the tool gives, whatever it does."""
        left = self.seconds_left()
        seconds = tool.timeout_s if left is None else min(tool.timeout_s, max(left, 0.001))
        key = hashlib.sha256(f"{self.record.id} {path}".encode()).hexdigest()[:32]
        context = CallContext(
            key, self.record.id, left, lambda told: self.emit("progress", tool=tool.name, told=trimmed(told, 200))
        )
        happened = "" if tool.effects == "none" else "; it may have taken effect"
        try:
            async with asyncio.timeout(seconds):
                value = await tool.call(dict(call.arguments or {}), context)
        except TimeoutError:
            return failure(f"{tool.name} did not end within {seconds:g} s{happened}")
        except ToolFailed as error:
            return failure(f"{error.message}. {error.remedy}".rstrip(". ") if error.remedy else error.message)
        except OrchestratorError as error:
            return failure(f"{tool.name} failed: {error.message}{happened}")
        except Exception as error:
            log.warning("the tool %s raised %s", tool.name, type(error).__name__)
            return failure(f"{tool.name} raised {type(error).__name__}: {error}{happened}")
        if _size(value) <= QUICK_CHARS:
            return read_result(value, max_chars=self._max_chars_each)
        return await asyncio.to_thread(read_result, value, max_chars=self._max_chars_each)


def _size(value: object) -> int:
    """About how many characters a result has; what is no JSON value counts as large."""
    if value is None or isinstance(value, bool | int | float):
        return 8
    if isinstance(value, str):
        return len(value)
    waiting: list[object] = [value]
    total = 0
    while waiting and total <= QUICK_CHARS:
        each = waiting.pop()
        if isinstance(each, dict):
            waiting += each.values()
            total += 8 * len(each)
        elif isinstance(each, list | tuple):
            waiting += each
        elif isinstance(each, str):
            total += len(each)
        elif each is not None and not isinstance(each, int | float):
            return QUICK_CHARS + 1
        total += 8
    return total


def _same(call: ToolCall) -> str:
    """Equal for calls that are the same, letter by letter."""
    return f"{call.name} {json.dumps(call.arguments, sort_keys=True)}"


def _read(kept: JsonValue) -> ToolResult:
    stated: JsonObject = kept if isinstance(kept, dict) else {}
    return ToolResult(str(stated.get("text", "")), bool(stated.get("failed")))
