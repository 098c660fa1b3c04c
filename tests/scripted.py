"""A model at the network's edge that says what a test tells it to."""

from __future__ import annotations

import asyncio

from orchestrator import Completion
from orchestrator.backends.base import LocalBackend, Request
from orchestrator.errors import BackendUnavailable
from orchestrator.router import ModelProfile
from orchestrator.types import Usage


class Scripted(LocalBackend):
    """Says what it is told, one text a call, after `seconds`; notes what it was asked and whether it was cancelled."""

    def __init__(self, name: str, *texts: str, seconds: float = 0.0, price: float = 1.0, skill: float = 0.8) -> None:
        super().__init__(ModelProfile(name, price, price, skill=skill, ttft_s=seconds, tokens_per_s=1e6))
        self._texts = texts
        self._seconds = seconds
        self.asked: list[Request] = []
        self.cancelled = False

    async def complete(self, request: Request) -> Completion:
        self.asked.append(request)
        number = len(self.asked)
        try:
            await asyncio.sleep(self._seconds)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if not self._texts:
            raise BackendUnavailable("out of order", remedy="Mend it")
        return Completion(self.profile.name, self._texts[min(number, len(self._texts)) - 1], Usage(10, 10))
