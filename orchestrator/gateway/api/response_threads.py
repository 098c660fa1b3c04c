"""/v1/conversations: OpenAI's conversations, to which responses add what was asked and answered.

Wire format: https://platform.openai.com/docs/api-reference/conversations, as the `openai` package reads it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from orchestrator.gateway.api.endpoint import Endpoint
from orchestrator.gateway.api.validators import Param
from orchestrator.gateway.chat.client_request import ClientRequest
from orchestrator.gateway.errors import GatewayError
from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.storage.item_lists import ItemList

if TYPE_CHECKING:
    from orchestrator.gateway.api.services import Services

MAX_LISTED = 100


async def add(services: Services, call: ClientRequest, body: JsonObject) -> None:
    """Begins a conversation."""
    items = [whole_item(item) for item in body.get("items") or ()]
    made = await asyncio.to_thread(services.threads.add, call.principal.owner, body.get("metadata") or {}, items)
    await call.reply_json(_described(made))


async def find(services: Services, call: ClientRequest, _: object) -> None:
    """Shows a conversation."""
    found = await asyncio.to_thread(services.threads.find, call.principal.owner, call.params["id"])
    await call.reply_json(_described(_there(found, call)))


async def change(services: Services, call: ClientRequest, body: JsonObject) -> None:
    """Replaces the labels of a conversation."""
    owner, id = call.principal.owner, call.params["id"]
    found = await asyncio.to_thread(services.threads.describe, owner, id, body.get("metadata") or {})
    await call.reply_json(_described(_there(found, call)))


async def delete(services: Services, call: ClientRequest, _: object) -> None:
    """Deletes a conversation, whose items are gone then."""
    id = call.params["id"]
    if not await asyncio.to_thread(services.threads.delete, call.principal.owner, id):
        raise unknown(id)
    await asyncio.to_thread(services.database.erase)
    await call.reply_json({"id": id, "object": "conversation.deleted", "deleted": True})


async def extend(services: Services, call: ClientRequest, body: JsonObject) -> None:
    """Adds items."""
    id = call.params["id"]
    items = [whole_item(item) for item in body["items"]]
    added = await asyncio.to_thread(services.threads.extend, call.principal.owner, id, items)
    if added is None:
        raise unknown(id)
    await call.reply_json(_page(added, has_more=False))


async def listed(services: Services, call: ClientRequest, wanted: JsonObject) -> None:
    """Lists items, the newest first."""
    owner, id = call.principal.owner, call.params["id"]
    limit = int(wanted.get("limit") or 20)
    if await asyncio.to_thread(services.threads.find, owner, id) is None:
        raise unknown(id)
    found = await asyncio.to_thread(
        services.threads.items,
        owner,
        id,
        order="asc" if wanted.get("order") == "asc" else "desc",
        after=wanted.get("after"),
        limit=limit + 1,
    )
    await call.reply_json(_page(found[:limit], has_more=len(found) > limit))


async def find_item(services: Services, call: ClientRequest, _: object) -> None:
    """Shows an item."""
    owner, id, item = call.principal.owner, call.params["id"], call.params["item"]
    found = await asyncio.to_thread(services.threads.item, owner, id, item)
    if found is None:
        raise _no_item(id, item)
    await call.reply_json(found)


async def delete_item(services: Services, call: ClientRequest, _: object) -> None:
    """Deletes an item; gives the conversation."""
    owner, id, item = call.principal.owner, call.params["id"], call.params["item"]
    if not await asyncio.to_thread(services.threads.delete_item, owner, id, item):
        raise _no_item(id, item)
    await asyncio.to_thread(services.database.erase)
    await find(services, call, None)


async def earlier_items(services: Services, call: ClientRequest, id: str) -> list[JsonObject]:
    """What was said in a conversation. Raises `GatewayError` where there is none."""
    if await asyncio.to_thread(services.threads.find, call.principal.owner, id) is None:
        raise unknown(id)
    return await asyncio.to_thread(services.threads.items, call.principal.owner, id)


def id_of(stated: JsonValue) -> str | None:
    """The id of a conversation that a request names: as it is, or in an object."""
    found: str | None = stated["id"] if isinstance(stated, dict) else stated
    return found


def whole_item(item: JsonObject) -> JsonObject:
    """An item as it is kept: messages have a type, a state and parts."""
    if item.get("type", "message") != "message":
        return item
    content = item["content"]
    if isinstance(content, str):
        is_answer = item["role"] == "assistant"
        part: JsonObject = {"type": "output_text", "annotations": []} if is_answer else {"type": "input_text"}
        content = [part | {"text": content}]
    return {"type": "message", "status": "completed", **item, "content": content}


def unknown(id: str) -> GatewayError:
    """Why a conversation cannot be had."""
    return GatewayError(404, f"there is no conversation {id!r}", code="conversation_not_found", param="conversation")


def _no_item(id: str, item: str) -> GatewayError:
    return GatewayError(404, f"the conversation {id!r} has no item {item!r}", code="item_not_found")


def _there(found: ItemList | None, call: ClientRequest) -> ItemList:
    if found is None:
        raise unknown(call.params["id"])
    return found


def _described(found: ItemList) -> JsonObject:
    return {
        "id": found.id,
        "object": "conversation",
        "created_at": int(found.created_at),
        "metadata": found.metadata,
    }


def _page(items: list[JsonObject], *, has_more: bool) -> JsonObject:
    ends = {"first_id": items[0]["id"], "last_id": items[-1]["id"]} if items else {"first_id": "", "last_id": ""}
    return {"object": "list", "data": items, "has_more": has_more} | ends


_ID = (("id", "Id"),)
_ITEM = (("id", "Id"), ("item", "Id"))
_ABOUT = "/v1/conversations"
ENDPOINTS = (
    Endpoint(
        "POST",
        _ABOUT,
        add,
        "Begin a conversation that responses add to (OpenAI's dialect)",
        "inference",
        body="NewThread",
        answer="Thread",
    ),
    Endpoint(
        "GET", f"{_ABOUT}/{{id}}", find, "A conversation", "inference", answer="Thread", path_schemas=_ID, errors=(404,)
    ),
    Endpoint(
        "POST",
        f"{_ABOUT}/{{id}}",
        change,
        "Change the labels of a conversation",
        "inference",
        body="ThreadLabels",
        answer="Thread",
        path_schemas=_ID,
        errors=(404,),
    ),
    Endpoint(
        "DELETE",
        f"{_ABOUT}/{{id}}",
        delete,
        "Forget a conversation",
        "inference",
        answer="Deleted",
        path_schemas=_ID,
        errors=(404,),
    ),
    Endpoint(
        "POST",
        f"{_ABOUT}/{{id}}/items",
        extend,
        "Add items to a conversation",
        "inference",
        body="ThreadItems",
        answer="ItemPage",
        path_schemas=_ID,
        errors=(404,),
    ),
    Endpoint(
        "GET",
        f"{_ABOUT}/{{id}}/items",
        listed,
        "Items of a conversation, the newest first",
        "inference",
        answer="ItemPage",
        path_schemas=_ID,
        errors=(404,),
        params=(
            Param("limit", {"type": "integer", "minimum": 1, "maximum": MAX_LISTED}, "How many (20)"),
            Param("order", {"enum": ["asc", "desc"]}, "desc: the newest first"),
            Param("after", {"type": "string", "minLength": 1, "maxLength": 128}, "Those behind this item"),
            Param("include", {"type": "string"}, "Read, and without effect: an item is always whole"),
        ),
    ),
    Endpoint(
        "GET",
        f"{_ABOUT}/{{id}}/items/{{item}}",
        find_item,
        "An item of a conversation",
        "inference",
        answer="ThreadItem",
        path_schemas=_ITEM,
        errors=(404,),
    ),
    Endpoint(
        "DELETE",
        f"{_ABOUT}/{{id}}/items/{{item}}",
        delete_item,
        "Forget an item",
        "inference",
        answer="Thread",
        path_schemas=_ITEM,
        errors=(404,),
    ),
)
