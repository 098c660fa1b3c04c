"""What an MCP server says of itself and gives back, as models may see it: names, descriptions, schemas, results."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from orchestrator.jsontypes import JsonMapping, JsonObject, JsonValue
from orchestrator.memory.text.injection_marks import looks_like_instructions
from orchestrator.verifiers.form.bounded_schema import BoundedSchema, UnusableSchema

if TYPE_CHECKING:
    from mcp_types import CallToolResult

log = logging.getLogger(__name__)
MAX_DESCRIPTION_CHARS = 1_000
MAX_SCHEMA_CHARS = 4_000  # of all descriptions in one schema
WORDS = ("description", "title", "$comment")
HIDDEN = "(its description looks like instructions to a model, and is left out)"


def content_text(result: CallToolResult) -> str:
    """The text of a result; what is no text is named with its size."""
    import mcp_types
    import orjson

    texts: list[str] = []
    for block in result.content:
        if isinstance(block, mcp_types.TextContent):
            texts.append(block.text)
        elif isinstance(block, mcp_types.ImageContent | mcp_types.AudioContent):
            texts.append(f"[{block.type} {block.mime_type}, {len(block.data):,} characters of base64]")
        elif isinstance(block, mcp_types.EmbeddedResource):
            held = block.resource
            texts.append(held.text if isinstance(held, mcp_types.TextResourceContents) else f"[resource {held.uri}]")
        else:
            texts.append(f"[resource {block.uri}]")
    if not texts and result.structured_content is not None:
        return orjson.dumps(result.structured_content).decode()
    return "\n".join(texts)


def safe_name(name: str, taken: set[str]) -> str:
    """A name that providers take and that no other tool has."""
    made = re.sub(r"[^a-zA-Z0-9_-]", "_", name)
    if len(made) > 64 or made in taken or made != name:
        mark = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:6]
        made = made if len(made) <= 64 and made not in taken else f"{made[:57]}_{mark}"
    return made


def safe_description(text: str) -> str:
    """A description of bounded length; none where it looks like instructions to a model."""
    shown = " ".join(text.split())[:MAX_DESCRIPTION_CHARS]
    return HIDDEN if looks_like_instructions(shown) else shown


def safe_schema(stated: JsonMapping) -> JsonObject:
    """The schema of a tool's arguments; one that takes any object where that is none."""
    schema = dict(stated) if isinstance(stated, Mapping) else {}
    try:
        BoundedSchema(schema)
    except UnusableSchema as error:
        log.warning("the schema of a tool cannot be used: %s", error)
        return {"type": "object"}
    if schema.get("type", "object") != "object":
        return {"type": "object"}
    told: JsonObject = _told(schema, [MAX_SCHEMA_CHARS])
    return told


def _told(schema: JsonValue, left: list[int]) -> JsonValue:
    """A schema whose words are bounded and give no orders; `left` is how many characters of them may stay."""
    if isinstance(schema, list):
        return [_told(each, left) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found: JsonObject = {}
    for name, value in schema.items():
        if name in WORDS and isinstance(value, str):
            value = safe_description(value)[: max(left[0], 0)]
            left[0] -= len(value)
        found[name] = _told(value, left)
    return found
