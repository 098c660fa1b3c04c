"""Test expressions, taken apart: what the program under test gives, and what is done with it outside of the program.

`add(2, 3) == 5` becomes `ask_program('add(2, 3)', {}) == 5`. A name that is neither Python's own, nor the standard
library's, nor bound in the expression itself is the program's; with it goes all that hangs on it: calls, attributes,
items. All else, comparisons above all, stays outside.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Collection, Iterator
from typing import Any

from orchestrator.jsontypes import JsonValue

MODULES = frozenset(  # of the standard library, whose names mean the library itself
    "bisect cmath collections copy datetime decimal fractions functools heapq itertools json math operator random re "
    "statistics string".split()
)
_LIBRARY = {  # what tests use without saying where it is from
    "Counter": ["collections", "Counter"], "deque": ["collections", "deque"],
    "defaultdict": ["collections", "defaultdict"],
    "OrderedDict": ["collections", "OrderedDict"], "Fraction": ["fractions", "Fraction"],
    "Decimal": ["decimal", "Decimal"],
    "timedelta": ["datetime", "timedelta"], "isclose": ["math", "isclose"],
}  # fmt: skip
_USUAL = MODULES | frozenset(_LIBRARY)
_BUILTINS = frozenset(dir(builtins))


def library_of(program: str) -> dict[str, list[str]]:
    """Names that mean a module of the standard library or something in it (module, attribute).

    Those that a program imports from there, and the usual ones. They are the library's own also where a program gives
    them another meaning.
    """
    found = {name: [name] for name in MODULES} | _LIBRARY
    for statement in ast.walk(ast.parse(program)):
        if isinstance(statement, ast.Import):
            found |= {each.asname or each.name: [each.name] for each in statement.names if each.name in MODULES}
        elif isinstance(statement, ast.ImportFrom) and statement.module in MODULES:
            found |= {
                each.asname or each.name: [str(statement.module), each.name]
                for each in statement.names
                if each.name != "*"
            }
    return found


def names_defined(program: str) -> frozenset[str]:
    """The functions, classes and variables that a program defines at its top level."""
    found: set[str] = set()
    for statement in ast.parse(program).body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(statement.name)
        elif isinstance(statement, ast.Assign):
            found.update(target.id for target in statement.targets if isinstance(target, ast.Name))
    return frozenset(found)


def divided(expression: str, defined: frozenset[str], library: Collection[str] = MODULES) -> str:
    """The expression with each part that is the program's as a question to it.

    `defined` are names that the program defines itself, `library` those that mean the standard library. Raises
    `ValueError` on what is no expression.
    """
    try:
        tree = ast.parse(expression, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"not an expression: {expression!r} ({error})") from None
    return ast.unparse(ast.fix_missing_locations(_Divider(defined, frozenset(_bound(tree)), library).visit(tree)))


def compared(condition: str, defined: frozenset[str]) -> tuple[str, Any] | None:
    """(what the program is asked, the value that it must give) of a comparison of that with a literal, of a negation,
    or of a call alone; `None` for any other condition.
    """
    tree = ast.parse(condition, mode="eval").body
    expected: Any = True
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.Not):
        tree, expected = tree.operand, False
    elif (
        isinstance(tree, ast.Compare)
        and len(tree.ops) == 1
        and isinstance(tree.ops[0], ast.Eq)
        and _is_literal(tree.comparators[0])
    ):
        expected, tree = ast.literal_eval(tree.comparators[0]), tree.left
    if not isinstance(tree, ast.Call | ast.Attribute | ast.Subscript) or not _Divider(
        defined, frozenset(_bound(tree)), _USUAL
    ).is_programs(tree):
        return None
    return ast.unparse(tree), expected


def is_plain(value: JsonValue) -> bool:
    """Whether a value is of built-in types alone, so that comparing it asks nobody else."""
    if value is None or type(value) in (bool, int, float, complex, str, bytes):
        return True
    if type(value) in (list, tuple, set, frozenset):
        return all(map(is_plain, value))
    return type(value) is dict and all(is_plain(key) and is_plain(each) for key, each in value.items())


def _bound(tree: ast.AST) -> Iterator[str]:
    """Names that the expression binds itself: of comprehensions, lambdas and walruses."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg


class _Divider(ast.NodeTransformer):
    def __init__(self, defined: frozenset[str], bound: frozenset[str], library: Collection[str]) -> None:
        self._defined, self._bound, self._library = defined, bound, library

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.Compare):
            return self._comparison(node)
        if isinstance(node, ast.Call | ast.Attribute | ast.Subscript | ast.Name) and self.is_programs(node):
            return self._question(node)
        return self.generic_visit(node)

    def _question(self, node: ast.expr) -> ast.expr:
        used = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)} & self._bound
        names = sorted(used - set(_bound(node)))
        given = ast.Dict([ast.Constant(name) for name in names], [ast.Name(name, ast.Load()) for name in names])
        return ast.Call(ast.Name("ask_program", ast.Load()), [ast.Constant(ast.unparse(node)), given], [])

    def _comparison(self, node: ast.Compare) -> ast.AST:
        sides = [node.left, *node.comparators]
        if len(sides) == 2 and isinstance(node.ops[0], ast.Is | ast.IsNot) and all(map(self.is_programs, sides)):
            return self._question(node)  # whether two objects of the program are one
        if all(self._is_tested(side) or _is_literal(side) for side in sides):
            asked = [self._question(side) if self._is_tested(side) else side for side in sides]
            return ast.Compare(asked[0], node.ops, asked[1:])
        return self.generic_visit(node)

    def _is_tested(self, node: ast.expr) -> bool:
        """A call of a function that is named like one of Python's or the library's, and under test itself.

        Compared with a literal, given nothing of the program's. Anywhere else such a name means Python's own: a program
        that defines an `all`, `set` or `Counter` must not judge by them.
        """
        return (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in self._defined
            and (node.func.id in _BUILTINS or node.func.id in self._library)
            and not any(self.is_programs(each) for each in ast.walk(node) if isinstance(each, ast.Name))
        )

    def is_programs(self, node: ast.AST) -> bool:
        root = node
        while isinstance(root, ast.Call | ast.Attribute | ast.Subscript):
            root = root.func if isinstance(root, ast.Call) else root.value
        return (
            isinstance(root, ast.Name)
            and root.id not in self._bound
            and root.id not in self._library
            and root.id not in _BUILTINS
        )


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True
