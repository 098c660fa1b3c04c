"""What a tenant remembers: /v1/memories.

Every scope lies below the tenant's own wall; there is no way to name another's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import orjson

from orchestrator.gateway.api.endpoint import Endpoint
from orchestrator.gateway.api.validators import Param
from orchestrator.gateway.chat.client_request import ClientRequest
from orchestrator.gateway.errors import GatewayError
from orchestrator.jsontypes import JsonObject
from orchestrator.memory import Memory, NewRecord, Record
from orchestrator.memory.ingest.documents import read_time

if TYPE_CHECKING:
    from orchestrator.gateway.api.services import Services

T = TypeVar("T")
PAGE = 500


async def remember(services: Services, call: ClientRequest, body: JsonObject) -> None:
    """Stores a text in a scope of the key's organisation."""
    memory, scope = _memory(services), call.principal.scope(body.get("scope"))
    time = read_time(body["time"]) if "time" in body else None
    new = NewRecord(body["text"], body.get("speaker", ""), time, body.get("session", ""), body.get("source", ""))
    kept = await asyncio.to_thread(memory.remember_many, [new], scope)
    services.forget_answers()
    await call.reply_json(as_json(kept[0]), 201)


async def listed(services: Services, call: ClientRequest, query: JsonObject) -> None:
    """Lists the records of a scope."""
    records = await _records(services, call, query)
    after, limit = query.get("after", 0), query.get("limit", PAGE)
    page = [record for record in records if record.id > after][:limit]
    await call.reply_json(
        {
            "object": "list",
            "data": [as_json(record) for record in page],
            "has_more": bool(page) and page[-1].id < records[-1].id,
        }
    )


async def find(services: Services, call: ClientRequest, query: JsonObject) -> None:
    """Shows one record."""
    await call.reply_json(as_json(await _one(services, call, query)))


async def change(services: Services, call: ClientRequest, body: JsonObject) -> None:
    """The new text is a new record that supersedes the old one, which stays as history."""
    old, memory, scope = await _one(services, call, body), _memory(services), call.principal.scope(body.get("scope"))
    new = NewRecord(body["text"], old.speaker, None, old.session, old.source)
    kept = (await asyncio.to_thread(memory.remember_many, [new], scope))[0]
    if kept.id != old.id:
        await asyncio.to_thread(memory.supersede, scope, old.id, by=kept.id)
    await _changed(services)
    await call.reply_json(as_json(kept))


async def forget_one(services: Services, call: ClientRequest, query: JsonObject) -> None:
    """Forgets one record."""
    await _one(services, call, query)
    await _forget(services, call, query, [int(call.params["id"])])


async def forget_scope(services: Services, call: ClientRequest, query: JsonObject) -> None:
    """Forgets a whole scope."""
    await _forget(services, call, query, None)


async def _forget(services: Services, call: ClientRequest, query: JsonObject, ids: list[int] | None) -> None:
    memory, scope = _memory(services), call.principal.scope(query.get("scope"))
    texts = await _in_thread(lambda: _texts(memory, scope, ids))
    await services.recorder.flush()  # what was asked before is kept by now, so that it can go
    try:
        receipt = await services.engine.forget(scope, ids)
    finally:  # also where it is not erased yet: nobody may be told of it any more
        await _changed(services)
        await _in_thread(lambda: services.conversations.forget(scope, ids))
        await _in_thread(lambda: services.runs.redact(call.principal.org, texts))
        await _in_thread(lambda: services.requests.forget_texts(call.principal.org, scope))
    await _in_thread(services.database.erase)
    await services.forgotten_everywhere()
    await call.reply_json({"scope": _outside(scope), "forgotten": receipt.ids, "left": receipt.remaining})


def _texts(memory: Memory, scope: str, ids: list[int] | None) -> set[str]:
    """What is going to be forgotten, as it was said."""
    if ids is None:
        return {record.text for record in memory.export(scope)}
    return {record.text for one in ids if (record := memory.get(scope, one)) is not None}


async def search(services: Services, call: ClientRequest, body: JsonObject) -> None:
    """Recalls what a query needs, packed into a token budget."""
    memory, scope = _memory(services), call.principal.scope(body.get("scope"))
    recall = await asyncio.to_thread(
        lambda: memory.recall(
            body["query"],
            scope,
            token_budget=int(body.get("token_budget", 1_000)),
            limit=None if "limit" not in body else int(body["limit"]),
            as_of=read_time(body["as_of"]) if "as_of" in body else None,
            history=body.get("history"),
        )
    )
    items = [{**as_json(item.record), "score": item.score, "reason": item.reason} for item in recall.items]
    found = {
        "scope": _outside(scope),
        "text": recall.text,
        "tokens": recall.tokens,
        "searched": recall.searched,
        "items": items,
    }
    await call.reply_json(found)


