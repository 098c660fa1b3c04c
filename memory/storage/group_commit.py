"""Many writers, one fsync: whoever gets the lock commits everything that is waiting, and tells the others.

A job is acknowledged only after the commit that holds it. If that commit fails, nobody's job of it is kept, and
everybody is told. A job that refuses (before it has written any record) concerns nobody else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from orchestrator.memory.coalescing import Coalescer, Waiting
from orchestrator.memory.errors import EncoderMismatch, QuotaExceeded

T = TypeVar("T")
REFUSALS = (QuotaExceeded, EncoderMismatch)


class GroupCommit:
    """`transaction` is entered once for each group of jobs; `lock` is held meanwhile."""

    def __init__(self, lock: threading.RLock, transaction: Callable[[], AbstractContextManager[None]]) -> None:
        self._transaction = transaction
        self._together: Coalescer[Callable[[], Any], Any] = Coalescer(lock, self._commit)

    def run(self, job: Callable[[], T]) -> T:
        """Runs `job` inside a transaction that others may share; returns after the commit.

        Raises what the job or the commit raised.
        """
        return self._together.run(job)  # type: ignore[no-any-return]

    def _commit(self, group: list[Waiting[Callable[[], Any], Any]]) -> None:
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
