"""Calls of the SDK's coroutines: a mistyped keyword or a forgotten `await` is told with what to write instead."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Generator, Mapping
from functools import wraps
from typing import Any, NoReturn, ParamSpec, TypeVar

from orchestrator.errors import NotAwaited
from orchestrator.types.keywords import unknown_keyword

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])


class PendingCall(Coroutine[Any, Any, T]):
    """A coroutine that says how it is used, when it is used otherwise."""

    __slots__ = ("__name__", "_coroutine")

    def __init__(self, coroutine: Coroutine[Any, Any, T], name: str) -> None:
        self._coroutine = coroutine
        self.__name__ = name

    def __await__(self) -> Generator[Any, Any, T]:
        return self._coroutine.__await__()

    def send(self, value: None) -> Any:
        """As every coroutine."""
        return self._coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        """As every coroutine."""
        return self._coroutine.throw(*error)

    def close(self) -> None:
        """As every coroutine."""
        self._coroutine.close()

    def __getattr__(self, name: str) -> object:
        if name.startswith(("cr_", "__")):
            return getattr(self._coroutine, name)
        self._coroutine.close()  # it is told here; Python need not warn of it once more
        raise NotAwaited(f"{self.__name__}() was not awaited: it has no {name!r} yet", remedy=_remedy(self.__name__))

    def __iter__(self) -> NoReturn:
        self._coroutine.close()
        raise NotAwaited(
            f"{self.__name__}() was not awaited: there is nothing to go through yet", remedy=_remedy(self.__name__)
        )

    def __aiter__(self) -> NoReturn:
        self._coroutine.close()
        raise NotAwaited(
            f"{self.__name__}() gives one result, no stream", remedy=f"Write `await` before {self.__name__}(...)"
        )

    def __repr__(self) -> str:
        return f"<{self.__name__}(...), not awaited: write `await` before it>"


def _remedy(name: str) -> str:
    return f"Write `await` before {name}(...) in a coroutine, or call {name}_sync(...) in a script"


def tells_mistakes(
    settings: Mapping[str, object] | None = None,
) -> Callable[[Callable[P, Coroutine[Any, Any, T]]], Callable[P, Coroutine[Any, Any, T]]]:
    """Decorates a coroutine method; `settings` are the keywords that its `**settings` take.

    A keyword that it does not take raises `InvalidArgument` with a suggestion, and a result that is used before it was
    awaited `NotAwaited`.
    """

    def decorate(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
        known = keywords_of(method, settings)
        if settings is not None:
            shows_settings(settings)(method)

        @wraps(method)
        def call(*args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
            if not kwargs.keys() <= known:
                raise unknown_keyword(method.__name__, kwargs, known)
            return PendingCall(method(*args, **kwargs), method.__name__)

        _mark_coroutine(call)
        return call

    return decorate


def shows_settings(settings: Mapping[str, object]) -> Callable[[F], F]:
    """Decorates a function whose `**settings` are those of a `TypedDict`: help and editors see each of them."""

    def decorate(function: F) -> F:
        stated = inspect.signature(function)
        own = [each for each in stated.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
        further = [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=getattr(kind, "__forward_arg__", kind)
            )
            for name, kind in settings.items()
            if name not in stated.parameters
        ]
        function.__signature__ = stated.replace(parameters=[*own, *further])  # type: ignore[attr-defined]
        return function

    return decorate


def keywords_of(method: Callable[..., object], settings: Mapping[str, object] | None = None) -> frozenset[str]:
    """The names of all arguments that a method takes, those of its `**settings` among them."""
    code = inspect.unwrap(method).__code__
    named = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return frozenset((*named, *(settings or ()))) - {"self", "cls"}


def _mark_coroutine(function: Callable[..., object]) -> None:
    """Frameworks ask whether a function is a coroutine before they await what it gives."""
    mark = getattr(inspect, "markcoroutinefunction", None)  # Python 3.12
    if mark is not None:
        mark(function)
    else:
        function._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]
