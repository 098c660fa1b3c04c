"""POST /v1/responses: OpenAI's newer dialect, translated to and from chat completions.

Kept, so that later ones can continue them.

Wire format: https://platform.openai.com/docs/api-reference/responses, as the `openai` package reads it. No background
work.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import orjson

from orchestrator.gateway.api.anthropic_reply import contents
from orchestrator.gateway.api.chat import CompletionSession
from orchestrator.gateway.api.endpoint import Endpoint
from orchestrator.gateway.api.response_items import Tools, messages_of
from orchestrator.gateway.api.response_object import ResponseObject
from orchestrator.gateway.api.response_stream import ResponseStream
from orchestrator.gateway.api.response_threads import earlier_items, id_of, whole_item
from orchestrator.gateway.chat.client_request import ClientRequest
from orchestrator.gateway.errors import GatewayError
from orchestrator.jsontypes import JsonObject

if TYPE_CHECKING:
    from orchestrator.gateway.api.services import Services

_PASSED = (
    "temperature",
    "top_p",
    "user",
    "parallel_tool_calls",
    "orchestrator",
    "prompt_cache_key",
    "safety_identifier",
    "service_tier",
)
_OWN = ("reasoning", "truncation", "include", "metadata", "max_tool_calls")
_LOGPROBS = "message.output_text.logprobs"


async def respond(services: Services, call: ClientRequest, body: JsonObject) -> None:
    """OpenAI's Responses API: translated to a chat completion, and its answer back."""
    messages = await _messages(services, call, body)
    tools = Tools(body.get("tools"), body.get("tool_choice"))
    async with (
        CompletionSession(services, call, "responses", _chat_body(body, messages, tools)) as order,
        call.watched(services.stalled_s),
    ):
        response = ResponseObject(order, body, tools)
        if body.get("stream"):
            await order.send(_streamed(services, call, response, await order.stream(), messages))
            return
        completion = orjson.loads(await order.whole())
        response.take(completion)
        whole = response.whole()
        await _keep(services, call, body, response, messages, whole)
        await call.reply_json(whole, headers=order.closing_headers())


async def find(services: Services, call: ClientRequest, _: object) -> None:
    """Shows a response that was stored."""
    found = await asyncio.to_thread(services.documents.response, call.principal.owner, call.params["id"])
    if found is None:
        raise _unknown(call.params["id"])
    await call.reply_json(found[1])


async def delete(services: Services, call: ClientRequest, _: object) -> None:
    """Deletes a response that was stored."""
    if not await asyncio.to_thread(services.documents.delete_response, call.principal.owner, call.params["id"]):
        raise _unknown(call.params["id"])
    await asyncio.to_thread(services.database.erase)
    await call.reply_json({"id": call.params["id"], "object": "response", "deleted": True})


async def _messages(services: Services, call: ClientRequest, body: JsonObject) -> list[JsonObject]:
    """What was said before, and the input."""
    previous, conversation = body.get("previous_response_id"), id_of(body.get("conversation"))
    if previous is not None and conversation is not None:
        told = "a response continues another one, or a conversation, and not both"
        raise GatewayError(400, told, code="conversation_and_previous", param="conversation")
    if conversation is not None:
        earlier = await earlier_items(services, call, conversation)
        return messages_of([*earlier, *_input_items(body)])
    said = [] if previous is None else await _earlier(services, call, previous)
    return [*said, *messages_of(body["input"])]


def _input_items(body: JsonObject) -> list[JsonObject]:
    given = body["input"]
    return [{"role": "user", "content": given}] if isinstance(given, str) else list(given)


async def _earlier(services: Services, call: ClientRequest, previous: str) -> list[JsonObject]:
    found = await asyncio.to_thread(services.documents.response, call.principal.owner, previous)
    if found is None:
        raise _unknown(previous)
    return found[0]


def _unknown(id: str) -> GatewayError:
    return GatewayError(404, f"there is no response {id!r}", code="response_not_found", param="previous_response_id")


