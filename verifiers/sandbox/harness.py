"""The judging process: evaluates expressions, and asks the program's process for what the program gives. The two share nothing but two pipes.

A program can answer whatever it likes; it cannot reach the values that its answers are compared with, the comparison, or what is told of it. Runs
inside the sandbox, behind `plain_values`, with a line behind it that calls `judge`: standard library only.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

from plain_values import packed, unpacked  # type: ignore[import-not-found]

MAX_CHARS = 300
MAX_LATE = 5  # a program that is late so often is not asked any more
MAX_LINE_BYTES = 4_000_000


class Late(BaseException):
    """Too slow."""


class Failed(Exception):
    """The program raised, took too long, or is gone."""


class Program:
    """The other process. Answers carry the number of their question: one that comes too late is not taken for that of another."""

    def __init__(self, questions: int, answers: int) -> None:
        self._questions, self._answers = questions, answers
        self._number = 0
        self._rest = b""

    def line(self) -> Any:
        while b"\n" not in self._rest:
            part = os.read(self._answers, 65_536)
            if not part or len(self._rest) > MAX_LINE_BYTES:
                raise Failed
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\n")
        return json.loads(line)

    def ask(self, expression: str, names: dict[str, Any] | None = None) -> Any:
        """What an expression gives in the program's namespace. Raises `Failed`."""
        self._number += 1
        known = {name: packed(value, self._number_of) for name, value in (names or {}).items()}
        data = json.dumps([self._number, expression, known]).encode() + b"\n"
        try:
            while data:
                data = data[os.write(self._questions, data) :]
        except OSError:
            raise Failed from None
        while True:
            told = self.line()
            if isinstance(told, list) and told and told[0] == self._number:
                if len(told) != 2:
                    raise Failed
                return unpacked(told[1], lambda number: Foreign(self, number))

    def _number_of(self, value: Any) -> int:
        if isinstance(value, Foreign):
            return value.number
        raise Failed


class Foreign:
    """An object of the program's that has no plain value. What is done with it is done where it is; it equals none of ours."""

    def __init__(self, program: Program, number: int) -> None:
        self.program, self.number = program, number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Foreign) and self._asked("one == other", other) is True

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return self.number

    def __bool__(self) -> bool:
        return self._asked("bool(one)") is True

    def __repr__(self) -> str:
        return str(self._asked("repr(one)"))

    def __str__(self) -> str:
        return str(self._asked("str(one)"))

    def __len__(self) -> int:
        return int(self._asked("len(one)"))

    def __iter__(self) -> Iterator[Any]:
        return iter(self._asked("list(one)"))

    def __contains__(self, value: object) -> bool:
        return self._asked("other in one", value) is True

    def __getattr__(self, name: str) -> Any:
        return self._asked(f"one.{name}")

    def __getitem__(self, key: Any) -> Any:
        return self._asked("one[other]", key)

    def __call__(self, *given: Any, **named: Any) -> Any:
        return self.program.ask("one(*given, **named)", {"one": self, "given": given, "named": named})

    def _asked(self, expression: str, other: Any = None) -> Any:
        return self.program.ask(expression, {"one": self, "other": other})


def _operator(sign: str, *, is_turned: bool = False) -> Callable[[Foreign, Any], Any]:
    return lambda one, other: one._asked(f"other {sign} one" if is_turned else f"one {sign} other", other)


for _name, _sign in {"add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%", "pow": "**", "matmul": "@"}.items():
    setattr(Foreign, f"__{_name}__", _operator(_sign))
    setattr(Foreign, f"__r{_name}__", _operator(_sign, is_turned=True))
for _name, _sign in {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "and": "&", "or": "|", "xor": "^"}.items():
    setattr(Foreign, f"__{_name}__", _operator(_sign))
for _name, _sign in {"neg": "-one", "abs": "abs(one)", "int": "int(one)", "float": "float(one)", "next": "next(one)"}.items():
    setattr(Foreign, f"__{_name}__", lambda one, sign=_sign: one._asked(sign))


def _isinstance(value: Any, kind: Any) -> bool:
    if isinstance(kind, Foreign):
        return kind._asked("isinstance(other, one)", value) is True
    return isinstance(value, kind)


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
        found, error = limited(2 * each_s, lambda text=expression: repr(eval(text, namespace))[:MAX_CHARS])  # type: ignore[misc]
        times_late += isinstance(error, Late)
        yield found if error is None else None


def judge(expressions: list[str], modules: list[str], questions: int, answers: int, load_s: float, each_s: float) -> None:
    """Evaluates each expression, in which `ask_program` stands for what the program gives, and prints, as JSON, the beginning of each one's
    representation (null where it raised or took too long), and what the program raised when it was loaded. `modules` can be used in them.
    """
    program = Program(questions, answers)
    namespace: dict[str, Any] = {name: __import__(name) for name in modules}
    namespace |= {"__name__": "judge", "ask_program": program.ask, "isinstance": _isinstance}
    signal.signal(signal.SIGALRM, late)
    told, error = limited(load_s + 0.5, program.line)
    problem = "the program ended before it was loaded" if error is not None else str(told)[:MAX_CHARS]
    results = [None] * len(expressions) if problem else list(evaluated(expressions, namespace, each_s))
    print("\n" + json.dumps({"results": results, "error": problem}), flush=True)
