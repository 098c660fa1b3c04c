"""Where parts of an answer come from: the citations of each dialect as annotations of a chat completion, and back.

An annotation is OpenAI's `url_citation` (openai 3.54, types.chat.chat_completion_message.Annotation): the characters of
the text, an address and a title, with `cited_text` where it is known. What cites no address (pages of a document, a
file) keeps its own form, its dialect's type among it.
"""

from __future__ import annotations

from orchestrator.jsontypes import JsonObject, JsonValue

_WEB = ("web_search_result_location", "search_result_location")


def url_citation(url: JsonValue, title: JsonValue, start: int, end: int, cited: JsonValue = None) -> JsonObject:
    """An annotation of an address; `start` and `end` count characters of the answer's text, the end not included."""
    found = {"url": str(url or ""), "title": str(title or ""), "start_index": start, "end_index": end}
    if isinstance(cited, str):
        found["cited_text"] = cited
    return {"type": "url_citation", "url_citation": found}


def from_responses(annotations: JsonValue, offset: int = 0) -> list[JsonObject]:
    """Those of one part of a message, whose text begins `offset` characters after the message's."""
    found = []
    for each in annotations or ():
        if not isinstance(each, dict):
            continue
        if each.get("type") == "url_citation":
            start, end = int(each.get("start_index") or 0), int(each.get("end_index") or 0)
            found.append(url_citation(each.get("url"), each.get("title"), start + offset, end + offset))
        else:
            found.append(each)
    return found


def from_anthropic(citations: JsonValue, start: int, end: int) -> list[JsonObject]:
    """Those of one block of text, which stands between two characters of the whole."""
    found = []
    for each in citations or ():
        if isinstance(each, dict) and each.get("type") in _WEB:
            found.append(
                url_citation(
                    each.get("url") or each.get("source"), each.get("title"), start, end, each.get("cited_text")
                )
            )
        elif isinstance(each, dict):
            found.append({**each, "start_index": start, "end_index": end})
    return found


def from_gemini(grounding: JsonValue, text: str) -> list[JsonObject]:
    """Of `groundingMetadata`, whose segments are counted in bytes of UTF-8."""
    if not isinstance(grounding, dict):
        return []
    chunks, raw, found = grounding.get("groundingChunks") or (), text.encode("utf-8", "replace"), []
    for support in grounding.get("groundingSupports") or ():
        segment = support.get("segment") or {}
        start, end = (
            len(raw[: int(segment.get(name) or 0)].decode("utf-8", "ignore")) for name in ("startIndex", "endIndex")
        )
        for place in support.get("groundingChunkIndices") or ():
            source = (
                (chunks[place].get("web") or chunks[place].get("retrievedContext") or {})
                if 0 <= place < len(chunks)
                else {}
            )
            if source:
                found.append(url_citation(source.get("uri"), source.get("title"), start, end))
    return found


def as_responses(annotations: JsonValue) -> list[JsonObject]:
    """As a part of a message of the responses API has them."""
    return [
        {"type": "url_citation", **each["url_citation"]} if isinstance(each.get("url_citation"), dict) else each
        for each in annotations or ()
        if isinstance(each, dict)
    ]


def as_anthropic(annotations: JsonValue, text: str) -> list[JsonObject]:
    """As a block of text has them; `text` is that of the answer."""
    found = []
    for each in annotations or ():
        told = each.get("url_citation", each) if isinstance(each, dict) and each.get("type") == "url_citation" else None
        if isinstance(told, dict):
            cited = told.get("cited_text") or text[told.get("start_index") or 0 : told.get("end_index")]
            found.append(
                {
                    "type": "web_search_result_location",
                    "url": str(told.get("url") or ""),
                    "title": str(told.get("title") or ""),
                    "cited_text": cited,
                    "encrypted_index": "",
                }
            )
    return found
