"""What a caller asks of this gateway beside what its API knows.

The field `orchestrator` of the body, or headers `x-orchestrator-...`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.budget import Budget
from orchestrator.errors import closest
from orchestrator.gateway.errors import GatewayError
from orchestrator.jsontypes import JsonObject

PREFIX = b"x-orchestrator-"
_NUMBERS = {"budget-usd": "usd", "budget-seconds": "seconds", "budget-tokens": "tokens", "budget-calls": "calls"}
_TEXTS = {"scope", "strategy", "session", "run"}
_FLAGS = {"remember", "memory", "explain", "events", "details", "may-abstain", "resume"}
_KNOWN = sorted({*_NUMBERS, *_TEXTS, *_FLAGS, "quality", "tools", "context-tokens"})
_TYPO = 0.8


@dataclass(frozen=True, slots=True)
class Options:
    """`explain`: the whole route in the reply; `events`: progress as typed events instead of comments; `details=False`.

    No field of ours; `inputs`: of a pipeline, beside what the messages say; `resume`: another model may go on with a
    stream that breaks off; `tools`: of the configuration, that are called here (true: all that the key may use), with
    `run` and `approve`: the run that goes on, and what was decided about its calls; `remember`: keep the conversation,
    as `session`, with prompts of at most `context_tokens`.
    """

    budget: Budget = field(default_factory=Budget)
    quality: float | None = None
    scope: str | None = None
    memory: bool | None = None
    strategy: str | None = None
    explain: bool = False
    events: bool = False
    details: bool = True
    may_abstain: bool = False
    value_usd: float | None = None
    criteria: tuple[str, ...] = ()
    inputs: dict[str, Any] | None = None
    resume: bool = False
    tools: tuple[str, ...] | bool | None = None
    run: str = ""
    approve: dict[str, bool] = field(default_factory=dict)
    remember: bool | None = None
    session: str | None = None
    context_tokens: int | None = None


def options_of(body: JsonObject, headers: Mapping[bytes, bytes]) -> Options:
    """Takes the options out of a body (whose schema was checked); what the body says goes before headers.

    Raises `GatewayError`.
    """
    stated = body.pop("orchestrator", None) or {}
    for name, value in headers.items():
        if name.startswith(PREFIX):
            stated = _with_header(stated, name[len(PREFIX) :].decode("latin-1"), value.decode("latin-1"))
    if not stated:
        return _NONE
    fields = {name: value for name, value in stated.items() if name != "budget"}
    if "criteria" in fields:
        fields["criteria"] = tuple(fields["criteria"])
    if isinstance(fields.get("tools"), list):
        fields["tools"] = tuple(fields["tools"])
    return Options(Budget(**stated.get("budget", {})), **fields)


def _with_header(stated: JsonObject, name: str, value: str) -> JsonObject:
    if name in _NUMBERS:
        field = _NUMBERS[name]
        return {**stated, "budget": {field: _number(name, value), **stated.get("budget", {})}}
    if name == "quality":
        quality = _number(name, value)
        if quality > 1:
            raise GatewayError(400, f"x-orchestrator-quality must lie in [0, 1], not {value!r}", code="invalid_header")
        return {"quality": quality, **stated}
    if name in _FLAGS:
        if value not in ("true", "false"):
            raise GatewayError(
                400, f"x-orchestrator-{name} must be true or false, not {value!r}", code="invalid_header"
            )
        return {name.replace("-", "_"): value == "true", **stated}
    if name in _TEXTS:
        return {name: value, **stated}
    if name == "tools":
        listed = [each.strip() for each in value.split(",") if each.strip()]
        return {"tools": value == "true" if value in ("true", "false") else listed, **stated}
    if name == "context-tokens":
        return {"context_tokens": int(_number(name, value)), **stated}
    _check_foreign(name)
    return stated


def _check_foreign(name: str) -> None:
    """Raises `GatewayError` on a slip of the pen: a limit must not be passed over. Other names are other programs'."""
    meant = closest(name, _KNOWN, cutoff=_TYPO)
    if meant is not None:
        told = f"unknown header x-orchestrator-{name}. Did you mean x-orchestrator-{meant}?"
        raise GatewayError(400, told, code="invalid_header")


def _number(name: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise GatewayError(
            400, f"x-orchestrator-{name} must be a number of at least 0, not {value!r}", code="invalid_header"
        )
    return int(number) if name in ("budget-tokens", "budget-calls") else number


_NONE = Options()
