"""Passes a caller's own request on to an OpenAI-compatible server, and the answer back as bytes: what a gateway needs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

import orjson

from orchestrator.backends.openai import error_of
from orchestrator.backends.wire import Reply, Wire, WireError
from orchestrator.errors import BackendError, BackendUnavailable, BadResponse

TOKEN_FIELDS = ("max_tokens", "max_completion_tokens")
_wires: WeakKeyDictionary[asyncio.AbstractEventLoop, Wire] = WeakKeyDictionary()


class Relay:
    """One model of one server. `where` names it in errors, `headers` hold its key and appear nowhere else."""

    def __init__(self, where: str, base_url: str, model: str, headers: Mapping[str, str], token_field: str) -> None:
        self._where = where
        self._base_url = base_url
        self._model = model
        self._token_field = token_field
        self._headers = {**headers, "content-type": "application/json", "accept-encoding": "identity", "user-agent": "orchestrator"}

    async def post(self, path: str, body: dict[str, Any], *, timeout_s: float) -> Reply:
        """Sends `body` with this model's name to `path` (`/chat/completions`, `/embeddings`). Raises `BackendError` unless the status is 200."""
        try:
            reply = await wire().post(self._base_url + path, self._headers, orjson.dumps(self._own(body)), timeout_s=timeout_s)
            if reply.status == 200:
                return reply
            content = await reply.read()
        except WireError as error:
            raise self.broken(error) from None
        raise error_of(self._where, reply.status, reply.headers, content)

    def broken(self, error: WireError) -> BackendError:
        if not error.may_be_billed:
            return BackendUnavailable(f"{self._where}: {error}", remedy="Check the address and that the server runs: orchestrator doctor")
        if error.is_timeout:
            return BackendUnavailable(f"{self._where}: {error}", remedy="Allow more seconds, or choose a faster model", may_be_billed=True)
        return BadResponse(f"{self._where}: {error}", remedy="Ask again")

    def _own(self, body: dict[str, Any]) -> dict[str, Any]:
        """The body in this server's words."""
        own = {**body, "model": self._model}
        for field in TOKEN_FIELDS:
            if field != self._token_field and field in own:
                own.setdefault(self._token_field, own.pop(field))
        return own


async def close_wire() -> None:
    """Closes the connections of the running event loop."""
    found = _wires.pop(asyncio.get_running_loop(), None)
    if found is not None:
        await found.aclose()


def wire() -> Wire:
    """The connections of the running event loop, which all relays share."""
    loop = asyncio.get_running_loop()
    if loop not in _wires:
        _wires[loop] = Wire()
    return _wires[loop]
