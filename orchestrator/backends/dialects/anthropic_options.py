"""Options of a request to Anthropic: output format, effort and thinking budgets, cache breakpoints."""

from __future__ import annotations

import re
from typing import Any

from orchestrator.backends.dialects.dialect import (
    json_instruction,
)
from orchestrator.jsontypes import JsonObject
from orchestrator.providers.provider import Provider

MAX_BREAKPOINTS = 4


_TOOL_CHOICES = {"auto": "auto", "required": "any", "none": "none"}


BUDGETS = {"minimal": 1_024, "low": 2_048, "medium": 8_192, "high": 16_384, "xhigh": 32_768, "max": 32_768}


MIN_BUDGET = 1_024


def set_tool_choice(out: JsonObject, body: JsonObject) -> None:
    """Which tool must be called, in Anthropic's words."""
    chosen = body.get("tool_choice")
    if isinstance(chosen, dict):
        out["tool_choice"] = {"type": "tool", "name": (chosen.get("function") or chosen).get("name")}
    elif chosen in _TOOL_CHOICES:
        out["tool_choice"] = {"type": _TOOL_CHOICES[chosen]}
    if body.get("parallel_tool_calls") is False:
        out["tool_choice"] = {**out.get("tool_choice", {"type": "auto"}), "disable_parallel_tool_use": True}


def set_output(out: JsonObject, body: JsonObject, provider: Provider, system: list[JsonObject], model: str) -> None:
    """The form of the answer, and how much is thought before it."""
    config: dict[str, Any] = {}
    effort = body.get("reasoning_effort")
    if effort == "none":
        out.setdefault("thinking", {"type": "disabled"})
    elif effort and not takes_effort(model):
        _set_budget(out, effort)
    elif effort and (named := provider.efforts.get(effort, effort)):
        config["effort"] = named
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        config["format"] = {"type": "json_schema", "schema": wanted["json_schema"].get("schema") or {}}
    elif wanted.get("type") == "json_object":
        system.append({"type": "text", "text": json_instruction(wanted)})
    if config:
        out["output_config"] = config


def takes_effort(model: str) -> bool:
    """Whether a model takes `output_config.effort`.

    Opus from 4.5 on, the others from 4.6 on, and whatever is newer or has another name.
    """
    found = re.search(r"claude-(?:(opus|sonnet|haiku)-)?(\d)(?:[-.](\d)(?!\d))?", model)
    if found is None:
        return True
    version = (int(found[2]), int(found[3] or 0))
    return version >= ((4, 5) if found[1] == "opus" else (4, 6))


def _set_budget(out: JsonObject, effort: str) -> None:
    """Models that know no effort have a budget of tokens to think with, within those of the answer.

    The oldest ones have none.
    """
    model = str(out["model"])
    room = out["max_tokens"] - MIN_BUDGET
    if (
        "thinking" in out
        or room < MIN_BUDGET
        or re.search(r"claude-(?:[a-z]+-)?(?:[12]|3-[05]|3-(?:opus|sonnet|haiku))", model)
    ):
        return
    chosen = out.get("tool_choice")
    if isinstance(chosen, dict) and chosen.get("type") in ("any", "tool"):
        return  # a forced call excludes thinking
    if _lacks_thoughts(out["messages"]):
        return  # the API would insist on them
    out["thinking"] = {"type": "enabled", "budget_tokens": min(BUDGETS.get(effort, 8_192), room)}
    for name in ("temperature", "top_k"):
        out.pop(name, None)  # thinking excludes them


def _lacks_thoughts(messages: list[JsonObject]) -> bool:
    """Whether results of calls are given back without the thoughts that led to the calls: another model's, say."""
    asked = next((m for m in reversed(messages) if m.get("role") == "assistant"), None)
    content = asked.get("content") if asked is not None else None
    if not isinstance(content, list) or messages[-1] is asked:
        return False
    kinds = [block.get("type") for block in content if isinstance(block, dict)]
    return "tool_use" in kinds and kinds[0] not in ("thinking", "redacted_thinking")


def limit_breakpoints(out: JsonObject) -> None:
    """At most four marks are allowed.

    The last ones hold the longest prefixes, and the first of all is what most requests share.
    """
    turns = [block for turn in out["messages"] if isinstance(turn["content"], list) for block in turn["content"]]
    system: list[dict[str, Any]] = out["system"] if isinstance(out.get("system"), list) else []
    marked = [block for block in (*out.get("tools", ()), *system, *turns) if "cache_control" in block]
    for block in marked[1 : len(marked) - MAX_BREAKPOINTS + 1]:
        del block["cache_control"]
