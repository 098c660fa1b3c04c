"""The graph of steps: who waits for whom, in which order they can be checked, and where they wait for each other in a circle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.pipeline.expressions.evaluation import Compute
from orchestrator.pipeline.expressions.types import ValueType
from orchestrator.pipeline.language.step import Step


@dataclass(frozen=True, slots=True)
class Node:
    """One checked step. `where` is its place in the file; `fields` compute what it is given; `type` is what it gives."""

    name: str
    where: tuple[str | int, ...]
    step: Step
    when: Compute | None
    fields: Mapping[str, Compute]
    blocks: Mapping[str, Block]
    type: ValueType


@dataclass(frozen=True, slots=True)
class Block:
    """Steps that run together: `waits` is for how many others each one waits, `next` which ones wait for it. `output` computes what they give."""

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


def ordered(waits_for: Mapping[str, Sequence[str]]) -> tuple[list[str], list[str]]:
    """The names so that each comes after all it waits for (Kahn 1962), in the order given where that leaves a choice; and one cycle among those
    for which there is no such order, empty if there is none.
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
