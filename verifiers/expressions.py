"""Test expressions, taken apart: what the program under test gives, and what is done with it outside of the program.

`add(2, 3) == 5` becomes `ask_program('add(2, 3)', {}) == 5`. A name that is neither Python's own, nor the standard library's, nor bound in the
expression itself is the program's; with it goes all that hangs on it: calls, attributes, items. All else, comparisons above all, stays outside.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from typing import Any

MODULES = frozenset(  # of the standard library, whose names mean the library itself
    "bisect cmath collections copy datetime decimal fractions functools heapq itertools json math operator random re statistics string".split()
)
_BUILTINS = frozenset(dir(builtins))


def names_defined(program: str) -> frozenset[str]:
    """The functions, classes and variables that a program defines at its top level."""
    found: set[str] = set()
    for statement in ast.parse(program).body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(statement.name)
        elif isinstance(statement, ast.Assign):
            found.update(target.id for target in statement.targets if isinstance(target, ast.Name))
    return frozenset(found)


def divided(expression: str, defined: frozenset[str]) -> str:
    """The expression with each part that is the program's as a question to it. Raises `ValueError` on what is no expression."""
    try:
        tree = ast.parse(expression, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"not an expression: {expression!r} ({error})") from None
    return ast.unparse(ast.fix_missing_locations(_Divider(defined, frozenset(_bound(tree))).visit(tree)))


def compared(condition: str, defined: frozenset[str]) -> tuple[str, Any] | None:
    """(what the program is asked, the value that it must give) of a comparison of that with a literal, of a negation, or of a call alone; `None` for
    any other condition.
    """
    tree = ast.parse(condition, mode="eval").body
    expected: Any = True
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.Not):
        tree, expected = tree.operand, False
    elif isinstance(tree, ast.Compare) and len(tree.ops) == 1 and isinstance(tree.ops[0], ast.Eq | ast.Is):
        try:
            expected = ast.literal_eval(tree.comparators[0])
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return None
        tree = tree.left
    if not isinstance(tree, ast.Call | ast.Attribute | ast.Subscript) or not _Divider(defined, frozenset(_bound(tree))).is_programs(tree):
        return None
    return ast.unparse(tree), expected


def is_plain(value: Any) -> bool:
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
    def __init__(self, defined: frozenset[str], bound: frozenset[str]) -> None:
        self._defined, self._bound = defined, bound

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.Call | ast.Attribute | ast.Subscript | ast.Name) and self.is_programs(node):
            used = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)} & self._bound
            own = set(_bound(node))
            names = ast.Dict(
                [ast.Constant(name) for name in sorted(used - own)], [ast.Name(name, ast.Load()) for name in sorted(used - own)]
            )
            return ast.Call(ast.Name("ask_program", ast.Load()), [ast.Constant(ast.unparse(node)), names], [])
        return self.generic_visit(node)

    def is_programs(self, node: ast.AST) -> bool:
        root: ast.AST = node
        while isinstance(root, ast.Call | ast.Attribute | ast.Subscript):
            root = root.func if isinstance(root, ast.Call) else root.value
        if not isinstance(root, ast.Name) or root.id in self._bound or root.id in MODULES:
            return False
        if root.id in _BUILTINS:
            # A program may define a `sum` of its own that is tested; one that defines an `all` must not be asked whether all comparisons hold.
            return (
                root.id in self._defined
                and node is not root
                and not any(isinstance(each, ast.Compare | ast.BoolOp) for each in ast.walk(node))
            )
        return True
