"""A batch on Ray: actors hold the engine, this process reads the rows and writes the results.

Rows go out in blocks, of which each actor has two: one that it works on and one that waits, so that a slow cluster is
not flooded. A result counts when it is written here. A block whose actor died goes to another; what the dead one had
answered and not yet given back is asked again, and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.batch.rows import InputRow
from orchestrator.batch.work import QuestionTemplate, RowOutcome, mistake_of
from orchestrator.budget import Budget
from orchestrator.engine.row_run import RowRun, TryLater
from orchestrator.engine.shared_budget import SharedBudget
from orchestrator.errors import BackendUnavailable, BudgetExceeded, ConfigError, OrchestratorError
from orchestrator.jsontypes import JsonObject
from orchestrator.scale.ray_actor import orchestrator_actor
from orchestrator.scale.ray_cluster import connect_ray

if TYPE_CHECKING:
    from ray.actor import ActorHandle

    from orchestrator.engine.settings import QuerySettings

BLOCK_ROWS = 32
BLOCKS_OF_ACTOR = 2
START_S = 300.0


class RayBatchWork:
    """Works on rows with `workers` actors of the cluster at `address`, or with `actors` that there are.

    Each block of rows may spend its share of what is left, so that all together never spend more than the budget: near
    its end rows stay open although a little is left.
    """

    def __init__(
        self,
        template: QuestionTemplate | None,
        pipeline: Path | None,
        settings: QuerySettings,
        *,
        config: Path | None,
        budget: Budget,
        concurrency: int,
        ordered: bool,
        address: str | None = None,
        workers: int = 2,
        num_cpus: float = 1.0,
        block_rows: int = BLOCK_ROWS,
        actors: Sequence[ActorHandle] = (),
    ) -> None:
        self._template = template
        self._job: JsonObject = {
            "ask": None if template is None else template.text,
            "settings": dict(settings),
            "pipeline": None if pipeline is None else str(pipeline.resolve()),
        }
        self._limits = budget
        self._budget = SharedBudget(budget)
        self._ordered = ordered
        self._blocks = (len(actors) or workers) * BLOCKS_OF_ACTOR
        self._block_rows = block_rows
        self._ray = connect_ray(address)
        text = None if config is None else config.read_text(encoding="utf-8")
        self.actors = list(actors) or [
            orchestrator_actor(text, concurrency=concurrency, num_cpus=num_cpus) for _ in range(workers)
        ]
        self._free: asyncio.Queue[Any] = asyncio.Queue()
        for actor in self.actors * BLOCKS_OF_ACTOR:
            self._free.put_nowait(actor)

    def check(self, row: InputRow) -> OrchestratorError | None:
        """What is wrong with a row; `None` for nothing."""
        return None if self._template is None else mistake_of(self._template, row)

    def spent_usd(self) -> float:
        """What was spent so far, in USD."""
        return self._budget.ledger.spent_usd

    def held_usd(self) -> float:
        """What blocks under way may spend."""
        return self._budget.ledger.held_usd

    async def outcomes(self, rows: AsyncIterable[InputRow]) -> AsyncGenerator[RowOutcome, None]:
        """What comes of each row. Raises `ConfigError` where no actor could be started."""
        await self._started()
        run: RowRun[list[RowOutcome]] = RowRun(
            _blocks(rows, self._block_rows), self._answer, concurrency=self._blocks, ordered=self._ordered
        )
        async for block in run.results():
            for outcome in block.result:
                yield outcome

    async def _started(self) -> None:
        try:
            async with asyncio.timeout(START_S):
                await asyncio.gather(*(actor.ready.remote() for actor in self.actors))
        except (TimeoutError, self._ray.exceptions.RayError) as error:
            raise ConfigError(
                f"no actor of the batch could be started on the cluster: {str(error).splitlines()[0] or 'no room'}",
                remedy="Check `ray status`: each actor needs a free CPU, and this package on its machine",
            ) from error

    async def _answer(self, _: int, block: object) -> list[RowOutcome]:
        assert isinstance(block, list)
        left_s = self._budget.left_s()
        usd = self._share_usd()
        if usd is not None and usd <= 0:
            spent = BudgetExceeded("nothing is left of the batch's budget", limit="usd", remedy="Raise --usd")
            return [RowOutcome(row, error=spent, is_open=True) for row in block]
        held = self._budget.ledger.reserve(usd=usd or 0.0)
        actor = await self._free.get()
        try:
            found = await asyncio.wait_for(actor.answer_rows.remote(self._job, block, usd), left_s)
        except (self._ray.exceptions.RayError, TimeoutError) as error:
            self._budget.ledger.close(held, held.nano, 0)  # what it had answered is paid, as far as anybody knows
            gone = BackendUnavailable(
                f"the actor that worked on the row is gone: {str(error).splitlines()[0] if str(error) else 'too late'}",
                remedy="Look at `ray status` and at the memory of its machine; the same command goes on",
            )
            raise TryLater([RowOutcome(row, error=gone) for row in block]) from None
        except BaseException:
            self._budget.ledger.close(held, held.nano, 0)
            raise
        finally:
            self._free.put_nowait(actor)
        self._budget.ledger.settle(held, usd=found["spent_usd"])
        by_id = {told["id"]: told for told in found["outcomes"]}
        return [_outcome(row, by_id[row.id]) for row in block]

    def _share_usd(self) -> float | None:
        left = self._budget.ledger.remaining_usd()
        return None if left is None else left / self._blocks


def _outcome(row: InputRow, told: JsonObject) -> RowOutcome:
    error = None if told.get("error") is None else ToldError(told["error"])
    return RowOutcome(row, told["line"], error, told["is_open"])


class ToldError(OrchestratorError):
    """An error that happened in an actor, as it was told here."""

    def __init__(self, told: JsonObject) -> None:
        super().__init__(told["message"], remedy=told["remedy"])
        self.code = told["code"]  # type: ignore[misc]


async def _blocks(rows: AsyncIterable[InputRow], size: int) -> AsyncIterator[list[InputRow]]:
    block: list[InputRow] = []
    async for row in rows:
        block.append(row)
        if len(block) == size:
            yield block
            block = []
    if block:
        yield block
