"""How many calls a server may have at once, found out by watching it.

Additive increase, multiplicative decrease (Chiu & Jain 1989), as TCP does.

It falls when the server says that it has too much to do (429, 503, 529), when answers do not come in time, and already
when the first token of streams takes three times as long as it used to (the gradient; Netflix concurrency-limits): that
is where a queue builds up, before anything fails.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

START, LEAST, MOST = 64, 1, 4_096
DECREASE: Final = 0.8
TOLERANCE: Final = 3.0
QUICK, SLOW = 0.2, 0.01  # weights of a new sample in the two means that are compared
USED_SHARE: Final = 0.8
MIN_SLOW_S: Final = 0.5  # what begins sooner than this is no queue worth the name


class AdaptiveLimit:
    """Counts calls in flight; those beyond the limit wait in the order in which they came."""

    def __init__(self, *, start: int = START, most: int = MOST) -> None:
        self._limit = float(start)
        self._most = most
        self.in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_starting = True
        self._since_decrease = most  # calls that ended since then
        self._quick_s = self._usual_s = 0.0

    @property
    def limit(self) -> int:
        """How many calls may be under way at once, as learned so far."""
        return max(int(self._limit), LEAST)

    @property
    def has_room(self) -> bool:
        """Whether a call may begin at once."""
        return self.in_flight < self.limit and not self._waiting

    async def enter(self, timeout_s: float) -> None:
        """Raises `TimeoutError` when there was no room in time."""
        if self.has_room:
            self.in_flight += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(timeout_s):
                await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self.leave()  # the turn came at the same moment
            elif turn in self._waiting:
                self._waiting.remove(turn)
            raise

    def leave(self) -> None:
        """A call has ended: the next one that waits may begin."""
        self.in_flight -= 1
        self._admit()

    def succeeded(self, first_token_s: float | None = None) -> None:
        """The server began to answer; `first_token_s` if it streams."""
        self._since_decrease += 1
        if first_token_s is not None and self._is_slowing(first_token_s):
            self._decrease()
            return
        if self.in_flight >= USED_SHARE * self._limit:
            self._limit = min(self._limit + (1.0 if self._is_starting else 1.0 / self._limit), self._most)
            self._admit()

    def overloaded(self) -> None:
        """The server refused for want of room, or did not answer in time."""
        self._since_decrease += 1
        self._decrease()

    def _decrease(self) -> None:
        self._is_starting = False
        if self._since_decrease <= self._limit:  # once for all calls that were under way when it happened
            return
        self._since_decrease = 0
        self._limit = max(min(self._limit, self.in_flight) * DECREASE, LEAST)

    def _is_slowing(self, seconds: float) -> bool:
        if not self._usual_s:
            self._quick_s = self._usual_s = seconds
            return False
        self._quick_s += QUICK * (seconds - self._quick_s)
        self._usual_s += SLOW * (seconds - self._usual_s)
        return self._quick_s > max(TOLERANCE * self._usual_s, MIN_SLOW_S) and self.in_flight > 1

    def _admit(self) -> None:
        while self._waiting and self.in_flight < self.limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self.in_flight += 1
                turn.set_result(None)
