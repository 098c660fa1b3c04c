"""`route`: which model would be asked, and why. No model is asked, and it costs nothing."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from orchestrator.jsontypes import JsonMapping, JsonValue
from orchestrator.pipeline.expressions.types import BOOL, NUMBER, TEXT, ValueType, record
from orchestrator.pipeline.language.contracts import CheckContext, StepContext
from orchestrator.pipeline.language.fields import NumberField, TextField
from orchestrator.pipeline.language.step import Step
from orchestrator.pipeline.steps.answer_types import UNPRICED


class RouteStep(Step):
    """Chooses a model for a query: the cheapest that will do, or the best."""

    verb: ClassVar[str] = "route"
    route: Literal["cheapest", "best"]
    """`cheapest` that reaches the quality, or the `best`."""
    query: TextField
    """What would be asked."""
    models: list[str] | None = Field(default=None, min_length=1)
    """Only these models of the fleet."""
    quality: NumberField | None = None
    """The P(correct) to reach, in [0, 1]."""

    def gives(self, at: CheckContext) -> ValueType:
        for index, name in enumerate(self.models or ()):
            at.model(name, "models", index)
        return record(
            model=TEXT,
            next=TEXT.maybe("there may be no better model"),
            p_success=NUMBER,
            adequate=BOOL,
            cost_usd=NUMBER.maybe(UNPRICED),
            reason=TEXT,
        )

    async def perform(self, running: StepContext, given: JsonMapping) -> JsonValue:
        import asyncio  # heavy, and not needed to check a file

        engine = await running.engine()
        quality = 1.0 if self.route == "best" else given.get("quality")
        found = await asyncio.to_thread(engine.route, given["query"], quality=quality, models=self.models)
        by_p = sorted(found.usable, key=lambda option: option.p_success)
        chosen = by_p[-1] if self.route == "best" else next(option for option in by_p if option.model == found.chosen)
        better = [option for option in by_p if option.p_success > chosen.p_success]
        return {
            "model": chosen.model,
            "next": better[0].model if better else None,
            "p_success": chosen.p_success,
            "adequate": found.adequate,
            "cost_usd": chosen.cost_usd,
            "reason": found.reason if self.route == "cheapest" else "the most likely to be right",
        }
