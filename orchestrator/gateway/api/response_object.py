"""The object of OpenAI's Responses API: a chat completion as items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.backends.dialects.annotations import as_responses
from orchestrator.backends.dialects.signatures import pack
from orchestrator.gateway.api.chat import CompletionSession
from orchestrator.gateway.api.response_items import Tools
from orchestrator.jsontypes import JsonObject

if TYPE_CHECKING:
    pass


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


class ResponseObject:
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

    @property
    def is_waiting(self) -> bool:
        """Whether a run of tools waits for approval: the same request goes on with it."""
        return bool(self._order.facts.waiting)

    def take(self, completion: JsonObject) -> None:
        """Takes a whole chat completion."""
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
        """The id of the next item."""
        return f"{kind}_{self._order.tab.id[:20]}_{len(self.items)}"

    def message(self, part: JsonObject | None, status: str = "completed") -> JsonObject:
        """An item of the output that is a message."""
        content = [] if part is None else [part]
        return {"id": self.item_id("msg"), "type": "message", "role": "assistant", "status": status, "content": content}

    def whole(self, status: str = "", error: JsonObject | None = None) -> JsonObject:
        """The object as JSON values."""
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
        thread = self.body.get("conversation")
        found["conversation"] = {"id": thread} if isinstance(thread, str) else thread
        found["tools"], found["tool_choice"] = found["tools"] or [], found["tool_choice"] or "auto"
        details = self._order.details() if status != "in_progress" else None
        return found | ({"orchestrator": details} if details is not None else {})


def text_part(
    text: str, logprobs: list[JsonObject] | None = None, annotations: list[JsonObject] | None = None
) -> JsonObject:
    """The text of an answer as a part of an output item."""
    return {"type": "output_text", "text": text, "annotations": annotations or [], "logprobs": logprobs or []}


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
