"""Are two sets of tool calls the same request?

Calls in any order; arguments by value, with the defaults that their schema states.

An argument that only one of two calls gives is the same if it is what the schema says is taken without it: in
`default`, or in words ("Default is true", "defaults to 'metric'"), as much of function schemas is written. Texts are
compared without case, blanks and punctuation, unless the schema lists them or they look like code or a path; dates in
whatever notation.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.jsontypes import JsonMapping, JsonObject, JsonValue
from orchestrator.verifiers.answers.equivalence import equivalent
from orchestrator.verifiers.answers.numerals import read_numeral
from orchestrator.verifiers.answers.pattern import Pattern
from orchestrator.verifiers.answers.sameness import Equivalence
from orchestrator.verifiers.answers.units import find_unit

MAX_CALLS = 200
_DEFAULT = Pattern(
    r"\b(?:the\s+)?defaults?(?:\s+value)?\s*(?:is|are|to|will be|:|=)\s*(?:set\s+to\s+"
    r"|that\b[^.,;]{0,60},\s+which is\s+)?"
    r"(?P<value>\"[^\"]*\"|'[^']*'|`[^`]*`|[^\n,;()]+?(?=[,;()\n]|\.\s|\.?$))",
    re.IGNORECASE,
)
_EXACT_NAME = Pattern(
    r"(?:^|_)(?:path|file|filename|code|source|password|secret|token|key|id|hash|url|uri|regex|pattern|sql|command"
    r"|cmd)s?(?:_|$)",
    re.IGNORECASE,
)
_HONORIFIC = Pattern(r"^(?:mr|mrs|ms|miss|dr|prof|sir|herr|frau|señora?|m|mme)\.?\s+(?=\S)", re.IGNORECASE)
_LANGUAGES = {  # ISO 639-1, and how schemas write them out
    "en": "english", "zh": "chinese", "es": "spanish", "hi": "hindi", "ar": "arabic", "fr": "french",
    "pt": "portuguese", "ru": "russian",
    "ja": "japanese", "de": "german", "it": "italian", "ko": "korean", "nl": "dutch", "pl": "polish", "tr": "turkish",
    "sv": "swedish",
}  # fmt: skip
_MISSING = object()
Call = Mapping[str, Any]


def equivalent_calls(a: Sequence[Call], b: Sequence[Call], tools: Sequence[JsonMapping] = ()) -> Equivalence:
    """Whether two lists of calls ask for the same.

    A call is `{"name": ..., "arguments": {...} or JSON text}`, or as the OpenAI and Anthropic APIs send it; `tools` are
    the schemas, in either form. No call at all equals no call. Unknown where calls differ in an argument whose default
    is not stated, and in the letters of paths, keys and code. Raises `TypeError` on what is no call.
    """
    a, b = _plain_calls(a), _plain_calls(b)
    if len(a) != len(b) or len(a) > MAX_CALLS:
        return Equivalence("different", "not as many calls")
    schemas = {
        function.get("name", ""): function
        for tool in tools
        if isinstance(function := tool.get("function", tool), Mapping)
    }
    left = list(b)
    is_doubtful = ""
    for call in a:
        found = [_compared_call(call, other, schemas) for other in left]
        index = next((i for i, each in enumerate(found) if each.verdict == "same"), None)
        if index is None:
            doubt = next((i for i, each in enumerate(found) if each.verdict == "unknown"), None)
            if doubt is None:
                return (
                    found[0]
                    if len(found) == 1
                    else Equivalence("different", f"{call.get('name')} is called in one of them alone")
                )
            index, is_doubtful = doubt, found[doubt].reason
        left.pop(index)
    return Equivalence("unknown", is_doubtful) if is_doubtful else Equivalence("same", "the same calls")


def _plain_calls(calls: Sequence[Call]) -> list[Call]:
    if calls is None or isinstance(calls, str | Mapping):
        raise TypeError(f"pass a list of calls (no call is an empty list), not {type(calls).__name__}")
    return [_plain(call) for call in calls]


def _plain(call: Call) -> Call:
    """A call as `{"name": ..., "arguments".

    ...}`, from that form or from the one that the OpenAI or the Anthropic API sends.

    Raises `TypeError` on what is no call.
    """
    if not isinstance(call, Mapping):
        raise TypeError(
            f"a call is a mapping with a name and arguments, not {type(call).__name__}; pass lists of calls"
        )
    inner = call.get("function", call)
    if not isinstance(inner, Mapping) or "name" not in inner:
        raise TypeError(f"a call without a name: {sorted(call)}")
    return {"name": inner["name"], "arguments": inner.get("arguments", inner.get("input", {}))}


def _compared_call(a: Call, b: Call, schemas: Mapping[str, JsonMapping]) -> Equivalence:
    if a.get("name") != b.get("name"):
        return Equivalence("different", f"{a.get('name')} and {b.get('name')} are called")
    first, second = _arguments(a), _arguments(b)
    if first is None or second is None:
        return Equivalence("unknown", "arguments that are no JSON object")
    schema = schemas.get(str(a.get("name")), {})
    parameters = schema.get("parameters", schema.get("input_schema", {}))
    properties = parameters.get("properties", {}) if isinstance(parameters, Mapping) else {}
    doubt = ""
    for name in {**first, **second}:
        verdict = _compared_argument(
            name, first.get(name, _MISSING), second.get(name, _MISSING), properties.get(name, {})
        )
        if verdict == "different":
            return Equivalence("different", f"the argument {name} differs")
        doubt = f"the argument {name} may differ" if verdict == "unknown" else doubt
    return Equivalence("unknown", doubt) if doubt else Equivalence("same", "the same call")


def _arguments(call: Call) -> JsonObject | None:
    given = call.get("arguments", {})
    if isinstance(given, str):
        try:
            given = json.loads(given or "{}")
        except (ValueError, RecursionError):
            return None
    return dict(given) if isinstance(given, Mapping) else None


def _compared_argument(name: str, x: Any, y: Any, schema: Any) -> str:
    schema = schema if isinstance(schema, Mapping) else {}
    if x is _MISSING or y is _MISSING:
        given = y if x is _MISSING else x
        if given is None or (isinstance(given, str | list | Mapping) and not given):
            return "same"  # an optional argument that says nothing
        default = default_of(schema)
        if default is _MISSING:
            return "same" if given is False else "unknown"
        return "same" if _compared_values(given, default, schema, name) == "same" else "different"
    return _compared_values(x, y, schema, name)


def states_default(schema: JsonMapping) -> bool:
    """Whether a schema says what is taken without the argument, in `default` or in words."""
    return default_of(schema) is not _MISSING


def default_of(schema: JsonMapping) -> JsonValue:
    """The value that is taken without an argument, as its schema states it in `default` or in words.

    `_MISSING` if it does not.
    """
    if "default" in schema:
        return schema["default"]
    found = _DEFAULT.search(str(schema.get("description", "")))
    if found is None:
        return _MISSING
    written = found["value"].strip("\"'`").rstrip(".")
    if (number := read_numeral(written)) is not None and not written[
        number.end : number.end + 1
    ].isalnum():  # 9.81 m/s^2
        return float(number.value)
    try:
        return json.loads(written.lower() if written.lower() in ("true", "false", "null", "none") else written)
    except ValueError:
        return written


def _compared_values(x: Any, y: Any, schema: JsonMapping, name: str = "") -> str:
    if isinstance(x, bool) or isinstance(y, bool):
        flags = _as_flag(x), _as_flag(y)
        return "same" if isinstance(flags[0], bool) and flags[0] is flags[1] else "different"
    if _is_number(x) or _is_number(y):
        return "same" if math.isclose(_as_number(x), _as_number(y), rel_tol=1e-9) else "different"
    if isinstance(x, str) and isinstance(y, str):
        return _compared_texts(x, y, schema, name)
    if isinstance(x, list) and isinstance(y, list):
        return _compared_lists(x, y, schema.get("items", {}))
    if isinstance(x, Mapping) and isinstance(y, Mapping):
        properties = schema.get("properties", {}) if isinstance(schema.get("properties", {}), Mapping) else {}
        found = {
            _compared_argument(name, x.get(name, _MISSING), y.get(name, _MISSING), properties.get(name, {}))
            for name in {**x, **y}
        }
        return "different" if "different" in found else "unknown" if "unknown" in found else "same"
    return "same" if x == y else "different"


def _compared_lists(x: Sequence[Any], y: Sequence[Any], items: Any) -> str:
    if len(x) != len(y):
        return "different"
    found = {_compared_values(a, b, items if isinstance(items, Mapping) else {}) for a, b in zip(x, y, strict=True)}
    if (
        "different" in found
        and all(isinstance(each, str) for each in (*x, *y))
        and sorted(map(_bare, x)) == sorted(map(_bare, y))
    ):
        return "unknown"  # words in another order
    return "different" if "different" in found else "unknown" if "unknown" in found else "same"


def _compared_texts(x: str, y: str, schema: JsonMapping, name: str) -> str:
    if x == y:
        return "same"
    listed = [str(each) for each in schema.get("enum", ())] if isinstance(schema.get("enum"), list) else []
    if listed and x in listed and y in listed:
        return "different"
    if _bare(x) == _bare(y) and _EXACT_NAME.search(name):
        return "unknown"
    if _bare(x) == _bare(y):
        return "unknown" if re.search(r"[/\\]\w+\.\w|[{}<>$;]|\w\(", x + y) and x.casefold() != y.casefold() else "same"
    if _language(x) == _language(y) or _is_one_unit(x, y) or _essence(x, name) == _essence(y, name):
        return "same"
    shorter, longer = sorted((x.strip(), y.strip()), key=len)
    if longer.casefold().startswith(f"{shorter.casefold()}, "):  # "Nashville, TN" for a question about Nashville
        return "same"
    if re.search(r"\d", x) and re.search(r"\d", y):
        return equivalent(x, y).verdict
    first, second = set(re.findall(r"\w+", x.casefold())), set(re.findall(r"\w+", y.casefold()))
    return "unknown" if first and second and (first <= second or second <= first) else "different"


def _essence(text: str, name: str) -> str:
    """A text without a title in front and without the argument's own name.

    "city" for the view "City view", "John Doe" for "Mr. John Doe".
    """
    words = [word for word in _HONORIFIC.sub("", text).casefold().split() if word not in name.casefold().split("_")]
    return " ".join(words) or text.casefold()


def _language(text: str) -> str:
    return _LANGUAGES.get(text.casefold(), text.casefold())


def _is_one_unit(x: str, y: str) -> bool:
    """Whether two texts name one unit of measure: m and meters."""
    first, second = find_unit(x, 0), find_unit(y, 0)
    return first is not None and second is not None and first == (second[0], len(x)) and second[1] == len(y)


def _bare(text: str) -> str:
    return re.sub(r"[\s,./\-_*^'\"]+", "", text.casefold())


def _as_flag(value: Any) -> Any:
    return {"true": True, "false": False}.get(value.casefold(), value) if isinstance(value, str) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _as_number(value: Any) -> float:
    """The number of a value, also of one that is written as text; NaN, which equals nothing, for any other."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
