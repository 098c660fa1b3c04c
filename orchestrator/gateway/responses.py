"""POST /v1/responses: OpenAI's newer dialect, translated to and from chat completions; kept, so that later ones can continue them.

Wire format: https://platform.openai.com/docs/api-reference/responses, as the `openai` package reads it. Only function tools; no background work.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import orjson

from orchestrator.gateway import sse
from orchestrator.gateway.anthropic import contents
from orchestrator.gateway.chat import Order
from orchestrator.gateway.endpoint import Endpoint
from orchestrator.gateway.http import Call
from orchestrator.gateway.problems import Problem

if TYPE_CHECKING:
    from orchestrator.gateway.app import Gateway

_ECHOED: tuple[str, ...] = (
    "instructions",
    "max_output_tokens",
    "temperature",
    "top_p",
    "previous_response_id",
    "metadata",
    "user",
    "tool_choice",
    "tools",
    "reasoning",
)
_PASSED = {
    "temperature": "temperature",
    "top_p": "top_p",
    "user": "user",
    "parallel_tool_calls": "parallel_tool_calls",
    "orchestrator": "orchestrator",
}


async def respond(gateway: Gateway, call: Call, body: dict[str, Any]) -> None:
    earlier = await _earlier(gateway, call, body.get("previous_response_id"))
    messages = [*earlier, *_messages(body["input"])]
    async with Order(gateway, call, "responses", _chat_body(body, messages)) as order, call.watched(gateway.stalled_s):
        response = _Response(order, body)
        if body.get("stream"):
            await order.send(_streamed(gateway, call, response, await order.stream(), messages))
            return
        completion = orjson.loads(await order.whole())
        response.take(completion)
        whole = response.whole()
        await _keep(gateway, call, body, response, messages, whole)
        await call.reply_json(whole, headers=order.closing_headers())


async def find(gateway: Gateway, call: Call, _: Any) -> None:
    found = await asyncio.to_thread(gateway.documents.response, call.principal.owner, call.params["id"])
    if found is None:
        raise _unknown(call.params["id"])
    await call.reply_json(found[1])


async def delete(gateway: Gateway, call: Call, _: Any) -> None:
    if not await asyncio.to_thread(gateway.documents.delete_response, call.principal.owner, call.params["id"]):
        raise _unknown(call.params["id"])
    await asyncio.to_thread(gateway.database.erase)
    await call.reply_json({"id": call.params["id"], "object": "response", "deleted": True})


async def _earlier(gateway: Gateway, call: Call, previous: str | None) -> list[dict[str, Any]]:
    if previous is None:
        return []
    found = await asyncio.to_thread(gateway.documents.response, call.principal.owner, previous)
    if found is None:
        raise _unknown(previous)
    return found[0]


def _unknown(id: str) -> Problem:
    return Problem(404, f"there is no response {id!r}", code="response_not_found", param="previous_response_id")


def _chat_body(body: dict[str, Any], messages: list[dict[str, Any]]) -> dict[str, Any]:
    """A request in the dialect of chat completions."""
    instructions = body.get("instructions")
    found: dict[str, Any] = {
        "model": body["model"],
        "messages": [*([{"role": "system", "content": instructions}] if instructions else []), *messages],
    }
    found |= {name: body[given] for given, name in _PASSED.items() if body.get(given) is not None}
    if body.get("max_output_tokens") is not None:
        found["max_completion_tokens"] = body["max_output_tokens"]
    if body.get("tools"):
        found["tools"] = [
            {"type": "function", "function": {k: v for k, v in tool.items() if k != "type" and v is not None}} for tool in body["tools"]
        ]
        choice = body.get("tool_choice")
        if choice is not None:
            found["tool_choice"] = {"type": "function", "function": {"name": choice["name"]}} if isinstance(choice, dict) else choice
    shape = (body.get("text") or {}).get("format") or {}
    if shape.get("type") == "json_schema":
        found["response_format"] = {"type": "json_schema", "json_schema": {k: v for k, v in shape.items() if k != "type"}}
    elif shape.get("type") == "json_object":
        found["response_format"] = {"type": "json_object"}
    if (body.get("reasoning") or {}).get("effort"):
        found["reasoning_effort"] = body["reasoning"]["effort"]
    if body.get("stream"):
        found |= {"stream": True, "stream_options": {"include_usage": True}}
    return found


def _messages(given: Any) -> list[dict[str, Any]]:
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    found: list[dict[str, Any]] = []
    for item in given:
        kind = item.get("type", "message")
        if kind == "message":
            found.append({"role": item["role"], "content": _content(item["content"])})
        elif kind == "function_call":
            called = {"id": item["call_id"], "type": "function", "function": {"name": item["name"], "arguments": item["arguments"]}}
            if found and found[-1].get("tool_calls"):
                found[-1]["tool_calls"].append(called)  # calls that were made together stand in one message
            else:
                found.append({"role": "assistant", "content": None, "tool_calls": [called]})
        elif kind == "function_call_output":
            found.append({"role": "tool", "tool_call_id": item["call_id"], "content": _content(item["output"])})
    return found


def _content(content: Any) -> Any:
    if isinstance(content, str):
        return content
    parts: list[dict[str, Any]] = []
    for part in content:
        if part["type"] == "input_image":
            parts.append({"type": "image_url", "image_url": {"url": part["image_url"]}})
        else:
            parts.append({"type": "text", "text": part["refusal"] if part["type"] == "refusal" else part["text"]})
    only_text = all(part["type"] == "text" for part in parts)
    return "".join(part["text"] for part in parts) if only_text else parts


class _Response:
    """A response as it comes about."""

    def __init__(self, order: Order, body: dict[str, Any]) -> None:
        self._order = order
        self.body = body
        self.id = f"resp_{order.tab.id}"
        self.model = ""
        self.text = ""
        self.calls: list[dict[str, Any]] = []
        self.finish = "stop"
        self.usage: dict[str, Any] | None = None

    def take(self, completion: dict[str, Any]) -> None:
        choice = completion["choices"][0]
        message = choice["message"]
        self.model = completion.get("model") or ""
        self.text = message.get("content") or message.get("refusal") or ""
        self.finish = choice.get("finish_reason") or "stop"
        self.usage = completion.get("usage")
        self.calls = [
            self.call(one["id"], one["function"]["name"], one["function"]["arguments"]) for one in message.get("tool_calls") or ()
        ]

    def call(self, call_id: str, name: str, arguments: str) -> dict[str, Any]:
        place = f"fc_{self._order.tab.id[:20]}_{len(self.calls)}"
        return {"id": place, "type": "function_call", "call_id": call_id, "name": name, "arguments": arguments, "status": "completed"}

    @property
    def message(self) -> dict[str, Any]:
        part = {"type": "output_text", "text": self.text, "annotations": [], "logprobs": []}
        return {"id": f"msg_{self._order.tab.id[:24]}", "type": "message", "role": "assistant", "status": "completed", "content": [part]}

    def whole(self, status: str = "", error: dict[str, Any] | None = None) -> dict[str, Any]:
        is_cut = self.finish == "length"
        found: dict[str, Any] = {
            "id": self.id,
            "object": "response",
            "created_at": int(self._order.call.at),
            "status": status or ("incomplete" if is_cut else "completed"),
            "error": error,
            "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
            "model": self.model or self._order.facts.model or self._order.tab.served.asked,
            "output": [*([self.message] if self.text else []), *self.calls],
            "parallel_tool_calls": self.body.get("parallel_tool_calls") is not False,
            "store": self.body.get("store") is not False,
            "text": self.body.get("text") or {"format": {"type": "text"}},
            "usage": None if self.usage is None else _usage(self.usage),
        }
        found |= {name: self.body.get(name) for name in _ECHOED}
        found["tools"], found["tool_choice"] = found["tools"] or [], found["tool_choice"] or "auto"
        details = self._order.details() if status != "in_progress" else None
        return found | ({"orchestrator": details} if details is not None else {})

    def said(self) -> list[dict[str, Any]]:
        """What the assistant said, as a message of the conversation that a later response continues."""
        called = [
            {"id": call["call_id"], "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}}
            for call in self.calls
        ]
        return [{"role": "assistant", "content": self.text or None} | ({"tool_calls": called} if called else {})]


async def _keep(
    gateway: Gateway, call: Call, body: dict[str, Any], response: _Response, messages: list[dict[str, Any]], whole: dict[str, Any]
) -> None:
    if body.get("store") is not False:
        conversation = [*messages, *response.said()]
        await asyncio.to_thread(gateway.documents.keep_response, call.principal.owner, response.id, conversation, whole)


async def _streamed(
    gateway: Gateway, call: Call, response: _Response, events: AsyncIterator[bytes], messages: list[dict[str, Any]]
) -> AsyncIterator[bytes]:
    number = 0

    def event(kind: str, **fields: Any) -> bytes:
        nonlocal number
        number += 1
        return sse.event({"type": kind, "sequence_number": number - 1, **fields}, kind)

    began = response.whole("in_progress")
    yield event("response.created", response=began)
    yield event("response.in_progress", response=began)
    open_calls: dict[int, dict[str, Any]] = {}
    error: dict[str, Any] | None = None
    part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    async with aclosing(contents(events)) as chunks:
        async for content in chunks:
            if content is None:
                yield b": working\n\n"
                continue
            if "error" in content and "choices" not in content:
                told = content["error"]
                error = {"code": "server_error", "message": told.get("message") if isinstance(told, dict) else str(told)}
                continue
            response.usage = content.get("usage") or response.usage
            response.model = content.get("model") or response.model
            for choice in content.get("choices") or ():
                delta = choice.get("delta") or {}
                text = delta.get("content") or delta.get("refusal")
                if text:
                    at = {"item_id": response.message["id"], "output_index": 0, "content_index": 0}
                    if not response.text:
                        item = {**response.message, "status": "in_progress", "content": []}
                        yield event("response.output_item.added", output_index=0, item=item)
                        yield event("response.content_part.added", part=part, **at)
                    response.text += text
                    yield event("response.output_text.delta", delta=text, logprobs=[], **at)
                for called in delta.get("tool_calls") or ():
                    for piece in _call_pieces(response, open_calls, called, event):
                        yield piece
                response.finish = choice.get("finish_reason") or response.finish
    if response.text:
        at = {"item_id": response.message["id"], "output_index": 0, "content_index": 0}
        yield event("response.output_text.done", text=response.text, logprobs=[], **at)
        yield event("response.content_part.done", part=response.message["content"][0], **at)
        yield event("response.output_item.done", output_index=0, item=response.message)
    for index, done in enumerate(response.calls):
        at = {"output_index": index + bool(response.text)}
        yield event("response.function_call_arguments.done", item_id=done["id"], name=done["name"], arguments=done["arguments"], **at)
        yield event("response.output_item.done", item=done, **at)
    if error is not None:
        yield event("response.failed", response=response.whole("failed", error))
        return
    whole = response.whole()
    await _keep(gateway, call, response.body, response, messages, whole)
    yield event("response.incomplete" if whole["status"] == "incomplete" else "response.completed", response=whole)


def _call_pieces(response: _Response, open_calls: dict[int, dict[str, Any]], called: dict[str, Any], event: Any) -> list[bytes]:
    """A piece of a function call: its beginning, more of its arguments, or both."""
    function, place = called.get("function") or {}, called.get("index") or 0
    found = []
    if place not in open_calls:
        begun = response.call(called.get("id") or f"call_{place}", function.get("name") or "", "")
        open_calls[place] = begun
        response.calls.append(begun)
        item = {**begun, "status": "in_progress"}
        found.append(event("response.output_item.added", output_index=len(response.calls) - 1 + bool(response.text), item=item))
    piece = function.get("arguments")
    if piece:
        open_calls[place]["arguments"] += piece
        index = response.calls.index(open_calls[place]) + bool(response.text)
        found.append(event("response.function_call_arguments.delta", item_id=open_calls[place]["id"], output_index=index, delta=piece))
    return found


def _usage(usage: dict[str, Any]) -> dict[str, Any]:
    return {
        "input_tokens": usage.get("prompt_tokens") or 0,
        "input_tokens_details": {
            "cached_tokens": (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0,
            "cache_write_tokens": (usage.get("prompt_tokens_details") or {}).get("cache_write_tokens") or 0,
        },
        "output_tokens": usage.get("completion_tokens") or 0,
        "output_tokens_details": {"reasoning_tokens": (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0},
        "total_tokens": usage.get("total_tokens") or 0,
    }


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
        "GET", "/v1/responses/{id}", find, "A response that was kept", "inference", answer="Response", path_schemas=_ID, errors=(404,)
    ),
    Endpoint("DELETE", "/v1/responses/{id}", delete, "Forget a response", "inference", answer="Deleted", path_schemas=_ID, errors=(404,)),
)