async def export(services: Services, call: ClientRequest, query: JsonObject) -> None:
    """All records of a scope, as lines of JSON."""
    records = await _records(services, call, query)
    lines = b"".join(orjson.dumps(as_json(record)) + b"\n" for record in records)
    await call.reply(200, lines, [(b"content-type", b"application/x-ndjson")])


async def _changed(services: Services) -> None:
    """What was forgotten or is no longer true must not be told from a cache, of this process or another."""
    services.forget_answers()
    if services.cache is not None:
        await asyncio.to_thread(services.accounts.announce)


async def _records(services: Services, call: ClientRequest, query: JsonObject) -> list[Record]:
    memory, scope = _memory(services), call.principal.scope(query.get("scope"))
    return await _in_thread(lambda: list(memory.export(scope)))


async def _one(services: Services, call: ClientRequest, given: JsonObject) -> Record:
    memory, scope, wanted = _memory(services), call.principal.scope(given.get("scope")), int(call.params["id"])
    found = await _in_thread(lambda: memory.get(scope, wanted))
    if found is None:
        raise GatewayError(404, f"there is no memory {wanted} in this scope", code="memory_not_found")
    return found


async def _in_thread(work: Callable[[], T]) -> T:
    return await asyncio.to_thread(work)


def _memory(services: Services) -> Memory:
    if services.engine.memory is None:
        raise GatewayError(
            404, "this gateway has no memory: name a path under memory: in its configuration", code="no_memory"
        )
    return services.engine.memory


def as_json(record: Record) -> JsonObject:
    """A record as JSON values, its scope as the tenant writes it."""
    return {**record.as_dict(), "scope": _outside(record.scope)}


def _outside(scope: str) -> str:
    """A scope as its tenant knows it."""
    return scope.partition("/")[2]


_SCOPE = Param("scope", {"ref": "ScopeName"}, "Whose memory; default: default")
_ID = (("id", "Count"),)
ENDPOINTS = (
    Endpoint(
        "POST",
        "/v1/memories",
        remember,
        "Remember a text; durable when this returns",
        "memory",
        body="NewMemory",
        answer="Memory",
        status=201,
        errors=(403, 404),
    ),
    Endpoint(
        "GET",
        "/v1/memories",
        listed,
        "What a scope holds, oldest first",
        "memory",
        answer="MemoryList",
        params=(
            _SCOPE,
            Param("after", {"ref": "Count", "type": "integer"}, "an id"),
            Param("limit", {"type": "integer", "minimum": 1, "maximum": 500}),
        ),
        errors=(404,),
    ),
    Endpoint(
        "DELETE",
        "/v1/memories",
        forget_scope,
        "Forget a whole scope, for good",
        "memory",
        answer="Forgotten",
        params=(_SCOPE,),
        errors=(404,),
    ),
    Endpoint(
        "POST",
        "/v1/memories/search",
        search,
        "What memory holds for a query, packed into a token budget",
        "memory",
        body="MemorySearch",
        answer="Recall",
        errors=(404,),
    ),
    Endpoint(
        "GET",
        "/v1/memories/export",
        export,
        "A scope as JSON lines",
        "memory",
        answer_type="application/x-ndjson",
        params=(_SCOPE,),
        errors=(404,),
    ),
    Endpoint(
        "GET",
        "/v1/memories/{id}",
        find,
        "One memory",
        "memory",
        answer="Memory",
        params=(_SCOPE,),
        path_schemas=_ID,
        errors=(404,),
    ),
    Endpoint(
        "PATCH",
        "/v1/memories/{id}",
        change,
        "What is true instead; the old text stays as history",
        "memory",
        body="MemoryChange",
        answer="Memory",
        path_schemas=_ID,
        errors=(404,),
    ),
    Endpoint(
        "DELETE",
        "/v1/memories/{id}",
        forget_one,
        "Forget one memory, for good",
        "memory",
        answer="Forgotten",
        params=(_SCOPE,),
        path_schemas=_ID,
        errors=(404,),
    ),
)
