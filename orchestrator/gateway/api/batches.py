"""/v1/files and /v1/batches: many requests at once, answered in the background; what was answered is never asked again, whatever process dies.

A batch is worked on by one process at a time (it holds the batch in the database), each line by the endpoint that it names, under the limits of the
key that made the batch.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from typing import TYPE_CHECKING, Any

import orjson

from orchestrator.gateway.api.endpoint import Endpoint, Param
from orchestrator.gateway.http.error_mapping import Problem
from orchestrator.gateway.http.multipart import parts_of
from orchestrator.gateway.http.request import Call
from orchestrator.storage.files import BATCH_ENDS, StoredBatch, StoredFile

if TYPE_CHECKING:
    from orchestrator.gateway.app import Gateway

AT_ONCE = 4
HELD_S = 30.0
LOOK_S = 5.0
PATIENCE = 20  # how often a line that met a limit is tried again
MOST_LINES = 50_000
MOST_STORED_BYTES = 1_000_000_000
DAY_S = 86_400
log = logging.getLogger(__name__)


class Batches:
    """The work on batches of this process."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._running: dict[str, asyncio.Task[None]] = {}
        self._ending = asyncio.Event()

    async def resume(self) -> None:
        """Looks for batches that nobody works on, again and again."""
        while True:
            try:
                before = self._gateway.clock() - HELD_S
                for batch in await asyncio.to_thread(self._gateway.documents.unfinished, held_before=before):
                    self.begin(batch)
            except Exception:
                log.exception("batches could not be looked for")
            await asyncio.sleep(LOOK_S)

    def begin(self, batch: StoredBatch) -> None:
        if batch.id not in self._running and not self._ending.is_set():
            self._running[batch.id] = self._gateway.in_background(self._work(batch))

    async def drain(self, seconds: float) -> None:
        """Begins no further request, and waits for those under way: they are paid for, and are not asked again by whoever goes on with the batch."""
        self._ending.set()
        if self._running:
            await asyncio.wait(self._running.values(), timeout=seconds)

    async def _work(self, batch: StoredBatch) -> None:
        documents, gateway = self._gateway.documents, self._gateway
        try:
            before = gateway.clock() - HELD_S
            if not await asyncio.to_thread(documents.hold_batch, batch.id, gateway.holder, held_before=before):
                return
            lines = await self._lines(batch)
            if lines is None:
                return
            changes = {"in_progress_at": int(gateway.clock()), "total": len(lines)}
            await asyncio.to_thread(documents.change_batch, batch.id, "in_progress", changes, unless=(*BATCH_ENDS, "cancelling"))
            done = await asyncio.to_thread(documents.done_lines, batch.id)
            waiting = iter([(number, line) for number, line in enumerate(lines) if number not in done])
            holding = asyncio.create_task(self._hold(batch.id))
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(AT_ONCE):
                        group.create_task(self._answer(batch, waiting))
            finally:
                holding.cancel()
            if self._ending.is_set():
                await asyncio.to_thread(documents.let_go_of_batch, batch.id, gateway.holder)
            else:
                await self._finish(batch)
        except Exception:
            log.exception("a batch failed", extra={"batch": batch.id})
        finally:
            del self._running[batch.id]

    async def _hold(self, id: str) -> None:
        while True:
            await asyncio.sleep(HELD_S / 3)
            await asyncio.to_thread(self._gateway.documents.hold_batch, id, self._gateway.holder, held_before=0.0)

    async def _lines(self, batch: StoredBatch) -> list[dict[str, Any]] | None:
        """The requests of a batch; `None` if its file is not one, which is noted as its failure."""
        content = await asyncio.to_thread(self._gateway.documents.content, batch.org, batch.described["input_file_id"])
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
        if len(lines) > MOST_LINES:
            errors.append(_mistake(None, f"more than {MOST_LINES:,} requests"))
        if not errors:
            return lines
        failed = {"errors": {"object": "list", "data": errors[:100]}, "failed_at": int(self._gateway.clock())}
        await asyncio.to_thread(self._gateway.documents.change_batch, batch.id, "failed", failed)
        return None

    async def _answer(self, batch: StoredBatch, waiting: Any) -> None:
        documents = self._gateway.documents
        for number, line in waiting:
            now = await asyncio.to_thread(documents.batch, batch.org, batch.id)
            if now is None or now.status == "cancelling" or self._ending.is_set():
                return
            answered = await self._ask(batch, line)
            if answered is None:
                return
            status, body, request_id = answered
            result = {
                "id": f"batch_req_{secrets.token_hex(12)}",
                "custom_id": line["custom_id"],
                "response": {"status_code": status, "request_id": request_id, "body": body},
                "error": None,
            }
            await asyncio.to_thread(documents.add_line, batch.id, number, result, is_error=status >= 400)

    async def _ask(self, batch: StoredBatch, line: dict[str, Any]) -> tuple[int, Any, str] | None:
        """One request, as if it had come over the network; one that meets a limit which passes is tried again later, by the next process if this
        one ends (`None`).
        """
        for attempt in range(PATIENCE):
            status, headers, content, id_ = await _inside(self._gateway, batch.key, line["url"], {**line["body"], "stream": False})
            wait = headers.get(b"retry-after")
            if status not in (429, 503) or wait is None or headers.get(b"x-should-retry") == b"false" or attempt == PATIENCE - 1:
                break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), min(float(wait), 60.0))
                return None
        try:
            return status, orjson.loads(content), id_
        except orjson.JSONDecodeError:
            return status, content.decode("utf-8", "replace"), id_

    async def _finish(self, batch: StoredBatch) -> None:
        documents = self._gateway.documents
        now = await asyncio.to_thread(documents.batch, batch.org, batch.id)
        if now is None:
            return
        changes: dict[str, Any] = {}
        for is_error, name in ((False, "output_file_id"), (True, "error_file_id")):
            lines = await asyncio.to_thread(documents.lines, batch.id, is_error=is_error)
            if lines:
                content = ("\n".join(lines) + "\n").encode()
                id_ = _file_id()
                await asyncio.to_thread(documents.add_file, batch.org, batch.key, id_, f"{batch.id}_{name}.jsonl", "batch_output", content)
                changes[name] = id_
        status = "cancelled" if now.status == "cancelling" else "completed"
        await asyncio.to_thread(documents.change_batch, batch.id, status, {**changes, f"{status}_at": int(self._gateway.clock())})


