"""What must come back to a model as it came from it, packed for clients whose dialect has no field for it.

Thoughts that Anthropic signs, OpenAI's encrypted reasoning, Google's signatures of calls and the plain thoughts that
DeepSeek wants back stand in fields of a chat completion's message (`SIGNED_FIELDS`, and `extra_content` of a call).
Anthropic's clients send back `redacted_thinking`, the Responses API's clients `encrypted_content`, both unread: there
they travel as one text.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.types.message import SIGNED_FIELDS

_BEGINNING = "orc1."


def pack(message: JsonObject, *, but: frozenset[str] = frozenset()) -> str:
    """What of an assistant's message must come back, as one text; `but` leaves out fields that travel otherwise.

    "" where there is nothing.
    """
    kept: dict[str, Any] = {name: message[name] for name in SIGNED_FIELDS if name not in but and message.get(name)}
    calls = {call["id"]: call["extra_content"] for call in message.get("tool_calls") or () if call.get("extra_content")}
    if calls:
        kept["calls"] = calls
    if not kept:
        return ""
    return _BEGINNING + base64.urlsafe_b64encode(json.dumps(kept, separators=(",", ":")).encode()).decode()


def unpack(text: JsonValue, message: JsonObject) -> bool:
    """Puts what was packed back into an assistant's message; false if the text is nothing of ours."""
    if not isinstance(text, str) or not text.startswith(_BEGINNING):
        return False
    try:
        kept = json.loads(base64.urlsafe_b64decode(text[len(_BEGINNING) :].encode()))
    except (binascii.Error, ValueError, RecursionError):
        return True  # it was ours, and somebody changed it
    if isinstance(kept, dict):
        message |= {name: kept[name] for name, kind in SIGNED_FIELDS.items() if isinstance(kept.get(name), kind)}
        calls = kept.get("calls")
        for call in message.get("tool_calls") or ():
            if isinstance(calls, dict) and isinstance(calls.get(call.get("id")), dict):
                call["extra_content"] = calls[call["id"]]
    return True
