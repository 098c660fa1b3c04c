"""The spans of a trace as rows: flattened depth first, packed into parts that can be read one at a time.

A trace of 50,000 spans opens as fast as one of six, because only the part that is looked at is read.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from orchestrator.jsontypes import JsonMapping, JsonObject, JsonValue

SPANS_PER_PART = 200
CALLS = frozenset(("draft", "revise", "critique", "compare", "combine"))
"""Spans that are calls of a model."""
WRITES = frozenset(("draft", "revise", "combine"))
"""Spans that write an answer."""
_CONTENT = ("feedback", "diff")
"""Attributes that quote what models wrote."""
_SHORT = 600  # bytes; zlib's stream begins with another byte than JSON does
_FAST = 1  # zlib's level: a third of the time of its usual one for a tenth more bytes


def flatten(root: JsonMapping) -> list[JsonObject]:
    """The spans below `root` (`Trace.as_dict`), depth first.

    Each has its number `n`, its `parent` (-1 for those right below the root) and its `depth`.
    """
    found: list[JsonObject] = []
    waiting: list[tuple[JsonMapping, int, int]] = [(child, -1, 0) for child in reversed(root.get("children", ()))]
    while waiting:
        span, parent, depth = waiting.pop()
        number = len(found)
        row = {name: value for name, value in span.items() if name != "children"}
        found.append({"n": number, "parent": parent, "depth": depth, **row})
        waiting += [(child, number, depth + 1) for child in reversed(span.get("children", ()))]
    return found


def nest(spans: Iterable[JsonMapping]) -> list[JsonObject]:
    """The tree that `flatten` made rows of: the spans that have no parent, with their children."""
    kept: dict[int, JsonObject] = {}
    roots: list[JsonObject] = []
    for span in spans:
        node = {name: value for name, value in span.items() if name not in ("n", "parent", "depth")}
        kept[span["n"]] = node
        above = kept.get(span["parent"])
        (roots if above is None else above.setdefault("children", [])).append(node)
    return roots


def without_content(spans: Iterable[JsonMapping]) -> list[JsonObject]:
    """The same spans without what quotes a model, or a server that may quote the prompt: of an error stays its kind."""
    return [
        {**span, "attributes": {k: _kind(k, v) for k, v in span["attributes"].items() if k not in _CONTENT}}
        if any(name in span.get("attributes", ()) for name in (*_CONTENT, "error"))
        else dict(span)
        for span in spans
    ]


def _kind(name: str, value: JsonValue) -> JsonValue:
    """Of an error who failed and with which status (`small: HTTP 400`): what follows are a server's own words."""
    return ": ".join(str(value).split(": ")[:2])[:120] if name == "error" else value


def of_attempts(attempts: Sequence[JsonMapping], *, first: int = 0, start: float = 0.0) -> list[JsonObject]:
    """Spans for calls that were passed through, one after the other; the gateway keeps how long each took.

    Args:
        attempts: What is known of each call.
        first: The number of the first span.
        start: When the first began, in seconds since the request.
    """
    found: list[JsonObject] = []
    for number, attempt in enumerate(attempts, first):
        seconds = float(attempt.get("seconds", 0.0))
        attributes = {name: attempt[name] for name in ("model", "error", "resumed") if attempt.get(name)}
        found.append(
            {"n": number, "parent": -1, "depth": 0, "name": "draft", "start_s": round(start, 6)}
            | {"duration_s": seconds, "attributes": attributes}
        )
        start += seconds
    return found


def pack(spans: Sequence[JsonMapping]) -> Iterator[tuple[int, bytes]]:
    """(part, bytes) of all spans; a part holds `SPANS_PER_PART` of them."""
    for part, start in enumerate(range(0, len(spans), SPANS_PER_PART)):
        yield part, pack_value(spans[start : start + SPANS_PER_PART])


def pack_value(value: object) -> bytes:
    """A JSON value as it is stored: compressed, unless it is so short that this costs more than it saves."""
    written = orjson.dumps(value)
    return written if len(written) < _SHORT else zlib.compress(written, _FAST)


def unpack(stored: bytes) -> JsonValue:
    """The JSON value that `pack_value` stored."""
    return orjson.loads(stored if stored[:1] in b"[{" else zlib.decompress(stored))


def clean_span(span: object) -> JsonObject:
    """A span as pages show it: whatever it holds, its fields are of their kinds."""
    given = span if isinstance(span, dict) else {}
    told = given.get("attributes")
    attributes: JsonObject = dict(told) if isinstance(told, dict) else {}
    for name in ("cost_usd", "score", "prefill_tokens", "output_tokens", "records", "tokens"):
        if name in attributes and not _is_number(attributes[name]):
            del attributes[name]
    options = attributes.get("options")
    attributes["options"] = [
        {"cost_usd": None, "latency_s": None, "rejected": "", **each}
        for each in (options if isinstance(options, list) else ())
        if isinstance(each, dict) and isinstance(each.get("model"), str) and _is_number(each.get("p"))
    ]
    numbers = {
        name: float(given[name]) if _is_number(given.get(name)) else 0.0 for name in ("start_s", "duration_s", "depth")
    }
    called = given.get("name")
    return {
        **given,
        **numbers,
        "depth": int(numbers["depth"]),
        "name": called if isinstance(called, str) else "step",
        "attributes": attributes,
    }


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def count_drafts(spans: Iterable[JsonMapping]) -> tuple[int, bool]:
    """(answers that models wrote, whether more than one model was asked to) of a trace."""
    drafts, models = 0, set()
    for span in spans:
        if span["name"] in WRITES:
            attributes: Mapping[str, Any] = span.get("attributes", {})
            models.add(attributes.get("model"))
            drafts += "error" not in attributes
    return drafts, len(models) > 1
