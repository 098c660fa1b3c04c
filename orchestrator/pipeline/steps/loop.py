"""`loop`: the same steps again until a condition holds, but never more often than it says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PrivateAttr

from orchestrator.config.exact import Exact
from orchestrator.jsontypes import JsonMapping, JsonValue
from orchestrator.pipeline.expressions.evaluation import Compute, ExpressionFailed, within_bounds
from orchestrator.pipeline.expressions.types import ANY, BOOL, NUMBER, ValueType
from orchestrator.pipeline.language.contracts import CheckContext, Estimator, StepContext
from orchestrator.pipeline.language.estimates import Forecast
from orchestrator.pipeline.language.fields import ConditionField
from orchestrator.pipeline.language.step import Inner, Step, Steps

MAX_ROUNDS = 1_000


class Rounds(Exact):
    """How often the steps are repeated."""

    until: ConditionField | None = None
    """Looked at after each round; it can use what the steps gave."""
    at_most: Annotated[int, Field(ge=1, le=MAX_ROUNDS)]
    do: Steps
    output: Any = None
    otherwise: Literal["last", "fail"] = "last"
    """Where `until` held in no round: give what the last one gave (the step's note says so), or fail."""


class LoopStep(Step):
    """Runs steps in rounds.

    They can use `last` (what the round before gave; null in the first) and `index` (0 in the first).
    """

    verb: ClassVar[str] = "loop"
    loop: Rounds
    """`do` again `until` something holds, `at_most` so often."""
    _until: Compute | None = PrivateAttr(None)

    def inner(self, at: CheckContext) -> Mapping[str, Inner]:
        names = {"last": ANY.maybe("there is no last round in the first one"), "index": NUMBER}
        return {"do": Inner(self.loop.do, ("loop", "do"), self.loop.output, names)}

    def gives(self, at: CheckContext) -> ValueType:
        block = at.blocks.get("do")
        if self.loop.until is not None:
            steps = {node.name: node.type for node in block.nodes} if block is not None else {}
            at.type_of(
                self.loop.until,
                "loop",
                "until",
                wanted=BOOL,
                more={**steps, "last": block.type if block else ANY, "index": NUMBER},
            )
            self._until = at.computed(self.loop.until)
        return block.type if block is not None else ANY

    async def perform(self, running: StepContext, given: JsonMapping) -> JsonValue:
        last: Any = None
        for index in range(self.loop.at_most):
            more = {"last": last, "index": index}
            values = await running.inside("do", suffix=f"[{index}]", more=more)
            last = within_bounds(running.node.blocks["do"].output(values))
            if self._until is not None and self._until({**values, "last": last}) is True:
                return last
        if self._until is not None:
            running.note = f"`until` did not hold in {self.loop.at_most} rounds"
            if self.loop.otherwise == "fail":
                raise ExpressionFailed(running.note, remedy="Raise `at_most`, or state `otherwise: last`")
        return last

    def forecast(self, outlook: Estimator) -> Forecast:
        return outlook.of_loop(self.loop.at_most, bool(self.loop.until))
