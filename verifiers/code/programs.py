"""Programs judged without a test that is certain.

By tests that a model wrote, by how many other programs behave like them, against a reference.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence

from orchestrator.verifiers.answers.code_blocks import find_program
from orchestrator.verifiers.code.behaviour import BehaviourVote, as_test, is_passed, vote_by_behaviour
from orchestrator.verifiers.code.unit_tests import evaluate, expression_of
from orchestrator.verifiers.sandbox import Sandbox, SandboxUnavailable
from orchestrator.verifiers.verdict import Verdict

NO_PROGRAM = "the answer holds no Python program"


class GeneratedTestsVerifier:
    """The share of tests, each weighed by how often it was suggested, that a program passes.

    Never decisive: a model's tests are often wrong.

    Programs that give the same results on all inputs of the tests are one group (`Verdict.group`), so that they vote
    together; with many programs of one model use `BehaviourVerifier`. Raises `ValueError` without tests.
    """

    name = "generated_tests"

    def __init__(self, tests: Mapping[str, int] | Sequence[str], sandbox: Sandbox) -> None:
        counted = dict(tests) if isinstance(tests, Mapping) else dict.fromkeys(tests, 1)
        if not counted:
            raise ValueError("name at least one test")
        self._tests = [(as_test(expression_of(test)), weight) for test, weight in counted.items()]
        self._inputs = list(dict.fromkeys(test.call or test.condition for test, _ in self._tests))
        self._sandbox = sandbox

    async def verify(self, query: str, candidate: str) -> Verdict:
        """Runs the suggested tests and scores by the weight of those that pass."""
        program = find_program(candidate)
        if program is None:
            return Verdict(self.name, 0.0, False, NO_PROGRAM, decisive=True)
        try:
            found = await evaluate(program, self._inputs, self._sandbox)
        except SandboxUnavailable as reason:
            return Verdict.abstain(self.name, str(reason))
        results = dict(zip(self._inputs, found.results, strict=True))
        failed = [
            (test, weight) for test, weight in self._tests if not is_passed(test, results[test.call or test.condition])
        ]
        score = 1.0 - sum(weight for _, weight in failed) / sum(weight for _, weight in self._tests)
        told = (
            f"it does not load: {found.error}" if found.error else "; ".join(test.condition for test, _ in failed[:3])
        )
        feedback = f"these may be wrong, but it fails them: {told}" if failed else ""
        return Verdict(self.name, score, not failed, feedback, group=_behaviour(found.results))


class BehaviourVerifier:
    """How many of `programs` behave like a candidate, weighed with the tests that they pass.

    Dual execution agreement (CodeT, Chen et al. 2022).

    The score is the share of all groups' scores that the candidate's group has. `programs` and `tests` are a model's,
    and run once; a candidate that is not among them is added to them and belongs to no group. Never decisive.
    """

    name = "behaviour"

    def __init__(
        self,
        programs: Sequence[str],
        tests: Mapping[str, int],
        sandbox: Sandbox,
        *,
        most_executions: int | None = None,
        at_least: float = 0.5,
    ) -> None:
        self._programs = [program for text in programs if (program := find_program(text)) is not None]
        self._tests, self._sandbox, self._most, self._at_least = dict(tests), sandbox, most_executions, at_least
        self._vote: BehaviourVote | None = None  # of `programs`, once it was needed
        self._voting = asyncio.Lock()

    async def verify(self, query: str, candidate: str) -> Verdict:
        """Scores by the share of programs that do the same on the same inputs."""
        program = find_program(candidate)
        if program is None:
            return Verdict(self.name, 0.0, False, NO_PROGRAM, decisive=True)
        is_known = program in self._programs
        everyone = self._programs if is_known else [*self._programs, program]
        try:
            async with self._voting:
                vote = self._vote if is_known else None
                if vote is None:
                    vote = await vote_by_behaviour(everyone, self._tests, self._sandbox, most_executions=self._most)
                if is_known:
                    self._vote = vote
        except SandboxUnavailable as reason:
            return Verdict.abstain(self.name, str(reason))
        index = everyone.index(program)
        number, group = next((n, g) for n, g in enumerate(vote.groups) if index in g.programs)
        evidence = (f"{len(group.programs)} of {len(everyone)} programs behave so", f"{group.votes:g} votes of tests")
        return Verdict(
            self.name,
            group.share,
            group.share >= self._at_least,
            evidence=evidence,
            group=f"behaviour:{number}" if is_known else None,
        )


class SameProgramVerifier:
    """Passes programs that give the same results as `reference` on every one of `inputs` (expressions that call it).

    Decisive.

    That two programs never differ cannot be found out by running them; the feedback names the first input on which they
    do.
    """

    name = "same_program"

    def __init__(self, reference: str, inputs: Sequence[str], sandbox: Sandbox) -> None:
        if not inputs:
            raise ValueError("name at least one input")
        self._reference, self._sandbox = reference, sandbox
        self._inputs = [expression_of(each) for each in inputs]
        self._expected: tuple[str | None, ...] | None = None

    async def verify(self, query: str, candidate: str) -> Verdict:
        """Passes programs that are the same text but for names, comments and layout."""
        program = find_program(candidate)
        if program is None:
            return Verdict(self.name, 0.0, False, NO_PROGRAM, decisive=True)
        try:
            if self._expected is None:
                self._expected = (await evaluate(self._reference, self._inputs, self._sandbox)).results
            found = (await evaluate(program, self._inputs, self._sandbox)).results
        except SandboxUnavailable as reason:
            return Verdict.abstain(self.name, str(reason))
        if all(result is None for result in self._expected):
            return Verdict.abstain(self.name, "the reference gives no result on any input")
        # Where the reference itself gives nothing, nobody knows what is right.
        known = [(i, a, b) for i, a, b in zip(self._inputs, self._expected, found, strict=True) if a is not None]
        differing = [(i, a, b) for i, a, b in known if a != b]
        score = 1.0 - len(differing) / len(known)
        feedback = (
            "" if not differing else f"{differing[0][0]} gives {_shown(differing[0][2])}, not {_shown(differing[0][1])}"
        )
        return Verdict(self.name, score, not differing, feedback, decisive=True, group=_behaviour(found))


def _behaviour(results: Sequence[str | None]) -> str:
    return f"behaviour:{hashlib.sha256(repr(tuple(results)).encode()).hexdigest()[:16]}"


def _shown(result: str | None) -> str:
    return "an error" if result is None else result