def _chat_body(body: JsonObject, messages: list[JsonObject], tools: Tools) -> JsonObject:
    """A request in the dialect of chat completions."""
    instructions = body.get("instructions")
    found: dict[str, Any] = {
        "model": body["model"],
        "messages": [*([{"role": "system", "content": instructions}] if instructions else []), *messages],
    }
    found |= {name: body[name] for name in _PASSED if body.get(name) is not None}
    if body.get("max_output_tokens") is not None:
        found["max_completion_tokens"] = body["max_output_tokens"]
    if tools.functions:
        found["tools"] = tools.functions
        if tools.choice is not None:
            found["tool_choice"] = tools.choice
    text = body.get("text") or {}
    shape = text.get("format") or {}
    if shape.get("type") == "json_schema":
        found["response_format"] = {
            "type": "json_schema",
            "json_schema": {k: v for k, v in shape.items() if k != "type"},
        }
    elif shape.get("type") == "json_object":
        found["response_format"] = {"type": "json_object"}
    if text.get("verbosity"):
        found["verbosity"] = text["verbosity"]
    if (body.get("reasoning") or {}).get("effort"):
        found["reasoning_effort"] = body["reasoning"]["effort"]
    if body.get("top_logprobs") or _LOGPROBS in (body.get("include") or ()):
        found |= {"logprobs": True} | ({"top_logprobs": body["top_logprobs"]} if body.get("top_logprobs") else {})
    own = {name: body[name] for name in _OWN if body.get(name) is not None}
    if own:  # only OpenAI's models know them
        found["responses"] = own
    if body.get("stream"):
        found |= {"stream": True, "stream_options": {"include_usage": True}}
    return found


async def _keep(
    services: Services,
    call: ClientRequest,
    body: JsonObject,
    response: ResponseObject,
    messages: list[JsonObject],
    whole: JsonObject,
) -> None:
    if (thread := id_of(body.get("conversation"))) is not None and not response.is_waiting:
        items = [*map(whole_item, _input_items(body)), *response.items]
        await asyncio.to_thread(services.threads.extend, call.principal.owner, thread, items)
    if body.get("store") is not False:
        conversation = [*messages, response.assistant]
        await asyncio.to_thread(
            services.documents.keep_response, call.principal.owner, response.id, conversation, whole
        )


async def _streamed(
    services: Services,
    call: ClientRequest,
    response: ResponseObject,
    events: AsyncIterator[bytes],
    messages: list[JsonObject],
) -> AsyncIterator[bytes]:
    stream = ResponseStream(response)
    began = {**response.whole("in_progress"), "output": []}
    yield stream.event("response.created", response=began)
    yield stream.event("response.in_progress", response=began)
    error: dict[str, Any] | None = None
    async with aclosing(contents(events)) as chunks:
        async for content in chunks:
            if content is None:
                yield b": working\n\n"
                continue
            if "error" in content and "choices" not in content:
                told = content["error"]
                error = {
                    "code": "server_error",
                    "message": told.get("message") if isinstance(told, dict) else str(told),
                }
                continue
            response.usage = content.get("usage") or response.usage
            response.model = content.get("model") or response.model
            for choice in content.get("choices") or ():
                for piece in stream.take(choice):
                    yield piece
                response.finish = choice.get("finish_reason") or response.finish
    for piece in stream.ended():
        yield piece
    if error is not None:
        yield stream.event("response.failed", response=response.whole("failed", error))
        return
    whole = response.whole()
    await _keep(services, call, response.body, response, messages, whole)
    yield stream.event(
        "response.incomplete" if whole["status"] == "incomplete" else "response.completed", response=whole
    )


_ID = (("id", "Id"),)
ENDPOINTS = (
    Endpoint(
        "POST",
        "/v1/responses",
        respond,
        "Answer a conversation (OpenAI's Responses dialect)",
        "inference",
        body="ResponsesRequest",
        answer="Response",
        streams=True,
    ),
    Endpoint(
        "GET",
        "/v1/responses/{id}",
        find,
        "A response that was kept",
        "inference",
        answer="Response",
        path_schemas=_ID,
        errors=(404,),
    ),
    Endpoint(
        "DELETE",
        "/v1/responses/{id}",
        delete,
        "Forget a response",
        "inference",
        answer="Deleted",
        path_schemas=_ID,
        errors=(404,),
    ),
)
