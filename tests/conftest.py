"""Marks tests by where they stand: tests/integration needs something real, the modules below take long."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parent
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
