"""Executes the calls of one step: checked, approved, within time, at most once where that is due.

A call without effects that was made before with equal arguments is not made again: its result is given again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from orchestrator.agent.approval import ApprovalRequest, Approve, decide
from orchestrator.agent.journal import RunRecord
from orchestrator.errors import OrchestratorError
from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.tools import CallContext, Tool, ToolFailed, ToolSet
from orchestrator.tools.results import ToolResult, failure, read_result, trimmed
from orchestrator.types import CalledTool, ToolCall
from orchestrator.verifiers.calls.call_set import ProposedCall, functions_of
from orchestrator.verifiers.calls.evidence import CallSchemaVerifier

log = logging.getLogger(__name__)
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
        self._schema = CallSchemaVerifier(functions_of(self.tools.wire))

    async def run(self, step: int, calls: Sequence[ToolCall]) -> list[CalledTool]:
        """The results of the calls of one step, in their order.

        Calls without effects run at the same time; others one after the other. Raises `NeedsApproval` before anything
        is called.
        """
        mistakes = [await self._mistake(call) for call in calls]
        refused = await self._refused([call for call, wrong in zip(calls, mistakes, strict=True) if not wrong])
        pending: dict[int, asyncio.Task[CalledTool]] = {}
        found: dict[int, CalledTool] = {}
        try:
            for number, (call, wrong) in enumerate(zip(calls, mistakes, strict=True)):
                path = f"{step}.{number}"
                if wrong or call.id in refused:
                    told = wrong or "the user did not approve this call: do not call it again without being asked to"
                    found[number] = CalledTool(call, told, failed=True)
                elif self._tool(call).effects == "none":
                    pending[number] = asyncio.ensure_future(self._called(path, call))
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

    async def _refused(self, calls: Sequence[ToolCall]) -> set[str]:
        """The ids of calls that somebody decided against."""
        waiting, refused = [], set()
        for call in calls:
            if not self._tool(call).needs_approval or call.name in self._always:
                continue
            if call.id in self.decided:
                if not self.decided[call.id]:
                    refused.add(call.id)
            elif self.approve is None:
                waiting.append(call)
            else:
                request = ApprovalRequest(call.name, call.arguments or {}, self.record.id, call.id)
                decision = await decide(self.approve, request)
                self.emit("approved" if decision != "no" else "refused", tool=call.name)
                if decision == "always":
                    self._always.add(call.name)
                elif decision == "no":
                    refused.add(call.id)
        if waiting:
            raise NeedsApproval(waiting)
        return refused

    async def _called(self, path: str, call: ToolCall) -> CalledTool:
        """One call, made now, made before, or begun before and not to be made again."""
        tool, same = self._tool(call), _same(call)
        on_record = self.record.kept_value(path)
        if on_record is not None and on_record[0] == "done":
            result = _read(on_record[1])
            self._known[same] = result
            return CalledTool(call, result.text, result.failed)
        if tool.effects == "none" and same in self._known:
            result = self._known[same]
            return CalledTool(call, result.text, result.failed, reused=True)
        if on_record is not None and tool.effects == "once":
            return CalledTool(call, UNCERTAIN, failed=True)
        if tool.effects != "none":
            await self.record.keep(path, "begun")
        self.emit("calling", tool=call.name, call=call.id)
        start = time.perf_counter()
        result = await self._result(tool, path, call)
        seconds = time.perf_counter() - start
        told = {"failed": result.failed, "seconds": seconds, "trimmed": result.trimmed}
        self.emit("called", tool=call.name, call=call.id, **told)
        self._known[same] = result
        await self.record.keep(path, "done", {"text": result.text, "failed": result.failed})
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
        return read_result(value, max_chars=self.max_chars)


def _same(call: ToolCall) -> str:
    """Equal for calls that are the same, letter by letter."""
    return f"{call.name} {json.dumps(call.arguments, sort_keys=True)}"


def _read(kept: JsonValue) -> ToolResult:
    stated: JsonObject = kept if isinstance(kept, dict) else {}
    return ToolResult(str(stated.get("text", "")), bool(stated.get("failed")))
