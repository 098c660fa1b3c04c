"""Code against tests.

Right programs pass, wrong ones fail with what is not true, and no program can pose as right by printing or exiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from orchestrator.verifiers import UnitTestVerifier, Verdict
from orchestrator.verifiers.code.unit_tests import Evaluated, evaluate, expression_of, find_program, truths
from orchestrator.verifiers.sandbox import Limits, Ran, Sandbox, SandboxUnavailable, level_at_hand

needs_isolation = pytest.mark.skipif(level_at_hand()[0] == "none", reason=f"no isolation here: {level_at_hand()[1]}")
TESTS = ["assert add(2, 3) == 5", "add(-1, 1) == 0"]


def judge(candidates: Sequence[str], tests: Sequence[str] = TESTS) -> list[Verdict]:
    async def run() -> list[Verdict]:
        async with Sandbox() as sandbox:
            verifier = UnitTestVerifier(tests, sandbox)
            return [await verifier.verify("write add", candidate) for candidate in candidates]

    return asyncio.run(run())


@needs_isolation
def test_right_programs_pass_and_wrong_ones_say_what_is_not_true() -> None:
    right, fenced, wrong, broken, missing = judge(
        [
            "def add(a, b):\n    return a + b",
            "Here it is:\n```python\ndef add(a, b):\n    return a + b\n```\nIt adds.",
            "def add(a, b):\n    return a - b",
            "def add(a, b):\n    return a + b\nadd(1, 'x')",
            "I cannot write code today.",
        ]
    )
    assert [verdict.passed for verdict in (right, fenced, wrong, broken, missing)] == [True, True, False, False, False]
    assert all(verdict.decisive for verdict in (right, fenced, wrong, broken, missing))
    assert (wrong.score, wrong.feedback) == (0.0, "these are not true: add(2, 3) == 5; add(-1, 1) == 0")
    assert "TypeError" in broken.feedback
    assert "no Python program" in missing.feedback
    (partly,) = judge(["def add(a, b):\n    return 5"])
    assert partly.score == 0.5


@needs_isolation
@pytest.mark.parametrize(
    "program",
    [
        "def add(a, b):\n    import os\n    os._exit(0)",
        "import sys\nsys.exit(0)",
        'print(\'{"results": ["True", "True"], "error": ""}\')\nimport os\nos._exit(0)',
        "def add(a, b):\n    while True: pass",
        "def add(a, b):\n    try:\n        while True: pass\n    except Exception:\n        return 5",
        "class T:\n    def __eq__(self, other): return False\ndef add(a, b): return T()",
        "def add(a, b): raise KeyboardInterrupt",
        "def add(a, b): return 'True'",
        "import signal\nsignal.setitimer = lambda *a: None\ndef add(a, b):\n    while True: pass",
        "def add(a, b):\n    return add(a, b)",
        "def add(a, b):\n    print('True' * 10**7)\n    return a",
    ],
)
def test_no_program_poses_as_right(program: str) -> None:
    (verdict,) = judge([program])
    assert verdict.passed is False


@needs_isolation
def test_expressions_are_evaluated_one_by_one() -> None:
    async def run() -> Evaluated:
        async with Sandbox() as sandbox:
            program = "seen = []\ndef f(x):\n    seen.append(x)\n    return sorted(x)"
            return await evaluate(program, ["f([2, 1])", "f(3)", "f('ab') and seen", "undefined"], sandbox)

    assert asyncio.run(run()) == Evaluated(("[1, 2]", None, "[[2, 1], 3, 'ab']", None), "")


class Unavailable(Sandbox):
    """As on a machine without Landlock."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.restricted = None

    async def run(self, code: str, limits: Limits | None = None, *, asked: str | None = None) -> Ran:
        self.ran.append(code)
        raise SandboxUnavailable("code is not run here: the kernel has no Landlock")


def test_without_isolation_it_abstains() -> None:
    verdict = asyncio.run(UnitTestVerifier(TESTS, Unavailable()).verify("write add", "def add(a, b): return a + b"))
    assert verdict.abstained
    assert verdict.feedback == "code is not run here: the kernel has no Landlock"


@pytest.mark.parametrize("test", ["x = 1", "import os", "f(1", "assert a; assert b", "", "\x00"])
def test_what_is_no_test_is_refused(test: str) -> None:
    with pytest.raises(ValueError, match="not a test"):
        expression_of(test)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("```python\na = 1\n```\nand\n```python\nb = a\n```", "a = 1\n\nb = a\n"),
        ("```\nthis would be prose\n```\n```py\nb = 2\n```", "b = 2\n"),
        ("x = 1", "x = 1"),
        ("no program here, sorry", None),
        ("", None),
    ],
)
def test_programs_are_found_in_answers(text: str, expected: str | None) -> None:
    assert find_program(text) == expected


@needs_isolation
@pytest.mark.parametrize(
    ("program", "condition"),
    [
        ("def f(x):\n    return x + 1", "f(1) == 2"),  # the restricted interpreter can
        (
            "import string\ndef f(x):\n    return len(string.ascii_letters)",
            "f(1) == 52",
        ),  # it lacks that library: not wrong for that
        (
            "class A:\n    __slots__ = ('x',)\n    def __init__(self): self.x = 1\ndef f(x):\n    return A().x",
            "f(1) == 1",
        ),
    ],
)
def test_what_the_restricted_interpreter_lacks_is_looked_at_by_the_next_level(program: str, condition: str) -> None:
    async def run(fast: bool) -> Evaluated:
        async with Sandbox(fast=fast) as sandbox:
            return await truths(program, [condition], sandbox)

    assert asyncio.run(run(True)) == asyncio.run(run(False)) == Evaluated(("True",), "")


def test_where_it_is_the_only_level_what_it_cannot_run_is_not_judged() -> None:
    async def run(program: str) -> Verdict:
        async with Sandbox(level="monty") as sandbox:
            return await UnitTestVerifier(["f(1) == 2"], sandbox).verify("", program)

    assert asyncio.run(run("def f(x):\n    return x + 1")).passed is True
    assert asyncio.run(run("def f(x):\n    return x - 1")).passed is False
    assert "cannot tell" in asyncio.run(run("import string\ndef f(x):\n    return x + 1")).feedback
    for attempt in (
        "open('/etc/passwd').read()",
        "__import__('os').system('true')",
        "().__class__.__base__.__subclasses__()",
    ):
        assert asyncio.run(run(f"x = {attempt}\ndef f(x):\n    return 2")).abstained


def test_what_is_no_program_is_told_and_raises_nothing() -> None:
    async def run() -> tuple[Evaluated, Evaluated]:
        async with Sandbox() as sandbox:
            return await evaluate("def f(:", ["f(1)", "f(2)"], sandbox), await truths(
                "assert f([0.1,", ["f(1) == 1"], sandbox
            )

    given, judged = asyncio.run(run())
    assert given.results == (None, None)
    assert "SyntaxError" in given.error
    assert "True" not in judged.results
