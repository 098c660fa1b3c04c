"""Values of a file that may hold expressions.

Their types, found and checked where they stand, and functions that compute them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from orchestrator.jsontypes import JsonValue
from orchestrator.pipeline.expressions.evaluation import Compute
from orchestrator.pipeline.expressions.grammar import Field, Name, SyntaxProblem
from orchestrator.pipeline.expressions.grammar import SyntaxNode as Expr
from orchestrator.pipeline.expressions.scope import NameScope
from orchestrator.pipeline.expressions.templates import OPEN, computed, parse_template
from orchestrator.pipeline.expressions.type_inference import children, infer, mentions
from orchestrator.pipeline.expressions.types import ANY, TEXT, ValueType, joined, list_of, record, type_of
from orchestrator.pipeline.language.fields import ExpressionType
from orchestrator.pipeline.language.sources import Sources, Where

_JINJA = re.compile(r"(?<!\$)\{\{\s*(([^\W\d]\w*)[^{}]*)\}\}")


class Values:
    """Those of one file.

    `secret_names` are variables of the environment that must not be shown, `used_env` those that any expression takes.
    """

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self.secret_names: frozenset[str] = frozenset()
        self.used_env: set[str] = set()

    def type_of(
        self,
        value: JsonValue,
        where: Where,
        scope: NameScope,
        wanted: ValueType = ANY,
        *,
        shows: bool = True,
        what: str = "this",
    ) -> ValueType:
        """The type of a value that may hold expressions; mistakes in them are told."""
        found = self._type_of(value, where, scope, shows=shows, what=what)
        if not found.surely().fits(wanted):
            if isinstance(value, str) and OPEN in value:
                told = f"{what}: '{where[-1]}' takes a {wanted}, and this is a {found}"
                self.sources.problem_in(where, value, 0, len(value), "E204", told)
        elif found.missing and wanted.kind != "any" and found.kind != "null" and isinstance(value, str):
            hint = 'add ?? and what to take instead, or a when: with "!= null"'
            told = f"{what}: '{where[-1]}' may be null: {found.missing}"
            self.sources.problem_in(where, value, 0, len(value), "E205", told, hint)
        return found

    def _type_of(self, value: Any, where: Where, scope: NameScope, *, shows: bool, what: str) -> ValueType:
        if isinstance(value, str):
            return self._type_of_text(value, where, scope, shows=shows, what=what)
        if isinstance(value, Mapping):
            return record(
                {str(n): self._type_of(each, (*where, n), scope, shows=shows, what=what) for n, each in value.items()}
            )
        if isinstance(value, list):
            types = [self._type_of(each, (*where, i), scope, shows=shows, what=what) for i, each in enumerate(value)]
            return list_of(joined(types)) if types else type_of(value)
        return type_of(value)

    def _type_of_text(self, text: str, where: Where, scope: NameScope, *, shows: bool, what: str) -> ValueType:
        self._look_for_foreign_braces(text, where, scope)
        if OPEN not in text:
            return TEXT
        try:
            template = parse_template(text)
        except SyntaxProblem as problem:
            self.sources.problem_in(where, text, problem.start, problem.end, "E201", problem.message, problem.hint)
            return ANY
        found = TEXT
        for expression in template.expressions:

            def report(node: Expr, code: str, message: str, hint: str) -> None:
                code = "E302" if code == "E203" and text[node.start - 4 : node.start] == "env." else code
                self.sources.problem_in(where, text, node.start, node.end, code, message, hint)

            found = infer(expression.node, self._noting(scope, expression.node), report)
            if shows and self.secret_names and mentions(expression.node, "env", self.secret_names):
                told = f"{what}: a secret would be shown here"
                start, hint = expression.start, "secrets go to tools only"
                self.sources.problem_in(where, text, start, start + 2, "E303", told, hint)
            if template.whole is None and found.missing and found.kind != "null":
                told = f"this may be null: {found.missing}"
                hint = "add ?? and what to take instead"
                self.sources.problem_in(where, text, expression.start, expression.start + 2, "E205", told, hint)
        return found if template.whole is not None else TEXT

    def _look_for_foreign_braces(self, text: str, where: Where, scope: NameScope) -> None:
        """`{{ name }}` is filled in where prompts are in files of their own, and nowhere else."""
        for found in _JINJA.finditer(text) if "{{" in text else ():
            if scope.has(found[2]):
                told = f"{found[0]} stays as it stands: only files of prompts are filled in so"
                self.sources.problem_in(
                    where, text, found.start(), found.end(), "W202", told, f"write ${{{found[1].strip()}}}"
                )

    def _noting(self, scope: NameScope, node: Expr) -> Any:
        self.used_env |= _env_of(node)
        return scope.look_up

    def compute(self, value: JsonValue, takes: ExpressionType | None = None) -> Compute:
        """A function that gives the value; of a value that was found wrong, one that is never called."""
        try:
            return computed(value, escape=takes.escape if takes else None)
        except (SyntaxProblem, KeyError):
            return computed(None)


def _env_of(node: Expr) -> set[str]:
    if isinstance(node, Field) and isinstance(node.of, Name) and node.of.name == "env":
        return {node.name}
    return {name for child in children(node) for name in _env_of(child)}
