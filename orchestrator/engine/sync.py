"""The synchronous face of coroutines: one event loop in a thread of its own, so that connections outlive a call.

`blocking` makes the twin of a coroutine method, with the same arguments and the same result.
"""

from __future__ import annotations

import asyncio
import queue
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import wraps
from types import TracebackType
from typing import Concatenate, Generic, ParamSpec, TypeVar

from orchestrator.engine.streaming import AnswerStream
from orchestrator.errors import BlockingCall
from orchestrator.types import Answer

POLL_S, CLOSE_S = 0.1, 5.0
P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound="SyncMethods")


class BlockingLoop:
    """Runs coroutines from ordinary code, from any number of threads. The thread starts with the first call."""

    def __init__(self, *, close_s: float = CLOSE_S) -> None:
        """`close_s` is the longest that whatever is cancelled is waited for, in seconds."""
        self._close_s = close_s
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def run(self, coroutine: Coroutine[None, None, T], name: str = "run") -> T:
        """The coroutine's result.

        Ctrl-C cancels it, and waits until it has tidied up. Raises `BlockingCall` inside a running event loop, which it
        would block.
        """
        if _is_in_loop():
            coroutine.close()
            raise _would_block(f"{name}()", "the method of the same name without _sync, awaited")
        running = _Running(coroutine, self._started(), self._close_s)
        try:
            while not running.result.done():  # in steps: Ctrl-C may reach another thread, which does not wake this one
                wait([running.result], POLL_S)
            return running.result.result()
        except BaseException:
            running.cancel()
            raise

    def iterate(self, begin: Callable[[], AsyncIterator[T]]) -> Generator[T, None, None]:
        """What an asynchronous iterator yields, as it comes.

        Ending early closes it, and waits until it is closed.
        """
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

        running = _Running(pump(), self._started(), self._close_s)
        try:
            while True:
                try:
                    item = items.get(timeout=POLL_S)  # in steps, as in `run`
                except queue.Empty:
                    if running.result.done() and items.empty():  # cancelled before it began
                        break
                    continue
                if item is None:
                    break
                yield item[0]
            running.result.result()
        finally:
            running.cancel()

    def close(self) -> None:
        """Ends the thread; a later `run` starts another."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is not None and thread is not None:
            with suppress(Exception):  # whoever still waits in another thread is told, instead of waiting for ever
                asyncio.run_coroutine_threadsafe(_cancel_others(), loop).result(self._close_s)
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


class _Running(Generic[T]):
    """A coroutine that runs in the event loop of another thread.

    A future of `asyncio.run_coroutine_threadsafe` that is cancelled is done at once, while its coroutine still tidies
    up; `result` is done when the coroutine is.
    """

    def __init__(self, coroutine: Coroutine[None, None, T], loop: asyncio.AbstractEventLoop, close_s: float) -> None:
        self.result: Future[T] = Future()
        self._close_s = close_s
        self._loop = loop
        self._thread: int | None = None
        self._task: asyncio.Task[T] | None = None
        loop.call_soon_threadsafe(self._begin, coroutine)

    def cancel(self) -> None:
        """Returns when the coroutine has ended, `close_s` seconds later at the latest."""
        if self.result.done() or not self._loop.is_running():
            return
        self._loop.call_soon_threadsafe(self._cancel)
        if threading.get_ident() == self._thread or sys.is_finalizing():  # nothing would run while this waits
            return
        until = time.monotonic() + self._close_s
        while not self.result.done() and self._loop.is_running() and time.monotonic() < until:
            wait([self.result], POLL_S)

    def _begin(self, coroutine: Coroutine[None, None, T]) -> None:
        self._thread = threading.get_ident()
        self._task = self._loop.create_task(coroutine)
        self._task.add_done_callback(self._settle)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _settle(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self.result.cancel()
            self.result.set_running_or_notify_cancel()
        elif (error := task.exception()) is not None:
            self.result.set_exception(error)
        else:
            self.result.set_result(task.result())


async def _cancel_others() -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


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
        if _is_in_loop():
            raise _would_block("close()", "`await fleet.aclose()`, or `async with`")
        self._blocking.run(self.aclose(), "close")
        self._blocking.close()

    def __enter__(self: S) -> S:
        if _is_in_loop():
            raise _would_block("`with`", "`async with`")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class BlockingStream(Iterator[T]):
    """A stream for scripts and notebooks: go through it once with `for`; leaving a `with` or `close` ends it early."""

    def __init__(self, stream: AnswerStream[T], loop: BlockingLoop) -> None:
        self._stream = stream
        self._items = loop.iterate(lambda: stream)

    @property
    def answer(self) -> Answer | None:
        """The whole answer, when the stream has ended."""
        return self._stream.answer

    def __next__(self) -> T:
        return next(self._items)

    def close(self) -> None:
        """Cancels what is under way; what it cost is settled when this returns."""
        self._items.close()

    def __enter__(self) -> BlockingStream[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return repr(self._stream).replace("async for", "for")


def blocking(method: Callable[Concatenate[S, P], Awaitable[T]]) -> Callable[Concatenate[S, P], T]:
    """The blocking twin of a method whose result is awaited: the same arguments, the same result."""
    name = method.__name__

    @wraps(method)
    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        if _is_in_loop():
            raise _would_block(f"{name}_sync()", _awaited_instead(name))
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
            raise _would_block(f"{name}_sync()", f"`await pipeline.{name}(...)`")
        loop = BlockingLoop()
        try:
            return loop.run(method(*args, **kwargs), f"{name}_sync")
        finally:
            loop.close()

    _name_twin(call, name)
    return call


def blocking_stream(
    method: Callable[Concatenate[S, P], AnswerStream[T]],
) -> Callable[Concatenate[S, P], BlockingStream[T]]:
    """The blocking twin of a method that gives a stream; ending early closes it."""
    name = method.__name__

    @wraps(method)
    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> BlockingStream[T]:
        if _is_in_loop():
            raise _would_block(f"{name}_sync()", f"`async for item in fleet.{name}(...)`")
        return BlockingStream(getattr(self, name)(*args, **kwargs), self._blocking)

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
    """Whether blocking would stop an event loop that others need: a notebook's own waits for its cell anyway."""
    return asyncio._get_running_loop() is not None and not _is_notebook()


def _is_notebook() -> bool:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


def _would_block(name: str, instead: str) -> BlockingCall:
    return BlockingCall(f"{name} would block the event loop that is running here", remedy=f"Use {instead}")


def _awaited_instead(name: str) -> str:
    return f"`await fleet.{name}(...)`"
