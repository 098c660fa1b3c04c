"""What was served goes to the database, the metrics, the access log and the spans.

All together, in batches, beside the requests.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TextIO

from orchestrator.errors import StorageError
from orchestrator.gateway.observability.metrics import Metrics
from orchestrator.storage.requests import Requests, ServedRequest
from orchestrator.storage.trace_policy import TracePolicy

MAX_WAITING = 100_000
log = logging.getLogger(__name__)


class Recorder:
    """`spans` exports what was served (see `gateway.telemetry`), `policy` says what is kept of each request.

    What the database cannot take waits for the next time, up to a bound.
    """

    def __init__(
        self,
        requests: Requests,
        metrics: Metrics,
        *,
        access_log: str | None = None,
        spans: Callable[[Iterable[ServedRequest]], None] | None = None,
        policy: TracePolicy | None = None,
    ) -> None:
        self._requests = requests
        self._metrics = metrics
        self.spans = spans
        self.policy = policy or TracePolicy()
        self._lines = None if access_log is None else _opened(access_log)
        self._new: list[ServedRequest] = []
        self._unkept: list[ServedRequest] = []
        self._turn = asyncio.Lock()

    def add(self, served: ServedRequest) -> None:
        """Takes the record of a request; it is written soon after."""
        self._new.append(served)

    async def flush(self) -> None:
        """Returns when all that was added before is written.

        Who waits for it may be cancelled, the writing is not: what left the list arrives.
        """
        await asyncio.shield(self._flush())

    async def _flush(self) -> None:
        async with self._turn:
            await self._write()

    async def _write(self) -> None:
        new, self._new = self._new, []
        if not new and not self._unkept:
            return
        self._metrics.count(new)
        kept = self._unkept + new
        self._unkept = []
        try:
            await asyncio.to_thread(self._keep, kept, new)
        except StorageError as error:
            self._unkept = kept[-MAX_WAITING:]
            self._metrics.dropped.inc(max(len(kept) - MAX_WAITING, 0))
            log.error("requests were not recorded yet: %s", error, extra={"waiting": len(self._unkept)})

    def close(self) -> None:
        """Closes the file of access lines."""
        if self._lines is not None and self._lines is not sys.stderr:
            self._lines.close()

    def _keep(self, kept: list[ServedRequest], new: list[ServedRequest]) -> None:
        if self._lines is not None:
            self._lines.writelines(json.dumps(_line(one)) + "\n" for one in new)
            self._lines.flush()
        if self.spans is not None:
            self.spans(new)
        try:
            self._requests.add(kept, self.policy)
        except Exception as error:  # a record may hold what no database takes, whatever that raises
            self._keep_each(kept, error)

    def _keep_each(self, kept: list[ServedRequest], failed: Exception) -> None:
        """One by one: a record that no database takes must not keep the others waiting.

        Raises what `failed` where none can be kept: then it is the database, and all of them wait.
        """
        self._requests.database.check()  # raises where it is away
        refused = []
        for one in kept:
            try:
                self._requests.add([one], self.policy)
            except Exception:
                refused.append(one)
        if len(refused) == len(kept):
            raise failed if isinstance(failed, StorageError) else StorageError(str(failed)) from failed
        for one in refused:
            self._metrics.dropped.inc()
            log.error("a request cannot be recorded", extra={"request": one.id})


def _line(one: ServedRequest) -> dict[str, object]:
    """A request as the access log tells it: who, what, how much, never what was said."""
    names = (
        "at",
        "id",
        "org",
        "team",
        "key",
        "api",
        "asked",
        "model",
        "status",
        "error",
        "cached",
        "prefill_tokens",
        "output_tokens",
        "ttft_s",
    )
    cost = None if one.cost_nano is None else one.cost_nano / 1e9
    return {name: getattr(one, name) for name in names} | {"cost_usd": cost, "latency_s": round(one.latency_s, 6)}


def _opened(access_log: str) -> TextIO:
    """The file of access lines, opened for as long as the process lives; `-` is the standard error."""
    return sys.stderr if access_log == "-" else Path(access_log).open("a", encoding="utf-8")
