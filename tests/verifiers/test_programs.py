"""Programs judged by tests that may be wrong, by how others behave, and against a reference."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from orchestrator import Completion
from orchestrator.search import SearchState
from orchestrator.types import Candidate
from orchestrator.verifiers import BehaviourVerifier, GeneratedTestsVerifier, SameProgramVerifier, Verdict
from orchestrator.verifiers.sandbox import Sandbox, level_at_hand

pytestmark = pytest.mark.skipif(level_at_hand()[0] == "none", reason="this machine gives no isolation")
ADD = "```python\ndef add(a, b):\n    return a + b\n```"
ADD_TOO = "```python\ndef add(a, b):\n    return sum((a, b))\n```"
MINUS = "```python\ndef add(a, b):\n    return a - b\n```"


def confined(job: Callable[[Sandbox], Awaitable[Verdict]]) -> Verdict:
    async def run() -> Verdict:
        async with Sandbox() as sandbox:
            return await job(sandbox)

    return asyncio.run(run())


def test_generated_tests_weigh_and_never_rule_out() -> None:
    tests = {"add(2, 3) == 5": 3, "add(0, 0) == 1": 1}
    good, bad = (confined(lambda s, p=p: GeneratedTestsVerifier(tests, s).verify("", p)) for p in (ADD, MINUS))
    assert (good.score, good.passed, good.decisive) == (0.75, False, False)
    assert bad.score == 0.0
    assert "may be wrong" in good.feedback
    broken = confined(lambda s: GeneratedTestsVerifier(tests, s).verify("", "```python\nimport nothing_there\n```"))
    assert "does not load" in broken.feedback
    assert confined(lambda s: GeneratedTestsVerifier(tests, s).verify("", "I cannot write def programs:")).decisive


def test_programs_that_behave_alike_vote_together() -> None:
    """Different texts, one behaviour: agreement that no comparison of texts finds."""

    async def state() -> SearchState:
        async with Sandbox() as sandbox:
            verifier = GeneratedTestsVerifier(["add(2, 3) == 5", "add(1, 1) == 2"], sandbox)
            candidates = []
            for model, text in (("a", ADD), ("b", ADD_TOO), ("c", MINUS)):
                candidates.append(Candidate(Completion(model, text), (await verifier.verify("", text),)))
            return SearchState("Write add.", (), {"a": 0.6, "b": 0.6, "c": 0.6}, tuple(candidates))

    found = asyncio.run(state())
    assert found.keys[0] == found.keys[1] != found.keys[2]
    assert found.leader in (0, 1)
    assert found.confidence > 0.7


def test_behaviour_counts_how_many_others_agree() -> None:
    programs, tests = [ADD, ADD_TOO, MINUS], {"add(2, 3) == 5": 1, "add(4, 1) == 3": 1}
    scores = [confined(lambda s, p=p: BehaviourVerifier(programs, tests, s).verify("", p)).score for p in (ADD, MINUS)]
    unseen = 0.3 * 3**0.5 / 2  # as many programs of another mind may be right, in units of those that agree
    assert scores == [pytest.approx(2 / (3 + 2 * unseen)), pytest.approx(1 / (3 + 2 * unseen))]
    outsider = "```python\ndef add(a, b):\n    return 9\n```"
    assert confined(lambda s: BehaviourVerifier(programs, tests, s).verify("", outsider)).score == 0.0


def test_a_program_is_held_against_a_reference() -> None:
    inputs = ["add(2, 3)", "add(0, 0)", "add('a', 'b')"]
    reference = "def add(a, b):\n    return a + b"
    same = confined(lambda s: SameProgramVerifier(reference, inputs, s).verify("", ADD))
    assert (same.passed, same.decisive) == (True, True)
    other = confined(lambda s: SameProgramVerifier(reference, inputs, s).verify("", ADD_TOO))
    assert other.feedback == "add('a', 'b') gives an error, not 'ab'"
    assert confined(lambda s: SameProgramVerifier("def other(): pass", inputs, s).verify("", ADD)).abstained
    with pytest.raises(ValueError, match="at least one input"):
        SameProgramVerifier(reference, [], None)  # type: ignore[arg-type]
