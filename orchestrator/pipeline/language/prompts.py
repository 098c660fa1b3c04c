"""Prompt files: sandboxed Jinja2 templates that are strict about their variables.

Values are only ever values: what stands in them is never run.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from orchestrator.errors import OrchestratorError
from orchestrator.jsontypes import JsonMapping

if TYPE_CHECKING:
    from orchestrator.pipeline.language.prompt_sandbox import BoundedEnvironment

MAX_CHARS = 2_000_000
MAX_ROUNDS = 100_000
ENDINGS = (".md", ".txt", ".j2", ".jinja", ".jinja2")


class PromptFailed(OrchestratorError):
    """A prompt could not be made of the values that it was given."""

    code = "prompt"


class PromptProblem(Exception):
    """A template that cannot be used; `line` counts from 1."""

    def __init__(self, code: str, message: str, line: int) -> None:
        super().__init__(message)
        self.code, self.message, self.line = code, message, line


@dataclass(frozen=True)
class Prompt:
    """One parsed file. `variables` are the names that it needs, `name` where it came from, `source` its text."""

    name: str
    source: str
    variables: frozenset[str]
    _template: Any

    def render(self, values: JsonMapping) -> str:
        """Raises `PromptFailed`."""
        from jinja2.exceptions import TemplateError  # heavy

        try:
            text: str = "".join(
                _bounded(self._template.generate({**values, "range": _Counted(self.name).range}), self.name)
            )
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            raise PromptFailed(
                f"{self.name}: {error}"[:500], remedy="Check what the step hands over under `with:`"
            ) from None
        return text.strip()


def is_prompt_file(text: str) -> bool:
    """Whether the value of `prompt:` names a file: one line without blanks that ends like a prompt file."""
    return text.endswith(ENDINGS) and not any(c.isspace() for c in text) and "${" not in text


def parse_prompt(source: str, name: str) -> Prompt:
    """Raises `PromptProblem`."""
    from jinja2 import meta, nodes  # heavy
    from jinja2.exceptions import TemplateSyntaxError

    environment = _environment()
    try:
        tree = environment.parse(source, name)
        for kind in (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends, nodes.Call, nodes.CallBlock):
            found = next((each for each in tree.find_all(kind) if not _is_allowed(each)), None)
            if found is not None:
                raise PromptProblem(
                    "E403", f"a prompt cannot use {_WORDS.get(kind.__name__, kind.__name__.lower())}", found.lineno
                )
        for reached in tree.find_all(nodes.Getattr):
            if reached.attr.startswith("_"):
                raise PromptProblem("E403", f"a prompt cannot reach {reached.attr!r}", reached.lineno)
        template = environment.from_string(environment.bounded(tree))
    except TemplateSyntaxError as error:
        raise PromptProblem("E401", str(error.message), error.lineno) from None
    except (RecursionError, MemoryError):
        raise PromptProblem("E401", "the template is nested too deeply", 1) from None
    return Prompt(name, source, frozenset(meta.find_undeclared_variables(tree)), template)


_WORDS = {
    "Include": "{% include %}",
    "Import": "{% import %}",
    "FromImport": "{% from %}",
    "Extends": "{% extends %}",
    "Call": "calls: it has filters, like {{ items | length }}",
    "CallBlock": "{% call %}",
}


def _is_allowed(call: Any) -> bool:
    """`range(...)` and `loop.cycle(...)` are for loops."""
    called: Any = getattr(call, "node", None)
    if getattr(called, "name", "") == "range":
        return True
    return getattr(called, "attr", "") == "cycle" and getattr(called.node, "name", "") == "loop"


class _Counted:
    """`range` for one rendering: loops within loops take at most `MAX_ROUNDS` rounds in all."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._left = MAX_ROUNDS

    def range(self, *bounds: int) -> list[int]:
        found = range(*bounds)
        self._left -= len(found)
        if self._left < 0:
            raise PromptFailed(f"{self._name}: its loops take more than {MAX_ROUNDS:,} rounds", remedy="Shorten them")
        return list(found)


def _bounded(pieces: Any, name: str) -> Any:
    length = 0
    for piece in pieces:
        length += len(piece)
        if length > MAX_CHARS:
            raise PromptFailed(f"{name}: the prompt grows over {MAX_CHARS:,} characters", remedy="Hand over less")
        yield piece


@cache
def _environment() -> BoundedEnvironment:
    from jinja2 import StrictUndefined  # heavy

    from orchestrator.pipeline.language.prompt_sandbox import BoundedEnvironment

    environment = BoundedEnvironment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=False
    )
    environment.globals = {"range": environment.globals["range"]}
    return environment
