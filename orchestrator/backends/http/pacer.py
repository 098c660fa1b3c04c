"""At most so many calls a minute to one model, so that its provider's limit is not what stops them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from orchestrator.errors import RateLimited

BURST_S = 1.0  # calls of so much time may go out at once


class Pacer:
    """Spaces calls evenly, with a burst of one second's worth (the generic cell rate algorithm, ITU-T I.371).

    `clock` gives seconds.
    """

    def __init__(self, calls_per_minute: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._every_s = 60.0 / calls_per_minute
        self._clock = clock
        self._due_s = 0.0

    async def enter(self, timeout_s: float, where: str) -> float:
        """Waits until one more call may be sent, and returns how long that took, in seconds.

        Raises `RateLimited`, at once and with nothing counted, where it would take longer than `timeout_s`.
        """
        now_s = self._clock()
        due_s = max(self._due_s, now_s)
        wait_s = due_s - now_s - BURST_S
        if wait_s >= timeout_s:
            raise RateLimited(
                f"{where}: its limit of {60 / self._every_s:g} calls a minute is reached",
                remedy="Raise rpm, wait, or add another model",
                retry_after_s=wait_s,
            )
        self._due_s = due_s + self._every_s
        if wait_s <= 0:
            return 0.0
        await asyncio.sleep(wait_s)
        return wait_s
