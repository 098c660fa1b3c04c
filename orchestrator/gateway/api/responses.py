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

from orchestrator.backends.dialects.annotations import as_responses
from orchestrator.backends.dialects.signatures import pack
from orchestrator.gateway.api.anthropic import contents
from orchestrator.gateway.api.chat import CompletionSession
from orchestrator.gateway.api.endpoint import Endpoint
from orchestrator.gateway.api.response_items import Tools, custom_input, messages_of
from orchestrator.gateway.chat.client_request import ClientRequest
from orchestrator.gateway.errors import GatewayError
from orchestrator.gateway.http import sse
from orchestrator.jsontypes import JsonObject

if TYPE_CHECKING:
    from orchestrator.gateway.api.services import Services

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
    earlier = await _earlier(services, call, body.get("previous_response_id"))
    messages = [*earlier, *messages_of(body["input"])]
    tools = Tools(body.get("tools"), body.get("tool_choice"))
    async with (
        CompletionSession(services, call, "responses", _chat_body(body, messages, tools)) as order,
        call.watched(services.stalled_s),
    ):
        response = _Response(order, body, tools)
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


async def _earlier(services: Services, call: ClientRequest, previous: str | None) -> list[JsonObject]:
    if previous is None:
        return []
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


class _Response:
    """A response as it comes about. Its items stand in the order in which they began, and keep their places."""

    def __init__(self, order: CompletionSession, body: JsonObject, tools: Tools) -> None:
        self._order = order
        self.body = body
        self.tools = tools
        self.id = order.facts.response_id = f"resp_{order.tab.id}"
        self.model = ""
        self.items: list[dict[str, Any]] = []
        self.assistant: dict[str, Any] = {"role": "assistant", "content": None}
        """What was said, as the message of a chat completion."""
        self.finish = "stop"
        self.usage: dict[str, Any] | None = None

    def take(self, completion: JsonObject) -> None:
        choice = completion["choices"][0]
        message = choice["message"]
        self.model = completion.get("model") or ""
        self.finish = choice.get("finish_reason") or "stop"
        self.usage = completion.get("usage")
        self.assistant |= {name: value for name, value in message.items() if value is not None and name != "role"}
        self.add_thoughts(for_call=bool(message.get("tool_calls")))
        self.items += self.made(message)
        if message.get("refusal"):
            self.items.append(self.message({"type": "refusal", "refusal": message["refusal"]}))
        elif message.get("content"):
            logprobs = (choice.get("logprobs") or {}).get("content") or []
            self.items.append(
                self.message(text_part(message["content"], logprobs, as_responses(message.get("annotations"))))
            )
        for one in message.get("tool_calls") or ():
            self.items.append(
                self.tools.call(self.item_id("fc"), one["id"], one["function"]["name"], one["function"]["arguments"])
            )

    def add_thoughts(self, *, for_call: bool) -> JsonObject | None:
        """An item for what was thought, as far as its caller wants it told or it must come back.

        Before what followed from it.
        """
        is_told = bool(self.assistant.get("reasoning_content")) and bool(
            (self.body.get("reasoning") or {}).get("summary")
        )
        packed = pack(self.assistant, but=frozenset() if for_call or is_told else frozenset({"reasoning_content"}))
        if not packed:
            return None
        summary = [{"type": "summary_text", "text": self.assistant["reasoning_content"]}] if is_told else []
        item: dict[str, Any] = {
            "id": self.item_id("rs"),
            "type": "reasoning",
            "summary": summary,
            "encrypted_content": packed,
        }
        self.items.append(item)
        return item

    def made(self, message: JsonObject) -> list[JsonObject]:
        """Items of what its provider ran by itself, and of pictures that the model made."""
        found: list[dict[str, Any]] = list(message.get("response_items") or ())
        for number, picture in enumerate(message.get("images") or ()):
            result = str((picture.get("image_url") or {}).get("url") or "").partition(",")[2]
            id = picture.get("id") or f"{self.item_id('ig')}_{number}"
            found.append({"id": id, "type": "image_generation_call", "status": "completed", "result": result})
        return found

    def item_id(self, kind: str) -> str:
        return f"{kind}_{self._order.tab.id[:20]}_{len(self.items)}"

    def message(self, part: JsonObject | None, status: str = "completed") -> JsonObject:
        content = [] if part is None else [part]
        return {"id": self.item_id("msg"), "type": "message", "role": "assistant", "status": status, "content": content}

    def whole(self, status: str = "", error: JsonObject | None = None) -> JsonObject:
        cut = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(self.finish)
        if cut and not status:
            for item in self.items[-1:]:
                item["status"] = "incomplete" if item["type"] == "message" else item.get("status")
        found: dict[str, Any] = {
            "id": self.id,
            "object": "response",
            "created_at": int(self._order.call.at),
            "status": status or ("incomplete" if cut else "completed"),
            "error": error,
            "incomplete_details": {"reason": cut} if cut else None,
            "model": self.model or self._order.facts.model or self._order.tab.served.asked,
            "output": self.items,
            "parallel_tool_calls": self.body.get("parallel_tool_calls") is not False,
            "store": self.body.get("store") is not False,
            "text": self.body.get("text") or {"format": {"type": "text"}},
            "usage": None if self.usage is None else _usage(self.usage),
        }
        found |= {name: self.body.get(name) for name in _ECHOED}
        found["tools"], found["tool_choice"] = found["tools"] or [], found["tool_choice"] or "auto"
        details = self._order.details() if status != "in_progress" else None
        return found | ({"orchestrator": details} if details is not None else {})


