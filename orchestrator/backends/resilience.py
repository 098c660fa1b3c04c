"""Retries under one deadline: full jitter (Brooker 2015), Retry-After honoured, only for errors that may pass (tenacity does the loop).

A call that may have been billed is never repeated here: whoever holds the budget must settle it and reserve again first.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from orchestrator.errors import BackendError, BackendUnavailable

T = TypeVar("T")
ATTEMPTS = 3
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 8.0
DEFAULT_DEADLINE_S = 120.0


async def with_retries(call: Callable[[float], Awaitable[T]], *, deadline_s: float | None = None, attempts: int = ATTEMPTS) -> T:
    """Runs `call(seconds left)` until it succeeds, fails for good, or the deadline or the attempts are used up; raises the last error.

    A wait that would outlast the deadline is not begun.
    """
    import asyncio

    import tenacity

    loop = asyncio.get_running_loop()
    end = loop.time() + (DEFAULT_DEADLINE_S if deadline_s is None else deadline_s)

    def wait_s(state: tenacity.RetryCallState) -> float:
        return backoff_s(state.outcome.exception() if state.outcome else None, state.attempt_number)

    class OutOfTime(tenacity.stop.stop_base):
        def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
            return loop.time() + retry_state.upcoming_sleep >= end

    retrying = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(lambda error: isinstance(error, BackendError) and error.retryable and not error.may_be_billed),
        stop=tenacity.stop_after_attempt(attempts) | OutOfTime(),
        wait=wait_s,
        reraise=True,
    )
    async for attempt in retrying:
        with attempt:
            left = end - loop.time()
            if left <= 0:
                raise BackendUnavailable("the deadline passed before the call", remedy="Allow more seconds")
            return await call(left)
    raise AssertionError("unreachable: tenacity re-raises the last error")


def backoff_s(error: BaseException | None, attempt: int) -> float:
    """How long to wait after the failed attempt number `attempt` (from 1): full jitter, but at least what the server asked for."""
    asked = getattr(error, "retry_after_s", None)
    jittered = random.uniform(0, min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (attempt - 1)))
    return max(float(asked), jittered) if asked is not None else jittered
