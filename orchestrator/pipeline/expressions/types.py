"""What is known of a value before there is one.

Its kind, the fields of an object, the items of a list, and why it may be missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from orchestrator.jsontypes import JsonValue

Kind = Literal["any", "null", "bool", "number", "text", "list", "object"]
_JSON_KINDS: dict[str, Kind] = {
    "string": "text",
    "number": "number",
    "integer": "number",
    "boolean": "bool",
    "array": "list",
    "object": "object",
    "null": "null",
}
MAX_NESTING = 30


@dataclass(frozen=True, slots=True)
class ValueType:
    """`item` is the type of a list's items, `fields` those of an object (`None`: not known).

    `missing` says why there may be no value (null), and is empty where there always is one.
    """

    kind: Kind
    item: ValueType | None = None
    fields: Mapping[str, ValueType] | None = None
    missing: str = ""

    def __str__(self) -> str:
        return (
            f"list of {self.item}"
            if self.kind == "list" and self.item is not None and self.item.kind != "any"
            else self.kind
        )

    def maybe(self, why: str) -> ValueType:
        """The same, but there may be no value."""
        return self if self.missing or not why else replace(self, missing=why)

    def surely(self) -> ValueType:
        """The type without the possibility of null."""
        return replace(self, missing="") if self.missing else self

    def fits(self, wanted: ValueType) -> bool:
        """Whether a value of this type may stand where `wanted` is asked for; what is not known may."""
        if self.kind == "any" or wanted.kind == "any":
            return True
        if self.kind != wanted.kind:
            return False
        if self.kind == "list" and self.item is not None and wanted.item is not None:
            return self.item.fits(wanted.item)
        return True


ANY = ValueType("any")
NULL = ValueType("null", missing="it is null")
BOOL = ValueType("bool")
NUMBER = ValueType("number")
TEXT = ValueType("text")
LIST = ValueType("list")
OBJECT = ValueType("object")


def list_of(item: ValueType) -> ValueType:
    """The type of a list of such items."""
    return ValueType("list", item=item)


def record(fields: Mapping[str, ValueType] | None = None, **more: ValueType) -> ValueType:
    """An object with these fields and no others."""
    return ValueType("object", fields={**(fields or {}), **more})


def joined(types: Iterable[ValueType]) -> ValueType:
    """The type of a value that is of one of these types: what all of them have in common."""
    found: ValueType | None = None
    for each in types:
        found = each if found is None else _join(found, each)
    return found if found is not None else NULL


def _join(a: ValueType, b: ValueType) -> ValueType:
    missing = a.missing or b.missing
    if "null" in (a.kind, b.kind):
        other = b if a.kind == "null" else a
        return replace(other, missing=missing)
    if a.kind != b.kind:
        return ValueType("any", missing=missing)
    item = None if a.item is None or b.item is None else _join(a.item, b.item)
    fields = None
    if a.fields is not None and b.fields is not None:
        fields = {name: _join(a.fields[name], b.fields[name]) for name in a.fields if name in b.fields}
    return ValueType(a.kind, item, fields, missing)


def type_of(value: object) -> ValueType:
    """The type of a value that is there."""
    if value is None:
        return NULL
    if isinstance(value, bool):
        return BOOL
    if isinstance(value, int | float):
        return NUMBER
    if isinstance(value, str):
        return TEXT
    if isinstance(value, Mapping):
        return record({str(name): type_of(each) for name, each in value.items()})
    if isinstance(value, list | tuple):
        return list_of(joined(map(type_of, value))) if value else LIST
    return ANY


def type_of_schema(schema: JsonValue, *, depth: int = 0) -> ValueType:
    """What a JSON Schema says of the values that satisfy it, as far as `type`, `properties`, `items`, `enum`, `const`
    and local `$ref`s tell.
    """
    return _of_schema(schema, schema, depth)


def _of_schema(schema: Any, root: Any, depth: int) -> ValueType:
    if not isinstance(schema, Mapping) or depth > MAX_NESTING:
        return ANY
    if isinstance(schema.get("$ref"), str):
        return _of_schema(_found(root, schema["$ref"]), root, depth + 1)
    if "const" in schema:
        return type_of(schema["const"])
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return joined(map(type_of, schema["enum"]))
    for name in ("anyOf", "oneOf"):
        if isinstance(schema.get(name), list) and schema[name]:
            return joined(_of_schema(each, root, depth + 1) for each in schema[name])
    kinds = schema.get("type", "object" if "properties" in schema else None)
    if isinstance(kinds, list):
        return joined(_of_schema({**schema, "type": each}, root, depth + 1) for each in kinds) if kinds else ANY
    kind = _JSON_KINDS.get(str(kinds), "any")
    if kind == "null":
        return NULL
    if kind == "list":
        return ValueType("list", item=_of_schema(schema.get("items"), root, depth + 1))
    if kind != "object" or not isinstance(schema.get("properties"), Mapping):
        return ValueType(kind)
    required = schema.get("required", ())
    return record(
        {
            str(name): _of_schema(each, root, depth + 1).maybe(
                "" if name in required else f"its schema does not require {name!r}"
            )
            for name, each in schema["properties"].items()
        }
    )


def _found(root: Any, pointer: str) -> Any:
    """What a JSON pointer like `#/$defs/Line` points at (RFC 6901), or `None`."""
    if not pointer.startswith("#/"):
        return root if pointer == "#" else None
    found = root
    for part in pointer[2:].split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, Mapping) else None
    return found
