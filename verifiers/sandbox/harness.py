"""The judging process: evaluates expressions, and asks the program's process for what the program gives.

The two share nothing but two pipes.

A program can answer whatever it likes; it cannot reach the values that its answers are compared with, the comparison,
or what is told of it. Runs inside the sandbox, imported by its worker: standard library only.
"""

from __future__ import annotations

import builtins
import importlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

from plain_values import packed, shown, unpacked  # type: ignore[import-not-found]
from time_limit import Late, late, limited  # type: ignore[import-not-found]

MAX_CHARS = 300
MAX_LATE = 5  # a program that is late so often is not asked any more
MAX_LINE_BYTES = 16_000_000
AT_ONCE = 64


class Failed(TypeError, AttributeError):
    """The program raised, took too long, or is gone.

    Or its object was to be compared with what is no object of its own.
    """


class Program:
    """The other process.

    Answers carry the number of their question: one that comes too late is not taken for that of another.
    """

    def __init__(self, questions: int, answers: int) -> None:
        self._questions, self._answers = questions, answers
        self._number = 0
        self._rest = b""

    def line(self) -> Any:
        """The next line that the program's process writes."""
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
            return value._f_number
        raise Failed


class Foreign:
    """An object of the program's that has no plain value.

    What is done with it is done where it is. It equals none of ours, and no operation of its own makes a plain value
    that a test would take for a result: it could say whatever is wanted.
    """

    __slots__ = ("_f_number", "_f_program")

    def __init__(self, program: Program, number: int) -> None:
        self._f_program, self._f_number = program, number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Foreign) and self._f_asked("one == other", other) is True

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self._f_asked("hash(one)"))

    def __bool__(self) -> bool:
        return self._f_asked("bool(one)") is True

    def __repr__(self) -> str:
        return f"object {self._f_asked('repr(one)')}"

    def __str__(self) -> str:
        return str(self._f_asked("str(one)"))

    def __len__(self) -> int:
        return int(self._f_asked("len(one)"))

    def __iter__(self) -> Iterator[Any]:
        source = self._f_asked("iter(one)")
        asked = f"list(__import__('itertools').islice(one, {AT_ONCE}))"
        while True:
            some = source._f_asked(asked) if isinstance(source, Foreign) else list(source)
            yield from some
            if len(some) < AT_ONCE or not isinstance(source, Foreign):
                return

    def __contains__(self, value: object) -> bool:
        return any(value == each for each in self)

    def __getattr__(self, name: str) -> Any:
        return self._f_asked(f"one.{name}")

    def __getitem__(self, key: Any) -> Any:
        return self._f_asked("one[other]", key)

    def __call__(self, *given: Any, **named: Any) -> Any:
        """What the program's object gives when it is called."""
        return self._f_program.ask("one(*given, **named)", {"one": self, "given": given, "named": named})

    def _f_asked(self, expression: str, other: Any = None) -> Any:
        return self._f_program.ask(expression, {"one": self, "other": other})

    def _f_own(self, expression: str) -> Foreign:
        found = self._f_asked(expression)
        if not isinstance(found, Foreign):
            raise Failed
        return found


def _operator(sign: str, *, is_turned: bool = False) -> Callable[[Foreign, Any], Any]:
    """An operation whose result is the program's object again."""

    def operate(one: Foreign, other: Any) -> Any:
        found = one._f_asked(f"other {sign} one" if is_turned else f"one {sign} other", other)
        if not isinstance(found, Foreign):
            raise Failed
        return found

    return operate


def _order(sign: str) -> Callable[[Foreign, Any], bool]:
    def compare(one: Foreign, other: Any) -> bool:
        if not isinstance(other, Foreign):
            raise Failed
        return one._f_asked(f"one {sign} other", other) is True

    return compare


for _name, _sign in {
    "add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%", "pow": "**", "matmul": "@",
    "and": "&", "or": "|", "xor": "^",
    "lshift": "<<", "rshift": ">>",
}.items():  # fmt: skip
    setattr(Foreign, f"__{_name}__", _operator(_sign))
    setattr(Foreign, f"__r{_name}__", _operator(_sign, is_turned=True))
for _name, _sign in {"lt": "<", "le": "<=", "gt": ">", "ge": ">="}.items():
    setattr(Foreign, f"__{_name}__", _order(_sign))
for _name, _sign in {"neg": "-one", "pos": "+one", "invert": "~one", "abs": "abs(one)", "round": "round(one)"}.items():
    setattr(Foreign, f"__{_name}__", lambda one, sign=_sign: one._f_own(sign))


def _about(name: str) -> Callable[..., Any]:
    """A built-in function that tells what kind of thing something is: asked where its objects are."""
    real = getattr(builtins, name)

    def tell(*given: Any) -> Any:
        program = next((each._f_program for each in _flat(given) if isinstance(each, Foreign)), None)
        if program is None:
            return real(*given)
        names: dict[str, Any] = {}
        places = ", ".join(_place(each, f"a{number}", names) for number, each in enumerate(given))
        return program.ask(f"__import__('builtins').{name}({places})", names)

    return tell


def _flat(given: Any) -> Iterator[Any]:
    for each in given:
        if isinstance(each, tuple):
            yield from _flat(each)
        else:
            yield each


def _place(value: Any, name: str, names: dict[str, Any]) -> str:
    """How the other process finds a value: types by where they are from, all else among `names`."""
    if isinstance(value, tuple):
        return "(" + "".join(f"{_place(each, f'{name}_{number}', names)}, " for number, each in enumerate(value)) + ")"
    if isinstance(value, type):
        return f"__import__('importlib').import_module({value.__module__!r}).{value.__qualname__}"
    names[name] = value
    return name


ABOUT = ("isinstance", "issubclass", "type", "callable", "hasattr", "getattr", "hash")


def evaluated(expressions: list[str], namespace: dict[str, Any], each_s: float) -> Iterator[str | None]:
    """The value of each expression as text; `None` for those that took too long."""
    times_late = 0
    for expression in expressions:
        if times_late == MAX_LATE:
            yield None
            continue
        found, error = limited(2 * each_s, lambda text=expression: shown(eval(text, namespace)))
        times_late += isinstance(error, Late)
        yield found if error is None else None


def _found(module: str, attribute: str = "") -> Any:
    found = importlib.import_module(module)
    return getattr(found, attribute) if attribute else found


def judge(
    expressions: list[str], library: dict[str, list[str]], questions: int, answers: int, load_s: float, each_s: float
) -> None:
    """Evaluates each expression, in which `ask_program` stands for what the program gives, and prints, as JSON, each
    one's value as text (null where it raised or took too long), and what the program raised when it was loaded.
    `library` says which names stand for what of the standard library.
    """
    program = Program(questions, answers)
    namespace: dict[str, Any] = {name: _found(*where) for name, where in library.items()}
    namespace |= {"__name__": "judge", "ask_program": program.ask, **{name: _about(name) for name in ABOUT}}
    signal.signal(signal.SIGALRM, late)
    told, error = limited(load_s + 0.5, program.line)
    problem = "the program ended before it was loaded" if error is not None else str(told)[:MAX_CHARS]
    results = [None] * len(expressions) if problem else list(evaluated(expressions, namespace, each_s))
    print("\n" + json.dumps({"results": results, "error": problem}), flush=True)
