"""Ctrl-C while ordinary code waits for a coroutine: whichever thread the system hands the signal to."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from orchestrator.engine.sync import CLOSE_S, BlockingLoop

SCRIPT = """
    import asyncio, signal, threading, time
    from orchestrator.engine.sync import BlockingLoop

    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background inherit that it is ignored
    loop, ended = BlockingLoop(), []
    blocked = threading.Event()

    async def for_ever():
        blocked.set()
        try:
            await asyncio.sleep(3_600)
        finally:
            ended.append(True)

    async def items():
        yield 1
        await for_ever()

    def interrupt():
        blocked.wait()
        time.sleep(0.3)  # until the main thread waits
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        time.sleep(30)

    threading.Thread(target=interrupt, daemon=True).start()
    try:
        WAIT
    except KeyboardInterrupt:
        loop.close()
        print("interrupted", ended)
"""


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals of one thread are POSIX's")
@pytest.mark.parametrize("wait", ["loop.run(for_ever())", "list(loop.iterate(items))"])
def test_ctrl_c_that_another_thread_received_ends_the_wait(wait: str) -> None:
    script = textwrap.dedent(SCRIPT).replace("WAIT", wait)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20)
    assert done.stdout.strip() == "interrupted [True]", done.stderr


@pytest.fixture
def loop() -> Iterator[BlockingLoop]:
    made = BlockingLoop()
    yield made
    made.close()


def test_a_timeout_of_the_coroutine_is_its_own(loop: BlockingLoop) -> None:
    async def too_slow() -> None:
        await asyncio.wait_for(asyncio.sleep(60), 0.25)

    with pytest.raises(TimeoutError):
        loop.run(too_slow())


def test_a_stream_that_is_left_early_is_closed_when_close_returns(loop: BlockingLoop) -> None:
    did: list[str] = []

    async def items() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.sleep(3_600)
        finally:
            await asyncio.sleep(0.3)
            did.append("settled")

    stream = loop.iterate(items)
    assert next(stream) == 1
    stream.close()
    assert did == ["settled"]


def test_ctrl_c_returns_when_the_coroutine_has_tidied_up(loop: BlockingLoop) -> None:
    did: list[str] = []

    async def tidied() -> None:
        try:
            await asyncio.sleep(0.2)  # until the main thread waits
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(3_600)
        finally:
            await asyncio.sleep(0.3)
            did.append("settled")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            loop.run(tidied())
    finally:
        signal.signal(signal.SIGINT, before)
    assert did == ["settled"]


def test_what_does_not_end_is_not_waited_for_for_ever() -> None:
    loop = BlockingLoop(close_s=0.3)
    may_end = threading.Event()

    async def stubborn() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            while not may_end.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(0.01)

    stream = loop.iterate(stubborn)
    next(stream)
    began = time.monotonic()
    stream.close()
    assert 0.2 < time.monotonic() - began < 10
    may_end.set()
    loop.close()


def test_a_stream_that_is_collected_in_the_loops_own_thread_does_not_stop_it(loop: BlockingLoop) -> None:
    async def items() -> AsyncIterator[int]:
        yield 1
        await asyncio.sleep(3_600)

    held = [loop.iterate(items)]
    next(held[0])

    async def drop() -> str:
        began = time.monotonic()
        held.clear()
        return "at once" if time.monotonic() - began < CLOSE_S / 2 else "late"

    assert loop.run(drop()) == "at once"
