"""Retries under one deadline and one budget.

Full jitter (Brooker 2015), Retry-After honoured, only for errors that may pass (tenacity does the loop).

A call that may have been billed is never repeated here: whoever holds the budget must settle it and reserve again
first.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from orchestrator.errors import BackendError, BackendUnavailable

T = TypeVar("T")
ATTEMPTS = 3
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 8.0
DEFAULT_DEADLINE_S = 120.0
EXTRA_SHARE = 0.1
BURST = 10.0


class RetryBudget:
    """At most a tenth more calls than were asked for, so that retries do not finish off a server that is down
    (Finagle's retry budgets).

    Each call earns a tenth of a retry; up to ten may be saved up, and so many are there at the start.
    """

    def __init__(self, *, share: float = EXTRA_SHARE, burst: float = BURST) -> None:
        self._share = share
        self._burst = burst
        self._saved = burst

    def called(self) -> None:
        """A call was made, which earns a part of a retry."""
        if self._saved < self._burst:
            self._saved = min(self._saved + self._share, self._burst)

    def take(self) -> bool:
        """Whether one more call may be made."""
        if self._saved < 1.0:
            return False
        self._saved -= 1.0
        return True


def is_worth_repeating(error: BaseException) -> bool:
    """Whether asking again may help, and certainly costs nothing twice."""
    return isinstance(error, BackendError) and error.retryable and not error.may_be_billed


async def with_retries(
    call: Callable[[float], Awaitable[T]],
    *,
    deadline_s: float | None = None,
    attempts: int = ATTEMPTS,
    budget: RetryBudget | None = None,
) -> T:
    """Runs `call(seconds left)` until it succeeds, fails for good, or the deadline, the attempts or the budget are used
    up; raises the last error.

    A wait that would outlast the deadline is not begun.
    """
    within_s = DEFAULT_DEADLINE_S if deadline_s is None else deadline_s
    loop = asyncio.get_running_loop()
    end = loop.time() + within_s
    if budget is not None:
        budget.called()
    try:
        return await call(within_s)  # most calls end here, and pay for no machinery
    except BackendError as error:
        wait_s = backoff_s(error, 1)
        if (
            not is_worth_repeating(error)
            or attempts < 2
            or loop.time() + wait_s >= end
            or not (budget is None or budget.take())
        ):
            raise
    await asyncio.sleep(wait_s)
    return await _again(call, end, attempts, budget)


async def _again(call: Callable[[float], Awaitable[T]], end: float, attempts: int, budget: RetryBudget | None) -> T:
    """The second try and those after it."""
    import tenacity  # needed after a failure only

    loop = asyncio.get_running_loop()

    def wait_s(state: tenacity.RetryCallState) -> float:
        return backoff_s(state.outcome.exception() if state.outcome else None, state.attempt_number + 1)

    class OutOfTime(tenacity.stop.stop_base):
        def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
            return loop.time() + retry_state.upcoming_sleep >= end

    class OutOfBudget(tenacity.stop.stop_base):
        def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
            return budget is not None and not budget.take()

    retrying = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(is_worth_repeating),
        stop=tenacity.stop_after_attempt(attempts - 1) | OutOfTime() | OutOfBudget(),
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
    """How long to wait after the failed attempt number `attempt` (from 1).

    Full jitter, but at least what the server asked for.
    """
    asked = getattr(error, "retry_after_s", None)
    jittered = random.uniform(0, min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (attempt - 1)))
    return max(float(asked), jittered) if asked is not None else jittered