def _wrong(line: Any, endpoint: str, seen: set[str]) -> str:
    """What is wrong with a line of a batch's file; "" if nothing is."""
    if not isinstance(line, dict) or not isinstance(line.get("custom_id"), str) or not line["custom_id"]:
        return "a line is an object with a custom_id"
    if line["custom_id"] in seen:
        return f"the custom_id {line['custom_id']!r} stands twice"
    if line.get("method") != "POST" or line.get("url") != endpoint:
        return f"method and url must be POST and {endpoint}"
    return "" if isinstance(line.get("body"), dict) else "the body is missing"


def _mistake(number: int | None, message: str) -> dict[str, Any]:
    return {"code": "invalid_line", "message": message, "param": None, "line": number}


async def _inside(gateway: Gateway, key: str, path: str, body: dict[str, Any]) -> tuple[int, dict[bytes, bytes], bytes, str]:
    """A request of a key's owner from inside: (status, headers, body, id). It goes through all checks and limits of that key."""
    found: dict[str, Any] = {"status": 500, "headers": {}, "body": b""}
    sent = False
    ended = asyncio.Event()

    async def receive() -> dict[str, Any]:
        nonlocal sent
        if not sent:
            sent = True
            return {"type": "http.request", "body": orjson.dumps(body), "more_body": False}
        await ended.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            found["status"], found["headers"] = message["status"], dict(message["headers"])
        else:
            found["body"] += message.get("body", b"")

    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": [(b"content-type", b"application/json")]}
    await gateway.serve_inside(scope, receive, send, key)
    ended.set()
    return found["status"], found["headers"], found["body"], found["headers"].get(b"x-request-id", b"").decode()


# Files


async def upload(gateway: Gateway, call: Call, _: Any) -> None:
    filename, purpose, content = _form(call.header(b"content-type") or "", await gateway.body_of(call))
    principal = call.principal
    stored = await asyncio.to_thread(gateway.documents.bytes_of, principal.owner)
    if stored + len(content) > MOST_STORED_BYTES:
        raise Problem(
            413, f"the files of the organisation would take more than {MOST_STORED_BYTES:,} bytes; delete some", code="storage_full"
        )
    kept = await asyncio.to_thread(gateway.documents.add_file, principal.owner, principal.key, _file_id(), filename, purpose, content)
    await call.reply_json(_file(kept))


def _form(content_type: str, body: bytes) -> tuple[str, str, bytes]:
    """(file name, purpose, content) of a multipart form. Raises `Problem`."""
    found = {part.name: part for part in parts_of(content_type, body)}
    if "file" not in found:
        raise Problem(400, "the form has no `file`", code="missing_parameter", param="file")
    purpose = found["purpose"].content.decode("utf-8", "replace") if "purpose" in found else ""
    if purpose not in ("batch", "user_data", "evals"):
        raise Problem(400, f"purpose must be batch, user_data or evals, not {purpose[:50]!r}", code="invalid_parameter", param="purpose")
    return (found["file"].filename or "file")[:255], purpose, found["file"].content


async def files(gateway: Gateway, call: Call, _: Any) -> None:
    found = await asyncio.to_thread(gateway.documents.files, call.principal.owner)
    await call.reply_json({"object": "list", "data": [_file(file) for file in found], "has_more": False})


async def file(gateway: Gateway, call: Call, _: Any) -> None:
    found = await asyncio.to_thread(gateway.documents.file, call.principal.owner, call.params["id"])
    if found is None:
        raise _no_file(call.params["id"])
    await call.reply_json(_file(found))


async def content(gateway: Gateway, call: Call, _: Any) -> None:
    found = await asyncio.to_thread(gateway.documents.content, call.principal.owner, call.params["id"])
    if found is None:
        raise _no_file(call.params["id"])
    await call.reply(200, found, [(b"content-type", b"application/octet-stream")])


