"""Work that is cheaper in one go: whoever gets the lock does what all the others are waiting for, and tells them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar

from orchestrator.memory.arrays import Vectors

J = TypeVar("J")
R = TypeVar("R")


class Waiting(Generic[J, R]):
    """A job that somebody waits for; `work` sets its `result` or its `error`."""

    def __init__(self, job: J) -> None:
        self.job = job
        self.result: R | None = None
        self.error: BaseException | None = None
        self.is_done = False


class Coalescer(Generic[J, R]):
    """`work` gets everything that waits, in order of arrival, while `lock` is held."""

    def __init__(self, lock: AbstractContextManager[Any], work: Callable[[list[Waiting[J, R]]], None]) -> None:
        self._lock = lock
        self._work = work
        self._waiting: deque[Waiting[J, R]] = deque()

    @property
    def waiting(self) -> int:
        """How many callers wait for the next group."""
        return len(self._waiting)

    def run(self, job: J) -> R:
        """Returns when the job is done, or raises what it raised."""
        mine: Waiting[J, R] = Waiting(job)
        self._waiting.append(mine)
        with self._lock:
            if not mine.is_done:  # else somebody who had the lock before has done it
                group = [self._waiting.popleft() for _ in range(len(self._waiting))]
                try:
                    self._work(group)
                finally:
                    for waiting in group:
                        waiting.is_done = True
        if mine.error is not None:
            raise mine.error
        return mine.result  # type: ignore[return-value]


class EncodedTogether:
    """Calls of one encoder from many threads: those that come while it works are its next batch."""

    def __init__(self, encode: Callable[[list[str]], Vectors]) -> None:
        self._encode = encode
        self._together: Coalescer[Sequence[str], Vectors] = Coalescer(threading.Lock(), self._work)

    @property
    def waiting(self) -> int:
        """How many callers wait for the next batch."""
        return self._together.waiting

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Vectors of `texts`, encoded together with those of other threads that ask meanwhile."""
        return self._together.run(texts)

    def _work(self, group: list[Waiting[Sequence[str], Vectors]]) -> None:
        try:
            vectors = self._encode([text for waiting in group for text in waiting.job])
        except Exception as error:
            if len(group) == 1:
                group[0].error = error
                return
            for waiting in group:  # one of them is to blame: the others need not suffer
                self._work([waiting])
            return
        start = 0
        for waiting in group:
            waiting.result = vectors[start : start + len(waiting.job)]
            start += len(waiting.job)
