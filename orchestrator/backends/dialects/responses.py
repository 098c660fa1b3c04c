"""OpenAI's responses: POST {base_url}/responses (openai 3.54, types.responses).

Nothing is kept at the server: the conversation is sent whole.
"""

from __future__ import annotations

from typing import Any

from orchestrator.backends.dialects.annotations import from_responses
from orchestrator.backends.dialects.chat import takes_no_sampling
from orchestrator.backends.dialects.dialect import (
    Chunks,
    Outgoing,
    check_lacks,
    choice,
    parts_of,
    picture_of,
    refused,
    result_text,
    stated_limit,
    text_of,
    tools_for,
    whole,
)
from orchestrator.backends.usage import usage_of
from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.providers.provider import Provider

_PASSED = (
    "temperature", "top_p", "parallel_tool_calls", "service_tier", "prompt_cache_key", "prompt_cache_options",
    "safety_identifier", "user",
    "metadata", "previous_response_id", "truncation", "include",
)  # fmt: skip


class ResponsesDialect:
    """OpenAI's Responses API."""

    def outgoing(self, body: JsonObject, provider: Provider, model: str, *, most_tokens: int) -> Outgoing:
        """The request of a chat completion as items. Raises `BackendRejected` on what has no word there."""
        check_lacks(body, provider)
        out: dict[str, Any] = {
            "model": model,
            "input": _items(body["messages"], provider),
            "store": bool(body.get("store")),
        }
        out |= {name: body[name] for name in _PASSED if body.get(name) is not None}
        if takes_no_sampling(provider.no_sampling, model):
            for name in ("temperature", "top_p"):
                out.pop(name, None)
        most = stated_limit(body)
        if most:
            out["max_output_tokens"] = max(int(most), 16)  # the API takes no less
        if body.get("reasoning_effort"):
            out["reasoning"] = {"effort": body["reasoning_effort"]}
        text = {"verbosity": body["verbosity"]} if body.get("verbosity") else {}
        wanted = body.get("response_format") or {}
        if wanted.get("type") == "json_schema":
            text["format"] = {"type": "json_schema", **wanted["json_schema"]}
        elif wanted.get("type") == "json_object":
            text["format"] = {"type": "json_object"}
        if text:
            out["text"] = text
        if body.get("logprobs"):
            out["include"] = [*out.get("include", ()), "message.output_text.logprobs"]
            out["top_logprobs"] = body.get("top_logprobs") or 0
        if (
            body.get("store") is not True
        ):  # what was thought comes back with the next turn, and can be read by nobody else
            out["include"] = [*out.get("include", ()), "reasoning.encrypted_content"]
        _add_own(out, body.get("responses"))
        if tools := tools_for(body, provider, dialect="responses"):
            out["tools"] = [_tool(tool) for tool in tools]
            chosen = body.get("tool_choice")
            if isinstance(chosen, dict):
                out["tool_choice"] = {"type": "function", "name": (chosen.get("function") or chosen).get("name")}
            elif chosen:
                out["tool_choice"] = chosen
        if body.get("stream"):
            out["stream"] = True
        return Outgoing("/responses", out)

    def completion(self, payload: JsonObject, provider: Provider) -> JsonObject:
        """A response as a chat completion; a failed one as its error."""
        items = payload.get("output")
        if not isinstance(items, list) or payload.get("status") == "failed":
            return {"error": payload.get("error") or payload}
        texts: list[str] = []
        refusals: list[str] = []
        thoughts: list[str] = []
        calls: list[dict[str, Any]] = []
        reasoning: list[dict[str, Any]] = []
        own: list[dict[str, Any]] = []
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        logprobs: list[dict[str, Any]] = []
        for item in (item for item in items if isinstance(item, dict)):
            if item.get("type") == "message":
                for part in item.get("content") or ():
                    if part.get("type") == "refusal":
                        refusals.append(str(part.get("refusal") or ""))
                    else:
                        annotations += from_responses(part.get("annotations"), sum(map(len, texts)))
                        logprobs += part.get("logprobs") or ()
                        texts.append(str(part.get("text") or ""))
            elif item.get("type") == "function_call":
                calls.append(_call(item))
            elif item.get("type") == "reasoning":
                thoughts += [str(part.get("text") or "") for part in item.get("summary") or ()]
                reasoning += [item] if item.get("encrypted_content") else []
            else:  # what OpenAI ran by itself
                reasoning.append(item)
                picture = picture_in(item)
                (own if picture is None else images).append(picture or item)
        message: dict[str, Any] = {"content": "".join(texts) if texts else None}
        if refusals:
            message["refusal"] = "".join(refusals)
        if calls:
            message["tool_calls"] = calls
        if thoughts:
            message["reasoning_content"] = "\n\n".join(thoughts)
        if reasoning:
            message["reasoning_items"] = reasoning
        message |= {
            name: found
            for name, found in (("response_items", own), ("images", images), ("annotations", annotations))
            if found
        }
        ended = choice(0, message, _finish(payload, has_calls=bool(calls)))
        if logprobs:
            ended["logprobs"] = {"content": logprobs}
        return whole(payload.get("id"), payload.get("model"), [ended], usage_of(payload.get("usage")))

    def reader(self, provider: Provider) -> ResponsesReader:
        """Reads one stream."""
        return ResponsesReader()


