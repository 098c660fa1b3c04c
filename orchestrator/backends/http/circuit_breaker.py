"""A circuit breaker.

A server that keeps failing is left alone for a while, then tried with one call (Nygard 2007, Release It!, ch. 5).
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable

CONSECUTIVE_FAILURES = 5
FAILED_SHARE, MIN_CALLS, WINDOW = 0.5, 20, 50
FIRST_REST_S, LONGEST_REST_S = 2.0, 60.0


class CircuitBreaker:
    """Closed until five calls fail in a row, or half of the last fifty (of at least twenty).

    Then open for 2 s, and twice as long each time that the one call that is let through after the rest fails, too.
    `clock` in seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, rng: random.Random | None = None) -> None:
        self._clock = clock
        self._rng = rng or random.Random()
        self._recent: deque[bool] = deque(maxlen=WINDOW)
        self._in_a_row = 0
        self._opened_at: float | None = None
        self._rest_s = FIRST_REST_S
        self._is_probing = False

    @property
    def is_open(self) -> bool:
        """Whether calls are refused right now."""
        return self._opened_at is not None and (self._is_probing or self._clock() - self._opened_at < self._rest_s)

    @property
    def left_s(self) -> float:
        """Seconds until the next call may be tried."""
        return 0.0 if self._opened_at is None else max(self._rest_s - (self._clock() - self._opened_at), 0.0)

    def enter(self) -> bool:
        """Whether a call may be made; what was let in says how it ended."""
        if self._opened_at is None:
            return True
        if self.is_open:
            return False
        self._is_probing = True
        return True

    def succeeded(self) -> None:
        """A call was answered."""
        self._recent.append(True)
        self._in_a_row = 0
        if self._opened_at is not None:
            self._opened_at, self._is_probing, self._rest_s = None, False, FIRST_REST_S
            self._recent.clear()

    def failed(self) -> None:
        """A call failed in a way that says something of the server."""
        self._recent.append(False)
        self._in_a_row += 1
        if self._opened_at is not None:
            if self._is_probing:
                self._rest_s = min(self._rest_s * 2, LONGEST_REST_S)
                self._open()
            return
        failures = len(self._recent) - sum(self._recent) if self._in_a_row < CONSECUTIVE_FAILURES else 0
        if self._in_a_row >= CONSECUTIVE_FAILURES or (
            len(self._recent) >= MIN_CALLS and failures >= FAILED_SHARE * len(self._recent)
        ):
            self._open()

    def left(self) -> None:
        """A call ended without saying anything about the server: it was cancelled, or refused for what it asked."""
        self._is_probing = False

    def _open(self) -> None:
        self._opened_at, self._is_probing = self._clock(), False
        self._rest_s *= self._rng.uniform(0.9, 1.1)  # so that many clients do not come back at once
