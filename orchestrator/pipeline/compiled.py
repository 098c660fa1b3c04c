"""What the loader makes of a file and the scheduler runs.

Steps with their order, and the pipeline that they stand in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.jsontypes import JsonMapping, JsonObject
from orchestrator.pipeline.errors import InvalidInputs
from orchestrator.pipeline.expressions.evaluation import Compute
from orchestrator.pipeline.expressions.types import ValueType
from orchestrator.pipeline.language.contracts import ToolSignature
from orchestrator.pipeline.language.document import Document
from orchestrator.pipeline.language.inputs import is_finite, wrong_inputs
from orchestrator.pipeline.language.step import Step
from orchestrator.verifiers.form.bounded_schema import BoundedSchema

if TYPE_CHECKING:
    from orchestrator.verifiers.form.bounded_schema import BoundedSchema


def without_items(path: str) -> str:
    """The path of a step as it stands in the file, without the items of a map: `each.ask` of `each[3].ask`."""
    return re.sub(r"\[\d+\]", "", path)


@dataclass(frozen=True, slots=True)
class Node:
    """One checked step.

    `where` is its place in the file; `fields` compute what it is given; `type` is what it gives.
    """

    name: str
    where: tuple[str | int, ...]
    step: Step
    when: Compute | None
    fields: Mapping[str, Compute]
    blocks: Mapping[str, Block]
    type: ValueType


@dataclass(frozen=True, slots=True)
class Block:
    """Steps that run together: `waits` is for how many others each one waits, `next` which ones wait for it.

    `output` computes what they give.
    """

    nodes: tuple[Node, ...]
    waits: tuple[int, ...]
    next: tuple[tuple[int, ...], ...]
    output: Compute
    type: ValueType
    needed: frozenset[int] = field(default_factory=frozenset)
    """Those that the output waits for: all but what runs in the background."""

    def before(self, index: int) -> list[int]:
        """The steps that one waits for."""
        return [other for other, following in enumerate(self.next) if index in following]

    def walk(self, prefix: str = "") -> Iterator[tuple[str, Node]]:
        """Every step with its path, those within others after them."""
        for node in self.nodes:
            path = f"{prefix}{node.name}"
            yield path, node
            for inner in node.blocks.values():
                yield from inner.walk(f"{path}.")


@dataclass(frozen=True)
class CompiledPipeline:
    """A file that was checked: all that a run of it needs.

    `schema` is the JSON Schema of its inputs, `digest` that of all its files; the files that it names lie within
    `root`.
    """

    document: Document
    path: Path
    digest: str
    schema: dict[str, Any]
    env: Mapping[str, str | None] = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    tools: Mapping[str, ToolSignature] = field(repr=False)
    block: Block = field(repr=False)
    root: Path = field(repr=False, default_factory=Path)
    files: tuple[Path, ...] = field(repr=False, default=())
    """All that was read for it."""

    @property
    def name(self) -> str:
        """The name that the file states."""
        return self.document.name

    def wrong_inputs(self, given: JsonMapping, *, whole: bool = True) -> str:
        """What is wrong with the inputs of a run, in words; nothing if nothing is.

        Unless they shall be `whole`, some may be missing.
        """
        unwritable = next((name for name, value in given.items() if not is_finite(value)), None)
        if unwritable is not None:
            return f"{unwritable} holds NaN or an infinite number, which JSON has not"
        if not whole:
            return "; ".join(wrong_inputs({**self.schema, "required": []}, given))
        errors = self._checked.find_errors(dict(given))
        return "; ".join(wrong_inputs(self.schema, given) or errors) if errors else ""

    def inputs_of(self, given: JsonMapping, *, whole: bool = True) -> JsonObject:
        """The inputs with their defaults. Raises `InvalidInputs`."""
        problem = self.wrong_inputs(given, whole=whole)
        if problem:
            takes = ", ".join(self.schema["properties"]) or "nothing"
            raise InvalidInputs(f"the inputs of {self.name} are wrong: {problem}"[:1_000], remedy=f"It takes: {takes}")
        defaults = {name: one["default"] for name, one in self.schema["properties"].items() if "default" in one}
        return {**defaults, **given}

    @cached_property
    def _checked(self) -> BoundedSchema:
        return BoundedSchema(self.schema)

    def as_dict(self) -> JsonObject:
        """What one must know to call it."""
        return {
            "name": self.name,
            "release": self.document.release,
            "description": self.document.description,
            "inputs": self.schema,
            "steps": [{"path": path, "verb": node.step.verb} for path, node in self.block.walk()],
        }


def ordered(waits_for: Mapping[str, Sequence[str]]) -> tuple[list[str], list[str]]:
    """The names so that each comes after all it waits for (Kahn 1962), in the order given where that leaves a choice.

    And one cycle among those for which there is no such order, empty if there is none.
    """
    left = {name: set(before) for name, before in waits_for.items()}
    order: list[str] = []
    while left:
        free = [name for name, before in left.items() if not before]
        if not free:
            return order, _cycle(left)
        order += free
        for name in free:
            del left[name]
        for before in left.values():
            before.difference_update(free)
    return order, []


def _cycle(left: Mapping[str, set[str]]) -> list[str]:
    """Some steps that wait for each other in a circle; every step that is left waits for another one that is."""
    path: list[str] = []
    name = next(iter(left))
    while name not in path:
        path.append(name)
        name = min(left[name])
    return path[path.index(name) :]


def taking(name: str) -> Compute:
    """What the step of this name gave."""
    return lambda values: values.get(name)


def gathering(names: Sequence[str]) -> Compute:
    """What several steps gave, by name."""
    return lambda values: {name: values.get(name) for name in names}
