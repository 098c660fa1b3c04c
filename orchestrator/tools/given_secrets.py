"""What a configuration gives tools of its secrets: none of it stands in what comes back."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable

from orchestrator.config.secrets import secret
from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.providers.addresses import filled_in
from orchestrator.tools.results import MIN_SECRET_CHARS, redacted
from orchestrator.tools.tool import CallContext, ToolFailed

Make = Callable[[JsonObject, CallContext], Awaitable[JsonValue]]
_PLACE = re.compile(r"\$\{(\w+)")


class GivenSecrets:
    """The values that were read so far, the longest first."""

    def __init__(self) -> None:
        self._known: list[str] = []

    def read(self, stated: str) -> str:
        """A value, or what `env:NAME`, `file:PATH` and `${NAME}` in it stand for."""
        if stated.startswith(("env:", "file:", "command:")):
            found = secret(stated, None) or ""
        else:
            found = filled_in(stated)
        if found != stated and len(found) >= MIN_SECRET_CHARS:
            self._add(found, found.rpartition(" ")[2])  # a token without its `Bearer`, too
        return found

    def filled_in(self, stated: str) -> str:
        """An address with its `${NAME}`s filled in."""
        values = (os.environ.get(name, "") for name in _PLACE.findall(stated))
        self._add(*(value for value in values if len(value) >= MIN_SECRET_CHARS and "://" not in value))
        return filled_in(stated)

    def redacted(self, value: JsonValue) -> JsonValue:
        """A value in whose texts none of them stands."""
        return redacted(value, self._known)

    def hiding(self, call: Make) -> Make:
        """A call in whose results and errors none of them stands."""

        async def hidden(arguments: JsonObject, context: CallContext) -> JsonValue:
            try:
                return self.redacted(await call(arguments, context))
            except ToolFailed as error:
                error.message = str(self.redacted(error.message))
                raise

        return hidden

    def _add(self, *values: str) -> None:
        self._known = sorted({*self._known, *values}, key=len, reverse=True)
