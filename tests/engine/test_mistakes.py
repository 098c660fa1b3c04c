"""What a newcomer gets wrong in Python ends in an error of ours that says what to write instead."""

from __future__ import annotations

import pytest

from benchmarks.sdk_mistakes import MISTAKES, Mistake, caught
from orchestrator.errors import OrchestratorError


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_mistake_is_told_with_its_remedy(mistake: Mistake) -> None:
    assert caught(mistake) == ""


def test_what_is_no_mistake_is_not_caught() -> None:
    def fine() -> object:
        return "an answer"

    assert caught(Mistake("nothing wrong", fine, OrchestratorError, ())) == "nothing was raised"


def test_all_errors_of_all_packages_are_one_tree() -> None:
    from orchestrator.memory import MemoryFailure
    from orchestrator.pipeline import InvalidPipeline, RunFailed
    from orchestrator.plugins.entry_points import PluginError
    from orchestrator.router.learning.outcomes import LogError
    from orchestrator.verifiers.sandbox import SandboxUnavailable

    kinds = (MemoryFailure, InvalidPipeline, RunFailed, PluginError, LogError, SandboxUnavailable)
    assert all(issubclass(kind, OrchestratorError) and kind.code != "error" for kind in kinds)