class ResponsesReader(Chunks):
    """Reads the typed events of a streamed response."""

    def __init__(self) -> None:
        super().__init__()
        self.is_done = False
        self._calls: dict[Any, int] = {}
        self._with_arguments: set[int] = set()
        self._has_text = False

    def read(self, event: JsonObject) -> list[JsonObject]:
        """The chunks of a chat completion that one event of the stream stands for."""
        kind = str(event.get("type") or "")
        if kind == "response.output_text.delta":
            self._has_text = True
            said = self.chunk({"content": event.get("delta") or ""})
            if event.get("logprobs"):
                said["choices"][0]["logprobs"] = {"content": event["logprobs"]}
            return [said]
        if kind == "response.output_text.annotation.added":
            return [self.chunk({"annotations": from_responses([event.get("annotation")])})]
        if kind == "response.refusal.delta":
            return [self.chunk({"refusal": event.get("delta") or ""})]
        if kind == "response.reasoning_summary_text.delta":
            return [self.chunk({"reasoning_content": event.get("delta") or ""})]
        if kind == "response.function_call_arguments.delta":
            place = self._calls.get(event.get("output_index"), 0)
            self._with_arguments.add(place)
            return [self.chunk({"tool_calls": [{"index": place, "function": {"arguments": event.get("delta") or ""}}]})]
        if kind == "response.output_item.added" and (event.get("item") or {}).get("type") == "function_call":
            place = self._calls.setdefault(event.get("output_index"), len(self._calls))
            return [self.chunk({"tool_calls": [{"index": place, **_call({**event["item"], "arguments": ""})}]})]
        if kind == "response.output_item.done":
            return self._item(event.get("item") or {}, event.get("output_index"))
        if kind == "response.created":
            response = event.get("response") or {}
            self.id, self.model = str(response.get("id") or ""), str(response.get("model") or "")
            return [self.chunk({"role": "assistant", "content": ""})]
        if kind in ("response.completed", "response.incomplete"):
            return self._ended(event.get("response") or {})
        if kind == "response.failed":
            return [{"error": (event.get("response") or {}).get("error") or {"message": "the response failed"}}]
        return [{"error": event}] if kind == "error" else []

    def _item(self, item: JsonObject, place: JsonValue) -> list[JsonObject]:
        """What is told of an item when it is whole.

        Thoughts that must come back, what OpenAI ran by itself, arguments of which no piece came.
        """
        kind = item.get("type")
        number = self._calls.get(place)
        if (
            kind == "function_call"
            and number is not None
            and item.get("arguments")
            and number not in self._with_arguments
        ):
            self._with_arguments.add(number)
            return [self.chunk({"tool_calls": [{"index": number, "function": {"arguments": str(item["arguments"])}}]})]
        if kind in ("message", "function_call", None) or (kind == "reasoning" and not item.get("encrypted_content")):
            return []
        picture = picture_in(item)
        shown = {} if kind == "reasoning" else {"response_items": [item]} if picture is None else {"images": [picture]}
        return [self.chunk({"reasoning_items": [item], **shown})]

    def _ended(self, response: JsonObject) -> list[JsonObject]:
        self.is_done = True
        text = "" if self._has_text else _text_in(response)
        found = [self.chunk({"content": text})] if text else []
        found += [self.chunk({}, _finish(response, has_calls=bool(self._calls)))]
        usage = usage_of(response.get("usage"))
        return [*found, self.usage(usage)] if usage is not None else found


