"""Marks tests by where they stand: tests/integration needs something real, the modules below take long.

A test that does not end is a failed test. Tests of what must end soon let it wait for what never comes, and so need to
measure no time.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
MAX_SECONDS = 300  # far above what the longest test takes on a slow machine
SLOW = (
    "backends/test_resilience.py",
    "gateway/test_operation.py",
    "gateway/test_shares.py",
    "pipeline/test_durable.py",
    "test_benchmarks.py",
    "test_packaging.py",
    "verifiers/test_sandbox_attacks.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        where = item.path.relative_to(TESTS)
        if where.parts[0] == "integration":
            item.add_marker(pytest.mark.integration)
        if where.as_posix() in SLOW:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def must_end() -> Iterator[None]:
    """Fails a test that is still running after `MAX_SECONDS`, where the system has alarms."""
    if not hasattr(signal, "SIGALRM") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise TimeoutError(f"the test did not end in {MAX_SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(MAX_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
