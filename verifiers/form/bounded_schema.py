"""JSON Schemas of strangers, compiled and applied within bounds.

They fetch no address, read no file, and take no time without end.

Validation is jsonschema-rs's (draft 2020-12 and the older ones that `$schema` names). Ten lines may ask for years of
work (references that fan out, patterns that backtrack): what is not certainly quick is checked in a process of its own,
which is ended when its time is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import Any

from orchestrator.jsontypes import JsonValue
from orchestrator.verifiers.process import Helper

MAX_LEVELS = 100
MAX_NODES = 20_000
MAX_PATTERN_CHARS = 20_000
MAX_BACKTRACKS = 10_000  # of one pattern at one place of a text
MAX_LISTED_WORK = 50_000  # schema evaluations for which each error is listed, not only told that there is one
MAX_ERRORS, MAX_TOLD_CHARS = 5, 500
QUICK_WORK = 20_000_000  # evaluations times values: a bound that is seldom met, checked in milliseconds
QUICK_CHARS = 2_000  # of a text that patterns with look-around are tried on
MANY = 10**9
TIMEOUT_S = 2.0


class UnusableSchema(ValueError):
    """What was given is no JSON Schema, refers to something outside of itself, or is too large."""


class BoundedSchema:
    """A compiled JSON Schema.

    Raises `UnusableSchema` that names what is wrong with it: an address that it refers to, its depth, a keyword.
    """

    def __init__(self, schema: Any, *, timeout_s: float = TIMEOUT_S) -> None:
        import jsonschema_rs  # heavy

        if not isinstance(schema, dict | bool):
            raise UnusableSchema(f"a JSON Schema is an object, not {type(schema).__name__}")
        pattern_chars = _check_size(schema)
        if pattern_chars > MAX_PATTERN_CHARS:
            raise UnusableSchema(f"its patterns have {pattern_chars:,} characters, more than {MAX_PATTERN_CHARS:,}")
        self._schema, self._timeout_s = schema, timeout_s
        self._outside = ""
        try:
            self._validator, self._backtracks = self._compile(jsonschema_rs)
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError, TypeError) as error:
            if self._outside:
                raise UnusableSchema(
                    f"it refers to {self._outside[:200]!r}, which lies outside of it: nothing is fetched"
                ) from None
            raise UnusableSchema(str(getattr(error, "message", None) or error)[:300]) from None
        self._work = _Work(schema)

    def _compile(self, library: Any) -> tuple[Any, bool]:
        """The validator, and whether its patterns may backtrack.

        Those that need no look-around are matched in linear time.
        """
        try:
            return library.validator_for(
                self._schema, retriever=self._refuse, pattern_options=library.RegexOptions()
            ), False
        except (library.ValidationError, ValueError):
            limited = library.FancyRegexOptions(backtrack_limit=MAX_BACKTRACKS)
            return library.validator_for(self._schema, retriever=self._refuse, pattern_options=limited), True

    def _refuse(self, uri: str) -> Any:
        self._outside = uri
        raise UnusableSchema(uri)

    async def errors(self, value: JsonValue) -> list[str]:
        """What is wrong with a JSON value, at most five things, each with its path; empty if it satisfies the schema.

        What may take long is checked in a process of its own. Raises `TimeoutError` where that did not end within
        `timeout_s`.
        """
        levels, nodes, chars = _size(value)
        is_quick = self._work.bound(levels) * nodes <= QUICK_WORK and not (self._backtracks and chars > QUICK_CHARS)
        if is_quick:
            return self.find_errors(value)
        found: list[str] = (
            await asyncio.to_thread(_helper().ask, {"schema": self._schema, "value": value}, self._timeout_s)
        )["errors"]
        return found

    def find_errors(self, value: JsonValue) -> list[str]:
        """`errors` without the process: for schemas of one's own."""
        if self._validator.is_valid(value):
            return []
        if self._work.bound(_size(value)[0]) > MAX_LISTED_WORK:
            return ["$: it does not satisfy the schema"]
        return [_told(fault) for fault in islice(self._validator.iter_errors(value), MAX_ERRORS)]


@lru_cache(maxsize=1)
def _helper() -> Helper:
    return Helper("orchestrator.verifiers.form.bounded_schema_worker")


def _told(fault: Any) -> str:
    path = "$" + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in fault.instance_path)
    return f"{path}: {fault.message}"[:MAX_TOLD_CHARS]


def _children(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _check_size(schema: Any) -> int:
    """The characters of all patterns in a schema. Raises `UnusableSchema` on one that is too large or too deep."""
    nodes = pattern_chars = 0
    level = [schema]
    for depth in range(MAX_LEVELS + 1):
        if not level:
            return pattern_chars
        nodes += len(level)
        if nodes > MAX_NODES:
            raise UnusableSchema(f"it has more than {MAX_NODES:,} values")
        if depth == MAX_LEVELS:
            break
        for each in level:
            if isinstance(each, dict):
                pattern_chars += len(each["pattern"]) if isinstance(each.get("pattern"), str) else 0
                named = each.get("patternProperties")
                pattern_chars += sum(map(len, named)) if isinstance(named, dict) else 0
        level = [child for each in level for child in _children(each)]
    raise UnusableSchema(f"it is nested deeper than {MAX_LEVELS} levels")


def _size(value: Any) -> tuple[int, int, int]:
    """(levels, values, characters) of a JSON value."""
    levels = nodes = chars = 0
    level = [value]
    while level:
        levels, nodes = levels + 1, nodes + len(level)
        chars += sum(len(each) for each in level if isinstance(each, str))
        level = [child for each in level for child in _children(each)]
    return levels, nodes, chars


class _Work:
    """How often parts of a schema may be evaluated when every error is listed.

    References multiply, and again on each level of a value.
    """

    def __init__(self, schema: Any) -> None:
        self._root = schema
        self._known: dict[int, tuple[int, int]] = {}
        self._open: set[int] = set()
        self._once, self._returns = self._cost(schema)

    def bound(self, levels: int) -> int:
        """At most so many evaluations for a value of so many levels."""
        work: int = self._once * max(self._returns, 1) ** min(levels, 64)
        return work

    def _cost(self, schema: Any) -> tuple[int, int]:
        """(parts that are evaluated on one level of a value, references among them that lead back to what is being
        evaluated).
        """
        if not isinstance(schema, dict | list):
            return 0, 0
        if id(schema) in self._open:
            return 1, 1
        if id(schema) not in self._known:
            self._open.add(id(schema))
            target = schema.get("$ref", schema.get("$dynamicRef")) if isinstance(schema, dict) else None
            below = [*_children(schema), *([self._at(target)] if isinstance(target, str) else [])]
            costs = [self._cost(each) for each in below]
            self._open.discard(id(schema))
            self._known[id(schema)] = (
                min(1 + sum(cost[0] for cost in costs), MANY),
                min(sum(cost[1] for cost in costs), MANY),
            )
        return self._known[id(schema)]

    def _at(self, reference: str) -> Any:
        """What a reference within the document points to (RFC 6901).

        The whole of it for a name, which is the most that it can be.
        """
        found = self._root
        if not reference.startswith("#/"):
            return found
        for part in reference[2:].split("/"):
            name = part.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and name.isdigit() and int(name) < len(found):
                found = found[int(name)]
            elif isinstance(found, dict) and name in found:
                found = found[name]
            else:
                return self._root
        return found
