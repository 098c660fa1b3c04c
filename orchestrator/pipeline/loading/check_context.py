"""One step while it is checked: where it stands, what it can use, and how to tell what is wrong with it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from orchestrator.jsontypes import JsonMapping, JsonObject, JsonValue
from orchestrator.pipeline.checks.settings import Check, read_checks
from orchestrator.pipeline.compiled import Block, CompiledPipeline
from orchestrator.pipeline.expressions.evaluation import Compute
from orchestrator.pipeline.expressions.scope import NameScope
from orchestrator.pipeline.expressions.templates import OPEN
from orchestrator.pipeline.expressions.type_inference import assumed, suggestion
from orchestrator.pipeline.expressions.types import ANY, ValueType
from orchestrator.pipeline.language.contracts import ToolContext
from orchestrator.pipeline.language.prompts import Prompt, PromptProblem, is_prompt_file, parse_prompt
from orchestrator.pipeline.language.sources import Sources, Where
from orchestrator.pipeline.tools import PipelineTool


class LoaderView(ToolContext, Protocol):
    """The loader of the file that a step stands in, as far as the check of a step uses it."""

    models: Collection[str] | None
    tools: dict[str, PipelineTool]
    broken_tools: frozenset[str]

    def is_read(self, step: str, field: str) -> bool:
        """Whether an expression of the file may read a field of what a step of this name gives."""

    def called(self, where: Where, name: str) -> CompiledPipeline | None:
        """The pipeline of another file."""


class LoaderCheckContext:
    """One step while it is checked: its place, what it can use, and how to tell what is wrong with it."""

    def __init__(self, loader: LoaderView, name: str, where: Where, scope: NameScope, depth: int) -> None:
        self._loader = loader
        self.name = name
        self.where = where
        self.scope = scope
        self.depth = depth
        self.types: dict[str, ValueType] = {}
        """Of the fields that may hold expressions, by their names."""
        self.blocks: dict[str, Block] = {}
        self.what = f"step '{name}'"

    @property
    def models(self) -> Collection[str] | None:
        """The names of the fleet, if it is known."""
        return self._loader.models

    def is_broken(self, tool: str) -> bool:
        """Whether a tool is stated, and what is wrong with it is told there."""
        return tool.partition(".")[0] in self._loader.broken_tools

    @property
    def tools(self) -> Mapping[str, PipelineTool]:
        """The tools of the file by name."""
        return self._loader.tools

    @property
    def sources(self) -> Sources:
        """The file and those that it names."""
        return self._loader.sources

    def problem(self, code: str, message: str, *where: str | int, hint: str = "", key: bool = False) -> None:
        """Tells of a mistake at a place within the step."""
        self._loader.sources.problem((*self.where, *where), code, message, hint, key=key)

    def is_read(self, field: str) -> bool:
        """Whether an expression may read this field of what the step gives."""
        return self._loader.is_read(self.name, field)

    def type_of(
        self,
        value: JsonValue,
        *where: str | int,
        wanted: ValueType = ANY,
        shows: bool = True,
        more: Mapping[str, ValueType] | None = None,
    ) -> ValueType:
        """The type of a value that may hold expressions, which are checked.

        `shows`: a secret must not get there. `more` are names that it can use beside what the step can.
        """
        scope = self.scope.within(more) if more else self.scope
        return self._loader.values.type_of(value, (*self.where, *where), scope, wanted, shows=shows, what=self.what)

    def computed(self, value: JsonValue) -> Compute:
        """A function from the values of names to this value."""
        return self._loader.values.compute(value)

    def assumed(self, guards: set[str]) -> dict[str, ValueType]:
        """The types of the names that a condition guards, where it holds."""
        types = assumed(self.scope.types, guards)
        return {name: types[name] for path in guards if (name := path.split(".")[0]) in types}

    def name_for(self, field: str, name: str) -> None:
        """Checks a name that a field brings in for the steps within."""
        self._loader.named((*self.where, field), name, "value", self.scope, is_key=False)

    def raw_at(self, where: Where) -> JsonValue:
        """What stands in the step at a place."""
        found: Any = self.sources.value
        for part in (*self.where, *where):
            found = found[part]
        return found

    def file(self, name: str, *where: str | int) -> tuple[Path, str] | None:
        """The path and text of a file that a field names; `None` after telling what is wrong."""
        return self._loader.sources.file((*self.where, *where), name)

    def model(self, name: str, *where: str | int) -> None:
        """Tells of a model that the fleet does not have, if the fleet is known."""
        if self.models is not None and OPEN not in name and name not in self.models:
            self.problem("E501", f"there is no model '{name}'", *where, hint=suggestion(name, self.models))

    def prompt(self, text: str, given: JsonMapping, *where: str | int) -> Prompt | None:
        """The prompt file that a field names, its variables held against what it is given.

        `None` for a text, or after telling what is wrong.
        """
        if not is_prompt_file(text):
            return None
        found = self.file(text, *where)
        if found is None:
            return None
        path, source = found
        try:
            prompt = parse_prompt(source, text)
        except PromptProblem as problem:
            self.sources.in_file(path, source, problem.line, problem.code, problem.message)
            return None
        for variable in sorted(prompt.variables - given.keys()):
            hint = suggestion(variable, given) or "list it under with:"
            self.problem("E402", f"{text} uses '{variable}', which it is not given", *where, hint=hint)
        for name in given:
            if name not in prompt.variables and name != "question":
                self.problem("W402", f"{text} does not use '{name}'", "with", name, key=True)
        return prompt

    def schema(self, stated: str | JsonObject | None, *where: str | int) -> JsonObject | None:
        """A JSON Schema that stands in the file, or in one that it names."""
        return self._loader.schema(stated, (*self.where, *where))

    def checks(self, stated: Sequence[JsonValue], *where: str | int) -> list[Check]:
        """The checks that a field lists."""
        return read_checks(stated, self, where)

    def pipeline(self, name: str, *where: str | int) -> CompiledPipeline | None:
        """The pipeline of another file; `None` after telling what is wrong."""
        return self._loader.called((*self.where, *where), name)
