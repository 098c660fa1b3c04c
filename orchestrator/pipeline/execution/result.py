"""How a run ended: what it gave, what it cost, and what each step did."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from orchestrator.errors import OrchestratorError
from orchestrator.jsontypes import JsonObject

Status = Literal["done", "skipped", "failed", "kept", "cached"]


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one step did.

    `kept` says that an earlier part of the run did it; `cost_usd` is `None` where a price is not known.
    """

    path: str
    verb: str
    status: Status
    seconds: float
    cost_usd: float | None = 0.0
    attempts: int = 1
    value: Any = None
    error: str = ""
    note: str = ""

    def as_dict(self) -> JsonObject:
        """The step as JSON values."""
        stated = {
            "path": self.path,
            "verb": self.verb,
            "status": self.status,
            "seconds": round(self.seconds, 6),
            "cost_usd": self.cost_usd,
        }
        return {
            **stated,
            "attempts": self.attempts,
            "value": self.value,
            **{name: told for name in ("error", "note") if (told := getattr(self, name))},
        }


@dataclass(frozen=True, slots=True)
class RunResult:
    """`output` is what the file's `output:` says.

    `partial` says that a budget ended the run early, `stopped` which; `simulated` that any answer came from a simulated
    model. `steps` are in the order in which they ended; those in the background are added as they end.
    """

    id: str
    output: Any
    partial: bool
    stopped: str
    cost_usd: float | None
    seconds: float
    calls: int
    steps: Sequence[StepResult] = field(repr=False)
    simulated: bool = False
    background: asyncio.Task[None] | None = field(default=None, repr=False, compare=False)

    @property
    def failed_steps(self) -> tuple[StepResult, ...]:
        """The steps that failed and that the run went on without (`on_error`), in the order in which they ended."""
        return tuple(step for step in self.steps if step.status == "failed")

    @property
    def why_partial(self) -> str:
        """What the budget did not allow, in words; "" for a run that was not cut short."""
        if not self.partial:
            return ""
        refused = next((step for step in self.steps if step.status == "skipped" and step.error), None)
        return f"the budget of {self.stopped} is spent" if refused is None else f"{refused.path}: {refused.error}"

    def step(self, path: str) -> StepResult:
        """What the step at a path did. Raises `KeyError` if it did not run."""
        for step in self.steps:
            if step.path == path:
                return step
        raise KeyError(path)

    async def settled(self) -> None:
        """Returns when the steps in the background have ended."""
        if self.background is not None:
            await asyncio.shield(self.background)

    def as_dict(self, *, with_steps: bool = True) -> JsonObject:
        """The result as JSON values; with `with_steps` every step, too."""
        told = {
            "id": self.id,
            "output": self.output,
            "partial": self.partial,
            "stopped": self.stopped,
            "cost_usd": self.cost_usd,
            "seconds": round(self.seconds, 6),
            "calls": self.calls,
            "simulated": self.simulated,
        }
        return {**told, "steps": [step.as_dict() for step in self.steps]} if with_steps else told


class RunFailed(OrchestratorError):
    """A step failed, and nothing says what to do then.

    `path` is the step's, `run` the run's id: what finished is kept if runs are kept.
    """

    code = "run_failed"

    def __init__(
        self, message: str, *, path: str, run: str, remedy: str = "", cause: BaseException | None = None
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.path = path
        self.run = run
        self.cause = cause

    def as_dict(self) -> JsonObject:
        """As every error, with the step and the run."""
        return {**super().as_dict(), "step": self.path, "run": self.run}


class RunCancelled(OrchestratorError):
    """A run was ended from elsewhere."""

    code = "run_cancelled"


class UnknownRun(OrchestratorError, LookupError):
    """A run that nobody knows of."""

    code = "unknown_run"