async def delete(gateway: Gateway, call: Call, _: Any) -> None:
    if not await asyncio.to_thread(gateway.documents.delete_file, call.principal.owner, call.params["id"]):
        raise _no_file(call.params["id"])
    await call.reply_json({"id": call.params["id"], "object": "file", "deleted": True})


def _file_id() -> str:
    return f"file-{secrets.token_hex(12)}"


def _no_file(id: str) -> Problem:
    return Problem(404, f"there is no file {id!r}", code="file_not_found")


def _file(file: StoredFile) -> dict[str, Any]:
    kept = {"id": file.id, "object": "file", "bytes": file.bytes, "created_at": int(file.created_at)}
    return {**kept, "filename": file.filename, "purpose": file.purpose, "status": "processed"}


# Batches


async def add(gateway: Gateway, call: Call, body: dict[str, Any]) -> None:
    principal = call.principal
    if await asyncio.to_thread(gateway.documents.file, principal.owner, body["input_file_id"]) is None:
        raise _no_file(body["input_file_id"])
    described = {name: body.get(name) for name in ("input_file_id", "endpoint", "completion_window", "metadata")}
    batch = await asyncio.to_thread(
        gateway.documents.add_batch, principal.owner, principal.key, f"batch_{secrets.token_hex(12)}", described
    )
    gateway.batches.begin(batch)
    await call.reply_json(await _described(gateway, batch))


async def listed(gateway: Gateway, call: Call, _: Any) -> None:
    found = await asyncio.to_thread(gateway.documents.batches, call.principal.owner)
    data = [await _described(gateway, batch) for batch in found]
    await call.reply_json(
        {
            "object": "list",
            "data": data,
            "has_more": False,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
        }
    )


async def find(gateway: Gateway, call: Call, _: Any) -> None:
    await call.reply_json(await _described(gateway, await _batch(gateway, call)))


async def cancel(gateway: Gateway, call: Call, _: Any) -> None:
    batch = await _batch(gateway, call)
    changes = {"cancelling_at": int(gateway.clock())}
    if not await asyncio.to_thread(gateway.documents.change_batch, batch.id, "cancelling", changes):
        raise Problem(409, f"the batch is {batch.status}: there is nothing to cancel", code="batch_ended")
    await call.reply_json(await _described(gateway, await _batch(gateway, call)))


async def _batch(gateway: Gateway, call: Call) -> StoredBatch:
    found = await asyncio.to_thread(gateway.documents.batch, call.principal.owner, call.params["id"])
    if found is None:
        raise Problem(404, f"there is no batch {call.params['id']!r}", code="batch_not_found")
    return found


async def _described(gateway: Gateway, batch: StoredBatch) -> dict[str, Any]:
    completed, failed = await asyncio.to_thread(gateway.documents.counts, batch.id)
    described = dict(batch.described)
    total = described.pop("total", completed + failed)
    empty = ("errors", "output_file_id", "error_file_id", "in_progress_at", "completed_at", "failed_at", "cancelling_at", "cancelled_at")
    return {
        "id": batch.id,
        "object": "batch",
        "status": batch.status,
        "created_at": int(batch.created_at),
        "expires_at": int(batch.created_at) + DAY_S,
        **dict.fromkeys(empty),
        **described,
        "request_counts": {"total": total, "completed": completed, "failed": failed},
    }


_ID = (("id", "Id"),)
ENDPOINTS = (
    Endpoint("POST", "/v1/files", upload, "Leave a file", "files", body="FileForm", body_type="multipart/form-data", answer="File"),
    Endpoint(
        "GET",
        "/v1/files",
        files,
        "Files of the organisation",
        "files",
        answer="FileList",
        params=(
            Param("purpose", {"type": "string"}),
            Param("limit", {"type": "integer"}),
            Param("order", {"type": "string"}),
            Param("after", {"type": "string"}),
        ),
    ),
    Endpoint("GET", "/v1/files/{id}", file, "One file", "files", answer="File", path_schemas=_ID, errors=(404,)),
    Endpoint(
        "GET",
        "/v1/files/{id}/content",
        content,
        "What is in a file",
        "files",
        answer_type="application/octet-stream",
        path_schemas=_ID,
        errors=(404,),
    ),
    Endpoint("DELETE", "/v1/files/{id}", delete, "Delete a file", "files", answer="Deleted", path_schemas=_ID, errors=(404,)),
    Endpoint("POST", "/v1/batches", add, "Answer many requests in the background", "files", body="NewBatch", answer="Batch", errors=(404,)),
    Endpoint(
        "GET",
        "/v1/batches",
        listed,
        "Batches of the organisation",
        "files",
        answer="BatchList",
        params=(Param("limit", {"type": "integer"}), Param("after", {"type": "string"})),
    ),
    Endpoint("GET", "/v1/batches/{id}", find, "How a batch stands", "files", answer="Batch", path_schemas=_ID, errors=(404,)),
    Endpoint(
        "POST",
        "/v1/batches/{id}/cancel",
        cancel,
        "Ask no more of a batch's requests",
        "files",
        answer="Batch",
        path_schemas=_ID,
        errors=(404, 409),
    ),
)
