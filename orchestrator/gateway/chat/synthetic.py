"""Completions of our own making, whole and as a stream in pieces: what a search found, what a calculator says."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from orchestrator.backends.dialects.anthropic_stream import KNOWN_BLOCKS
from orchestrator.engine.streaming import events_of
from orchestrator.gateway.errors import GatewayError
from orchestrator.gateway.http import sse
from orchestrator.gateway.http.error_mapping import to_gateway_error
from orchestrator.gateway.http.redaction import without_addresses
from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.trace import Event
from orchestrator.types import ToolCall, Usage

if TYPE_CHECKING:
    from orchestrator.gateway.chat.job import ChatJob

log = logging.getLogger(__name__)
_IN_PIECES = frozenset(("role", "content", "refusal", "tool_calls"))
NOTHING: JsonObject = {}
PIECE_CHARS = 48  # the answer is there at once; it is written in pieces, because clients expect a stream


def completion(
    job: ChatJob,
    text: str,
    usage: Usage,
    *,
    refusal: str | None = None,
    calls: Sequence[ToolCall] = (),
    signed: JsonObject = NOTHING,
    is_cut: bool = False,
) -> JsonObject:
    """A completion of our own making.

    `calls` are the tools that the client is to call, `signed` what must come back with their results. `is_cut`: the
    text ends because it reached its longest length.
    """
    message: dict[str, Any] = {"role": "assistant", "content": None if refusal else text, "refusal": refusal}
    if calls:
        message |= {**signed, "content": text or None, "tool_calls": [call.as_wire() for call in calls]}
    id = f"chatcmpl-{job.tab.id[:24]}"
    job.facts.name_response(id)
    finish = "tool_calls" if calls else "length" if is_cut else "stop"
    found: dict[str, Any] = {
        "id": id,
        "object": "chat.completion",
        "created": int(job.tab.call.at),
        "model": job.facts.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": usage_dict(usage),
    }
    return found | ({"simulated": True} if job.facts.simulated else {})


async def pieces(job: ChatJob, whole: JsonObject) -> AsyncIterator[bytes]:
    """A whole completion as the stream that its caller asked for: every choice, and all that is in it."""
    job.facts.ttft_s = job.tab.served.ttft_s = job.tab.call.elapsed_s
    kept = {name: whole[name] for name in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    wants_usage = job.asked.wants_usage
    for choice in whole["choices"]:
        for delta in _deltas(choice):
            yield sse.event(kept | {"choices": [delta]} | ({"usage": None} if wants_usage else {}))
    details = job.details()
    if wants_usage:
        yield sse.event(
            kept | {"choices": [], "usage": whole["usage"]} | ({} if details is None else {"orchestrator": details})
        )
    elif details is not None:
        yield sse.comment("orchestrator " + orjson.dumps(details).decode())
    yield sse.DONE


def _deltas(choice: JsonObject) -> Iterator[JsonObject]:
    """The choices of chunks that make up one choice of a whole answer."""
    place, finish = choice.get("index") or 0, choice.get("finish_reason") or "stop"

    def delta(fields: JsonObject, finish: str | None = None, logprobs: JsonValue = None) -> JsonObject:
        return {"index": place, "delta": fields, "logprobs": logprobs, "finish_reason": finish}

    if "text" in choice:  # a text's completion
        yield {**choice, "index": place, "finish_reason": finish}
        return
    message = choice.get("message") or {}
    yield delta({"role": "assistant", "content": ""})
    if message.get("refusal"):
        yield delta({"refusal": message["refusal"]})
    more = {name: value for name, value in message.items() if name not in _IN_PIECES and value is not None}
    if more.get("anthropic_blocks"):  # of a whole message they are all; its text and calls are told below
        more["anthropic_blocks"] = [
            block for block in more["anthropic_blocks"] if block.get("type") not in KNOWN_BLOCKS
        ]
    if more:
        yield delta(more)
    text, logprobs = message.get("content") or "", choice.get("logprobs")
    if logprobs and text:
        yield delta({"content": text}, logprobs=logprobs)
    else:
        for start in range(0, len(text), PIECE_CHARS):
            yield delta({"content": text[start : start + PIECE_CHARS]})
    if message.get("tool_calls"):
        yield delta({"tool_calls": [{**call, "index": number} for number, call in enumerate(message["tool_calls"])]})
    yield delta({}, finish)


def progress(step: Event, *, typed: bool) -> bytes:
    """An event of a search: as a comment, or typed where the caller asked for it."""
    detail = without_addresses(step.detail)
    if typed:
        return sse.event({"kind": step.kind, "at_s": round(step.at_s, 4), **detail}, "orchestrator.progress")
    told = " ".join(f"{name}={value}" for name, value in detail.items() if value is not None)
    return sse.comment(f"{step.kind} {told}"[:300])


def usage_dict(usage: Usage) -> JsonObject:
    """Usage in OpenAI's words."""
    return {
        "prompt_tokens": usage.prefill_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


async def told_as_events(
    job: ChatJob, work: Callable[[Callable[[Event], None]], Coroutine[None, None, JsonObject]]
) -> AsyncGenerator[bytes, None]:
    """A completion in pieces, after the progress of what makes it; a failure is the last event."""
    working = events_of(work)
    try:
        async for step in working:
            if isinstance(step, Event):
                yield progress(step, typed=job.options.events)
                continue
            async for piece in pieces(job, step):
                yield piece
    except Exception as error:
        problem = to_gateway_error(error)
        if problem is None:
            log.exception("a search failed", extra={"request": job.tab.id})
            problem = GatewayError(
                500, "an error of the gateway; its operator can look for the request id", code="internal"
            )
        job.facts.failed = problem.code or "error"
        yield sse.event(problem.as_openai())
    finally:
        await working.aclose()
