"""A limit on the time of one call inside the sandbox, by SIGALRM: standard library only."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any


class Late(BaseException):
    """Too slow. Not an `Exception`: programs catch those."""


def late(*_: object) -> None:
    """What SIGALRM does, where `limited` is used."""
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
