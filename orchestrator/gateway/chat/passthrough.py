"""One draft passed on as its model writes it; the bill is settled at its end, whoever ends it.

A stream that breaks off ends with an event that says so, unless its caller allowed another model to go on
(`orchestrator: {resume: true}`): then that one is shown what was written so far, and what it adds follows. Each part is
held and settled by itself.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import orjson

from orchestrator.backends.provider_errors import TransportError
from orchestrator.backends.usage import chat_usage, usage_of_all
from orchestrator.errors import BackendError
from orchestrator.gateway.accounts.quota_leases import LimitReached
from orchestrator.gateway.errors import GatewayError, broke_off
from orchestrator.gateway.http import sse
from orchestrator.jsontypes import JsonObject
from orchestrator.router import ModelProfile
from orchestrator.tokens.estimate import TokenizerFamily
from orchestrator.types import Usage

if TYPE_CHECKING:
    from orchestrator.gateway.chat.job import ChatJob
    from orchestrator.gateway.chat.stream_start import Begun

GO_ON = "Your answer above was cut off. Go on exactly where it stopped: repeat nothing of it, and add no remark."
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StreamPart:
    """What one model writes of a stream."""

    model: str
    reply: Begun


class StreamSource(Protocol):
    """Where more comes from. `keeps_text`: whether what was written is needed at the end, or to go on."""

    keeps_text: bool

    def profile(self, model: str) -> ModelProfile:
        """What is known of a model."""

    def family(self, model: str) -> TokenizerFamily:
        """How a model counts tokens."""

    def took(self, model: str, text: str | None, usage: Usage) -> None:
        """A model has written its part: `text` where it was kept."""

    async def rest(self, written: str, tried: Sequence[str]) -> StreamPart | None:
        """Another model's continuation of what was written; `None` where there is none."""


def going_on(written: str) -> list[JsonObject]:
    """The messages that ask for the rest of an answer."""
    return [{"role": "assistant", "content": written}, {"role": "user", "content": GO_ON}]


async def relay_stream(job: ChatJob, part: StreamPart, source: StreamSource) -> AsyncIterator[bytes]:
    """The upstream's events as they come. Raises nothing but `Gone` and cancellation."""
    tab, written, tried = job.tab, list[bytes](), list[str]()
    while True:
        passage, why, is_settled = part.reply.passage, "", False
        try:
            try:
                async for passed in part.reply.pieces():
                    is_kept_back = (
                        passage.has_failed and job.options.resume
                    )  # it tells of a failure, where another goes on
                    if passed and not is_kept_back:
                        if job.facts.ttft_s is None:
                            job.facts.ttft_s = tab.served.ttft_s = tab.call.elapsed_s
                        if source.keeps_text:
                            written.append(passed)
                        yield passed
                    if job.left_s <= 0:
                        raise sse.BrokenStream("the time for this request is over")
            except (BackendError, TransportError, sse.BrokenStream) as error:
                why = str(error)
                if isinstance(error, TransportError):
                    part.reply.broken(error)
            is_settled = True
            _settle(job, part, source, passage)
        finally:
            part.reply.cancel()
            if not is_settled:  # the caller went away: the upstream is cut off, and what came by then is paid
                _settle_aborted(job, part, source, passage)
        job.facts.name_response(passage.id)
        await tab.posted()
        if passage.is_whole and not why:
            source.took(part.model, sse.streamed_text(written) if source.keeps_text else None, passage.usage or Usage())
            for event in _closing(job, passage.usage_event, has_parts=bool(tried)):
                yield event
            return
        tried.append(part.model)
        following = await _following(job, source, written, tried)
        if following is None:
            break
        part = following
        job.facts.model = tab.served.model = part.model
        yield sse.comment(f"orchestrator: {tried[-1]} broke off, {part.model} goes on")
    told = _told_of_failure(job, passage, tried[-1], why)
    if told:
        yield told


def _told_of_failure(job: ChatJob, passage: sse.SSEFilter, model: str, why: str) -> bytes:
    """The last event of a stream that broke off; nothing, where the server told of its failure itself."""
    if passage.has_failed and not job.options.resume:
        job.facts.failed = "upstream_error"
        return b""
    job.facts.failed = "upstream_bad_response"
    log.warning("a stream broke off", extra={"model": model, "request": job.tab.id, "why": why or "it ended early"})
    return sse.event(broke_off().as_openai())


def _settle(job: ChatJob, part: StreamPart, source: StreamSource, passage: sse.SSEFilter) -> None:
    if passage.usage is not None and passage.is_whole:
        part.reply.count(passage.usage)
        family = source.family(part.model)
        used = usage_of_all(
            passage.usage, job.asked.several, lambda: job.asked.prompt_tokens(family), lambda: passage.written_tokens
        )
        job.tab.settle(source.profile(part.model), used, unseen_calls=part.reply.unseen_calls)
    else:
        _settle_aborted(job, part, source, passage)


def _settle_aborted(job: ChatJob, part: StreamPart, source: StreamSource, passage: sse.SSEFilter) -> None:
    """Books a stream whose bill never came.

    The whole prompt as its provider counts it, and what was written by then.
    """
    told = (
        passage.usage or Usage()
    )  # some servers tell the sum so far on every event, and the prompt's size on the first
    prompt = told.prefill_tokens or job.asked.prompt_tokens(source.family(part.model))
    written = max(passage.written_tokens, told.output_tokens)
    job.tab.settle_aborted(source.profile(part.model), prompt, written, unseen_calls=part.reply.unseen_calls)


async def _following(job: ChatJob, source: StreamSource, written: list[bytes], tried: list[str]) -> StreamPart | None:
    """Who goes on with a stream that broke off; `None` where its caller did not allow it, or nobody can."""
    if not job.options.resume or job.left_s <= 0 or job.asked.body.get("tools") or job.asked.several > 1:
        return None
    text = sse.streamed_text(written)
    if text is None:
        return None
    try:
        return await source.rest(text, tried)
    except (LimitReached, GatewayError) as error:  # there is no money left for it
        log.warning("a stream is not resumed", extra={"request": job.tab.id, "why": str(error)[:200]})
        return None


def _closing(job: ChatJob, usage_event: bytes | None, *, has_parts: bool) -> list[bytes]:
    """How a stream ends: the usage, if it was asked for, our own details, the end mark."""
    events = []
    details = job.details()
    if has_parts and usage_event is not None:  # the usage of all parts, not of the last alone
        served = job.tab.served
        whole = orjson.loads(sse.data_of(usage_event) or b"{}")
        whole["usage"] = chat_usage(Usage(served.prefill_tokens, served.output_tokens, served.cached_tokens))
        usage_event = sse.event(whole)
    if job.asked.wants_usage and usage_event is not None:
        events.append(usage_event if details is None else sse.spliced(usage_event, "orchestrator", details))
    elif details is not None:
        events.append(sse.comment("orchestrator " + orjson.dumps(details).decode()))
    return [*events, sse.DONE]
