"""Lets snippets that name real models run as they stand: their providers' addresses lead to a server on this machine.

`python -c "import tests.support.stand_in" ...` is enough. The server answers every question with the same sentence.
"""

from __future__ import annotations

import atexit
import os
from contextlib import ExitStack
from dataclasses import replace
from types import MappingProxyType

from orchestrator.backends.testing.fleet_server import FleetApp, running_server
from orchestrator.backends.testing.simulated import SimulatedReply
from orchestrator.providers import table
from orchestrator.router import ModelProfile

TEXT = '{"name": "Gale", "euros": 79}'


class _Anything:
    """A model that answers to any name."""

    def __init__(self, name: str) -> None:
        self.profile = ModelProfile(name, 0.0, 0.0, skill=0.9)

    def reply(self, question: str, prefill_tokens: int, draw: int = 0) -> SimulatedReply:
        return SimulatedReply(TEXT, prefill_tokens, 12)


NAMES = ("gpt-5-mini", "claude-haiku-4-5", "gpt-5", "llama3.2")
_stack = ExitStack()
_url = _stack.enter_context(running_server(FleetApp([_Anything(name) for name in NAMES])))
atexit.register(_stack.close)
rows = {
    name: replace(row, base_url=f"{_url}", dialect="chat", token_field="max_tokens", cache="none", batches=None)
    for name, row in table.PROVIDERS.items()
}
table.PROVIDERS = MappingProxyType(rows)
for row in rows.values():
    if row.key_variable:
        os.environ.setdefault(row.key_variable, "not-a-key")
