"""Many writers, one fsync: whoever gets the lock commits everything that is waiting, and tells the others.

A job is acknowledged only after the commit that holds it. If that commit fails, nobody's job of it is kept, and everybody is told. A job that refuses
(before it has written any record) concerns nobody else.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Generic, TypeVar

from memory.errors import EncoderMismatch, QuotaExceeded

T = TypeVar("T")
REFUSALS = (QuotaExceeded, EncoderMismatch)


class _Waiting(Generic[T]):
    def __init__(self, job: Callable[[], T]) -> None:
        self.job = job
        self.result: T | None = None
        self.error: BaseException | None = None
        self.is_done = False


class GroupCommit:
    """`transaction` is entered once for each group of jobs; `lock` is held meanwhile."""

    def __init__(self, lock: threading.RLock, transaction: Callable[[], AbstractContextManager[None]]) -> None:
        self._lock = lock
        self._transaction = transaction
        self._waiting: deque[_Waiting[object]] = deque()

    def run(self, job: Callable[[], T]) -> T:
        """Runs `job` inside a transaction that others may share; returns after the commit. Raises what the job or the commit raised."""
        mine: _Waiting[T] = _Waiting(job)
        self._waiting.append(mine)  # type: ignore[arg-type]
        with self._lock:
            if not mine.is_done:  # else somebody who had the lock before has done it
                self._commit([self._waiting.popleft() for _ in range(len(self._waiting))])
        if mine.error is not None:
            raise mine.error
        return mine.result  # type: ignore[return-value]

    def _commit(self, group: list[_Waiting[object]]) -> None:
        try:
            with self._transaction():
                for waiting in group:
                    try:
                        waiting.result = waiting.job()
                    except REFUSALS as refusal:
                        waiting.error = refusal
        except BaseException as error:
            for waiting in group:
                waiting.error = error
        finally:
            for waiting in group:
                waiting.is_done = True
