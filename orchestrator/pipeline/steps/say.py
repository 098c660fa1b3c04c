"""`say`: a value made of others. It asks nobody."""

from __future__ import annotations

from typing import ClassVar

from orchestrator.jsontypes import JsonMapping, JsonValue
from orchestrator.pipeline.expressions.types import ValueType
from orchestrator.pipeline.language.contracts import CheckContext, StepContext
from orchestrator.pipeline.language.fields import ValueField
from orchestrator.pipeline.language.step import Step


class SayStep(Step):
    """Gives a text with `${...}` filled in, or any other value."""

    verb: ClassVar[str] = "say"
    say: ValueField
    """Any value, with `${...}` in it."""

    def gives(self, at: CheckContext) -> ValueType:
        return at.types.get("say") or at.type_of(self.say, "say")

    async def perform(self, running: StepContext, given: JsonMapping) -> JsonValue:
        return given.get("say")
