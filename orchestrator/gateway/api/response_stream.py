"""A streamed chat completion as the typed events of OpenAI's Responses API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.backends.dialects.annotations import as_responses
from orchestrator.gateway.api.response_items import custom_input
from orchestrator.gateway.api.response_object import ResponseObject, text_part
from orchestrator.gateway.http import sse
from orchestrator.jsontypes import JsonObject, JsonValue

if TYPE_CHECKING:
    pass


class ResponseStream:
    """The events of a response that is streamed: each item is added, grows, and is done.

    An item that has begun keeps its place.
    """

    def __init__(self, response: ResponseObject) -> None:
        self._response = response
        self._number = 0
        self._text: int | None = None  # the place of the message
        self._calls: dict[int, int] = {}  # the places of calls
        self._has_thoughts = False

    def event(self, kind: str, **fields: JsonValue) -> bytes:
        """One typed event of the stream."""
        self._number += 1
        return sse.event({"type": kind, "sequence_number": self._number - 1, **fields}, kind)

    def take(self, choice: JsonObject) -> list[bytes]:
        """The events that one chunk of the chat completion stands for."""
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
        is_late = choice.get("logprobs") and not delta.get("content")  # after what they are about
        if is_late and self._text is not None:
            part = self._response.items[self._text]["content"][0]
            part.setdefault("logprobs", []).extend(choice["logprobs"].get("content") or ())
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
            names = ("text", "logprobs") if part["type"] == "output_text" else ("refusal",)
            told = {name: part[name] for name in names}
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
