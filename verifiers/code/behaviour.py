"""Which of many programs is right, when nobody has a test that is certain.

Programs that behave alike vote together, with the tests that they pass.

After dual execution agreement (CodeT: Chen et al. 2022), which groups programs by the tests that they pass and scores a
group by its size times those tests. Here a group is what gives the same results on every input that any test uses: two
programs that fail the same test with different results are not of one mind. A test that a model wrote votes together
with programs; it never vetoes alone.
"""

from __future__ import annotations

import ast
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.verifiers.code.unit_tests import evaluate
from orchestrator.verifiers.sandbox import Sandbox
from orchestrator.verifiers.sandbox.plain_values import shown

TESTS_PER_TEXT = 5
IMAGINED = (
    0.3  # times the square root of their number: programs of another mind that nobody wrote, but that may be right
)


@dataclass(frozen=True, slots=True)
class SuggestedTest:
    """A condition, and if it compares a call with a literal.

    The call, and the result that it expects (as `repr` gives it).
    """

    condition: str
    call: str | None = None
    expected: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Programs (their indices, repeats included) that behave alike; `votes` for them by tests.

    `share` of all groups' scores: how sure it is.

    To all scores belongs that of an imagined group of 0.3 sqrt(n) programs that passes as many tests as the best one:
    all n may be wrong, and few programs that agree on few tests tell little.
    """

    programs: tuple[int, ...]
    votes: float
    score: float
    share: float


@dataclass(frozen=True, slots=True)
class BehaviourVote:
    """Groups, best first, and how many evaluations of an expression in a program it took."""

    groups: tuple[Group, ...]
    executions: int

    @property
    def best(self) -> tuple[int, ...]:
        """The programs of the best group, and of those that tie with it."""
        return (
            tuple(i for group in self.groups if group.score >= self.groups[0].score for i in group.programs)
            if self.groups
            else ()
        )

    @property
    def confidence(self) -> float:
        """The share of votes of the group that leads."""
        return self.groups[0].share if self.groups else 0.0


def suggested_tests(texts: Iterable[str], entry_point: str, per_text: int = TESTS_PER_TEXT) -> Counter[str]:
    """The conditions of the first `per_text` assertions about `entry_point` in each text, in normal form, and how often
    each occurs.
    """
    found: Counter[str] = Counter()
    for text in texts:
        kept = 0
        for line in text.split("\n"):
            condition = _condition(line.strip(), entry_point) if kept < per_text else None
            if condition is not None:
                found[condition] += 1
                kept += 1
    return found


def _condition(line: str, entry_point: str) -> str | None:
    if not line.startswith("assert ") or entry_point not in line:
        return None
    try:
        statement = ast.parse(line).body[0]
    except (SyntaxError, ValueError, RecursionError, MemoryError, IndexError):
        return None
    return ast.unparse(statement.test) if isinstance(statement, ast.Assert) else None


def as_test(condition: str) -> SuggestedTest:
    """A condition as a test: an expression with the value that it should have."""
    tree = ast.parse(condition, mode="eval").body
    if isinstance(tree, ast.Compare) and len(tree.ops) == 1 and isinstance(tree.ops[0], ast.Eq | ast.Is):
        expected = _literal(tree.comparators[0])
        return (
            SuggestedTest(condition) if expected is None else SuggestedTest(condition, ast.unparse(tree.left), expected)
        )
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.Not):
        return SuggestedTest(condition, ast.unparse(tree.operand), "False")
    return SuggestedTest(condition, condition, "True") if isinstance(tree, ast.Call) else SuggestedTest(condition)


def _literal(node: ast.expr) -> str | None:
    try:
        return shown(ast.literal_eval(node))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


async def vote_by_behaviour(
    programs: Sequence[str], tests: Mapping[str, int], sandbox: Sandbox, *, most_executions: int | None = None
) -> BehaviourVote:
    """Runs each distinct program on the inputs of the tests, and groups programs by their results.

    `tests` are conditions, and how often each was suggested. With `most_executions`, on the inputs that most tests use,
    as many as fit.
    """
    known = {condition: as_test(condition) for condition in tests}
    use: Counter[str] = Counter()
    for condition, n in tests.items():
        use[known[condition].call or condition] += n
    distinct = list(dict.fromkeys(programs))
    expressions = [expression for expression, _ in sorted(use.items(), key=lambda pair: (-pair[1], pair[0]))]
    if most_executions is not None:
        expressions = expressions[: most_executions // max(len(distinct), 1)]
    ran = distinct if expressions else []
    results = {program: (await evaluate(program, expressions, sandbox)).results for program in ran}
    groups: dict[tuple[str | None, ...], list[int]] = defaultdict(list)
    for index, program in enumerate(programs):
        groups[results.get(program, ())].append(index)
    position = {expression: i for i, expression in enumerate(expressions)}
    asked = [(test, n, position[at]) for c, n in tests.items() if (at := (test := known[c]).call or c) in position]
    return BehaviourVote(_scored(groups, asked), len(distinct) * len(expressions))


def _scored(
    groups: Mapping[tuple[str | None, ...], list[int]], asked: Sequence[tuple[SuggestedTest, int, int]]
) -> tuple[Group, ...]:
    votes = {results: float(sum(n for test, n, at in asked if is_passed(test, results[at]))) for results in groups}
    scores = {results: len(members) * votes[results] for results, members in groups.items()}
    most = max(scores, key=lambda results: scores[results], default=None)
    n = sum(map(len, groups.values()))
    total = sum(scores.values()) + (0.0 if most is None else IMAGINED * math.sqrt(n) * votes[most])
    found = [
        Group(tuple(members), votes[results], scores[results], scores[results] / total if total else 0.0)
        for results, members in groups.items()
    ]
    return tuple(sorted(found, key=lambda group: (-group.score, group.programs[0])))


def is_passed(test: SuggestedTest, result: str | None) -> bool:
    """Whether the test holds, by the result of its call, or of itself where it is no comparison of a call with a
    literal.
    """
    expected = test.expected if test.call is not None else "True"
    return result is not None and (result == expected or _are_equal(result, str(expected)))


def _are_equal(one: str, other: str) -> bool:
    """1 and 1.0, {1, 2} and {2, 1}."""
    try:
        return bool(ast.literal_eval(one) == ast.literal_eval(other))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
