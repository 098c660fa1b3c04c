"""The tools of one run, by name: those that are called here, and those that the caller runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from orchestrator.errors import ConfigError, InvalidArgument
from orchestrator.jsontypes import JsonMapping, JsonObject
from orchestrator.tools.function import tool
from orchestrator.tools.tool import Tool


class ToolSource(Protocol):
    """Something that has tools, as an `McpServer` does."""

    @property
    def tools(self) -> Sequence[Tool]:
        """Its tools, as they are now."""


class Catalog(Protocol):
    """Tools by name, connected when they are used: see `orchestrator.tools.catalog`."""

    def require(self, names: Sequence[str]) -> None:
        """Raises `ConfigError` on a name that there is not."""

    async def find(self, names: Sequence[str]) -> Sequence[Tool]:
        """The tools of some names. Raises `ConfigError` where one cannot be had."""


ToolLike = Tool | Callable[..., Any] | Mapping[str, Any] | ToolSource | str
"""A tool, a Python function, an `McpServer`, the name of a tool of the configuration, or a function in OpenAI's form
that the caller runs.
"""


class ToolSet:
    """Tools in the order in which they were given; those of the configuration come last, when they are `connected`.

    Raises `InvalidArgument` on two of one name, `ConfigError` on a name that the configuration does not have.
    """

    def __init__(self, stated: Iterable[ToolLike] = (), catalog: Catalog | None = None) -> None:
        if isinstance(stated, str | bytes | Mapping) or not isinstance(stated, Iterable):
            raise InvalidArgument(
                f"tools must be a list of functions, not {type(stated).__name__}", remedy="tools=[my_function]"
            )
        self._own: dict[str, Tool] = {}
        self._wire: dict[str, JsonObject] = {}
        self._catalog = catalog
        self._later: list[str] = []
        for each in stated:
            if isinstance(each, str):
                self._later.append(each)
            elif isinstance(each, Mapping):
                self._add(*client_tool(each))
            else:
                self._take(each)
        if self._later:
            if catalog is None:
                raise ConfigError(
                    f"there is no tool {self._later[0]!r}: this fleet was not made from a configuration with tools",
                    remedy="State it under `tools:` of the configuration, or in Python pass a function",
                )
            catalog.require(self._later)

    def _take(self, stated: Tool | Callable[..., Any] | ToolSource) -> None:
        if not isinstance(stated, Tool) and hasattr(stated, "tools"):
            for each in stated.tools:
                self._take(each)
            return
        made = stated if isinstance(stated, Tool) else tool(stated)
        self._add(made.name, made.as_wire())
        self._own[made.name] = made

    def _add(self, name: str, wire: JsonObject) -> None:
        if name in self._wire:
            raise InvalidArgument(
                f"two tools are called {name!r}", remedy='Name one otherwise: tool(function, name="...")'
            )
        self._wire[name] = wire

    async def connected(self) -> ToolSet:
        """The same, with those of the configuration. Raises `ConfigError` where one cannot be had."""
        if not self._later:
            return self
        assert self._catalog is not None
        found = ToolSet()
        found._own, found._wire = dict(self._own), dict(self._wire)
        for each in await self._catalog.find(list(dict.fromkeys(self._later))):
            found._take(each)
        return found

    def __len__(self) -> int:
        return len(self._wire) + len(self._later)

    def __iter__(self) -> Iterable[Tool]:
        return iter(self._own.values())

    def get(self, name: str) -> Tool | None:
        """The tool of this name that is called here; `None` for the caller's, and for none."""
        return self._own.get(name)

    @property
    def runs_here(self) -> bool:
        """Whether any tool is called here."""
        return bool(self._own or self._later)

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
