"""Values with `${...}` in them: parsed and checked when the file loads, filled in when the step runs.

A text that is one expression as a whole keeps the type of its value; any other text becomes text. `$${` stands for `${`
itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from orchestrator.jsontypes import JsonValue
from orchestrator.pipeline.expressions.evaluation import Absent, Compute, ExpressionFailed, Values, compiled
from orchestrator.pipeline.expressions.functions import MAX_TEXT
from orchestrator.pipeline.expressions.grammar import SyntaxNode, SyntaxProblem, parse_expression
from orchestrator.pipeline.expressions.type_inference import guarded, names_in
from orchestrator.types.format import as_text

OPEN = "${"


@dataclass(frozen=True, slots=True)
class TemplateExpression:
    """One `${...}`: `start` is the offset of its dollar in the text, `source` what stands between the braces."""

    node: SyntaxNode
    start: int
    source: str


@dataclass(frozen=True, slots=True)
class Template:
    """Texts and expressions in turn."""

    parts: tuple[str | TemplateExpression, ...]

    @property
    def whole(self) -> TemplateExpression | None:
        """The expression, if there is nothing else."""
        return self.parts[0] if len(self.parts) == 1 and isinstance(self.parts[0], TemplateExpression) else None

    @property
    def expressions(self) -> Iterator[TemplateExpression]:
        """The expressions in the template, in order."""
        return (part for part in self.parts if isinstance(part, TemplateExpression))


def parse_template(text: str) -> Template:
    """Raises `SyntaxProblem`."""
    parts: list[str | TemplateExpression] = []
    plain, at = "", 0
    while (found := text.find(OPEN, at)) >= 0:
        if found > 0 and text[found - 1] == "$":
            plain += text[at : found - 1] + OPEN
            at = found + len(OPEN)
            continue
        plain += text[at:found]
        if plain:
            parts.append(plain)
            plain = ""
        node, end = parse_expression(text, found + len(OPEN))
        parts.append(TemplateExpression(node, found, text[found + len(OPEN) : end].strip()))
        at = end + 1
    plain += text[at:]
    if plain or not parts:
        parts.append(plain)
    return Template(tuple(parts))


def has_expressions(value: object) -> bool:
    """Whether a value of a file holds any expression."""
    if isinstance(value, str):
        return OPEN in value
    if isinstance(value, Mapping):
        return any(map(has_expressions, value.values()))
    return isinstance(value, list | tuple) and any(map(has_expressions, value))


def names_used(value: object) -> set[str]:
    """The names at the beginning of every expression in a value; what cannot be parsed uses none."""
    if isinstance(value, str):
        if OPEN not in value:
            return set()
        try:
            return {name for expression in parse_template(value).expressions for name in names_in(expression.node)}
        except SyntaxProblem:
            return set()
    each = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return {name for part in each for name in names_used(part)}


def guards_of(condition: object) -> set[str]:
    """The paths that are certainly there where a condition (the text of `when:`) holds."""
    if not isinstance(condition, str) or OPEN not in condition:
        return set()
    try:
        whole = parse_template(condition).whole
    except SyntaxProblem:
        return set()
    return guarded(whole.node) if whole is not None else set()


def computed(value: JsonValue, *, escape: Callable[[str], str] | None = None) -> Compute:
    """A function from the values of names to this value with its expressions filled in.

    `escape` is done to what is put into a text.
    """
    if isinstance(value, str):
        return _text(parse_template(value), escape) if OPEN in value else _constant(value)
    if isinstance(value, Mapping) and has_expressions(value):
        fields = {name: computed(each, escape=escape) for name, each in value.items()}
        return lambda values: {name: compute(values) for name, compute in fields.items()}
    if isinstance(value, list | tuple) and has_expressions(value):
        items = [computed(each, escape=escape) for each in value]
        return lambda values: [compute(values) for compute in items]
    return _constant(value)


def segment(text: str) -> str:
    """One part of a scope: what is filled in can neither begin another part nor leave its own."""
    if "/" in text or not text.strip():
        raise ExpressionFailed(f"{text!r} cannot be a part of a scope", remedy="It must not be empty, nor hold a /")
    return text


def percent_encoded(text: str) -> str:
    """Part of an address (RFC 3986): what is filled in can neither begin another part nor leave its own."""
    if text in (".", ".."):
        raise ExpressionFailed(f"{text!r} cannot be a part of an address", remedy="Check where the value comes from")
    return quote(text, safe="")


def _constant(value: Any) -> Compute:
    return lambda values: value


def _text(template: Template, escape: Callable[[str], str] | None) -> Compute:
    whole = template.whole
    if whole is not None:
        compute = _told(whole)
        if escape is None:
            return compute
        return lambda values: escape(as_text(compute(values)))
    parts = [part if isinstance(part, str) else _told(part) for part in template.parts]

    def filled(values: Values) -> str:
        found, size = [], 0
        for part in parts:
            if isinstance(part, str):
                text = part
            else:
                text = as_text(part(values))
                text = text if escape is None else escape(text)
            found.append(text)
            size += len(text)
            if size > MAX_TEXT:
                raise ExpressionFailed(
                    f"the text grows beyond {MAX_TEXT:,} characters", remedy="Check the values that it is made of"
                )
        return "".join(found)

    return filled


def _told(expression: TemplateExpression) -> Compute:
    """The expression, whose errors say which one it was."""
    compute, source = compiled(expression.node), expression.source

    def evaluated(values: Values) -> Any:
        try:
            return compute(values)
        except ExpressionFailed as error:
            kind = Absent if isinstance(error, Absent) else ExpressionFailed
            raise kind(
                f"${{{source}}}: {error.message}", remedy=error.remedy or "Check the values that it is made of"
            ) from None

    return evaluated
