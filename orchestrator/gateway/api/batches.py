"""/v1/files and /v1/batches: many requests at once, answered in the background.

What was answered is never asked again, whatever process dies.

A batch is worked on by one process at a time (it holds the batch in the database), each line by the endpoint that it
names, under the limits of the key that made the batch.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import TYPE_CHECKING

from orchestrator.gateway.api.endpoint import Endpoint
from orchestrator.gateway.api.validators import Param
from orchestrator.gateway.chat.client_request import ClientRequest
from orchestrator.gateway.errors import GatewayError
from orchestrator.gateway.http.multipart import parts_of
from orchestrator.jsontypes import JsonObject
from orchestrator.storage.files import StoredBatch, StoredFile, new_file_id

if TYPE_CHECKING:
    from orchestrator.gateway.api.services import Services

MAX_STORED_BYTES = 1_000_000_000
DAY_S = 86_400
log = logging.getLogger(__name__)


# Files


async def upload(services: Services, call: ClientRequest, _: object) -> None:
    """Stores a file that a form brings."""
    filename, purpose, content = _form(call.header(b"content-type") or "", await services.bodies.read(call))
    principal = call.principal
    stored = await asyncio.to_thread(services.documents.bytes_of, principal.owner)
    if stored + len(content) > MAX_STORED_BYTES:
        raise GatewayError(
            413,
            f"the files of the organisation would take more than {MAX_STORED_BYTES:,} bytes; delete some",
            code="storage_full",
        )
    kept = await asyncio.to_thread(
        services.documents.add_file, principal.owner, principal.key, new_file_id(), filename, purpose, content
    )
    await call.reply_json(_file(kept))


def _form(content_type: str, body: bytes) -> tuple[str, str, bytes]:
    """(file name, purpose, content) of a multipart form. Raises `GatewayError`."""
    found = {part.name: part for part in parts_of(content_type, body)}
    if "file" not in found:
        raise GatewayError(400, "the form has no `file`", code="missing_parameter", param="file")
    purpose = found["purpose"].content.decode("utf-8", "replace") if "purpose" in found else ""
    if purpose not in ("batch", "user_data", "evals"):
        raise GatewayError(
            400,
            f"purpose must be batch, user_data or evals, not {purpose[:50]!r}",
            code="invalid_parameter",
            param="purpose",
        )
    return (found["file"].filename or "file")[:255], purpose, found["file"].content


async def files(services: Services, call: ClientRequest, _: object) -> None:
    """Lists the files of an organisation."""
    found = await asyncio.to_thread(services.documents.files, call.principal.owner)
    await call.reply_json({"object": "list", "data": [_file(file) for file in found], "has_more": False})


async def file(services: Services, call: ClientRequest, _: object) -> None:
    """Describes one file."""
    found = await asyncio.to_thread(services.documents.file, call.principal.owner, call.params["id"])
    if found is None:
        raise _no_file(call.params["id"])
    await call.reply_json(_file(found))


async def content(services: Services, call: ClientRequest, _: object) -> None:
    """Gives the content of a file."""
    found = await asyncio.to_thread(services.documents.content, call.principal.owner, call.params["id"])
    if found is None:
        raise _no_file(call.params["id"])
    await call.reply(200, found, [(b"content-type", b"application/octet-stream")])


async def delete(services: Services, call: ClientRequest, _: object) -> None:
    """Deletes a file."""
    if not await asyncio.to_thread(services.documents.delete_file, call.principal.owner, call.params["id"]):
        raise _no_file(call.params["id"])
    await call.reply_json({"id": call.params["id"], "object": "file", "deleted": True})


def _no_file(id: str) -> GatewayError:
    return GatewayError(404, f"there is no file {id!r}", code="file_not_found")


def _file(file: StoredFile) -> JsonObject:
    kept = {"id": file.id, "object": "file", "bytes": file.bytes, "created_at": int(file.created_at)}
    return {**kept, "filename": file.filename, "purpose": file.purpose, "status": "processed"}


# Batches


async def add(services: Services, call: ClientRequest, body: JsonObject) -> None:
    """Begins a batch of the requests in a file."""
    principal = call.principal
    if await asyncio.to_thread(services.documents.file, principal.owner, body["input_file_id"]) is None:
        raise _no_file(body["input_file_id"])
    described = {name: body.get(name) for name in ("input_file_id", "endpoint", "completion_window", "metadata")}
    batch = await asyncio.to_thread(
        services.documents.add_batch, principal.owner, principal.key, f"batch_{secrets.token_hex(12)}", described
    )
    services.batches.begin(batch)
    await call.reply_json(await _described(services, batch))


async def listed(services: Services, call: ClientRequest, _: object) -> None:
    """Lists the batches of an organisation."""
    found = await asyncio.to_thread(services.documents.batches, call.principal.owner)
    data = [await _described(services, batch) for batch in found]
    await call.reply_json(
        {
            "object": "list",
            "data": data,
            "has_more": False,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
        }
    )


async def find(services: Services, call: ClientRequest, _: object) -> None:
    """Describes one batch."""
    await call.reply_json(await _described(services, await _batch(services, call)))


async def cancel(services: Services, call: ClientRequest, _: object) -> None:
    """Ends a batch; requests under way are finished."""
    batch = await _batch(services, call)
    changes = {"cancelling_at": int(services.clock())}
    if not await asyncio.to_thread(services.documents.change_batch, batch.id, "cancelling", changes):
        raise GatewayError(409, f"the batch is {batch.status}: there is nothing to cancel", code="batch_ended")
    await call.reply_json(await _described(services, await _batch(services, call)))


async def _batch(services: Services, call: ClientRequest) -> StoredBatch:
    found = await asyncio.to_thread(services.documents.batch, call.principal.owner, call.params["id"])
    if found is None:
        raise GatewayError(404, f"there is no batch {call.params['id']!r}", code="batch_not_found")
    return found


async def _described(services: Services, batch: StoredBatch) -> JsonObject:
    completed, failed = await asyncio.to_thread(services.documents.counts, batch.id)
    described = dict(batch.described)
    total = described.pop("total", completed + failed)
    empty = (
        "errors",
        "output_file_id",
        "error_file_id",
        "in_progress_at",
        "completed_at",
        "failed_at",
        "cancelling_at",
        "cancelled_at",
    )
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
    Endpoint(
        "POST",
        "/v1/files",
        upload,
        "Leave a file",
        "files",
        body="FileForm",
        body_type="multipart/form-data",
        answer="File",
    ),
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
    Endpoint(
        "DELETE", "/v1/files/{id}", delete, "Delete a file", "files", answer="Deleted", path_schemas=_ID, errors=(404,)
    ),
    Endpoint(
        "POST",
        "/v1/batches",
        add,
        "Answer many requests in the background",
        "files",
        body="NewBatch",
        answer="Batch",
        errors=(404,),
    ),
    Endpoint(
        "GET",
        "/v1/batches",
        listed,
        "Batches of the organisation",
        "files",
        answer="BatchList",
        params=(Param("limit", {"type": "integer"}), Param("after", {"type": "string"})),
    ),
    Endpoint(
        "GET", "/v1/batches/{id}", find, "How a batch stands", "files", answer="Batch", path_schemas=_ID, errors=(404,)
    ),
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
