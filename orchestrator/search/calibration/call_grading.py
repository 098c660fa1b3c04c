"""Graded calls of tools, as calibration takes them: who proposed the same, and what checks say of each proposal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.jsontypes import JsonMapping
from orchestrator.search.call_groups import group_calls
from orchestrator.search.vote_table import GradedQuestion
from orchestrator.types import ToolCall
from orchestrator.verifiers import Verdict
from orchestrator.verifiers.calls.call_set import ProposedCall, write_calls
from orchestrator.verifiers.calls.evidence import call_verifiers


async def grade_calls(
    question: str,
    tools: Sequence[JsonMapping],
    proposed: Mapping[str, Sequence[ToolCall] | None],
    right: Mapping[str, bool],
    cost_usd: Mapping[str, float],
    expected_usd: Mapping[str, float] | None = None,
) -> GradedQuestion:
    """One calibration question of a fleet that may call `tools`.

    Args:
        question: What the models were asked; a longer conversation ends with it.
        tools: Functions in OpenAI's form.
        proposed: What each model wanted called: `[]` for nothing, `None` for what was no answer at all.
        right: Whether that was right.
        cost_usd: What it cost in USD.
        expected_usd: What it was expected to cost (default: what it cost).
    """
    keys = group_calls(list(proposed.values()), tools).keys
    checks = call_verifiers(tools, [question])
    verdicts: dict[str, list[Verdict]] = {}
    for model, calls in proposed.items():
        written = write_calls([ProposedCall(call.name, call.arguments, call.written) for call in calls or ()])
        verdicts[model] = [] if calls is None else [await check.verify(question, written) for check in checks]
    by_model = dict(zip(proposed, keys, strict=True))
    return GradedQuestion(by_model, dict(right), dict(cost_usd), dict(expected_usd or {}), verdicts)
