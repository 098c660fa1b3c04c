"""`map`: the same steps for every item of a list, several at once; what they give is in the order of the items."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from orchestrator.errors import OrchestratorError
from orchestrator.jsontypes import JsonMapping, JsonValue
from orchestrator.pipeline.expressions.types import ANY, LIST, NUMBER, ValueType, joined, list_of
from orchestrator.pipeline.language.contracts import CheckContext, Estimator, StepContext
from orchestrator.pipeline.language.estimates import Forecast
from orchestrator.pipeline.language.fields import ListField
from orchestrator.pipeline.language.step import Inner, OnError, Step, Steps

MAX_ITEMS = 100_000


class MapStep(Step):
    """Runs steps once for each item. With `on_error: skip`, items whose steps fail are left out."""

    verb: ClassVar[str] = "map"
    map: ListField
    """The list."""
    as_: str = Field(default="item", alias="as")
    """What the steps call the item; its number is `index`."""
    at_once: Annotated[int, Field(ge=1, le=10_000)] = 8
    """So many items are worked on at once."""
    do: Steps
    """The steps for each item."""
    output: Any = None
    """What is given for each item; it can use the item and the steps."""

    def inner(self, at: CheckContext) -> Mapping[str, Inner]:
        at.name_for("as", self.as_)
        item = at.types.get("map", LIST).item or ANY
        return {"do": Inner(self.do, ("do",), self.output, {self.as_: item, "index": NUMBER})}

    def gives(self, at: CheckContext) -> ValueType:
        block = at.blocks.get("do")
        item = block.type if block is not None else ANY
        if isinstance(self.on_error, OnError):
            item = joined([item, at.type_of(self.on_error.give, "on_error", "give")])
        return list_of(item)

    async def perform(self, running: StepContext, given: JsonMapping) -> JsonValue:
        items = given["map"]
        if not isinstance(items, list):
            raise TypeError(f"map takes a list, and this is {type(items).__name__}")
        if len(items) > MAX_ITEMS:
            raise ValueError(f"map takes at most {MAX_ITEMS:,} items, and these are {len(items):,}")
        found: list[Any] = [None] * len(items)
        failed: set[int] = set()
        waiting = iter(enumerate(items))
        skips = self.on_error != "fail"

        async def work() -> None:
            for index, item in waiting:
                try:
                    found[index] = await running.block("do", suffix=f"[{index}]", more={self.as_: item, "index": index})
                except OrchestratorError as error:
                    if not skips:
                        raise
                    failed.add(index)
                    running.emit("item_failed", index=index, reason=error.message)

        if items:
            running.note = f"{len(items):,} items"
            await _together([work() for _ in range(min(self.at_once, len(items)))])
        if failed:
            running.note = f"{len(failed):,} of {len(items):,} items failed"
        if isinstance(self.on_error, OnError):
            give = running.node.fields["on_error"](running.values)
            return [give if index in failed else each for index, each in enumerate(found)]
        return [each for index, each in enumerate(found) if index not in failed]

    def forecast(self, outlook: Estimator) -> Forecast:
        return outlook.of_map(self, self.at_once)


async def _together(work: list[Any]) -> None:
    import asyncio  # heavy, and not needed to check a file

    if len(work) == 1:
        await work[0]
        return
    try:
        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(each)
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
