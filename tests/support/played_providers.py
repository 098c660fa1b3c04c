"""All providers, played by one server on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType

from orchestrator.backends.testing.fleet_server import FleetApp, running_server
from orchestrator.backends.testing.simulated import SimulatedReply
from orchestrator.providers import table
from orchestrator.router import ModelProfile

TEXT = '{"name": "Gale", "euros": 79}'
NAMES = ("gpt-5-mini", "claude-haiku-4-5", "gpt-5", "llama3.2")


class _Anything:
    """A model that answers to any name."""

    def __init__(self, name: str, replies: Mapping[str, str]) -> None:
        self.profile = ModelProfile(name, 0.0, 0.0, skill=0.9)
        self._replies = replies

    def reply(self, question: str, prefill_tokens: int, draw: int = 0) -> SimulatedReply:
        text = next((reply for part, reply in self._replies.items() if part in question), TEXT)
        return SimulatedReply(text, prefill_tokens, max(1, len(text) // 4))


@contextmanager
def played_providers(replies: Mapping[str, str]) -> Iterator[str]:
    """The address of a server that plays all models.

    It says what stands beside the first text that the question holds, else `TEXT`.
    """
    with running_server(FleetApp([_Anything(name, replies) for name in NAMES])) as url:
        yield url


def lead_providers_to(url: str) -> None:
    """Changes the table of providers of this process."""
    rows = {
        name: replace(row, base_url=url, dialect="chat", token_field="max_tokens", cache="none", batches=None)
        for name, row in table.PROVIDERS.items()
    }
    table.PROVIDERS = MappingProxyType(rows)
    for row in rows.values():
        if row.key_variable:
            os.environ.setdefault(row.key_variable, "not-a-key")
