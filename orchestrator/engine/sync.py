"""The synchronous face of coroutines: one event loop in a thread of its own, so that connections outlive a call.

`blocking` makes the twin of a coroutine method, with the same arguments and the same result.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from functools import wraps
from types import TracebackType
from typing import Concatenate, ParamSpec, TypeVar

from orchestrator.errors import BlockingCall

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound="SyncMethods")


class BlockingLoop:
    """Runs coroutines from ordinary code, from any number of threads. The thread starts with the first call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def run(self, coroutine: Coroutine[None, None, T], name: str = "") -> T:
        """The coroutine's result.

        Ctrl-C cancels it. Raises `BlockingCall` inside a running event loop, which it would block.
        """
        if _is_in_loop():
            coroutine.close()
            raise _would_block(name)
        future = asyncio.run_coroutine_threadsafe(coroutine, self._started())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def iterate(self, begin: Callable[[], AsyncIterator[T]], name: str = "") -> Iterator[T]:
        """What an asynchronous iterator yields, as it comes.

        Ending early closes it, and waits until it is closed. Raises `BlockingCall` inside a running event loop.
        """
        if _is_in_loop():
            raise _would_block(name)
        return self._iterated(begin)

    def _iterated(self, begin: Callable[[], AsyncIterator[T]]) -> Iterator[T]:
        items: queue.SimpleQueue[tuple[T] | None] = queue.SimpleQueue()

        async def pump() -> None:
            iterator = begin()
            try:
                async for item in iterator:
                    items.put((item,))
            finally:
                close = getattr(iterator, "aclose", None)
                if close is not None:
                    await close()
                items.put(None)

        future = asyncio.run_coroutine_threadsafe(pump(), self._started())
        try:
            while (item := items.get()) is not None:
                yield item[0]
            future.result()
        finally:
            if not future.done():
                future.cancel()
                while items.get() is not None:  # until it is closed
                    pass

    def close(self) -> None:
        """Ends the thread; a later `run` starts another."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, daemon=True, name="orchestrator-blocking"
                )
                self._thread.start()
            return self._loop


class SyncMethods:
    """The base of a class whose coroutine methods have blocking twins.

    None of them may be called from a running event loop; `close` at the end, or use `with`.
    """

    def __init__(self) -> None:
        self._blocking = BlockingLoop()

    async def aclose(self) -> None:
        """Nothing is open."""

    def close(self) -> None:
        """`aclose` for scripts."""
        self._blocking.run(self.aclose(), "close")
        self._blocking.close()

    def __enter__(self: S) -> S:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def blocking(method: Callable[Concatenate[S, P], Awaitable[T]]) -> Callable[Concatenate[S, P], T]:
    """The blocking twin of a method whose result is awaited: the same arguments, the same result."""
    name = method.__name__

    @wraps(method)
    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        if _is_in_loop():
            raise _would_block(f"{name}_sync", name)
        found: T = self._blocking.run(_awaited(getattr(self, name)(*args, **kwargs)), f"{name}_sync")
        return found

    _name_twin(call, name)
    return call


def blocking_once(method: Callable[P, Coroutine[None, None, T]]) -> Callable[P, T]:
    """The blocking twin of a coroutine method of a class without connections: each call has a loop of its own."""
    name = method.__name__

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        if _is_in_loop():
            raise _would_block(f"{name}_sync", name)
        loop = BlockingLoop()
        try:
            return loop.run(method(*args, **kwargs), f"{name}_sync")
        finally:
            loop.close()

    _name_twin(call, name)
    return call


def blocking_stream(
    method: Callable[Concatenate[S, P], AsyncIterator[T]],
) -> Callable[Concatenate[S, P], Iterator[T]]:
    """The blocking twin of a method that gives an asynchronous iterator; ending early closes it."""
    name = method.__name__

    @wraps(method)
    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        if _is_in_loop():
            raise _would_block(f"{name}_sync", name)
        made: AsyncIterator[T] = getattr(self, name)(*args, **kwargs)  # mistakes are told here, not at the first item
        return self._blocking.iterate(lambda: made, f"{name}_sync")

    _name_twin(call, name)
    return call


async def _awaited(result: Awaitable[T]) -> T:
    return await result


def _name_twin(call: Callable[..., object], name: str) -> None:
    call.__name__ = f"{name}_sync"
    call.__qualname__ = f"{call.__qualname__}_sync"
    call.__doc__ = f"`{name}` for scripts and notebooks: the same arguments, the same result, without `await`."
    call.__dict__.pop("_is_coroutine", None)
    call.__dict__.pop("_is_coroutine_mark", None)


def _is_in_loop() -> bool:
    return asyncio._get_running_loop() is not None


def _would_block(name: str, coroutine: str = "") -> BlockingCall:
    told = f"{name}() would block" if name else "a blocking method would block"
    instead = f"`await ....{coroutine}(...)`" if coroutine else "the method of the same name without _sync, awaited"
    return BlockingCall(f"{told} the event loop that is running here", remedy=f"Use {instead}")
