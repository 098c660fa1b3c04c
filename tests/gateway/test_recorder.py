"""What was served reaches the database, however the gateway ends and whoever asks at the same time."""

from __future__ import annotations

import asyncio
import threading

from orchestrator.errors import StorageError
from orchestrator.gateway.observability.metrics import Metrics
from orchestrator.gateway.observability.recorder import Recorder
from orchestrator.storage.requests import ServedRequest


class SlowRequests:
    """A database that takes its time; it is closed at the end, and refuses everything from then on."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.begun = threading.Event()
        self.goes_on = threading.Event()
        self.is_closed = False

    def add(self, served: list[ServedRequest], policy: object = None) -> None:
        self.begun.set()
        assert self.goes_on.wait(10)
        if self.is_closed:
            raise StorageError("the database is closed")
        self.kept += [one.id for one in served]


def recorder_of(requests: SlowRequests) -> Recorder:
    return Recorder(requests, Metrics(lambda: 0, lambda: 0.0, dict))  # type: ignore[arg-type]


def request(id: str) -> ServedRequest:
    return ServedRequest(id, 0.0, "org", None, "key", "chat", "m")


async def _begin(recorder: Recorder, requests: SlowRequests, id: str) -> asyncio.Task[None]:
    recorder.add(request(id))
    writing = asyncio.create_task(recorder.flush())
    assert await asyncio.to_thread(requests.begun.wait, 10)
    return writing


def test_a_write_that_is_under_way_when_the_gateway_ends_is_waited_for() -> None:
    async def end() -> None:
        requests = SlowRequests()
        recorder = recorder_of(requests)
        writing = await _begin(recorder, requests, "a")
        writing.cancel()
        asyncio.get_running_loop().call_later(0.2, requests.goes_on.set)
        await recorder.flush()
        requests.is_closed = True
        assert requests.kept == ["a"]

    asyncio.run(end())


def test_who_reads_after_a_flush_sees_what_another_flush_was_writing() -> None:
    async def read() -> None:
        requests = SlowRequests()
        recorder = recorder_of(requests)
        writing = await _begin(recorder, requests, "a")
        asyncio.get_running_loop().call_later(0.2, requests.goes_on.set)
        await recorder.flush()
        assert requests.kept == ["a"]
        await writing

    asyncio.run(read())
