"""Which drafts that may call tools propose the same: sets of calls by value, and all that call nothing together.

Whether to call at all is the decision that models differ in, so drafts without calls are one group, however they put
it; the text that is then given is the one that most of them support.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from orchestrator.jsontypes import JsonMapping, JsonObject
from orchestrator.search.vote_model import NO_CALL, ONE_CALL, SEVERAL_CALLS
from orchestrator.types import Candidate, ToolCall
from orchestrator.verifiers import Groups, Reading, equivalent_calls, group_answers
from orchestrator.verifiers.calls.call_set import ProposedCall, spelled


def group_calls(proposals: Sequence[Sequence[ToolCall] | None], tools: Sequence[JsonMapping]) -> Groups:
    """Groups what drafts propose: calls, an empty list for none of them, or `None` for what is no answer at all."""
    first: dict[str, Sequence[JsonObject]] = {}
    keys: list[str | None] = []
    doubts: set[frozenset[str]] = set()
    for index, calls in enumerate(proposals):
        if calls is None or not calls:
            keys.append(None if calls is None else NO_CALL)
            continue
        stated = [{"name": call.name, "arguments": _compared(call)} for call in calls]
        unknown: set[str] = set()
        joined = None
        for key, others in first.items():
            verdict = equivalent_calls(stated, others, tools).verdict
            if verdict == "same":
                joined = key
                break
            if verdict == "unknown":
                unknown.add(key)
        if joined is None:
            joined = call_key(calls, index)
            first[joined] = stated
            doubts |= {frozenset((joined, key)) for key in unknown}
        keys.append(joined)
    return Groups(tuple(keys), frozenset(doubts))


def call_key(calls: Sequence[ToolCall], number: int) -> str:
    """The key of a group: its class, the values of its arguments, and a number that tells it from others."""
    kind = ONE_CALL if len(calls) == 1 else SEVERAL_CALLS
    written = spelled([ProposedCall(call.name, call.arguments, call.written) for call in calls])
    return f"{kind}:{written}#{number}"


def text_votes(candidates: Mapping[int, Candidate], readings: Sequence[Reading], question: str) -> dict[int, int]:
    """How many of the drafts without calls say what each of them says."""
    keys = group_answers([readings[index] for index in candidates], question).keys
    counts = Counter(key for key in keys if key is not None)
    return {index: counts[key] if key is not None else 0 for index, key in zip(candidates, keys, strict=True)}


def _compared(call: ToolCall) -> object:
    return call.written if call.arguments is None else call.arguments
