"""Stand-ins for models: NOT real ones.

They let a pipeline's tests run without a key, a network or a bill; every answer says that it is simulated.

The calculator and the extractive model (which answers from notes) are real; each other model of the fleet is played by
one of its name and prices.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orchestrator.backends.base import Backend, LocalBackend, Request, estimate_prompt_tokens
from orchestrator.backends.local.calculator import CalculatorBackend
from orchestrator.backends.local.extractive import ExtractiveBackend
from orchestrator.router import ModelProfile
from orchestrator.tokens.estimate import estimate_tokens
from orchestrator.types import Completion, ToolCall, Usage

if TYPE_CHECKING:
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.memory import Memory
    from orchestrator.pipeline.pipeline import Pipeline

UNTOLD = "This is a stand-in for a model. It says what a test tells it to say, and nothing of its own. [simulated]"
USUAL = {
    "small": ModelProfile("small", 0.1, 0.4, skill=0.75, simulated=True),
    "large": ModelProfile("large", 2.0, 8.0, skill=0.93, simulated=True),
}


class StandIn(LocalBackend):
    """Says what it is told, one reply for each call, and the last one again; without any, that it is a stand-in."""

    def __init__(self, profile: ModelProfile, replies: Replies | None = None) -> None:
        super().__init__(replace(profile, simulated=True, capabilities=profile.capabilities | {"json"}))
        self._replies = replies

    def estimate(self, request: Request) -> float | None:
        """`None` where the test says what the model answers, so that it is asked."""
        return None if self._replies is not None else 0.3

    async def complete(self, request: Request) -> Completion:
        """The next reply that the test states, marked as simulated."""
        text, calls = (UNTOLD, ()) if self._replies is None else self._replies.next()
        usage = Usage(estimate_prompt_tokens(request.messages), max(estimate_tokens(text), 1))
        return Completion(self.profile.name, text, usage, 0.0, 0.0, simulated=True, calls=calls)


class Replies:
    """What the models of one step say, in the order in which they are asked."""

    def __init__(self, stated: Any) -> None:
        self._said = [
            _said(each, number) for number, each in enumerate(stated if isinstance(stated, list) else [stated])
        ]
        self._at = 0

    def next(self) -> tuple[str, tuple[ToolCall, ...]]:
        """The next reply, a text or calls of tools; the last one again when there are no more."""
        found = self._said[min(self._at, len(self._said) - 1)]
        self._at += 1
        return found


def _said(stated: Any, number: int) -> tuple[str, tuple[ToolCall, ...]]:
    """A reply as a test states it: a text, `{call: {TOOL: arguments}}`, or any value as JSON."""
    if isinstance(stated, Mapping) and set(stated) == {"call"} and isinstance(stated["call"], Mapping):
        made = enumerate(stated["call"].items())
        return "", tuple(ToolCall(str(name), dict(given or {}), f"call_{number}_{at}") for at, (name, given) in made)
    return stated if isinstance(stated, str) else json.dumps(stated), ()


def played_fleet(
    profiles: Iterable[ModelProfile], memory: Memory | None, replies: Replies | None = None
) -> Orchestrator:
    """An engine of stand-ins; with `replies`, they alone answer."""
    from orchestrator.engine.orchestrator import Orchestrator  # the whole engine

    backends: dict[str, Backend] = (
        {} if replies is not None else {"calculator": CalculatorBackend(), "extractive": ExtractiveBackend()}
    )
    backends |= {profile.name: StandIn(profile, replies) for profile in profiles if profile.name not in backends}
    return Orchestrator(backends, memory=memory, memory_tokens=0, origin="stand-ins for models (simulated)")


def profiles_for(pipeline: Pipeline, known: Mapping[str, ModelProfile] | None) -> list[ModelProfile]:
    """Those of the fleet, or the usual two; and one for each model that the pipeline names beside them."""
    found = {name: each for name, each in (known or USUAL).items() if name not in ("calculator", "extractive")} or dict(
        USUAL
    )
    for name in models_named(pipeline):
        found.setdefault(name, replace(USUAL["small"], name=name))
    return list(found.values())


def models_named(pipeline: Pipeline) -> list[str]:
    """The models that steps name."""
    names: list[str] = []
    for _, node in pipeline.block.walk():
        stated = getattr(node.step, "models", None)
        names += list(stated) if isinstance(stated, Sequence) and not isinstance(stated, str) else []
        asked = getattr(node.step, "ask", None)
        names += [asked] if isinstance(asked, str) and "${" not in asked else []
    return [name for name in dict.fromkeys(names) if name not in ("calculator", "extractive")]
