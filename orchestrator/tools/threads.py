"""Threads for tools that block: their own, so that one that hangs takes no thread from anything else."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

from orchestrator.tools.tool import ToolFailed

MAX_THREADS = 64  # calls that block at once, those among them whose time is over and that still run
P = ParamSpec("P")
T = TypeVar("T")
_free = threading.BoundedSemaphore(MAX_THREADS)


async def in_tool_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What a function gives that blocks. It sees the caller's context variables, as in `asyncio.to_thread`; nothing
    waits for its thread when the program ends.

    Raises `ToolFailed` where too many calls have not come back.
    """
    if not _free.acquire(blocking=False):
        raise ToolFailed(
            f"{MAX_THREADS} calls of tools have not come back yet", remedy="Try again later", retryable=True
        )
    loop, context = asyncio.get_running_loop(), contextvars.copy_context()
    found: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            result = context.run(function, *args, **kwargs)
        except BaseException as error:  # whatever it is, somebody waits for it
            tell(partial(found.set_exception, error))
        else:
            tell(partial(found.set_result, result))
        finally:
            _free.release()

    def tell(settle: Callable[[], None]) -> None:
        try:
            loop.call_soon_threadsafe(lambda: None if found.done() else settle())
        except RuntimeError:  # the loop has ended, and with it who waited
            return

    try:
        threading.Thread(target=run, daemon=True, name="orchestrator-tool").start()
    except RuntimeError as error:  # the machine has no thread left
        _free.release()
        raise ToolFailed(f"no thread can be started: {error}", remedy="Try again later", retryable=True) from error
    return await found
