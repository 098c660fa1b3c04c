"""Gemini's explicit caches.

A prefix is made a resource once (POST {base_url}/cachedContents), and later calls name it instead of sending it.

They cost rent for as long as they live, so they are made only where the configuration asks for them (`cache: 1h`). A
prefix may not end with the model's turn, and the tools and rules belong to it. Where making one fails, the call is made
without.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from orchestrator.backends.dialects import gemini
from orchestrator.backends.http.prefix_cache import CachePlan
from orchestrator.errors import BackendError
from orchestrator.jsontypes import JsonObject
from orchestrator.providers.provider import Provider

Post = Callable[[str, dict[str, Any], float], Awaitable[bytes]]
LIFE_S = 3_600.0
MARGIN_S = 60.0
MAX_CACHES = 256
_OF_THE_PREFIX = ("tools", "tool_choice")
log = logging.getLogger(__name__)


class CachedContents:
    """Those of one model. `post(path, body, seconds)` sends to the provider; `clock` in seconds."""

    def __init__(
        self, provider: Provider, model: str, post: Post, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._provider = provider
        self._model = model
        self._post = post
        self._clock = clock
        self._names: OrderedDict[bytes, tuple[str, float]] = OrderedDict()

    async def used(self, body: JsonObject, plan: CachePlan, timeout_s: float) -> tuple[JsonObject, int]:
        """(the body that names a cached prefix instead of sending it, tokens written to the cache for it).

        The same body where it cannot.
        """
        messages = body["messages"]
        end = next(
            (
                index + 1
                for index, _ in reversed(plan.marks)
                if messages[index]["role"] != "assistant" and index + 1 < len(messages)
            ),
            0,
        )
        if not end:
            return body, 0
        prefix = {"messages": messages[:end]} | {
            name: body[name] for name in _OF_THE_PREFIX if body.get(name) is not None
        }
        key = orjson.dumps(prefix)
        name, until = self._names.get(key, ("", 0.0))
        written = 0
        if until < self._clock():
            try:
                name, written = await self._make(prefix, timeout_s)
            except (BackendError, KeyError, TypeError, ValueError) as error:
                log.warning("a prefix was not cached", extra={"model": self._model, "why": str(error)[:300]})
                return body, 0
            self._names[key] = (name, self._clock() + LIFE_S - MARGIN_S)
            while len(self._names) > MAX_CACHES:
                self._names.popitem(last=False)
        left = {field: value for field, value in body.items() if field not in _OF_THE_PREFIX}
        return {**left, "messages": messages[end:], "cached_content": name}, written

    async def _make(self, prefix: JsonObject, timeout_s: float) -> tuple[str, int]:
        """(the resource's name, its tokens)."""
        content = await self._post(
            "/cachedContents",
            {**gemini.prefix(prefix, self._provider), "model": f"models/{self._model}", "ttl": f"{LIFE_S:.0f}s"},
            timeout_s,
        )
        found = orjson.loads(content)
        return str(found["name"]), int((found.get("usageMetadata") or {}).get("totalTokenCount") or 0)
