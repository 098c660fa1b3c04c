"""Examples in docstrings run, and give what they say."""

from __future__ import annotations

import doctest
import importlib

import pytest

from benchmarks.house import ROOT, read_package

EXAMPLES = [name for name, module in read_package(ROOT).items() if ">>>" in module.text]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_of_a_module_run(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert found.attempted > 0
    assert found.failed == 0
