"""Completions of our own making, whole and as a stream in pieces: what a search found, what a calculator says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import orjson

from orchestrator.gateway import sse
from orchestrator.gateway.outside import without_addresses
from orchestrator.trace import Event
from orchestrator.types import Usage

if TYPE_CHECKING:
    from orchestrator.gateway.completions import Job

PIECE_CHARS = 48  # the answer is there at once; it is written in pieces, because clients expect a stream


def completion(job: Job, text: str, usage: Usage, *, refusal: str | None = None) -> dict[str, Any]:
    """A completion of our own making."""
    message: dict[str, Any] = {"role": "assistant", "content": None if refusal else text, "refusal": refusal}
    found: dict[str, Any] = {
        "id": f"chatcmpl-{job.tab.id[:24]}",
        "object": "chat.completion",
        "created": int(job.tab.call.at),
        "model": job.facts.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": usage_dict(usage),
    }
    return found | ({"simulated": True} if job.facts.simulated else {})


async def pieces(job: Job, whole: dict[str, Any]) -> AsyncIterator[bytes]:
    """A whole completion as the stream that its caller asked for."""
    job.facts.ttft_s = job.tab.served.ttft_s = job.tab.call.elapsed_s
    kept = {name: whole[name] for name in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    wants_usage = job.asked.wants_usage

    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return sse.event(kept | {"choices": [choice]} | ({"usage": None} if wants_usage else {}))

    message = whole["choices"][0]["message"]
    yield chunk({"role": "assistant", "content": ""})
    if message["refusal"]:
        yield chunk({"refusal": message["refusal"]})
    text = message["content"] or ""
    for start in range(0, len(text), PIECE_CHARS):
        yield chunk({"content": text[start : start + PIECE_CHARS]})
    yield chunk({}, "stop")
    details = job.facts.as_dict(job.tab, explain=job.options.explain) if job.options.details else None
    if wants_usage:
        yield sse.event(kept | {"choices": [], "usage": whole["usage"]} | ({} if details is None else {"orchestrator": details}))
    elif details is not None:
        yield sse.comment("orchestrator " + orjson.dumps(details).decode())
    yield sse.DONE


def progress(step: Event, *, typed: bool) -> bytes:
    detail = without_addresses(step.detail)
    if typed:
        return sse.event({"kind": step.kind, "at_s": round(step.at_s, 4), **detail}, "orchestrator.progress")
    told = " ".join(f"{name}={value}" for name, value in detail.items() if value is not None)
    return sse.comment(f"{step.kind} {told}"[:300])


def usage_dict(usage: Usage) -> dict[str, Any]:
    """Usage in OpenAI's words."""
    return {
        "prompt_tokens": usage.prefill_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }
