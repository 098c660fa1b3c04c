"""Runs inside the sandbox, with a line behind it that calls `main`: standard library only."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

MAX_CHARS = 300
MAX_LATE = 5  # a program that is late so often is not asked any more


class Late(BaseException):
    """Too slow. Not an `Exception`: programs catch those."""


class Sink:
    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass


def late(*_: object) -> None:
    raise Late


def limited(seconds: float, job: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """What `job` returns, and what it raised."""
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            return job(), None
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except BaseException as error:
        return None, error


def evaluated(expressions: list[str], namespace: dict[str, Any], each_s: float) -> Iterator[str | None]:
    times_late = 0
    for expression in expressions:
        if times_late == MAX_LATE:
            yield None
            continue
        found, error = limited(each_s, lambda text=expression: repr(eval(text, namespace))[:MAX_CHARS])  # type: ignore[misc]
        times_late += isinstance(error, Late)
        yield found if error is None else None


def main(program: str, expressions: list[str], load_s: float, each_s: float) -> None:
    """Evaluates each expression in the program's namespace and prints, as JSON, the beginning of each one's representation (null where it raised or
    took too long), and what the program raised when it was loaded. What the program prints is thrown away.
    """
    namespace: dict[str, Any] = {"__name__": "program"}
    signal.signal(signal.SIGALRM, late)
    printed, sys.stdout, sys.stderr = sys.stdout, Sink(), Sink()
    _, error = limited(load_s, lambda: exec(compile(program, "<program>", "exec"), namespace))
    results = [None] * len(expressions) if error is not None else list(evaluated(expressions, namespace, each_s))
    told = "" if error is None else f"{type(error).__name__}: {error}"[:MAX_CHARS]
    printed.write("\n" + json.dumps({"results": results, "error": told}))
    printed.flush()
