"""Work on batches.

Each line of a file of requests is served by the endpoint that it names, under the limits of the key that brought it.

What was answered is never asked again, whatever process dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, cast

import orjson

from orchestrator.engine.row_run import RowRun, TryLater
from orchestrator.gateway.api.inside import ServeInside, request_inside
from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.storage.files import BATCH_ENDS, Documents, StoredBatch, new_file_id

AT_ONCE = 16
HELD_S = 30.0
LOOK_S = 5.0
MAX_LINES = 50_000
MAX_STORED_BYTES = 1_000_000_000
DAY_S = 86_400
log = logging.getLogger(__name__)


class BatchRunner:
    """The work on batches of one process, which holds them as `holder`.

    `serve_inside` makes one request as if it came over the network.
    """

    def __init__(
        self,
        documents: Documents,
        holder: str,
        *,
        clock: Callable[[], float],
        in_background: Callable[[Coroutine[None, None, None]], asyncio.Task[None]],
        serve_inside: ServeInside,
    ) -> None:
        self._documents = documents
        self._holder = holder
        self._clock = clock
        self._in_background = in_background
        self._serve_inside = serve_inside
        self._running: dict[str, asyncio.Task[None]] = {}
        self._ending = asyncio.Event()

    async def resume(self) -> None:
        """Looks for batches that nobody works on, again and again."""
        while True:
            try:
                before = self._clock() - HELD_S
                for batch in await asyncio.to_thread(self._documents.unfinished, held_before=before):
                    self.begin(batch)
            except Exception:
                log.exception("batches could not be looked for")
            await asyncio.sleep(LOOK_S)

    def begin(self, batch: StoredBatch) -> None:
        """Works on a batch, unless it is worked on already or the process ends."""
        if batch.id not in self._running and not self._ending.is_set():
            self._running[batch.id] = self._in_background(self._work(batch))

    async def drain(self, seconds: float) -> None:
        """Begins no further request, and waits for those under way.

        They are paid for, and are not asked again by whoever goes on with the batch.
        """
        self._ending.set()
        if self._running:
            await asyncio.wait(self._running.values(), timeout=seconds)

    async def _work(self, batch: StoredBatch) -> None:
        documents = self._documents
        try:
            before = self._clock() - HELD_S
            if not await asyncio.to_thread(documents.hold_batch, batch.id, self._holder, held_before=before):
                return
            lines = await self._lines(batch)
            if lines is None:
                return
            changes = {"in_progress_at": int(self._clock()), "total": len(lines)}
            await asyncio.to_thread(
                documents.change_batch, batch.id, "in_progress", changes, unless=(*BATCH_ENDS, "cancelling")
            )
            done = await asyncio.to_thread(documents.done_lines, batch.id)
            waiting = [(number, line) for number, line in enumerate(lines) if number not in done]
            holding = asyncio.create_task(self._hold(batch.id))
            try:
                await self._answer(batch, waiting)
            finally:
                holding.cancel()
            if self._ending.is_set():
                await asyncio.to_thread(documents.let_go_of_batch, batch.id, self._holder)
            else:
                await self._finish(batch)
        except Exception:
            log.exception("a batch failed", extra={"batch": batch.id})
        finally:
            del self._running[batch.id]

    async def _hold(self, id: str) -> None:
        while True:
            await asyncio.sleep(HELD_S / 3)
            await asyncio.to_thread(self._documents.hold_batch, id, self._holder, held_before=0.0)

    async def _lines(self, batch: StoredBatch) -> list[JsonObject] | None:
        """The requests of a batch; `None` if its file is not one, which is noted as its failure."""
        content = await asyncio.to_thread(self._documents.content, batch.org, batch.described["input_file_id"])
        errors: list[dict[str, Any]] = []
        lines: list[dict[str, Any]] = []
        seen: set[str] = set()
        for number, raw in enumerate((content or b"").splitlines(), 1):
            if not raw.strip():
                continue
            try:
                line = orjson.loads(raw)
            except orjson.JSONDecodeError as error:
                errors.append(_mistake(number, f"not JSON: {error}"))
                continue
            wrong = _wrong(line, batch.described["endpoint"], seen)
            if wrong:
                errors.append(_mistake(number, wrong))
            else:
                seen.add(line["custom_id"])
                lines.append(line)
        if not lines and not errors:
            errors.append(_mistake(None, "the file is empty or was deleted"))
        if len(lines) > MAX_LINES:
            errors.append(_mistake(None, f"more than {MAX_LINES:,} requests"))
        if not errors:
            return lines
        failed = {"errors": {"object": "list", "data": errors[:100]}, "failed_at": int(self._clock())}
        await asyncio.to_thread(self._documents.change_batch, batch.id, "failed", failed)
        return None

    async def _answer(self, batch: StoredBatch, lines: list[tuple[int, JsonObject]]) -> None:
        """Answers the lines, as long as the batch is wanted and this process lives.

        One that meets a limit which passes is tried again later, by the next process if this one ends.
        """

        async def answer(_: int, row: object) -> JsonObject | None:
            return await self._ask(batch, cast("tuple[int, JsonObject]", row)[1])

        rows = self._wanted(batch, lines)
        run: RowRun[JsonObject | None] = RowRun(rows, answer, concurrency=AT_ONCE, ordered=False, wait=self._wait)
        async for each in run.results():
            if each.result is not None:
                number, _ = cast("tuple[int, JsonObject]", each.row)
                is_error = each.result["response"]["status_code"] >= 400
                await asyncio.to_thread(self._documents.add_line, batch.id, number, each.result, is_error=is_error)

    async def _wanted(
        self, batch: StoredBatch, lines: list[tuple[int, JsonObject]]
    ) -> AsyncIterator[tuple[int, JsonObject]]:
        for line in lines:
            now = await asyncio.to_thread(self._documents.batch, batch.org, batch.id)
            if now is None or now.status == "cancelling" or self._ending.is_set():
                return
            yield line

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), seconds)

    async def _ask(self, batch: StoredBatch, line: JsonObject) -> JsonObject | None:
        """One request, as if it had come over the network; `None` where the process ends.

        Raises `TryLater`.
        """
        if self._ending.is_set():
            return None
        status, headers, content, id_ = await request_inside(
            self._serve_inside, batch.key, "POST", line["url"], {**line["body"], "stream": False}
        )
        try:
            body = orjson.loads(content)
        except orjson.JSONDecodeError:
            body = content.decode("utf-8", "replace")
        result: JsonObject = {
            "id": f"batch_req_{secrets.token_hex(12)}",
            "custom_id": line["custom_id"],
            "response": {"status_code": status, "request_id": id_, "body": body},
            "error": None,
        }
        wait = headers.get(b"retry-after")
        if status in (429, 503) and wait is not None and headers.get(b"x-should-retry") != b"false":
            raise TryLater(result, float(wait))
        return result

    async def _finish(self, batch: StoredBatch) -> None:
        documents = self._documents
        now = await asyncio.to_thread(documents.batch, batch.org, batch.id)
        if now is None:
            return
        changes: dict[str, Any] = {}
        for is_error, name in ((False, "output_file_id"), (True, "error_file_id")):
            lines = await asyncio.to_thread(documents.lines, batch.id, is_error=is_error)
            if lines:
                content = ("\n".join(lines) + "\n").encode()
                id_ = new_file_id()
                await asyncio.to_thread(
                    documents.add_file, batch.org, batch.key, id_, f"{batch.id}_{name}.jsonl", "batch_output", content
                )
                changes[name] = id_
        status = "cancelled" if now.status == "cancelling" else "completed"
        await asyncio.to_thread(
            documents.change_batch, batch.id, status, {**changes, f"{status}_at": int(self._clock())}
        )


def _wrong(line: JsonValue, endpoint: str, seen: set[str]) -> str:
    """What is wrong with a line of a batch's file; "" if nothing is."""
    if not isinstance(line, dict) or not isinstance(line.get("custom_id"), str) or not line["custom_id"]:
        return "a line is an object with a custom_id"
    if line["custom_id"] in seen:
        return f"the custom_id {line['custom_id']!r} stands twice"
    if line.get("method") != "POST" or line.get("url") != endpoint:
        return f"method and url must be POST and {endpoint}"
    return "" if isinstance(line.get("body"), dict) else "the body is missing"


def _mistake(number: int | None, message: str) -> JsonObject:
    return {"code": "invalid_line", "message": message, "param": None, "line": number}
