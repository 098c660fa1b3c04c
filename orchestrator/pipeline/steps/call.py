"""`pipeline`: another file as one step. Its steps are kept, paid and shown as part of this run."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, PrivateAttr

from orchestrator.jsontypes import JsonMapping, JsonValue
from orchestrator.pipeline.expressions.type_inference import suggestion
from orchestrator.pipeline.expressions.types import ANY, OBJECT, ValueType, type_of_schema
from orchestrator.pipeline.language.checked import CheckedPipeline
from orchestrator.pipeline.language.contracts import CheckContext, Estimator, StepContext
from orchestrator.pipeline.language.estimates import Forecast
from orchestrator.pipeline.language.fields import ExpressionType
from orchestrator.pipeline.language.step import Step


class CallStep(Step):
    """Runs the pipeline of another file with `inputs`, and gives its output."""

    verb: ClassVar[str] = "pipeline"
    pipeline: str
    """The file."""
    inputs: Annotated[dict[str, Any], ExpressionType(OBJECT)] = Field(default={})
    """Its inputs."""
    release: str | int | None = None
    """Insist on this release of it."""
    _called: Any = PrivateAttr(None)

    @property
    def called(self) -> CheckedPipeline:
        """The pipeline that it calls."""
        found: CheckedPipeline = self._called
        return found

    @property
    def has_effects(self) -> bool:
        return False  # those of its steps are its steps' own

    def gives(self, at: CheckContext) -> ValueType:
        found = self._called = at.pipeline(self.pipeline, "pipeline")
        if found is None:
            return ANY
        release = found.document.release
        if self.release is not None and str(self.release) != str(release):
            at.problem(
                "E113",
                f"{self.pipeline} is release {release}, not {self.release}",
                "release",
                hint=f"write release: {release}",
            )
        takes = found.schema["properties"]
        for name in self.inputs:
            if name not in takes:
                at.problem(
                    "E601",
                    f"{found.name} has no input '{name}'",
                    "inputs",
                    name,
                    hint=suggestion(name, takes),
                    key=True,
                )
                continue
            wanted = type_of_schema(takes[name])
            given = at.type_of(self.inputs[name], "inputs", name)
            if not given.fits(wanted):
                at.problem(
                    "E601", f"the input '{name}' of {found.name} is a {wanted}, and this is a {given}", "inputs", name
                )
        for name in found.schema["required"]:
            if name not in self.inputs:
                at.problem("E601", f"{found.name} needs the input '{name}'", "inputs", key=True)
        return found.block.type

    async def perform(self, running: StepContext, given: JsonMapping) -> JsonValue:
        return await running.call(self.called, given.get("inputs") or {})

    def forecast(self, outlook: Estimator) -> Forecast:
        return outlook.of_pipeline(self.called)
