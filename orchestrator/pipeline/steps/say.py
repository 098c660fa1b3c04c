"""`say`: a value made of others. It asks nobody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from orchestrator.pipeline.expressions.types import ValueType
from orchestrator.pipeline.language.fields import ValueField
from orchestrator.pipeline.language.step import Step

if TYPE_CHECKING:
    from orchestrator.pipeline.execution.step_context import Running
    from orchestrator.pipeline.loading.check_context import At


class SayStep(Step):
    """Gives a text with `${...}` filled in, or any other value."""

    verb: ClassVar[str] = "say"
    say: ValueField

    def gives(self, at: At) -> ValueType:
        return at.types.get("say") or at.type_of(self.say, "say")

    async def perform(self, running: Running, given: Mapping[str, Any]) -> Any:
        return given.get("say")
