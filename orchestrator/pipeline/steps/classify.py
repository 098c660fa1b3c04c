"""`classify`: one of several labels for a text, with probabilities.

Examples answer what they can, for nothing; the rest is asked of the fleet.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Annotated, Any, ClassVar

from pydantic import Field, PrivateAttr

from orchestrator.config import defaults
from orchestrator.config.exact import Exact
from orchestrator.jsontypes import JsonMapping, JsonValue
from orchestrator.pipeline.expressions.types import ValueType
from orchestrator.pipeline.language.contracts import CheckContext, Estimator, StepContext
from orchestrator.pipeline.language.estimates import Forecast
from orchestrator.pipeline.language.fields import NumberField, TextField
from orchestrator.pipeline.language.step import Step
from orchestrator.pipeline.steps.answer_types import choice_type
from orchestrator.pipeline.steps.labelling import Centroids, choose_by_search

ENOUGH = 0.9
MIN_EXAMPLES = 2  # of each label, so that one can be left out


class Example(Exact):
    """A text with its label."""

    text: str = Field(min_length=1)
    label: str


class ClassifyStep(Step):
    """Gives `label`, `confidence`, `probabilities` of all labels, and `by`: "examples", or the model that chose."""

    verb: ClassVar[str] = "classify"
    classify: TextField
    """The text."""
    labels: Annotated[list[str] | dict[str, str], Field(min_length=2)]
    """The labels, or the labels with what each one means."""
    examples: list[Example] | dict[str, list[str]] | str | None = None
    """Texts with their labels, or the texts of each label, or a file (JSON lines: {text, label})."""
    instructions: str = "Which label fits the text best?"
    """What a model is told."""
    models: list[str] | None = Field(default=None, min_length=1)
    """Only these models of the fleet."""
    quality: NumberField | None = None
    """What the examples must reach to be believed (default 0.9), and the models to stop at."""
    _examples: list[tuple[str, str]] = PrivateAttr(default_factory=list)
    _centroids: Any = PrivateAttr(None)

    @property
    def about(self) -> dict[str, str]:
        """What each label means, if the file says so."""
        return dict(self.labels) if isinstance(self.labels, dict) else dict.fromkeys(self.labels, "")

    def gives(self, at: CheckContext) -> ValueType:
        labels = list(self.about)
        for index, name in enumerate(self.models or ()):
            at.model(name, "models", index)
        self._examples = self._read(at, labels)
        counts = Counter(label for _, label in self._examples)
        few = [label for label in labels if counts[label] < MIN_EXAMPLES]
        if self._examples and few:
            at.problem(
                "E106",
                f"{at.what}: '{few[0]}' has {counts[few[0]]} examples; each label needs {MIN_EXAMPLES}",
                "examples",
                key=True,
            )
        return choice_type(labels)

    def _read(self, at: CheckContext, labels: list[str]) -> list[tuple[str, str]]:
        if isinstance(self.examples, str):
            found = at.file(self.examples, "examples")
            if found is None:
                return []
            path, text = found
            examples = []
            for number, line in enumerate(text.splitlines(), start=1):
                if not line.strip():
                    continue
                try:
                    examples.append(Example.model_validate(json.loads(line)))
                except ValueError as error:
                    at.sources.in_file(
                        path, text, number, "E106", f"an example is {{text, label}}: {str(error).splitlines()[0]}"[:200]
                    )
                    return []
        elif isinstance(self.examples, dict):
            examples = [Example(text=text, label=label) for label, texts in self.examples.items() for text in texts]
        else:
            examples = list(self.examples or ())
        for index, example in enumerate(examples):
            if example.label not in labels:
                where = ("examples", index, "label") if isinstance(self.examples, list) else ("examples",)
                at.problem("E107", f"{at.what}: an example has the unknown label '{example.label}'", *where)
                return []
        return [(example.text, example.label) for example in examples]

    async def perform(self, running: StepContext, given: JsonMapping) -> JsonValue:
        import asyncio  # heavy, and not needed to check a file

        text, quality = given["classify"], given.get("quality")
        if self._examples:
            p = await asyncio.to_thread(self._by_examples, text)
            label = max(p, key=lambda each: p[each])
            if p[label] >= (ENOUGH if quality is None else quality):
                return {"label": label, "confidence": p[label], "by": "examples", "probabilities": p}
        return await choose_by_search(
            running, text, self.about, asks=self.instructions, models=self.models, quality=quality
        )

    def _by_examples(self, text: str) -> dict[str, float]:
        from orchestrator.memory import default_encoder  # numpy

        if self._centroids is None:
            self._centroids = Centroids(default_encoder(), list(self.about), self._examples)
        found: dict[str, float] = self._centroids.probabilities(text)
        return found

    def forecast(self, outlook: Estimator) -> Forecast:
        return outlook.of_search(self, defaults.STRATEGY, self.models)
