"""`decide`: typed questions about a text, answered with probabilities: yes or no, one of several, or a level."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from orchestrator.config import defaults
from orchestrator.config.exact import Exact
from orchestrator.decisions import Question as Asked
from orchestrator.jsontypes import JsonMapping, JsonObject, JsonValue
from orchestrator.pipeline.expressions.types import BOOL, NUMBER, TEXT, ValueType, record
from orchestrator.pipeline.language.contracts import CheckContext, Estimator, StepContext
from orchestrator.pipeline.language.estimates import Forecast
from orchestrator.pipeline.language.fields import NumberField, TextField
from orchestrator.pipeline.language.step import Step
from orchestrator.pipeline.steps.labelling import choose_by_decision, choose_by_search

if TYPE_CHECKING:
    from orchestrator.decisions import Question as Asked

YES_NO = {"yes": "", "no": ""}


class QuestionField(Exact):
    """`choice` are options, in no order; `score` are levels, from the lowest to the highest; neither: yes or no."""

    ask: str = Field(min_length=1)
    choice: Annotated[list[str] | dict[str, str], Field(min_length=2)] | None = None
    score: Annotated[list[str], Field(min_length=2)] | None = None


class DecideStep(Step):
    """For each question: `p` (of yes) and `yes`; or `choice`, `confidence` and `probabilities`.

    Or `score` in [0, 1], `level` and `probabilities`.

    Where a model of the fleet gives probabilities that were calibrated (`orchestrator calibrate`), they are that
    model's; else they are the engine's belief, from the router's prior and what the models said.
    """

    verb: ClassVar[str] = "decide"
    decide: Annotated[
        dict[str, Annotated[str, Field(min_length=1)] | QuestionField], Field(min_length=1, max_length=50)
    ]
    """The questions by name: a text is asked for yes or no."""
    state: TextField
    """What they are about."""
    models: list[str] | None = Field(default=None, min_length=1)
    """Only these models of the fleet."""
    quality: NumberField | None = None
    """The P(correct) at which nobody else is asked."""

    @property
    def questions(self) -> dict[str, QuestionField]:
        """The questions by name."""
        return {name: QuestionField(ask=each) if isinstance(each, str) else each for name, each in self.decide.items()}

    def gives(self, at: CheckContext) -> ValueType:
        for index, name in enumerate(self.models or ()):
            at.model(name, "models", index)
        return record({name: _type(question) for name, question in self.questions.items()})

    async def perform(self, running: StepContext, given: JsonMapping) -> JsonValue:
        import asyncio  # heavy, and not needed to check a file

        told = await choose_by_decision(
            running, given["state"], {name: _asked(question) for name, question in self.questions.items()}, self.models
        )
        if told is not None:
            return {name: _decision(question, told[name]) for name, question in self.questions.items()}

        async def one(question: QuestionField) -> JsonObject:
            labels = _labels(question)
            found = await choose_by_search(
                running, given["state"], labels, asks=question.ask, models=self.models, quality=given.get("quality")
            )
            return _decision(question, found)

        answers = await asyncio.gather(*map(one, self.questions.values()))
        return dict(zip(self.questions, answers, strict=True))

    def forecast(self, outlook: Estimator) -> Forecast:
        return outlook.of_search(self, defaults.STRATEGY, self.models).times(len(self.decide))


def _asked(question: QuestionField) -> Asked:
    if question.choice is None and question.score is None:
        return Asked(question.ask)
    return Asked(question.ask, "score" if question.choice is None else "choice", _labels(question))


def _labels(question: QuestionField) -> dict[str, str]:
    options = question.choice or question.score
    if options is None:
        return YES_NO
    return dict(options) if isinstance(options, dict) else dict.fromkeys(options, "")


def _type(question: QuestionField) -> ValueType:
    p = record(dict.fromkeys(_labels(question), NUMBER))
    if question.choice is not None:
        return record(choice=TEXT, confidence=NUMBER, probabilities=p)
    if question.score is not None:
        return record(score=NUMBER, level=TEXT, confidence=NUMBER, probabilities=p)
    return record(p=NUMBER, yes=BOOL)


def _decision(question: QuestionField, found: JsonMapping) -> JsonObject:
    p = found["probabilities"]
    if question.choice is not None:
        return {"choice": found["label"], "confidence": found["confidence"], "probabilities": p}
    if question.score is not None:
        mean = sum(level * each for level, each in enumerate(p.values())) / (len(p) - 1)
        return {"score": mean, "level": found["label"], "confidence": found["confidence"], "probabilities": p}
    return {"p": p["yes"], "yes": found["label"] == "yes"}