def _add_own(out: JsonObject, own: JsonValue) -> None:
    """What this API alone knows of a request, beside what every other has a word for."""
    if not isinstance(own, dict):
        return
    for name in ("truncation", "metadata", "max_tool_calls"):
        if own.get(name) is not None:
            out[name] = own[name]
    if isinstance(own.get("reasoning"), dict):
        out["reasoning"] = {**own["reasoning"], **out.get("reasoning", {})}
    if isinstance(own.get("include"), list):
        out["include"] = list(dict.fromkeys([*out.get("include", ()), *own["include"]]))


def _text_in(response: JsonObject) -> str:
    """The text of a whole response, for streams that tell it nowhere else."""
    messages = (
        item for item in response.get("output") or () if isinstance(item, dict) and item.get("type") == "message"
    )
    return "".join(
        str(part.get("text") or "") for item in messages for part in item.get("content") or () if isinstance(part, dict)
    )


def picture_in(item: JsonObject) -> JsonObject | None:
    """The picture that OpenAI made, as a part of a message; `None` where the item is none."""
    if item.get("type") != "image_generation_call" or not isinstance(item.get("result"), str):
        return None
    return {"type": "image_url", "id": item.get("id"), "image_url": {"url": f"data:image/png;base64,{item['result']}"}}


def _tool(tool: JsonObject) -> JsonObject:
    if tool.get("type") == "own":
        own: dict[str, Any] = tool["tool"]
        return own
    return {"type": "function", **tool["function"]} if tool.get("type") == "function" else tool


def _sendable(item: JsonObject) -> JsonObject:
    """An item of reasoning as it is taken back: without what says how it came about. Others go back as they came."""
    if item.get("type") != "reasoning":
        return item
    return {
        name: item[name]
        for name in ("type", "id", "summary", "content", "encrypted_content")
        if item.get(name) is not None
    }


def _call(item: JsonObject) -> JsonObject:
    function = {"name": str(item.get("name") or ""), "arguments": str(item.get("arguments") or "")}
    return {"id": str(item.get("call_id") or item.get("id") or ""), "type": "function", "function": function}


def _finish(response: JsonObject, *, has_calls: bool) -> str:
    if response.get("status") == "incomplete":
        reason = (response.get("incomplete_details") or {}).get("reason")
        return "content_filter" if reason == "content_filter" else "length"
    return "tool_calls" if has_calls else "stop"


def _items(messages: list[JsonObject], provider: Provider) -> list[JsonObject]:
    items: list[dict[str, Any]] = []
    for message in messages:
        role = message["role"]
        if role in ("tool", "function"):
            has_more = any(part.get("type") != "text" for part in parts_of(message.get("content")))
            output = _content(message["content"], "user", provider) if has_more else result_text(message)
            items.append({"type": "function_call_output", "call_id": message.get("tool_call_id"), "output": output})
            continue
        items += [_sendable(item) for item in message.get("reasoning_items") or () if isinstance(item, dict)]
        if message.get("content") and (role != "assistant" or text_of(message["content"])):
            items.append({"role": role, "content": _content(message["content"], role, provider)})
        for call in message.get("tool_calls") or ():
            function = call.get("function") or {}
            called = {"name": function.get("name"), "arguments": function.get("arguments") or "{}"}
            items.append({"type": "function_call", "call_id": call.get("id"), **called})
    return items


def _content(content: JsonValue, role: str, provider: Provider) -> JsonValue:
    if isinstance(content, str):
        return content
    if role == "assistant":
        return text_of(content)
    parts: list[dict[str, Any]] = []
    for part in parts_of(content):
        if part.get("type") == "text":
            marked = {"prompt_cache_breakpoint": {"mode": "explicit"}} if part.get("cache_control") else {}
            parts.append({"type": "input_text", "text": part["text"], **marked})
        elif part.get("type") == "image_url":
            media, found, is_data = picture_of(part)
            parts.append(
                {
                    "type": "input_image",
                    "detail": "auto",
                    "image_url": f"data:{media};base64,{found}" if is_data else found,
                }
            )
        elif part.get("type") == "file":
            parts.append({"type": "input_file", **(part.get("file") or {})})
        else:
            raise refused(provider, f"a message with {part.get('type')}")
    return parts
