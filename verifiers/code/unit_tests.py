"""Code, judged by running it in the sandbox: the caller's own tests, and what a program makes of given expressions."""

from __future__ import annotations

import ast
import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.verifiers.answers.code_blocks import find_program, parses
from orchestrator.verifiers.code.expressions import compared, divided, is_plain, library_of, names_defined
from orchestrator.verifiers.sandbox import Limits, Sandbox, SandboxUnavailable
from orchestrator.verifiers.sandbox.restricted import Restricted
from orchestrator.verifiers.verdict import Verdict

LOAD_S, EACH_S = 1.0, 0.1
MAX_SHOWN = 3
_NO_MODULE = re.compile(r"(?:ModuleNotFoundError|ImportError)\b.*?No module named '?(?P<name>[\w.]+)")


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What each expression gave, as the beginning of its `repr`, or `None` where it raised or took too long.

    `error` if the program did not load.
    """

    results: tuple[str | None, ...]
    error: str


async def evaluate(program: str, expressions: Sequence[str], sandbox: Sandbox, *, each_s: float = EACH_S) -> Evaluated:
    """Loads `program` in one process and evaluates all expressions in another, one after the other, in one run of the
    sandbox: the program is asked for what it gives, by value; it has no part in what is made of that. Never raises on
    what the program does.
    """
    if not parses(program):
        return Evaluated((None,) * len(expressions), "SyntaxError: it is no Python program")
    defined, library = names_defined(program), library_of(program)
    asked = [divided(expression, defined, library) for expression in expressions]
    judge = f"import harness\nharness.judge({asked!r}, {library!r}, QUESTIONS, ANSWERS, {LOAD_S!r}, {each_s!r})\n"
    other = f"import program_process\nprogram_process.answer({program!r}, QUESTIONS, ANSWERS, {LOAD_S!r}, {each_s!r})\n"
    room = Limits(
        wall_s=LOAD_S + 2 * each_s * len(expressions) + 2.0, cpu_s=60, output_bytes=1_000 + 2_000 * len(expressions)
    )
    ran = await sandbox.run(judge, room, asked=other)
    try:
        told = json.loads(ran.stdout.rsplit("\n", 2)[-2])
        results = tuple(found if isinstance(found, str) else None for found in told["results"])
        if ran.finished and len(results) == len(expressions):
            return Evaluated(results, str(told["error"]))
    except (ValueError, TypeError, KeyError, IndexError):
        pass
    return Evaluated((None,) * len(expressions), ran.error or f"the program ended early ({ran.ending})")


async def truths(program: str, conditions: Sequence[str], sandbox: Sandbox) -> Evaluated:
    """As `evaluate` with results "True" or "False"; in the restricted interpreter where that is the only level.

    It is not Python in every detail, and a program can tell it from Python: where there is a better level, nothing that
    it says counts.

    Raises `SandboxUnavailable` where it is the only level and cannot tell.
    """
    if sandbox.restricted is not None and sandbox.level == "monty":
        found = await asyncio.to_thread(_quick_truths, program, conditions, sandbox.restricted)
        if isinstance(found, str):
            raise SandboxUnavailable(f"the restricted interpreter cannot tell: {found}")
        return Evaluated(tuple(str(each) for each in found), "")
    return await evaluate(program, [f"not not ({condition})" for condition in conditions], sandbox)


def _quick_truths(program: str, conditions: Sequence[str], restricted: Restricted) -> list[bool] | str:
    """Whether each condition is true, or why that is not known.

    The interpreter gives values; they are compared here.
    """
    if not parses(program):
        return [False] * len(conditions)
    defined = names_defined(program)
    known = [comparison for condition in conditions if (comparison := compared(condition, defined)) is not None]
    if len(known) < len(conditions):
        return "only comparisons of a call with a literal are tried there"
    found = restricted.values(program, [call for call, _ in known], load_s=LOAD_S, each_s=EACH_S)
    if isinstance(found, str):
        return found
    if not all(map(is_plain, found)):
        return "the program gives values that are not plain"
    return [bool(value == expected) for value, (_, expected) in zip(found, known, strict=True)]


class UnitTestVerifier:
    """Passes programs under which every one of `tests` (Python expressions, or `assert` statements) is true.

    Decisive: the tests are the caller's and are believed. Tests that a model wrote belong to `dual_agreement`.
    Abstains, with the reason, where the program needs a module that the sandbox lacks, and where this machine gives no
    isolation; model-written code is never run outside of it. Raises `ValueError` on a test that is no expression.
    """

    name = "unit_tests"

    def __init__(self, tests: Sequence[str], sandbox: Sandbox | None = None) -> None:
        if not tests:
            raise ValueError("name at least one test")
        self._tests = [expression_of(test) for test in tests]
        self._sandbox = sandbox

    async def verify(self, query: str, candidate: str) -> Verdict:
        """Runs the tests in the sandbox."""
        program = find_program(candidate)
        if program is None:
            return Verdict(self.name, 0.0, False, "the answer holds no Python program", decisive=True)
        try:
            found = await self._evaluated(program)
        except SandboxUnavailable as reason:
            return Verdict.abstain(self.name, str(reason))
        if (missing := _NO_MODULE.search(found.error)) is not None:
            return Verdict.abstain(self.name, f"the sandbox has no module {missing['name']}")
        failed = [test for test, result in zip(self._tests, found.results, strict=True) if result != "True"]
        score = 1.0 - len(failed) / max(len(self._tests), 1)
        if not failed:
            return Verdict(self.name, 1.0, True, evidence=tuple(self._tests[:MAX_SHOWN]), decisive=True)
        what = (
            f"the program does not load: {found.error}"
            if found.error
            else "these are not true: " + "; ".join(failed[:MAX_SHOWN])
        )
        return Verdict(self.name, score, False, what, tuple(failed[:MAX_SHOWN]), decisive=True)

    async def _evaluated(self, program: str) -> Evaluated:
        if self._sandbox is not None:
            return await truths(program, self._tests, self._sandbox)
        async with Sandbox() as sandbox:
            return await truths(program, self._tests, sandbox)


def expression_of(test: str) -> str:
    """The condition of an `assert`, or an expression as it is, in a normal form. Raises `ValueError`."""
    try:
        tree = ast.parse(test.strip())
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"not a test: {test!r} ({error})") from None
    statement = tree.body[0] if len(tree.body) == 1 else None
    if isinstance(statement, ast.Assert):
        return ast.unparse(statement.test)
    if isinstance(statement, ast.Expr):
        return ast.unparse(statement.value)
    raise ValueError(f"not a test: {test!r}; write one expression, or one assert")
