"""`parallel`: steps side by side, whether or not they could wait for each other; with `first`, a race."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from orchestrator.config.exact import Exact
from orchestrator.errors import OrchestratorError
from orchestrator.jsontypes import JsonMapping, JsonValue
from orchestrator.pipeline.expressions.types import ANY, ValueType, joined, list_of
from orchestrator.pipeline.language.contracts import CheckContext, Estimator, StepContext
from orchestrator.pipeline.language.estimates import Forecast
from orchestrator.pipeline.language.step import Inner, Step, Steps


class Lanes(Exact):
    """Steps side by side."""

    do: Steps
    first: Annotated[int, Field(ge=1)] | None = None
    """End when so many have given a value; the others are cancelled. What fails does not count."""
    at_once: Annotated[int, Field(ge=1, le=10_000)] = 100
    output: Any = None


class ParallelStep(Step):
    """Runs steps at once. Gives their values by name; with `first: n`, the list of the first n values, as they came."""

    verb: ClassVar[str] = "parallel"
    parallel: Lanes
    """`do`: steps side by side; `first: n`: only the first n that end."""

    def inner(self, at: CheckContext) -> Mapping[str, Inner]:
        return {"do": Inner(self.parallel.do, ("parallel", "do"), self.parallel.output)}

    def gives(self, at: CheckContext) -> ValueType:
        block = at.blocks.get("do")
        if block is None:
            return ANY
        if self.parallel.first is None:
            return block.type
        if self.parallel.first > len(block.nodes):
            at.problem(
                "E106", f"{at.what}: the first {self.parallel.first} of {len(block.nodes)} steps", "parallel", "first"
            )
        for index, node in enumerate(block.nodes):
            if block.waits[index]:
                at.problem(
                    "E106",
                    f"in a race, '{node.name}' cannot wait for another step",
                    "parallel",
                    "do",
                    node.name,
                    key=True,
                )
        if self.parallel.output is not None:
            at.problem(
                "E106", "a race gives the list of its first values; it has no 'output'", "parallel", "output", key=True
            )
        return list_of(joined(node.type for node in block.nodes))

    async def perform(self, running: StepContext, given: JsonMapping) -> JsonValue:
        if self.parallel.first is None:
            return await running.block("do")
        return await _race(running, self.parallel.first, self.parallel.at_once)

    def forecast(self, outlook: Estimator) -> Forecast:
        return outlook.of_block()


async def _race(running: StepContext, first: int, at_once: int) -> list[Any]:
    """The values that come first; those that an earlier part of the run had count as first."""
    import asyncio  # heavy, and not needed to check a file

    nodes = running.node.blocks["do"].nodes
    order = sorted(range(len(nodes)), key=lambda index: not running.keeps(f"{running.path}.{nodes[index].name}"))
    gate = asyncio.Semaphore(at_once)

    async def lane(index: int) -> Any:
        async with gate:
            return await running.alone("do", index, dict(running.values))

    running_lanes = {asyncio.ensure_future(lane(index)) for index in order}
    found: list[Any] = []
    errors: list[BaseException] = []
    try:
        while running_lanes and len(found) < first:
            done, running_lanes = await asyncio.wait(running_lanes, return_when=asyncio.FIRST_COMPLETED)
            for lane_ in done:
                error = lane_.exception()
                if error is None:
                    found.append(lane_.result())
                elif isinstance(error, OrchestratorError):
                    errors.append(error)
                else:
                    raise error
    finally:
        for lane_ in running_lanes:
            lane_.cancel()
        await asyncio.gather(*running_lanes, return_exceptions=True)
    if len(found) < first:
        raise errors[0]
    return found[:first]
