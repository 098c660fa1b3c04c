"""Steps and pipelines that were checked, as verbs see them: protocols of what the loader makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from orchestrator.jsontypes import JsonObject
from orchestrator.pipeline.expressions.types import ValueType

if TYPE_CHECKING:
    from orchestrator.pipeline.expressions.evaluation import Compute
    from orchestrator.pipeline.language.document import Document


class CheckedStep(Protocol):
    """One step that was checked.

    `fields` compute what it is given, `type` is what it gives, `blocks` are the steps within it.
    """

    @property
    def name(self) -> str:
        """The name of the step."""

    @property
    def fields(self) -> Mapping[str, Compute]:
        """The fields that may hold expressions, as functions."""

    @property
    def blocks(self) -> Mapping[str, CheckedBlock]:
        """The steps within the step."""

    @property
    def type(self) -> ValueType:
        """What the step gives."""


class CheckedBlock(Protocol):
    """Steps that run together: `waits` is for how many others each one waits; `output` computes what they give."""

    @property
    def nodes(self) -> Sequence[CheckedStep]:
        """The steps, in an order in which each follows all that it waits for."""

    @property
    def waits(self) -> Sequence[int]:
        """For how many others each step waits."""

    @property
    def output(self) -> Compute:
        """Computes what the steps give together."""

    @property
    def type(self) -> ValueType:
        """What the steps give together."""


class CheckedPipeline(Protocol):
    """A pipeline that was checked.

    `schema` is the JSON Schema of its inputs; the files that it names lie within `root`.
    """

    @property
    def name(self) -> str:
        """The name that the file states."""

    @property
    def document(self) -> Document:
        """The document of the file."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def root(self) -> Path:
        """Where the files that it names must lie."""

    @property
    def schema(self) -> JsonObject:
        """The JSON Schema of its inputs."""

    @property
    def env(self) -> Mapping[str, str | None]:
        """The variables of the environment that it takes."""

    @property
    def block(self) -> CheckedBlock:
        """Its steps."""
