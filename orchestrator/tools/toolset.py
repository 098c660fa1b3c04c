"""The tools of one run, by name: those that are called here, and those that the caller runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from orchestrator.errors import InvalidArgument
from orchestrator.jsontypes import JsonMapping, JsonObject
from orchestrator.tools.function import tool
from orchestrator.tools.tool import Tool

ToolLike = Tool | Callable[..., Any] | Mapping[str, Any]
"""A tool, a Python function, or a function in OpenAI's form that the caller runs."""


class ToolSet:
    """Tools in the order in which they were given. Raises `InvalidArgument` on two of one name."""

    def __init__(self, stated: Iterable[ToolLike] = ()) -> None:
        if isinstance(stated, str | bytes | Mapping) or not isinstance(stated, Iterable):
            raise InvalidArgument(
                f"tools must be a list of functions, not {type(stated).__name__}", remedy="tools=[my_function]"
            )
        self._own: dict[str, Tool] = {}
        self._wire: dict[str, JsonObject] = {}
        for each in stated:
            if isinstance(each, Mapping):
                name, wire = client_tool(each)
            else:
                made = each if isinstance(each, Tool) else tool(each)
                name, wire = made.name, made.as_wire()
                self._own.setdefault(name, made)
            if name in self._wire:
                raise InvalidArgument(
                    f"two tools are called {name!r}", remedy='Name one otherwise: tool(function, name="...")'
                )
            self._wire[name] = wire

    def __len__(self) -> int:
        return len(self._wire)

    def __iter__(self) -> Iterable[Tool]:
        return iter(self._own.values())

    def get(self, name: str) -> Tool | None:
        """The tool of this name that is called here; `None` for the caller's, and for none."""
        return self._own.get(name)

    @property
    def runs_here(self) -> bool:
        """Whether any tool is called here."""
        return bool(self._own)

    @property
    def names(self) -> Sequence[str]:
        """All names."""
        return list(self._wire)

    @property
    def wire(self) -> tuple[JsonObject, ...]:
        """The tools as models are told of them."""
        return tuple(self._wire.values())


def client_tool(stated: JsonMapping) -> tuple[str, JsonObject]:
    """The name and the form of a tool that the caller runs, in OpenAI's form or Anthropic's."""
    function = stated.get("function") if stated.get("type", "function") == "function" else None
    if not isinstance(function, Mapping) and isinstance(stated.get("input_schema"), Mapping):
        function = {**{k: v for k, v in stated.items() if k != "input_schema"}, "parameters": stated["input_schema"]}
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"]:
        raise InvalidArgument(
            f"a tool has no name: {str(dict(stated))[:80]}",
            remedy='Pass a function, or {"type": "function", "function": {"name": "find", "parameters": {...}}}',
        )
    return function["name"], {"type": "function", "function": dict(function)}
