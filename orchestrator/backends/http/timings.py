"""How long a server waited and read before it wrote, where it says so.

The time to the first token of an answer that was not streamed.
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.jsontypes import JsonMapping, JsonValue
from orchestrator.providers.provider import Provider

_FIREWORKS = "fireworks-server-time-to-first-token"


def reading_s(provider: Provider, payload: JsonMapping, headers: Mapping[str, str]) -> float | None:
    """Seconds, from llama.cpp's `timings`, Groq's usage, Cerebras' `time_info` or Fireworks' header.

    `None` where nothing is told.
    """
    if provider.timings == "none":
        return None
    if provider.timings == "llamacpp":
        return _sum(payload.get("timings"), "prompt_ms", scale=0.001)
    if provider.timings == "groq":
        return _sum(payload.get("usage"), "queue_time", "prompt_time")
    if provider.timings == "cerebras":
        return _sum(payload.get("time_info"), "queue_time", "prompt_time")
    return _sum(headers, _FIREWORKS)


def _sum(holder: JsonValue, *names: str, scale: float = 1.0) -> float | None:
    if not isinstance(holder, Mapping):
        return None
    found = [holder[name] for name in names if name in holder]
    try:
        seconds = sum(float(value) for value in found) * scale
    except (TypeError, ValueError):
        return None
    return seconds if found and 0.0 <= seconds < 86_400.0 else None
