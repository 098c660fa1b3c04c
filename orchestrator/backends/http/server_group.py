"""How the servers of one model work together: behind a proxy that is told which, or as pools that hand prompts over."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from orchestrator.jsontypes import JsonObject

_READS_ONLY = {
    "do_remote_decode": True,
    "do_remote_prefill": False,
    "remote_engine_id": None,
    "remote_block_ids": None,
    "remote_host": None,
    "remote_port": None,
}
DESTINATION = "x-gateway-destination-endpoint"


@dataclass(frozen=True, slots=True)
class ServerGroup:
    """How the servers of a model are reached together.

    `via` is a proxy that sends a call to the server that a header names (Gateway API inference extension, proposal
    004). With `hands_over` prompts are read by the servers of the pool `prefill` and answers written by those of the
    pool `decode`. `reads_load` says whether servers are asked for their load.
    """

    via: str = ""
    hands_over: bool = False
    reads_load: bool = True


def reading_body(body: JsonObject) -> JsonObject:
    """The body with which a server reads a prompt for another one (vLLM's `kv_transfer_params`)."""
    first = {**body, "stream": False, "max_tokens": 1, "kv_transfer_params": _READS_ONLY}
    first.pop("stream_options", None)
    if "max_completion_tokens" in first:
        first["max_completion_tokens"] = 1
    return first


def handed_params(answer: bytes) -> JsonObject | None:
    """What the server that read a prompt says for the one that writes; `None` where it says nothing."""
    try:
        found = orjson.loads(answer)
    except orjson.JSONDecodeError:
        return None
    handed = found.get("kv_transfer_params") if isinstance(found, dict) else None
    return handed if isinstance(handed, dict) else None
