"""Reads the bodies of requests, within what an organisation and the process may hold, and ends those that come too
slowly.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from orchestrator.gateway.accounts.shares import Shares
from orchestrator.gateway.chat.client_request import ClientRequest
from orchestrator.gateway.errors import GatewayError

SMALL_BODY_BYTES = 16_384  # as many of them as may be under way are no trouble


class BodyReader:
    """`max_body_bytes` gives the largest body that is read, in bytes."""

    def __init__(self, shares: Shares, max_body_bytes: Callable[[], int]) -> None:
        self._shares = shares
        self._max_body_bytes = max_body_bytes
        self._reading: dict[ClientRequest, asyncio.Task[Any] | None] = {}

    async def read(self, call: ClientRequest) -> bytes:
        """The body of a request, within its organisation's share of what the process can hold.

        Raises `GatewayError`: 413 for a large body, 408 for a slow one, 503 where the share is used up.
        """
        org, largest = call.principal.org, self._max_body_bytes()
        self._shares.enter(org, call.principal.chain)
        try:
            claimed = call.claimed_bytes(largest)
            if claimed > SMALL_BODY_BYTES:
                self._shares.take(org, claimed, largest)
                call.held_bytes = claimed
            self._reading[call] = asyncio.current_task()
            return await call.body(largest)
        except asyncio.CancelledError:
            if call in self._reading or (task := asyncio.current_task()) is None:
                raise
            task.uncancel()
            raise GatewayError(
                408, "the body came too slowly", code="request_timeout", headers=((b"connection", b"close"),)
            ) from None
        finally:
            self._reading.pop(call, None)
            self._shares.leave(org)

    async def end_late(self) -> None:
        """One look in a while for all: a request whose body comes in time pays for no timer."""
        now = time.perf_counter()
        for call, task in list(self._reading.items()):
            if now > call.body_late_at and task is not None:
                del self._reading[call]
                task.cancel()
