"""The program's own process: loads it, then answers what the judging process asks of it.

Nothing of the tests is known here but the calls.

Runs inside the sandbox, imported by its worker: standard library only.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import types
from typing import Any

from plain_values import packed, unpacked  # type: ignore[import-not-found]
from time_limit import late, limited  # type: ignore[import-not-found]

MAX_ERROR_CHARS = 300


def answer(program: str, questions: int, answers: int, load_s: float, each_s: float) -> None:
    """Answers lines `[number, expression, names]` with lines `[number, value]`, or `[number]` where it raised or took
    too long. The first line that it writes is what the program raised when it was loaded. What the program prints is
    thrown away.
    """
    module = types.ModuleType("program")
    sys.modules["program"] = module  # where dataclasses and pickles look for what a program defines
    namespace = module.__dict__
    objects: list[Any] = []

    def keep(value: Any) -> int:
        objects.append(value)
        return len(objects) - 1

    def told(expression: str, names: dict[str, Any]) -> Any:
        known = {name: unpacked(value, objects.__getitem__) for name, value in names.items()}
        # Names of a comprehension or a lambda are seen from within others only where they are global.
        return packed(eval(expression, {**namespace, **known} if known else namespace), keep)

    signal.signal(signal.SIGALRM, late)
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lives
    _, error = limited(load_s, lambda: exec(compile(program, "<program>", "exec"), namespace))
    _write(answers, "" if error is None else f"{type(error).__name__}: {error}"[:MAX_ERROR_CHARS])
    if error is not None:
        return
    with os.fdopen(questions, encoding="ascii") as lines:
        for line in lines:
            number, expression, names = json.loads(line)
            found, error = limited(each_s, lambda expression=expression, names=names: told(expression, names))
            _write(answers, [number, found] if error is None else [number])


def _write(descriptor: int, value: Any) -> None:
    data = json.dumps(value).encode() + b"\n"
    while data:
        data = data[os.write(descriptor, data) :]
