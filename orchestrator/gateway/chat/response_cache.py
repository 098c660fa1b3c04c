"""Answers that are given again.

For the same request, or (if switched on) for a question that says the same in other words.

The guarantee: a cached answer is given only within one tenant and scope, to a request that is equal in everything but
its last question. That question is equal, or it has the same words and signs in the same order (courtesy, articles and
the ends of sentences aside), and the cosine of the two embeddings is at least `semantic`. The reply says which, with
the similarity and the question that was answered. Requests with tools, pictures or `n` are cached for equal requests
only.

`cache-control` is honoured (RFC 9111): `no-cache` asks anew, `no-store` also keeps nothing, `max-age` bounds the age,
`only-if-cached` asks no model.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
import unicodedata
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from orchestrator.config.models import CacheConfig
from orchestrator.gateway.errors import GatewayError
from orchestrator.jsontypes import JsonObject

if TYPE_CHECKING:
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.gateway.chat.client_request import ClientRequest
    from orchestrator.gateway.chat.job import ChatJob
    from orchestrator.gateway.chat.provenance import Provenance

MAX_ALIKE = 2_000  # questions of one kind that are compared with
_SIGNIFICANT = re.compile(r"\w+(?:[.,'’-]\w+)*|[^\s\w.,;:!?]")
_COURTESY = re.compile(
    r"^(?:(?:hi|hello|hey|please|kindly|(?:(?:can|could|would|will) you )?(?:please )?(?:tell me|let me "
    r"know))\b[\s,:!]*)+",
    re.IGNORECASE,
)
_SHORT_IS = re.compile(r"\b(what|who|where|when|how)['’]s\b", re.IGNORECASE)
_NEUTRAL = frozenset("a an the please kindly hi hello hey thanks".split())


@dataclass(slots=True)
class _Kept:
    content: bytes
    is_stream: bool
    at: float
    took_s: float
    model: str
    confidence: float | None
    question: str
    scope_key: bytes


@dataclass(frozen=True, slots=True)
class _Control:
    """What `cache-control` asks for."""

    reads: bool = True
    writes: bool = True
    max_age_s: float = float("inf")
    only: bool = False


class Cache:
    """In this process's memory, bounded in bytes; the least recently given goes first."""

    def __init__(
        self, config: CacheConfig, engine: Orchestrator, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._config = config
        self._clock = clock
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._alike: dict[bytes, list[tuple[bytes, Any, tuple[str, ...]]]] = {}
        self._bytes = self.generation = 0
        self._encoder: Any = None

    def clear(self) -> None:
        """Forgets all answers, and those that are under way: they may rest on what is true no more."""
        self.generation += 1
        self._kept.clear()
        self._alike.clear()
        self._bytes = 0

    def entry(self, call: ClientRequest, job: ChatJob) -> Entry | None:
        """Where the answer to this request would be; `None` if it asks not to be cached at all."""
        control = _control(call.header(b"cache-control"))
        if not control.reads and not control.writes:
            return None
        return Entry(self, call, job, control)

    def find(self, exact: bytes, max_age_s: float) -> _Kept | None:
        """What is kept for exactly this request and is not older than `max_age_s`."""
        kept = self._kept.get(exact)
        if kept is None:
            return None
        age = self._clock() - kept.at
        if age > self._config.seconds:
            self._drop(exact)
            return None
        if age > max_age_s:
            return None
        self._kept.move_to_end(exact)
        return kept

    async def find_alike(self, kind: bytes, question: str, max_age_s: float) -> tuple[_Kept, float] | None:
        """The most similar question of this kind that is similar enough, and how similar."""
        if self._config.semantic is None or not self._alike.get(kind):
            return None
        signs, vector = significant(question), await self._encoded(question)
        best: tuple[float, bytes] | None = None
        for exact, known, known_signs in self._alike.get(kind, ()):
            if known_signs == signs:
                similarity = float(known @ vector)
                if similarity >= self._config.semantic and (best is None or similarity > best[0]):
                    best = similarity, exact
        kept = self.find(best[1], max_age_s) if best else None
        return (kept, best[0]) if kept and best else None

    async def keep(self, exact: bytes, kind: bytes | None, kept: _Kept) -> None:
        """Keeps an answer; one that would fill a quarter of the cache is not kept."""
        if len(kept.content) > self._config.most_bytes // 4:
            return
        if exact in self._kept:
            self._drop(exact)
        self._kept[exact] = kept
        self._bytes += len(kept.content)
        while self._bytes > self._config.most_bytes:
            self._drop(next(iter(self._kept)))
        if kind is not None and self._config.semantic is not None:
            vector = await self._encoded(kept.question)
            if self._kept.get(exact) is not kept:
                return  # it was forgotten in the meantime
            alike = self._alike.setdefault(kind, [])
            alike.append((exact, vector, significant(kept.question)))
            del alike[:-MAX_ALIKE]

    @property
    def pads(self) -> bool:
        """Whether answers from the cache take as long as their first making did."""
        return self._config.pad_timing

    @property
    def is_semantic(self) -> bool:
        """Whether questions that say the same in other words are given the same answer."""
        return self._config.semantic is not None

    def now(self) -> float:
        """Seconds, by the cache's clock."""
        return self._clock()

    def _drop(self, exact: bytes) -> None:
        kept = self._kept.pop(exact)
        self._bytes -= len(kept.content)
        if kept.scope_key in self._alike:
            self._alike[kept.scope_key] = [entry for entry in self._alike[kept.scope_key] if entry[0] != exact]
            if not self._alike[kept.scope_key]:
                del self._alike[kept.scope_key]

    async def _encoded(self, text: str) -> Any:
        from orchestrator.memory import default_encoder  # numpy

        if self._encoder is None:
            self._encoder = await asyncio.to_thread(default_encoder)
        vector = np.asarray(await asyncio.to_thread(self._encoder.encode, [text]), dtype=np.float32)[0]
        return vector / max(float(np.linalg.norm(vector)), 1e-9)


class Entry:
    """One request's place in the cache."""

    def __init__(self, cache: Cache, call: ClientRequest, job: ChatJob, control: _Control) -> None:
        self._cache = cache
        self._generation = cache.generation
        self._control = control
        self._call = call
        self._facts: Provenance = job.facts
        body = dict(job.asked.body)
        is_stream = bool(body.get("stream"))
        options = job.options
        wishes = [
            getattr(options, name)
            for name in ("quality", "memory", "strategy", "may_abstain", "value_usd", "criteria", "explain")
        ]
        fixed = [job.tab.principal.org, job.tab.served.scope, job.tab.principal.models, wishes]
        self._exact = _digest([*fixed, body])
        self._kind: bytes | None = None
        self._question = ""
        if cache.is_semantic and not job.asked.beyond_search() and not job.asked.body.get("tools"):
            last = body["messages"][-1]
            if isinstance(last["content"], str):
                self._question = last["content"]
                self._kind = _digest([*fixed, {**body, "messages": body["messages"][:-1]}])
        self._is_stream = is_stream

    async def whole(self, make: Callable[[], Awaitable[bytes]]) -> bytes:
        """The answer from the cache, or as `make` gives it, which is kept."""
        kept = await self._found()
        if kept is not None:
            return kept.content
        content = await make()
        if _is_good(content):
            await self._keep(content)
        return content

    async def stream(self, make: Callable[[], Awaitable[AsyncIterator[bytes]]]) -> AsyncIterator[bytes]:
        """The answer as events, from the cache, or as `make` gives them, which are kept at their end."""
        kept = await self._found()
        if kept is not None:
            return _again(kept.content)
        return self._kept_as_it_passes(await make())

    async def _kept_as_it_passes(self, events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        parts = []
        async with aclosing(events):  # type: ignore[type-var]
            async for event in events:
                parts.append(event)
                yield event
        content = b"".join(part for part in parts if not part.startswith(b":"))
        if parts and parts[-1].endswith(b"data: [DONE]\n\n") and not self._facts.failed:
            await self._keep(content)

    async def _found(self) -> _Kept | None:
        if self._control.reads:
            kept = self._cache.find(self._exact, self._control.max_age_s)
            if kept is not None:
                return await self._given(kept, {"kind": "exact"})
            if self._kind is not None:
                alike = await self._cache.find_alike(self._kind, self._question, self._control.max_age_s)
                if alike is not None:
                    return await self._given(
                        alike[0], {"kind": "semantic", "similarity": round(alike[1], 4), "question": alike[0].question}
                    )
        if self._control.only:
            raise GatewayError(
                504,
                "there is no cached answer, and cache-control says only-if-cached",
                code="not_cached",
                should_retry=False,
            )
        return None

    async def _given(self, kept: _Kept, how: JsonObject) -> _Kept:
        if self._cache.pads:
            await asyncio.sleep(max(kept.took_s - self._call.elapsed_s, 0.0))
        facts = self._facts
        facts.cached = {**how, "age_s": round(self._cache.now() - kept.at, 3)}
        facts.model, facts.confidence, facts.reason = kept.model, kept.confidence, "given again from the cache"
        if self._call.tab is not None:
            self._call.tab.served.cached, self._call.tab.served.model = how["kind"], kept.model
        return kept

    async def _keep(self, content: bytes) -> None:
        if self._control.writes and self._generation == self._cache.generation:
            facts = self._facts
            kept = _Kept(
                content,
                self._is_stream,
                self._cache.now(),
                self._call.elapsed_s,
                facts.model,
                facts.confidence,
                self._question,
                self._kind or b"",
            )
            await self._cache.keep(self._exact, self._kind, kept)


def significant(question: str) -> tuple[str, ...]:
    """What two questions must have in common to have one answer, however alike they sound.

    Every word that is more than courtesy or an article, as it is written, every number and every sign, in this order.
    "Does the dog bite the man" asks something else than "does the man bite the dog", "universal" than "universe",
    "cannot" than "can", "US" than "us". Only the first letter, and what ends a sentence, may differ.
    """
    text = _COURTESY.sub("", unicodedata.normalize("NFC", question).strip())
    words = _SIGNIFICANT.findall(_SHORT_IS.sub(r"\1 is", text[:1].lower() + text[1:]))
    return tuple(word for word in words if word.lower() not in _NEUTRAL)


def _control(header: str | None) -> _Control:
    if header is None:
        return _EVERYTHING
    directives = {
        name.strip().lower(): value.strip().strip('"')
        for name, _, value in (part.partition("=") for part in header.split(","))
    }
    age = directives.get("max-age", "")
    return _Control(
        reads="no-cache" not in directives and "no-store" not in directives,
        writes="no-store" not in directives,
        max_age_s=float(age) if age.isdigit() else float("inf"),
        only="only-if-cached" in directives,
    )


def _digest(parts: list[Any]) -> bytes:
    return hashlib.blake2b(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS), digest_size=24).digest()


def _is_good(content: bytes) -> bool:
    """Whether an answer came to its end, so that it is worth giving again."""
    choices = orjson.loads(content)["choices"]
    return bool(choices) and all(
        choice.get("finish_reason") in ("stop", "tool_calls", "function_call") for choice in choices
    )


async def _again(content: bytes) -> AsyncIterator[bytes]:
    yield content


_EVERYTHING = _Control()
