"""A tool that is a Python function of yours: `python: package.module:function`.

It runs with all that this process may do, so it must be allowed.
"""

from __future__ import annotations

import asyncio
import inspect
import types
import typing
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orchestrator.config.tools import PythonOptions
from orchestrator.jsontypes import JsonMapping, JsonObject, JsonValue
from orchestrator.pipeline.errors import ToolFailed
from orchestrator.pipeline.expressions.types import ANY, BOOL, LIST, NUMBER, OBJECT, TEXT, ValueType, list_of
from orchestrator.pipeline.language.contracts import StepContext, ToolContext
from orchestrator.pipeline.language.validation import validated
from orchestrator.pipeline.tools.tool import Arguments, PipelineTool, StepParameter
from orchestrator.tools import Tool, tool
from orchestrator.tools.calling import Caller
from orchestrator.tools.importing import imported

if TYPE_CHECKING:
    from orchestrator.pipeline.expressions.scope import NameScope

_TYPES: dict[Any, ValueType] = {str: TEXT, int: NUMBER, float: NUMBER, bool: BOOL, list: LIST, dict: OBJECT}


def read(
    name: str, raw: JsonMapping, where: tuple[str | int, ...], loader: ToolContext, scope: NameScope
) -> dict[str, PipelineTool]:
    """The tool of an entry, mistakes told."""
    stated = validated(PythonOptions, raw, where, loader.sources, f"tool '{name}'")
    if stated is None:
        return {}
    if not loader.allows_python:
        hint = "--allow-python, or Pipeline.load(..., allow_python=True)"
        loader.sources.problem((*where, "python"), "E507", "Python functions are not allowed here", hint, key=True)
        return {}
    try:
        function = imported(stated.python, loader.sources.path.parent)
        signature = inspect.signature(function)
    except Exception as error:
        loader.sources.problem(
            (*where, "python"), "E507", f"{stated.python!r} cannot be imported: {error}"[:300], "write module:function"
        )
        return {}
    made = PythonTool(function, signature, stated.changes)
    made.options = stated
    return {name: made}


class PythonTool(PipelineTool):
    """Calls a Python function."""

    def __init__(self, function: Any, signature: inspect.Signature, changes: bool) -> None:
        self._function = function
        hints = _hints(function)
        taken = {
            one.name: one
            for one in signature.parameters.values()
            if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)
        }
        self._wants_key = taken.pop("idempotency_key", None) is not None
        self.parameters: Mapping[str, StepParameter] = {
            one: StepParameter(one, type_of_hint(hints.get(one, Any)), each.default is each.empty)
            for one, each in taken.items()
        }
        self.gives = type_of_hint(hints.get("return", Any))
        self.effects = "once" if changes else "none"

    async def called(self, arguments: Arguments, running: StepContext, caller: Caller) -> JsonValue:
        given = {**arguments, **({"idempotency_key": caller.key} if self._wants_key else {})}
        try:
            if inspect.iscoroutinefunction(self._function):
                return await self._function(**given)
            return await asyncio.to_thread(self._function, **given)
        except Exception as error:
            told = f"{getattr(self._function, '__qualname__', 'the function')} raised {type(error).__name__}: {error}"
            raise ToolFailed(
                str(running.redacted(told))[:500], remedy="Look at the function", may_have_happened=True
            ) from error

    async def for_models(self, name: str, running: StepContext) -> tuple[Tool, ...]:
        (made,) = await super().for_models(name, running)
        told = tool(self._function, name=made.name, description=self.options.description or None)
        return (replace(made, parameters=told.parameters, description=told.description),)


def _hints(function: Any) -> JsonObject:
    try:
        return typing.get_type_hints(function)
    except Exception:
        return {}


def type_of_hint(hint: Any) -> ValueType:
    """The type of what a Python annotation allows, as far as it is JSON."""
    if hint in _TYPES:
        return _TYPES[hint]
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        inner = [each for each in parts if each is not type(None)]
        found = type_of_hint(inner[0]) if len(inner) == 1 else ANY
        return found.maybe("the function may give None") if len(inner) < len(parts) else found
    if origin is list and parts:
        return list_of(type_of_hint(parts[0]))
    return _TYPES.get(origin, ANY)
