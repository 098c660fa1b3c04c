"""A Python function as a tool: its schema comes from its annotations and its docstring."""

from __future__ import annotations

import functools
import inspect
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, overload

from orchestrator.errors import InvalidArgument
from orchestrator.jsontypes import JsonObject
from orchestrator.tools.threads import in_tool_thread
from orchestrator.tools.tool import TIMEOUT_S, CallContext, Effects, Tool, ToolFailed

INJECTED = ("context", "idempotency_key")
_SECTION = re.compile(
    r"^\s*(Args|Arguments|Parameters|Returns?|Raises|Yields?|Examples?|Notes?)\s*:?\s*$", re.IGNORECASE
)
_ITEM = re.compile(r"^\s+(\*{0,2}\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)$")
_FIELD = re.compile(r"^\s*:param\s+(?:[\w.\[\], |]+\s+)?(\w+)\s*:\s*(.*)$")
Function = Callable[..., Any]


@overload
def tool(
    function: Function,
    *,
    name: str | None = None,
    description: str | None = None,
    effects: Effects = "once",
    needs: Literal["approval"] | None = None,
    timeout: float = TIMEOUT_S,
    max_calls: int | None = None,
) -> Tool: ...


@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    effects: Effects = "once",
    needs: Literal["approval"] | None = None,
    timeout: float = TIMEOUT_S,
    max_calls: int | None = None,
) -> Callable[[Function], Tool]: ...


def tool(
    function: Function | None = None,
    *,
    name: str | None = None,
    description: str | None = None,
    effects: Effects = "once",
    needs: Literal["approval"] | None = None,
    timeout: float = TIMEOUT_S,
    max_calls: int | None = None,
) -> Tool | Callable[[Function], Tool]:
    """Makes a tool of a function, plain or asynchronous; also as a decorator.

    The schema of the arguments comes from the annotations (anything that pydantic takes), what each means from the
    docstring (`Args:` in Google's style, or `:param name:`). Parameters named `context` and `idempotency_key` are not
    the model's: they are filled in (see `CallContext`).

    Args:
        function: What is called; plain functions run in a thread.
        name: What models call it by (default: the function's name).
        description: What it does (default: the beginning of its docstring).
        effects: What it changes; "once" until you say that it may be called again (see `Tool`).
        needs: "approval" asks somebody before each call.
        timeout: The longest that a call may take, in seconds.
        max_calls: The most calls in one run.

    Raises:
        InvalidArgument: What is given is no function, or one whose arguments have no JSON Schema.

    Example:
        >>> from orchestrator.tools import tool
        >>> @tool(effects="none")
        ... def add(a: int, b: int = 1) -> int:
        ...     '''Adds two numbers.'''
        ...     return a + b
        >>> add.parameters["required"]
        ['a']
    """
    if function is None:
        return lambda made: tool(
            made,
            name=name,
            description=description,
            effects=effects,
            needs=needs,
            timeout=timeout,
            max_calls=max_calls,
        )
    if not callable(function) or isinstance(function, type):
        raise InvalidArgument(
            f"a tool must be a function, not {type(function).__name__} {function!r:.60}", remedy="tools=[my_function]"
        )
    if needs not in (None, "approval"):
        raise InvalidArgument(f"a tool cannot need {needs!r}", remedy='needs="approval"')
    called = str(name or getattr(function, "__name__", ""))
    about, of_parameters = read_docstring(inspect.getdoc(function) or "")
    reading = _Arguments(function, called, of_parameters, _callers_names())
    return Tool(
        called,
        reading.call,
        reading.schema,
        about if description is None else description,
        effects,
        needs == "approval",
        timeout,
        max_calls,
    )


