"""Schemas of Python functions: annotations and docstrings as people write them, and functions that cannot be tools."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal

import pydantic
import pytest
from pydantic import Field

from orchestrator.errors import InvalidArgument
from orchestrator.tools import Tool, ToolSet, tool
from orchestrator.tools.function import read_docstring


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Point:
    x: float
    y: float = 0.0


class Node(pydantic.BaseModel):
    name: str
    children: list[Node] = []


def everything(
    text: str,
    count: int = 3,
    kind: Literal["a", "b"] = "a",
    colour: Colour = Colour.RED,
    where: Point | None = None,
    tags: list[str] = [],  # noqa: B006
    limited: Annotated[int, Field(ge=1, le=5, description="between one and five")] = 1,
) -> str:
    """Does everything.

    And more of it.

    Args:
        text: What is said, in
            two lines.
        count (int): How often.
        kind: One of two.

    Returns:
        A text.
    """
    return text


def test_a_schema_says_what_annotations_and_docstring_say() -> None:
    made = tool(everything)
    properties = made.parameters["properties"]
    assert made.description == "Does everything.\n\nAnd more of it."
    assert made.parameters["required"] == ["text"]
    assert made.parameters["additionalProperties"] is False
    assert properties["text"] == {"type": "string", "description": "What is said, in two lines."}
    assert properties["count"] == {"type": "integer", "default": 3, "description": "How often."}
    assert properties["kind"]["enum"] == ["a", "b"]
    assert properties["limited"]["maximum"] == 5
    assert properties["limited"]["description"] == "between one and five"
    assert "Point" in made.parameters["$defs"]
    assert made.effects == "once"


def test_recursive_types_have_a_schema() -> None:
    made = tool(lambda node: node, name="walk")
    assert made.parameters["properties"]["node"] == {}

    def walk(node: Node) -> str:
        return node.name

    assert "$ref" in str(tool(walk).parameters["$defs"]["Node"]["properties"]["children"])


def test_local_types_are_found() -> None:
    class Here(pydantic.BaseModel):
        a: int

    @tool
    def use(here: Here) -> int:
        return here.a

    assert "Here" in use.parameters["$defs"]


@pytest.mark.parametrize(
    ("docstring", "about", "parameters"),
    [
        ("", "", {}),
        ("One line.", "One line.", {}),
        (":param a: the first\n:param int b: the second\n:returns: it", "", {"a": "the first", "b": "the second"}),
        ("Does.\n\nArgs:\n    **more: Any.\n", "Does.", {"more": "Any."}),
        ("Does.\n\nParameters:\n    a: x\n\nRaises:\n    E: y\n", "Does.", {"a": "x"}),
    ],
)
def test_docstrings_of_several_styles(docstring: str, about: str, parameters: dict[str, str]) -> None:
    assert read_docstring(docstring) == (about, parameters)


def test_methods_partials_and_callables_are_tools() -> None:
    class Shop:
        def find(self, name: str) -> str:
            """Finds."""
            return name

        async def __call__(self, name: str) -> str:
            return name

    assert list(tool(Shop().find).parameters["properties"]) == ["name"]
    assert "count" in tool(functools.partial(everything, "x"), name="p").parameters["properties"]
    assert list(tool(Shop(), name="shop").parameters["properties"]) == ["name"]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: tool(5), "a tool must be a function, not int"),  # type: ignore[call-overload]
        (lambda: tool(Point), "a tool must be a function, not type"),
        (lambda: tool(lambda x: x), "names are at most 64 letters"),
        (lambda: tool(everything, name="é"), "names are at most 64 letters"),
        (lambda: tool(everything, name="x" * 65), "names are at most 64 letters"),
        (lambda: tool(everything, effects="some"), "are 'some'"),  # type: ignore[arg-type]
        (lambda: tool(everything, needs="luck"), "cannot need 'luck'"),  # type: ignore[call-overload]
        (lambda: tool(everything, timeout=0), "timeout of the tool"),
        (lambda: tool(everything, timeout=float("nan")), "timeout of the tool"),
        (lambda: tool(everything, max_calls=0), "max_calls"),
        (lambda: tool(lambda *args: args, name="f"), "by its place"),
        (lambda: tool(lambda a, /: a, name="f"), "by its place"),
        (lambda: tool(_with_object, name="f"), "have no JSON Schema"),
        (lambda: ToolSet([everything, everything]), "two tools are called 'everything'"),
        (lambda: ToolSet("everything"), "tools must be a list"),
        (lambda: ToolSet([{"type": "function"}]), "a tool has no name"),
        (lambda: ToolSet({"name": "x"}), "tools must be a list"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_a_tool_is_told(make: Any, told: str) -> None:
    with pytest.raises(InvalidArgument, match=told):
        make()


class NoSchema:
    pass


def _with_object(x: NoSchema) -> None:
    return None


def test_a_tool_keeps_its_settings() -> None:
    made = tool(everything, name="all", effects="none", needs="approval", timeout=2, max_calls=4, description="D")
    assert isinstance(made, Tool)
    assert (made.name, made.effects, made.needs_approval, made.timeout_s, made.max_calls, made.description) == (
        "all",
        "none",
        True,
        2,
        4,
        "D",
    )
