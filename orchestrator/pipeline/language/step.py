"""What every step has: when it runs, how often it is tried, what it may use; and what a verb must say of itself.

A verb is a subclass of `Step` in a file of its own, with its name in `verbs.py` (or under the entry point
`orchestrator.steps` of another package). Its field of the verb's own name comes first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field

from orchestrator.config.exact import Exact, Seconds
from orchestrator.jsontypes import JsonMapping, JsonValue
from orchestrator.pipeline.expressions.types import ValueType
from orchestrator.pipeline.language.contracts import CheckContext, Estimator, StepContext
from orchestrator.pipeline.language.document import StepBudget
from orchestrator.pipeline.language.estimates import Forecast
from orchestrator.pipeline.language.fields import ConditionField, ExpressionType, ValueField, refers_to

Steps = Annotated[dict[str, Any], Field(min_length=1), refers_to("Steps")]


class Retry(Exact):
    """How often a step is tried in all, and how long to wait before the second try; the wait doubles each time."""

    times: Annotated[int, Field(ge=1, le=20)] = 3
    """Tries in all."""
    wait: Seconds = 0.5
    """Seconds before the second try, or as `500ms`."""


class OnError(Exact):
    """What a failed step gives instead."""

    give: ValueField


class Step(Exact):
    """What every step has; verbs are its subclasses."""

    verb: ClassVar[str]
    when: ConditionField | None = None
    """The step runs if this holds; otherwise its value is null."""
    after: list[str] = []
    """Steps to wait for although nothing of theirs is used: for side effects."""
    retry: Retry | Annotated[int, Field(ge=1, le=20)] | None = None
    """How often it is tried in all; `{times, wait}` also says how long to wait before the second try."""
    timeout: Seconds | None = None
    """How long one try may take, in seconds or as `5s`."""
    on_error: Literal["fail", "skip"] | OnError = "fail"
    """`fail` ends the run; `skip` makes the value null."""
    cache: bool | Seconds = False
    """Give the same value again for the same inputs of the step, for this many seconds (true: a day)."""
    budget: StepBudget | None = None
    """Limits of this step within those of the run; `{share: 30%}` is a part of them."""
    background: bool = False
    """The run does not wait for it to give its output."""
    description: str = ""
    """What it is for, in words."""

    def gives(self, at: CheckContext) -> ValueType:
        """Checks at load time what only this verb can check, and says what type of value it gives.

        Mistakes are told to `at`.
        """
        raise TypeError(f"the verb {self.verb!r} must define gives()")

    async def perform(self, running: StepContext, given: JsonMapping) -> JsonValue:
        """Does it. `given` are the fields that may hold expressions, with their values; the result is JSON."""
        raise TypeError(f"the verb {self.verb!r} must define perform()")

    def inner(self, at: CheckContext) -> Mapping[str, Inner]:
        """The steps within this one, by a name for them.

        Called before `gives`, which finds them checked in `at.blocks`.
        """
        return {}

    def forecast(self, outlook: Estimator) -> Forecast:
        """What it will probably cost and how long it will take; nothing, unless a verb knows better."""
        return Forecast()

    @property
    def has_effects(self) -> bool:
        """Whether it changes something outside of the run, so that it must not be done twice."""
        return False

    @property
    def attempts(self) -> int:
        """How often it is tried in all."""
        return 1 if self.retry is None else self.retry if isinstance(self.retry, int) else self.retry.times

    @property
    def first_wait_s(self) -> float:
        """Seconds before the second try."""
        return self.retry.wait if isinstance(self.retry, Retry) else 0.5


@dataclass(frozen=True, slots=True)
class Inner:
    """Steps within a step, as they stand in the file at `where`.

    `output` is what they give together; without it, that of the only step, or of all by name. `names` are what they can
    use beside what their step can.
    """

    do: Mapping[str, Any]
    where: tuple[str | int, ...]
    output: Any = None
    names: Mapping[str, ValueType] = field(default_factory=dict)


def expression_fields(kind: type[Exact]) -> dict[str, tuple[str, ExpressionType]]:
    """The fields of a model that may hold expressions.

    By their name in the file, that of the attribute, and what they take.
    """
    found = _TAKEN.get(kind)
    if found is None:
        marked = (
            (name, described, mark) for name, described in kind.model_fields.items() for mark in _marks(described)
        )
        found = _TAKEN[kind] = {
            described.alias or name: (name, mark)
            for name, described, mark in marked
            if isinstance(mark, ExpressionType)
        }
    return found


def _marks(field: Any) -> list[Any]:
    """The marks on a field, also inside of `X | None`."""
    marks = list(field.metadata)
    for part in get_args(field.annotation):
        marks += getattr(part, "__metadata__", ())
    return marks


_TAKEN: dict[type[Exact], dict[str, tuple[str, ExpressionType]]] = {}
