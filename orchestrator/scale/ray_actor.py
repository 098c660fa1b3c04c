"""An orchestrator inside a Ray actor: what one's own Ray programs, and batches on Ray, ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.scale.ray_cluster import ray_module

if TYPE_CHECKING:
    from ray.actor import ActorHandle

    from orchestrator.batch.rows import InputRow
    from orchestrator.batch.work import RowOutcome, RowWork
    from orchestrator.budget import Budget
    from orchestrator.config.models import Config
    from orchestrator.engine.answer_methods import QueryLike
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.engine.settings import QuerySettings
    from orchestrator.pipeline import Runtime
    from orchestrator.types import Answer


class FleetActor:
    """What the actor does: asks a fleet that it builds when it is first asked.

    `config` is the text of an `orchestrator.yaml`, or a mapping of the same; without it, what is at hand on the actor's
    machine answers.
    """

    def __init__(self, config: str | Mapping[str, Any] | None = None, *, concurrency: int = 16) -> None:
        self._config = config
        self._concurrency = concurrency
        self._fleet: Orchestrator | None = None
        self._host: Runtime | None = None
        self._building = asyncio.Lock()

    async def answer(self, query: QueryLike = None, **settings: Unpack[QuerySettings]) -> Answer:
        """As `Orchestrator.answer`; the answer comes without its trace."""
        from dataclasses import replace

        return replace(await (await self._built()).answer(query, **settings), trace=None, reads=None)

    async def answer_rows(self, job: JsonObject, rows: Sequence[InputRow], usd: float | None) -> JsonObject:
        """What comes of rows of a batch, which all together may cost `usd`.

        `job` says what is done with them: `ask` and `settings`, or `pipeline` (its path on this machine). Gives
        `outcomes`, each with `id` and `line`, or `error`, `is_open` where only the money did not suffice; and
        `spent_usd`.
        """
        from orchestrator.budget import Budget

        work = await self._work(job, Budget(usd=usd))

        async def given() -> AsyncIterator[InputRow]:
            for row in rows:
                yield row

        outcomes = [_told(outcome) async for outcome in work.outcomes(given())]
        return {"outcomes": outcomes, "spent_usd": work.spent_usd()}

    def ready(self) -> bool:
        """Whether the actor lives."""
        return True

    async def _work(self, job: JsonObject, budget: Budget) -> RowWork:
        from orchestrator.batch.work import PipelineRuns, Questions, QuestionTemplate

        fleet = await self._built()
        how: dict[str, Any] = {"budget": budget, "concurrency": self._concurrency, "ordered": False}
        if job.get("pipeline") is None:
            template = None if job.get("ask") is None else QuestionTemplate(job["ask"])
            return Questions(fleet, template, job["settings"], **how)
        from orchestrator.pipeline import Pipeline, Runtime

        self._host = self._host or Runtime(fleet)
        return PipelineRuns(Pipeline.load(job["pipeline"]), self._host, **how)

    async def _built(self) -> Orchestrator:
        from orchestrator.engine.orchestrator import Orchestrator

        async with self._building:
            if self._fleet is None:
                if self._config is None:
                    self._fleet = await Orchestrator.at_hand()
                else:
                    self._fleet = Orchestrator.from_config(_parsed(self._config))
        return self._fleet


def orchestrator_actor(
    config: str | Mapping[str, Any] | None = None,
    *,
    concurrency: int = 16,
    name: str | None = None,
    num_cpus: float = 1.0,
    **options: JsonValue,
) -> ActorHandle:
    """A Ray actor that answers: `ray.get(actor.answer.remote("What is 17 * 23?")).text`.

    Args:
        config: The text of an `orchestrator.yaml`, a mapping of the same, or `None` for what is at hand there.
        concurrency: Rows of a batch that it works on at once.
        name: Under which other programs find it.
        num_cpus: What it takes of a machine.
        **options: Further options of Ray's actors, such as `resources` or `max_restarts`.

    Returns:
        The handle of the actor. One that died is started anew by Ray; calls that were under way fail, and may be made
        again.

    Raises:
        ConfigError: Ray is not installed.
    """
    ray = ray_module()
    stated = {"max_restarts": -1, "max_task_retries": 0, "num_cpus": num_cpus, "name": name, **options}
    return ray.remote(FleetActor).options(**stated).remote(config, concurrency=concurrency)


def _parsed(config: str | Mapping[str, Any]) -> Config:
    from orchestrator.config.models import parse_config, read_config

    return parse_config(config) if isinstance(config, str) else read_config(config)


def _told(outcome: RowOutcome) -> JsonObject:
    found: JsonObject = {"id": outcome.row.id, "line": outcome.line, "is_open": outcome.is_open}
    error = outcome.error
    if error is None:
        return found
    message = getattr(error, "message", "") or f"{type(error).__name__}: {error}"
    told = {"code": getattr(error, "code", type(error).__name__), "message": message}
    return found | {"error": told | {"remedy": getattr(error, "remedy", "")}}