def text_part(
    text: str, logprobs: list[JsonObject] | None = None, annotations: list[JsonObject] | None = None
) -> JsonObject:
    """The text of an answer as a part of an output item."""
    return {"type": "output_text", "text": text, "annotations": annotations or [], "logprobs": logprobs or []}


async def _keep(
    services: Services,
    call: ClientRequest,
    body: JsonObject,
    response: _Response,
    messages: list[JsonObject],
    whole: JsonObject,
) -> None:
    if body.get("store") is not False:
        conversation = [*messages, response.assistant]
        await asyncio.to_thread(
            services.documents.keep_response, call.principal.owner, response.id, conversation, whole
        )


async def _streamed(
    services: Services,
    call: ClientRequest,
    response: _Response,
    events: AsyncIterator[bytes],
    messages: list[JsonObject],
) -> AsyncIterator[bytes]:
    stream = _Stream(response)
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


class _Stream:
    """The events of a response that is streamed: each item is added, grows, and is done.

    An item that has begun keeps its place.
    """

    def __init__(self, response: _Response) -> None:
        self._response = response
        self._number = 0
        self._text: int | None = None  # the place of the message
        self._calls: dict[int, int] = {}  # the places of calls
        self._has_thoughts = False

    def event(self, kind: str, **fields: Any) -> bytes:
        self._number += 1
        return sse.event({"type": kind, "sequence_number": self._number - 1, **fields}, kind)

    def take(self, choice: JsonObject) -> list[bytes]:
        delta, assistant = choice.get("delta") or {}, self._response.assistant
        if delta.get("reasoning_content"):
            assistant["reasoning_content"] = (assistant.get("reasoning_content") or "") + delta["reasoning_content"]
        for name in ("thinking_blocks", "reasoning_items"):
            if delta.get(name):
                assistant[name] = [*assistant.get(name, ()), *delta[name]]
        if delta.get("extra_content"):
            assistant["extra_content"] = delta["extra_content"]
        found: list[bytes] = []
        for name, kind in (("content", "output_text"), ("refusal", "refusal")):
            if delta.get(name):
                found += self._said(name, kind, delta[name], (choice.get("logprobs") or {}).get("content") or [])
        for call in delta.get("tool_calls") or ():
            found += self._called(call)
        for item in self._response.made(delta):
            self._response.items.append(item)
            found += [self._added(item), self._done(item)]
        if (
            choice.get("logprobs") and not delta.get("content") and self._text is not None
        ):  # they may come after what they are about
            self._response.items[self._text]["content"][0].setdefault("logprobs", []).extend(
                choice["logprobs"].get("content") or ()
            )
        if delta.get("annotations") and self._text is not None:
            found += self._annotated(as_responses(delta["annotations"]))
        return found

    def _annotated(self, annotations: list[JsonObject]) -> list[bytes]:
        assert self._text is not None
        item, found = self._response.items[self._text], list[bytes]()
        known: list[dict[str, Any]] = item["content"][0].setdefault("annotations", [])
        for annotation in annotations:
            told = {"annotation": annotation, "annotation_index": len(known), "content_index": 0}
            known.append(annotation)
            found.append(self.event("response.output_text.annotation.added", **told, **self._at(item)))
        return found

    def _thought(self, *, for_call: bool = False) -> list[bytes]:
        """The item of what was thought so far, before the first that follows from it."""
        if self._has_thoughts:
            return []
        item = self._response.add_thoughts(for_call=for_call)
        if item is None:
            return []
        self._has_thoughts = True
        return [self._added(item, {**item, "encrypted_content": None}), self._done(item)]

    def _said(self, name: str, kind: str, text: str, logprobs: list[JsonObject]) -> list[bytes]:
        response, found = self._response, list[bytes]()
        part = text_part("") if name == "content" else {"type": "refusal", "refusal": ""}
        if self._text is None:
            found += self._thought()
            item = response.message(None, "in_progress")
            response.items.append(item)
            self._text = len(response.items) - 1
            found.append(self._added(item))
            item["content"] = [part]
            found.append(self.event("response.content_part.added", part=part, **self._at(item), content_index=0))
        item = response.items[self._text]
        said = item["content"][0]
        if said["type"] != kind:  # it breaks off, and refuses
            said, item["content"] = part, [part]
        field = "text" if name == "content" else "refusal"
        said[field] += text
        response.assistant[name] = said[field]
        more = {"logprobs": logprobs} if name == "content" else {}
        if logprobs and name == "content":
            said["logprobs"] += logprobs
        return [*found, self.event(f"response.{kind}.delta", delta=text, **more, **self._at(item), content_index=0)]

    def _called(self, call: JsonObject) -> list[bytes]:
        response, function, number = self._response, call.get("function") or {}, call.get("index") or 0
        calls: list[dict[str, Any]] = response.assistant.setdefault("tool_calls", [])
        found: list[bytes] = []
        if number not in self._calls:
            name, call_id = function.get("name") or "", call.get("id") or f"call_{number}"
            begun: dict[str, Any] = {"id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}
            calls.append(begun | ({"extra_content": call["extra_content"]} if call.get("extra_content") else {}))
            found += self._thought(for_call=True)
            item = response.tools.call(response.item_id("fc"), call_id, name, "", "in_progress")
            response.items.append(item)
            self._calls[number] = len(response.items) - 1
            found.append(self._added(item))
        piece = function.get("arguments")
        if not piece:
            return found
        said = calls[list(self._calls).index(number)]
        said["function"]["arguments"] += piece
        item = response.items[self._calls[number]]
        if item["type"] == "function_call":  # the text of a custom tool is known when its arguments are whole
            item["arguments"] += piece
            found.append(self.event("response.function_call_arguments.delta", delta=piece, **self._at(item)))
        return found

    def ended(self) -> list[bytes]:
        """What ends the items that have begun."""
        response, found = self._response, list[bytes]()
        if self._text is None and not self._calls:
            found += self._thought()
        if self._text is not None:
            item = response.items[self._text]
            item["status"], part = "completed", item["content"][0]
            told = (
                {"text": part["text"], "logprobs": part["logprobs"]}
                if part["type"] == "output_text"
                else {"refusal": part["refusal"]}
            )
            found.append(self.event(f"response.{part['type']}.done", **told, **self._at(item), content_index=0))
            found.append(self.event("response.content_part.done", part=part, **self._at(item), content_index=0))
            found.append(self._done(item))
        for place, said in zip(self._calls.values(), response.assistant.get("tool_calls", ()), strict=True):
            item = response.items[place]
            item["status"] = "completed"
            if item["type"] == "custom_tool_call":
                item["input"] = custom_input(said["function"]["arguments"])
                found.append(self.event("response.custom_tool_call_input.delta", delta=item["input"], **self._at(item)))
                found.append(self.event("response.custom_tool_call_input.done", input=item["input"], **self._at(item)))
            else:
                told = {"name": item["name"], "arguments": item["arguments"]}
                found.append(self.event("response.function_call_arguments.done", **told, **self._at(item)))
            found.append(self._done(item))
        return found

    def _at(self, item: JsonObject) -> JsonObject:
        return {"item_id": item["id"], "output_index": self._response.items.index(item)}

    def _added(self, item: JsonObject, shown: JsonObject | None = None) -> bytes:
        return self.event(
            "response.output_item.added", output_index=self._response.items.index(item), item=shown or item
        )

    def _done(self, item: JsonObject) -> bytes:
        return self.event("response.output_item.done", output_index=self._response.items.index(item), item=item)


def _usage(usage: JsonObject) -> JsonObject:
    return {
        "input_tokens": usage.get("prompt_tokens") or 0,
        "input_tokens_details": {
            "cached_tokens": (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0,
            "cache_write_tokens": (usage.get("prompt_tokens_details") or {}).get("cache_write_tokens") or 0,
        },
        "output_tokens": usage.get("completion_tokens") or 0,
        "output_tokens_details": {
            "reasoning_tokens": (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
        },
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
