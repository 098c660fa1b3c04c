"""`branch`: the first arm whose condition holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, PrivateAttr, WithJsonSchema

from orchestrator.config.exact import Exact
from orchestrator.jsontypes import JsonMapping, JsonValue
from orchestrator.pipeline.expressions.evaluation import Compute
from orchestrator.pipeline.expressions.templates import guards_of
from orchestrator.pipeline.expressions.types import BOOL, NULL, ValueType, joined
from orchestrator.pipeline.language.contracts import CheckContext, Estimator, StepContext
from orchestrator.pipeline.language.estimates import Forecast
from orchestrator.pipeline.language.fields import REFERS, ConditionField
from orchestrator.pipeline.language.step import Inner, Step, Steps


class Arm(Exact):
    """`when` a condition holds (or, in the last arm, `otherwise`): steps to `do`, or a value to `give`."""

    when: ConditionField | None = None
    do: Steps | None = None
    give: Any = None
    output: Any = None
    otherwise: Any = None


class BranchStep(Step):
    """Runs the first arm whose `when` holds. Without `otherwise`, the value is null where none does."""

    verb: ClassVar[str] = "branch"
    branch: Annotated[
        list[Arm], Field(min_length=1, max_length=100), WithJsonSchema({"type": "array", "items": {REFERS: "Arm"}})
    ]
    """The arms, in order: `{when, do}`, `{when, give}`, and at last `{otherwise}` or `{do}`."""
    _arms: list[tuple[Compute | None, str, Compute | None]] = PrivateAttr(default_factory=list)

    def inner(self, at: CheckContext) -> Mapping[str, Inner]:
        return {
            str(index): Inner(arm.do, ("branch", index, "do"), arm.output, at.assumed(guards_of(arm.when)))
            for index, arm in enumerate(self.branch)
            if arm.do is not None
        }

    def gives(self, at: CheckContext) -> ValueType:
        types, has_last = [], False
        for index, arm in enumerate(self.branch):
            here = ("branch", index)
            stated = arm.model_fields_set
            value = "otherwise" if "otherwise" in stated else "give" if "give" in stated else ""
            is_last = arm.when is None
            has_last |= is_last
            if is_last and index < len(self.branch) - 1:
                at.problem("E106", "only the last arm of a branch can do without 'when'", *here)
            if "otherwise" in stated and stated & {"give", "do", "output"}:
                told = (
                    "'otherwise' holds the value itself: nothing beside it is heeded. Write {otherwise: value}, or "
                    "{give: value} without it"
                )
                at.problem("E106", told, *here)
                continue
            if (
                isinstance(arm.otherwise, Mapping)
                and arm.otherwise
                and arm.otherwise.keys() <= {"give", "do", "output"}
            ):
                told = "for steps, the last arm is {do: ...} without 'otherwise'"
                if "give" in arm.otherwise:
                    told = "write {otherwise: value} without 'give'"
                at.problem("E106", f"'otherwise' holds the value itself: {told}", *here)
                continue
            if (arm.do is None) == (not value) or ("otherwise" in stated and arm.when is not None):
                at.problem(
                    "E106",
                    "an arm has 'when', and 'do' or 'give'; the last one may be {otherwise: value} or {do: ...}",
                    *here,
                )
                continue
            when = None
            if arm.when is not None:
                at.type_of(arm.when, *here, "when", wanted=BOOL)
                when = at.computed(arm.when)
            if value:
                stated_value = getattr(arm, value)
                types.append(at.type_of(stated_value, *here, value, more=at.assumed(guards_of(arm.when))))
                self._arms.append((when, "", at.computed(stated_value)))
            else:
                block = at.blocks.get(str(index))
                types.append(block.type if block is not None else NULL)
                self._arms.append((when, str(index), None))
        found = joined(types)
        return found if has_last else found.maybe(f"no arm of '{at.name}' may hold, and it has no 'otherwise'")

    async def perform(self, running: StepContext, given: JsonMapping) -> JsonValue:
        for when, block, compute in self._arms:
            if when is None or when(running.values) is True:
                running.emit("branched", arm=block or "value")
                return (
                    compute(running.values) if compute is not None else await running.block(block, suffix=f"[{block}]")
                )
        return None

    def forecast(self, outlook: Estimator) -> Forecast:
        return outlook.of_branch()
