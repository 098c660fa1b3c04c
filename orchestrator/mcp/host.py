"""What a server of the Model Context Protocol does, whoever it does it for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypedDict

from orchestrator.budget import Budget
from orchestrator.errors import OrchestratorError
from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.tools.results import trimmed

if TYPE_CHECKING:
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.pipeline.execution.runtime import Runtime
    from orchestrator.pipeline.pipeline import Pipeline

MAX_RESOURCE_CHARS = 200_000
NO_NOTES = "memory holds nothing for this"


class HostError(Exception):
    """Why something was not done, in words for the client."""


class Answered(TypedDict):
    """An answer as a client reads it. `confidence` is P(correct) in [0, 1]."""

    answer: str
    confidence: float
    model: str
    cost_usd: float | None
    partial: bool


class Routed(TypedDict):
    """Which model would be asked, and why."""

    model: str | None
    reason: str
    p_correct: dict[str, float]


@dataclass(frozen=True, slots=True)
class OfferedPipeline:
    """A pipeline as a tool: `schema` is the JSON Schema of its inputs."""

    name: str
    description: str
    schema: JsonObject


class McpHost(Protocol):
    """Who does what a client asks for. Everything raises `HostError` with what the client should know."""

    scope: str

    async def answer(self, question: str, quality: float | None) -> Answered:
        """Answers a question; `quality` is the P(correct) to aim at."""

    async def recall(self, query: str, tokens: int) -> str:
        """What memory holds for a query, in at most `tokens` tokens."""

    async def remember(self, text: str) -> str:
        """Keeps a text; gives its id."""

    async def forget(self, ids: Sequence[int]) -> str:
        """Deletes records for good."""

    async def route(self, question: str) -> Routed:
        """Which model would be asked."""

    async def notes(self) -> str:
        """All that memory holds."""

    def pipelines(self) -> Sequence[OfferedPipeline]:
        """The pipelines that may be run."""

    async def run(self, pipeline: str, inputs: JsonObject) -> JsonValue:
        """The output of a run of a pipeline."""


class LocalHost:
    """A fleet of this process, and one scope of its memory.

    Args:
        fleet: What answers; its memory is what is recalled.
        scope: Whose memory it is, for every client.
        budget: Limits of each answer.
        pipelines: What may be run, by name.
        runtime: What their runs share.
    """

    def __init__(
        self,
        fleet: Orchestrator,
        *,
        scope: str = "default",
        budget: Budget | None = None,
        pipelines: Mapping[str, Pipeline] | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        self._fleet, self.scope, self._budget = fleet, scope, budget
        self._pipelines, self._runtime = dict(pipelines or {}), runtime

    async def answer(self, question: str, quality: float | None) -> Answered:
        """Answers a question."""
        try:
            found = (
                await self._fleet.answer(question, scope=self.scope, budget=self._budget)
                if quality is None
                else await self._fleet.answer(question, scope=self.scope, budget=self._budget, quality=quality)
            )
        except OrchestratorError as error:
            raise told(error) from error
        return Answered(
            answer=found.text,
            confidence=round(found.confidence, 4),
            model=found.model,
            cost_usd=found.cost_usd,
            partial=found.partial,
        )

    async def recall(self, query: str, tokens: int) -> str:
        """What memory holds for a query."""
        try:
            found = await self._fleet.recall(query, self.scope, token_budget=tokens)
        except OrchestratorError as error:
            raise told(error) from error
        return found.text or NO_NOTES

    async def remember(self, text: str) -> str:
        """Keeps a text."""
        try:
            return (await self._fleet.remember(text, self.scope, source="mcp")).citation
        except OrchestratorError as error:
            raise told(error) from error

    async def forget(self, ids: Sequence[int]) -> str:
        """Deletes records."""
        try:
            gone = await self._fleet.forget(self.scope, ids)
        except OrchestratorError as error:
            raise told(error) from error
        return f"forgotten: {len(gone)}; left: {gone.remaining}"

    async def route(self, question: str) -> Routed:
        """Which model would be asked."""
        try:
            found = await asyncio.to_thread(self._fleet.route, question)
        except OrchestratorError as error:
            raise told(error) from error
        return Routed(
            model=found.chosen,
            reason=found.reason,
            p_correct={option.model: round(option.p_success, 4) for option in found.options},
        )

    async def notes(self) -> str:
        """All that memory holds of the scope, oldest first."""
        memory = self._fleet.memory
        if memory is None:
            return "this fleet has no memory"
        records = await asyncio.to_thread(lambda: list(memory.export(self.scope)))
        return trimmed("\n".join(f"[{each.citation}] {each.key}" for each in records), MAX_RESOURCE_CHARS)

    def pipelines(self) -> Sequence[OfferedPipeline]:
        """The pipelines that may be run."""
        return [as_tool(name, each) for name, each in self._pipelines.items()]

    async def run(self, pipeline: str, inputs: JsonObject) -> JsonValue:
        """The output of a run of a pipeline."""
        try:
            return (await self._pipelines[pipeline].run(inputs, host=self._runtime)).output
        except OrchestratorError as error:
            raise told(error) from error


def as_tool(name: str, pipeline: Pipeline) -> OfferedPipeline:
    """A pipeline as a client is told of it."""
    return OfferedPipeline(name, pipeline.document.description or f"Runs the pipeline {name}", pipeline.schema)


def told(error: OrchestratorError) -> HostError:
    """An error in words for the client."""
    return HostError(f"{error.message}. {error.remedy}" if error.remedy else error.message)
