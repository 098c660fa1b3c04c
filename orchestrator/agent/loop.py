"""The loop of a run that uses tools: ask, check, execute, give back, until there is an answer or a limit.

Reasoning and acting in turns (ReAct, Yao et al. 2023), but every set of calls is searched for and believed like an
answer, and the whole run has one budget. A model's mistake is given back with what would be right, and after two steps
of nothing else the model must answer with what it has.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from orchestrator.agent.approval import Approve
from orchestrator.agent.execution import Execution, NeedsApproval
from orchestrator.agent.journal import DONE, RunRecord
from orchestrator.budget import Budget, Ledger
from orchestrator.errors import BudgetExceeded, NoAdequateModel
from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.tools import ToolSet
from orchestrator.tools.results import MAX_RESULT_CHARS, ToolResult, trimmed
from orchestrator.trace import Event
from orchestrator.types import AgentStep, Answer, CalledTool, Message, Query, ToolCall, Usage
from orchestrator.types.format import money

MAX_STEPS, MAX_MISTAKES, MAX_TOLD = 20, 2, 200
ENOUGH = 1.5  # times what the last step took must be left for another one beside the answer


@dataclass(frozen=True, slots=True)
class RunLimits:
    """Limits of one run beside its budget: steps with calls, steps of mistakes alone, characters of one result."""

    max_steps: int = MAX_STEPS
    max_mistakes: int = MAX_MISTAKES
    max_result_chars: int = MAX_RESULT_CHARS


Ask = Callable[[Query, Budget, Ledger], Awaitable[Answer]]


@dataclass
class AgentLoop:
    """One run.

    Args:
        query: What is asked.
        tools: What may be called. Calls of tools that the caller runs end the run: the answer holds them.
        ask: Answers one query within a budget, on an account.
        record: Where the run is kept.
        budget: What the whole run may use.
        within: The account that the run's own one is within.
        approve: Who decides about calls that need approval.
        decided: What was decided about calls by their ids.
        on_event: Told of what happens.
    """

    query: Query
    tools: ToolSet
    ask: Ask
    record: RunRecord
    budget: Budget
    within: Ledger | None = None
    approve: Approve | None = None
    decided: dict[str, bool] = field(default_factory=dict)
    limits: RunLimits = field(default_factory=RunLimits)
    on_event: Callable[[Event], None] | None = None
    clock: Callable[[], float] = time.perf_counter

    def __post_init__(self) -> None:
        self._began = self.clock()
        self._ledger = self.record.ledger(replace(self.budget, seconds=None), self.within)
        self._steps: list[AgentStep] = []
        self._said: list[Message] = [*self.query.continued]
        self._usage, self._mistakes = Usage(), 0
        self._execution = Execution(
            self.tools,
            self.record,
            self.approve,
            self.decided,
            self._seconds_left,
            self._emit,
            self.limits.max_result_chars,
        )

    async def answer(self) -> Answer:
        """The answer of the run. Raises as one query does, where not even one step could be made."""
        why_last, last_cost, last_s = "", 0.0, 0.0
        while True:
            why_last = why_last or self._why_last(last_cost, last_s)
            begun, before = self.clock(), self._ledger.spent_usd
            try:
                found, signed = await self._step(is_last=bool(why_last))
            except (BudgetExceeded, NoAdequateModel) as error:  # the second: what was said no longer fits a model
                if not self._steps or getattr(error, "has_failed", False):
                    raise
                return await self._ended(self._cut_short(error.message), partial=True)
            last_cost, last_s = self._ledger.spent_usd - before, self.clock() - begun
            if not found.calls or found.abstained:
                return await self._ended(replace(found, stopped=why_last or found.stopped), partial=bool(why_last))
            calls = self._numbered(found.calls)
            if any(self._is_callers(call) for call in calls):
                return await self._ended(replace(found, calls=calls), status="partial")
            try:
                called = await self._execution.run(len(self._steps) + 1, calls)
            except NeedsApproval as waiting:
                stopped = f"{', '.join(call.name for call in waiting.calls)} needs approval"
                return await self._ended(replace(found, calls=waiting.calls, stopped=stopped), status="partial")
            self._take(found, called, signed)
            if self._mistakes > self.limits.max_mistakes:
                why_last = f"the model made {self._mistakes} mistakes in a row with its tools"

    async def _step(self, *, is_last: bool) -> tuple[Answer, JsonObject]:
        """The model's next words, on record already or asked for now; and what it signed of them."""
        path = str(len(self._steps) + 1)
        on_record = self.record.kept_value(path)
        if on_record is not None and on_record[0] == DONE:
            return _read_answer(on_record[1]), on_record[1].get("signed") or {}
        choice = "none" if is_last else self.query.tool_choice if not self._steps else _after_first(self.query)
        query = replace(self.query, continued=tuple(self._said), tools=self.tools.wire, tool_choice=choice)
        found = await self.ask(query, Budget(seconds=self._seconds_left()), self._ledger)
        self._usage += found.usage
        if is_last and found.calls:  # it was told to call nothing more
            found = replace(found, calls=(), text=found.text or "(no answer: the model only wanted to call more tools)")
        signed = found.signed
        await self.record.keep(path, DONE, _kept(found) | ({"signed": signed} if signed else {}))
        return found, signed

    def _why_last(self, last_cost: float, last_s: float) -> str:
        """Why the next step must be the answer; "" while more may be called."""
        if len(self._steps) >= self.limits.max_steps:
            return f"all {self.limits.max_steps} steps are used"
        left_usd, left_s = self._ledger.remaining_usd(), self._seconds_left()
        if self._steps and left_usd is not None and left_usd < (1 + ENOUGH) * last_cost:
            return "the budget is nearly spent"
        if self._steps and left_s is not None and left_s < (1 + ENOUGH) * last_s:
            return "the time is nearly over"
        calls = self.budget.calls
        if calls is not None and calls - self._ledger.calls <= 1:
            return "nearly all calls of models are used"
        return ""

    def _take(self, found: Answer, called: Sequence[CalledTool], signed: JsonObject) -> None:
        """Adds a step to what the model is told next."""
        self._steps.append(AgentStep(found.model, found.text, tuple(called), found.confidence, found.cost_usd))
        self._mistakes = self._mistakes + 1 if all(each.failed or each.reused for each in called) else 0
        wire: JsonObject = {"role": "assistant", "content": found.text or None, **signed}
        wire["tool_calls"] = [each.call.as_wire() for each in called]
        self._said.append(Message("assistant", found.text, wire, by=found.model))
        for number, each in enumerate(called, 1):
            again = "The same call as before. " if each.reused else ""
            text = again + ToolResult(each.result, each.failed, looks_like_orders=_orders(each.result)).quotation
            if number == len(called) and (left := self._left()):
                text = f"{text}\n{left}"
            content: JsonObject = {"role": "tool", "tool_call_id": each.call.id, "content": text}
            self._said.append(Message("tool", text, content | ({"is_error": True} if each.failed else {})))

    def _left(self) -> str:
        """What the run has left, as the model is told."""
        steps = self.limits.max_steps - len(self._steps)
        told = [f"{steps} steps with tools"]
        if (usd := self._ledger.remaining_usd()) is not None and math.isfinite(usd):
            told.append(money(usd))
        if (seconds := self._seconds_left()) is not None:
            told.append(f"{seconds:.0f} s")
        return f"(Left for this task: {', '.join(told)}.)"

    def _numbered(self, calls: Sequence[ToolCall]) -> tuple[ToolCall, ...]:
        """The calls with ids that no call before them has."""
        used = {each.call.id for step in self._steps for each in step.called}
        found: list[ToolCall] = []
        for number, call in enumerate(calls):
            id = call.id or f"call_{number}"
            while id in used:
                id = f"{id}_{len(self._steps) + 1}"
            used.add(id)
            wire = None if call.wire is None else {**call.wire, "id": id}
            found.append(call if id == call.id else replace(call, id=id, wire=wire))
        return tuple(found)

    def _is_callers(self, call: ToolCall) -> bool:
        return self.tools.get(call.name) is None and call.name in self.tools.names

    def _seconds_left(self) -> float | None:
        if self.budget.seconds is None:
            return None
        return max(self.budget.seconds - (self.clock() - self._began), 0.0)

    def _cut_short(self, why: str) -> Answer:
        """What there is when nothing more can be paid for."""
        last = self._steps[-1]
        called = [each for step in self._steps for each in step.called if each.was_called]
        told = "; ".join(f"{each.call.name}: {trimmed(each.result, MAX_TOLD)}" for each in called)
        text = last.text or f"(no answer, because the run ended early. What was called: {told or 'nothing'})"
        return Answer(text, 0.0, last.model, None, 0.0, True, why, calls=())

    async def _ended(self, found: Answer, *, partial: bool = False, status: str = "done") -> Answer:
        """The whole run as an answer: P(correct) is that all of its decisions were right."""
        confidence = found.confidence * math.prod(step.confidence for step in self._steps)
        cost = None if self._ledger.price_unknown else self._ledger.spent_usd
        answer = replace(
            found,
            confidence=confidence,
            cost_usd=cost,
            latency_s=self.clock() - self._began,
            usage=self._usage,
            partial=partial or found.partial,
            steps=tuple(self._steps),
            run=self.record.id,
        )
        ended = "partial" if status == "partial" or answer.partial else "done"
        await self.record.end(ended, answer.as_dict(detail="brief"))
        return answer

    def _emit(self, kind: str, **detail: JsonValue) -> None:
        if self.on_event is not None:
            self.on_event(Event(kind, self.clock() - self._began, dict(detail)))


def _after_first(query: Query) -> str | JsonObject | None:
    """A call that must be made is made once: after that the model decides."""
    return "none" if query.tool_choice == "none" else None


def _orders(text: str) -> bool:
    from orchestrator.memory.text.injection_marks import looks_like_instructions

    return looks_like_instructions(text)


def _kept(answer: Answer) -> JsonObject:
    """What of a step's answer is on record."""
    return {
        "text": answer.text,
        "confidence": answer.confidence,
        "model": answer.model,
        "cost_usd": answer.cost_usd,
        "stopped": answer.stopped,
        "calls": [call.as_wire() for call in answer.calls],
    }


def _read_answer(kept: JsonValue) -> Answer:
    stated: JsonObject = kept if isinstance(kept, dict) else {}
    calls = tuple(ToolCall.parse(call, number) for number, call in enumerate(stated.get("calls") or ()))
    return Answer(
        str(stated.get("text", "")),
        float(stated.get("confidence", 0.0)),
        str(stated.get("model", "")),
        stated.get("cost_usd"),
        0.0,
        False,
        str(stated.get("stopped", "")),
        calls=calls,
    )
