"""Asks the servers of a model how loaded they are, and listens to what they say of their prefix caches.

Only while calls are made, and only where there is a choice. A server whose page lies, hangs or is missing is chosen by
what was sent to it, as one that tells nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from types import ModuleType

from orchestrator.backends.http.replicas import Replica, Replicas
from orchestrator.serving.engine_load import MAX_METRICS_BYTES, load_in_metrics
from orchestrator.serving.kv_events import CacheState
from orchestrator.serving.prompt_chunks import CHUNK_TOKENS

POLL_S, TIMEOUT_S = 1.0, 1.0
IDLE_S = 30.0  # after the last call no more is asked
FRAMES = 3  # of a message: topic, sequence number, batch
log = logging.getLogger(__name__)
Fetch = Callable[[str], Awaitable[str]]


class LoadReports:
    """Reports of one model's servers. `fetch` gives the text at an address."""

    def __init__(self, replicas: Replicas, fetch: Fetch | None = None) -> None:
        self._replicas = replicas
        self._fetch = fetch or fetch_text
        self._wanted_s = 0.0
        self._task: asyncio.Task[None] | None = None
        self._told_of: set[str] = set()

    def want(self) -> None:
        """A call is made: reports are wanted for some time from now on."""
        self._wanted_s = time.monotonic()
        if self._task is None or self._task.done() or self._task.get_loop() is not asyncio.get_running_loop():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def aclose(self) -> None:
        """Asks no more."""
        task, self._task = self._task, None
        if task is not None and task.get_loop() is asyncio.get_running_loop():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        listening = [
            asyncio.ensure_future(self._listen(number, replica))
            for number, replica in enumerate(self._replicas.all)
            if replica.kv_events
        ]
        try:
            while time.monotonic() - self._wanted_s < IDLE_S:
                await asyncio.gather(*(self._ask(number, replica) for number, replica in enumerate(self._replicas.all)))
                await asyncio.sleep(POLL_S)
        finally:
            for task in listening:
                task.cancel()
            await asyncio.gather(*listening, return_exceptions=True)

    async def _ask(self, number: int, replica: Replica) -> None:
        address = f"{replica.base_url.rstrip('/').removesuffix('/v1')}/metrics"
        try:
            async with asyncio.timeout(TIMEOUT_S):
                load = load_in_metrics(await self._fetch(address))
        except Exception as error:  # whatever a page of metrics does, calls go on without it
            self._tell_once(address, f"{type(error).__name__}: {error}")
            return
        if load.is_empty:
            self._tell_once(address, "it holds no metrics of vLLM, SGLang or TensorRT-LLM")
            return
        replica.told, replica.told_s = load, time.monotonic()
        if load.cache_tokens is not None and replica.agrees and not replica.kv_events:
            self._replicas.index.resize(number, int(load.cache_tokens / CHUNK_TOKENS))

    async def _listen(self, number: int, replica: Replica) -> None:
        """Follows a server's events as long as it is there."""
        try:
            import msgpack  # extra `kv-events`
            import zmq
            import zmq.asyncio
        except ImportError:
            self._tell_once(replica.kv_events, "pip install 'compound-orchestrator[kv-events]'")
            return
        state, cleared = CacheState(), 0
        with zmq.asyncio.Context() as context, context.socket(zmq.SUB) as socket:
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.RCVHWM, 10_000)
            socket.subscribe(b"kv@")
            socket.subscribe(b"kv-events")
            socket.connect(replica.kv_events)
            while True:
                frames = await socket.recv_multipart()
                await asyncio.sleep(0)  # a flood of messages leaves room for calls
                with contextlib.suppress(Exception):  # a message that is none
                    state.take(*_message(frames, msgpack))
                if state.clears != cleared:
                    cleared = state.clears
                    self._replicas.index.clear(number)
                if state.tokens:
                    self._replicas.index.resize(number, int(state.tokens / CHUNK_TOKENS))

    def _tell_once(self, address: str, why: str) -> None:
        if address not in self._told_of:
            self._told_of.add(address)
            log.warning("the load of a server is not known from %s (%s): what was sent to it counts", address, why)


def _message(frames: list[bytes], msgpack: ModuleType) -> tuple[int, object]:
    _, sequence, payload = frames[-FRAMES:]
    return int.from_bytes(sequence, "big"), msgpack.unpackb(payload, strict_map_key=False)


async def fetch_text(address: str) -> str:
    """The text at an address, no more than its first four megabytes."""
    import httpx  # heavy

    async with httpx.AsyncClient(timeout=TIMEOUT_S) as client, client.stream("GET", address) as reply:
        reply.raise_for_status()
        content = b""
        async for chunk in reply.aiter_bytes():
            content += chunk
            if len(content) > MAX_METRICS_BYTES:
                break
    return content.decode("utf-8", "replace")
