"""The fast first level.

Pydantic-monty, an interpreter that has no files, network, processes or foreign libraries to begin with (extra
`sandbox`).

A program that passes there passes; one that fails there may just use something that this interpreter lacks, so that
nothing follows from it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from typing import Any

MEMORY_BYTES = 128 * 2**20
STEPS_DEEP = 500


def is_installed() -> bool:
    """Whether pydantic-monty is installed."""
    return find_spec("pydantic_monty") is not None


class Restricted:
    """Keeps its worker processes until it is closed. Thread-safe; every program has a session of its own."""

    def __init__(self) -> None:
        import pydantic_monty  # optional: extra `sandbox`

        self._error: type[Exception] = pydantic_monty.MontyError
        self._stack = ExitStack()
        self._pool: Any = self._stack.enter_context(pydantic_monty.Monty())
        self._lock = threading.Lock()

    def values(self, program: str, expressions: Sequence[str], *, load_s: float, each_s: float) -> list[Any] | str:
        """What each expression gives after `program` has run, as values of this process, or why that is not known.

        Blocks.
        """
        limits = {
            "max_feed_duration_secs": load_s + each_s * len(expressions),
            "max_memory": MEMORY_BYTES,
            "max_recursion_depth": STEPS_DEEP,
        }
        try:
            with self._lock, self._pool.checkout(limits=limits) as session:
                session.feed_run(program)
                return [session.feed_run(expression) for expression in expressions]
        except self._error as error:
            return f"{type(error).__name__}: {error}"[:300]

    def close(self) -> None:
        """Ends what was opened."""
        self._stack.close()
