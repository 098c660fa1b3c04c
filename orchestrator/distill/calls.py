"""Answers that call tools: which of them cannot be right, and which are probably wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.distill.rows import Taught
from orchestrator.jsontypes import JsonMapping, JsonObject
from orchestrator.students.training.noise import find_noise
from orchestrator.students.training.rows import LabelledText
from orchestrator.types.tool_call import ToolCall
from orchestrator.verifiers.calls.call_set import ProposedCall, functions_of, write_calls
from orchestrator.verifiers.calls.evidence import CallSchemaVerifier, call_verifiers

UNSAID = 0.34  # the support of its arguments below which a call rests on nothing that was said
IMPROBABLE = 0.05  # P(tool) below which, with another tool far more probable, a call is of the wrong tool


@dataclass(frozen=True, slots=True)
class JudgedCalls:
    """One answer that calls tools.

    Attributes:
        reason: Why it is rejected; empty where it is not.
        p_right: How probable it is that it is right, in [0, 1]: what the checks support, and what answers to like
            texts call. It ranks; it is not calibrated.
    """

    reason: str
    p_right: float


def parse_calls(answer: str) -> tuple[ProposedCall, ...] | None:
    """The calls in an answer: a JSON list or object of them, in OpenAI's form or bare; `None` where there are none."""
    begin = min((at for at in (answer.find("["), answer.find("{")) if at >= 0), default=-1)
    if begin < 0:
        return None
    try:
        found, _ = json.JSONDecoder().raw_decode(answer[begin:])
    except ValueError:
        return None
    if isinstance(found, dict) and isinstance(found.get("tool_calls"), list):
        found = found["tool_calls"]
    stated = found if isinstance(found, list) else [found]
    if not all(isinstance(each, dict) and ("name" in each or "function" in each) for each in stated):
        return None
    calls = [ToolCall.parse(each) for each in stated]
    return tuple(ProposedCall(call.name, call.arguments, call.written) for call in calls)


async def judge_calls(rows: Sequence[Taught], tools: Sequence[JsonMapping], *, seed: int = 0) -> list[JudgedCalls]:
    """Judges every answer by schema, by what was said, and by what answers to like texts call.

    `tools` are their definitions, in OpenAI's form, Anthropic's, or bare; without any, schemas are not checked.
    """
    functions = functions_of(tools)
    calls = [parse_calls(row.answer) for row in rows]
    names = ["+".join(sorted({call.name for call in each})) if each else "" for each in calls]
    noise = find_noise(
        [LabelledText(row.row.text, name, row.confidence) for row, name in zip(rows, names, strict=True)], seed=seed
    )
    judged = []
    for at, (row, each) in enumerate(zip(rows, calls, strict=True)):
        if each is None:
            judged.append(JudgedCalls("calls: the answer holds no call of a tool", 0.0))
            continue
        schema = CallSchemaVerifier(functions)
        errors = [error for call in each for error in await schema.errors(call)] if functions else []
        support = await _support(row.row.text, each, tools)
        p_tool, p_other = float(noise.p_label[at]), float(noise.p_best[at])
        p_right = 0.0 if errors else math.sqrt(max(p_tool, 1e-6)) * (0.25 + 0.75 * support)
        judged.append(JudgedCalls(_reason(errors, support, p_tool, p_other, noise.best[at]), p_right))
    return judged


def _reason(errors: Sequence[str], support: float, p_tool: float, p_other: float, other: str) -> str:
    if errors:
        return f"calls: {errors[0][:200]}"
    if support < UNSAID:
        return "calls: the values of its arguments do not stand in the text"
    if p_tool < IMPROBABLE and p_other > 0.5:
        return f"calls: texts like it call {other or 'nothing'}"
    return ""


async def _support(text: str, calls: tuple[ProposedCall, ...], tools: Sequence[JsonMapping]) -> float:
    """How far what is called rests on the text, in [0, 1]: the least of the checks that have an opinion."""
    candidate = write_calls(calls)
    verdicts = [await check.verify(text, candidate) for check in call_verifiers(tools, [text])]
    scores = [v.score for v in verdicts if v.score is not None and v.verifier == "call_arguments"]
    return min(scores, default=1.0)


def tools_of(stated: JsonObject | None) -> list[JsonMapping]:
    """Definitions as a job states them: a list under `tools`."""
    found = (stated or {}).get("tools", [])
    return [tool for tool in found if isinstance(tool, dict)] if isinstance(found, list) else []
