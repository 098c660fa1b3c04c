"""Ctrl-C while ordinary code waits for a coroutine: whichever thread the system hands the signal to."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import textwrap

import pytest

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


def test_a_timeout_of_the_coroutine_is_its_own() -> None:
    from orchestrator.engine.sync import BlockingLoop

    async def too_slow() -> None:
        await asyncio.wait_for(asyncio.sleep(60), 0.25)

    loop = BlockingLoop()
    with pytest.raises(TimeoutError):
        loop.run(too_slow())
    loop.close()
