"""A file as it stands, before it is checked.

Which fields of which steps its expressions read, and which steps stand within others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.jsontypes import JsonMapping, JsonObject, JsonValue
from orchestrator.pipeline.expressions.grammar import Field, Name, SyntaxNode, SyntaxProblem
from orchestrator.pipeline.expressions.templates import OPEN, parse_template
from orchestrator.pipeline.expressions.type_inference import children
from orchestrator.pipeline.language.sources import Where


@dataclass
class Read:
    """`whole` are names whose value is used as it is, `fields` (name, field) pairs of which only the field is."""

    whole: set[str] = field(default_factory=set)
    fields: set[tuple[str, str]] = field(default_factory=set)


def fields_read(document: JsonMapping) -> Read:
    """What the expressions of a document read.

    Where steps have no `output` of their own, each of them may be what is given.
    """
    found = Read()
    _walk(document, found)
    if document.get("output") is None:
        _gives_all(document.get("steps"), found)
    return found


def _walk(value: Any, found: Read) -> None:
    if isinstance(value, str):
        if OPEN in value:
            _text(value, found)
    elif isinstance(value, Mapping):
        if isinstance(value.get("do"), Mapping) and value.get("output") is None:
            _gives_all(value["do"], found)
        for each in value.values():
            _walk(each, found)
    elif isinstance(value, list):
        for each in value:
            _walk(each, found)


def _gives_all(steps: Any, found: Read) -> None:
    if isinstance(steps, Mapping):
        found.whole |= steps.keys()


def _text(text: str, found: Read) -> None:
    try:
        template = parse_template(text)
    except SyntaxProblem:
        return
    for expression in template.expressions:
        _node(expression.node, found)


def _node(node: SyntaxNode, found: Read) -> None:
    if isinstance(node, Name):
        found.whole.add(node.name)
    elif isinstance(node, Field) and isinstance(node.of, Name):
        found.fields.add((node.of.name, node.name))
    else:
        for child in children(node):
            _node(child, found)


def inner_steps(raw: JsonValue) -> list[tuple[Where, JsonObject]]:
    """Where steps stand within a step: under `do`, in it or in its parts."""
    found: list[tuple[Where, dict[str, Any]]] = []
    if isinstance(raw, dict):
        for key, value in raw.items():
            if key == "do" and isinstance(value, dict):
                found.append((("do",), value))
            elif key in ("branch", "loop", "parallel"):
                parts = list(enumerate(value)) if isinstance(value, list) else [(None, value)]
                for index, part in parts:
                    before: Where = (key,) if index is None else (key, index)
                    found += [((*before, *path), do) for path, do in inner_steps(part)]
    return found


def inner_names(raw: JsonValue) -> set[str]:
    """The names of all steps within a step."""
    names: set[str] = set()
    for _, do in inner_steps(raw):
        for name, each in do.items():
            names |= {name} | inner_names(each)
    return names