class _Arguments:
    """Reads arguments as a function's annotations have them, and calls it."""

    def __init__(
        self, function: Function, name: str, of_parameters: Mapping[str, str], names: Mapping[str, object]
    ) -> None:
        from pydantic import ConfigDict, create_model  # a tenth of a second, and only tools need it
        from pydantic.errors import PydanticUserError

        self._function, self._name = function, name
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError) as error:
            raise InvalidArgument(
                f"the arguments of {name} are not known: {error}", remedy="Wrap it in a def"
            ) from error
        fields, self._injected, takes_more = _fields(signature, _hints(function, names), of_parameters, name)
        try:
            config = ConfigDict(extra="allow" if takes_more else "forbid", arbitrary_types_allowed=False)
            self._model = create_model(name or "tool", __config__=config, **fields)
            schema: JsonObject = self._model.model_json_schema()
        except (PydanticUserError, TypeError, NameError) as error:
            said = str(error).partition("\n")[0]
            raise InvalidArgument(
                f"the arguments of the tool {name} have no JSON Schema: {said}",
                remedy="Annotate them with types that JSON has and that the function's module knows, or pass a Tool "
                "with a schema",
            ) from error
        schema.pop("title", None)
        for each in schema.get("properties", {}).values():
            each.pop("title", None)
        self.schema = schema

    async def call(self, arguments: JsonObject, context: CallContext) -> object:
        """The function's result. Raises `ToolFailed` on arguments that its annotations do not take."""
        from pydantic import ValidationError

        try:
            read = self._model.model_validate(arguments)
        except ValidationError as error:
            told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
            raise ToolFailed(f"{self._name} does not take these arguments: {told}") from None
        given = {name: getattr(read, name) for name in type(read).model_fields if name in read.model_fields_set}
        given |= read.model_extra or {}
        known = {"context": context, "idempotency_key": context.key}
        given |= {name: known[name] for name in self._injected}
        try:
            if _is_async(self._function):
                return await self._function(**given)
            found = await in_tool_thread(_guarded, self._function, given)
            return await found if inspect.isawaitable(found) else found
        except _ENDS as error:
            raise _ended(error) from error


_ENDS = (SystemExit, KeyboardInterrupt)  # they would end the event loop, and with it every other run


def _guarded(function: Callable[..., object], given: JsonObject) -> object:
    """What a function gives in a thread, from where some exceptions never arrive in an event loop."""
    try:
        return function(**given)
    except (*_ENDS, StopIteration, GeneratorExit) as error:
        raise _ended(error) from error


def _ended(error: BaseException) -> ToolFailed:
    return ToolFailed(f"the function raised {type(error).__name__}{f': {error}' if str(error) else ''}")


def _fields(
    signature: inspect.Signature, hints: Mapping[str, Any], told: Mapping[str, str], name: str
) -> tuple[dict[str, Any], list[str], bool]:
    """(fields of the model, parameters that are filled in, whether any other argument is taken)."""
    from pydantic import Field

    fields: dict[str, Any] = {}
    injected: list[str] = []
    takes_more = False
    for each in signature.parameters.values():
        if each.name in INJECTED:
            injected.append(each.name)
        elif each.kind is each.VAR_KEYWORD:
            takes_more = True
        elif each.kind in (each.VAR_POSITIONAL, each.POSITIONAL_ONLY):
            raise InvalidArgument(
                f"the tool {name} takes {each} by its place, and models name all arguments",
                remedy="Name its parameters, or wrap it",
            )
        else:
            default = ... if each.default is each.empty else each.default
            field = Field(default, description=told[each.name]) if each.name in told else default
            fields[each.name] = (hints.get(each.name, Any), field)
    return fields, injected, takes_more


def _callers_names() -> Mapping[str, object]:
    """What the code knows by name that makes a tool: annotations are often texts, and may name what is local there."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__") == __name__:
        frame = frame.f_back
    return {} if frame is None else dict(frame.f_locals)


def _hints(function: Function, names: Mapping[str, object]) -> Mapping[str, Any]:
    """The annotations of a function, those that cannot be resolved as they are written."""
    plain = inspect.unwrap(function)
    while isinstance(plain, functools.partial):
        plain = plain.func
    try:
        return typing.get_type_hints(plain, localns=dict(names), include_extras=True)
    except (NameError, TypeError, AttributeError):
        return dict(getattr(plain, "__annotations__", {}))


def _is_async(function: Function) -> bool:
    plain = function
    while isinstance(plain, functools.partial):
        plain = plain.func
    return inspect.iscoroutinefunction(plain) or inspect.iscoroutinefunction(type(plain).__call__)


def read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """(what a function does, what each parameter means), from Google's style or `:param name:` fields."""
    about: list[str] = []
    parameters: dict[str, str] = {}
    section, current = "", ""
    for line in text.splitlines():
        heading, field = _SECTION.match(line), _FIELD.match(line)
        if heading is not None:
            section, current = heading[1].lower(), ""
        elif field is not None:
            section, current = "fields", field[1]
            parameters[current] = field[2].strip()
        elif section in ("args", "arguments", "parameters") and (item := _ITEM.match(line)) is not None:
            current = item[1].lstrip("*")
            parameters[current] = item[2].strip()
        elif line.lstrip().startswith(":"):
            section, current = "fields", ""
        elif current and line.strip():
            parameters[current] = f"{parameters[current]} {line.strip()}".strip()
        elif not section:
            about.append(line)
    return "\n".join(about).strip(), parameters
