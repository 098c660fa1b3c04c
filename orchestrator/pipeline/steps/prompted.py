"""`search` asks the fleet as one, by a strategy; `ask` asks one model.

Both are told a prompt, and their answers can be checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, PrivateAttr, WithJsonSchema

from orchestrator.config.exact import Exact
from orchestrator.config.names import STRATEGY_ALIASES, STRATEGY_NAMES
from orchestrator.jsontypes import JsonMapping, JsonObject, JsonValue
from orchestrator.pipeline.checks.settings import sources_of
from orchestrator.pipeline.expressions.type_inference import suggestion
from orchestrator.pipeline.expressions.types import OBJECT, ValueType, type_of_schema
from orchestrator.pipeline.language.contracts import AnswerCheck, CheckContext, Estimator, StepContext
from orchestrator.pipeline.language.estimates import Forecast
from orchestrator.pipeline.language.fields import ExpressionType, ListField, NumberField, TextField, Usd
from orchestrator.pipeline.language.prompts import Prompt, is_prompt_file
from orchestrator.pipeline.language.step import Step
from orchestrator.pipeline.steps.answer_types import answer_type
from orchestrator.pipeline.steps.asking import answered, as_value, notes_of, value_of
from orchestrator.plugins.entry_points import STRATEGIES, plugin_names
from orchestrator.types import Message, Query
from orchestrator.types.format import as_text

if TYPE_CHECKING:
    from orchestrator.types import Message, Query

NAMES = (*STRATEGY_NAMES, *STRATEGY_ALIASES)


class Turn(Exact):
    """One earlier message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str


@dataclass(frozen=True, slots=True)
class Ready:
    """What was read for a step when the file was loaded."""

    file: Prompt | None = None
    rules: Prompt | None = None
    schema: dict[str, Any] | None = None
    checks: tuple[AnswerCheck, ...] = ()


class Prompted(Step):
    """What `search` and `ask` have in common."""

    prompt: TextField
    """What is asked: a text with `${...}`, or a prompt file (.md, .txt, .j2)."""
    with_: Annotated[dict[str, Any], ExpressionType(OBJECT)] = Field(default={}, alias="with")
    """The variables of the prompt file. What is called `question` is what router, calculator and checks look at."""
    system: TextField | None = None
    """The rules that come before everything else: a text, or a file."""
    question: TextField | None = None
    """What is asked, bare, if the prompt has no variable of that name."""
    history: ListField | None = None
    """Earlier messages: {role, content}."""
    schema_: dict[str, Any] | str | None = Field(default=None, alias="schema")
    """A JSON Schema (or the file of one) that the answer must satisfy; its value is in `value`."""
    verify: list[Any] = []
    """Checks, cheap and certain ones first."""
    criteria: list[str] = []
    """What a critique judges by."""
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    """The longest answer, in tokens."""
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    """0 to 2; 0 is the most predictable."""
    _ready: Ready = PrivateAttr(default_factory=lambda: Ready())

    def gives(self, at: CheckContext) -> ValueType:
        given = self.with_
        file = at.prompt(self.prompt, given, "prompt")
        rules = at.prompt(self.system, given, "system") if self.system is not None else None
        if given and file is None and rules is None and not is_prompt_file(self.prompt):
            at.problem(
                "E106",
                f"{at.what}: 'with' is for prompt files, and this prompt is a text",
                "with",
                hint="write ${...} in it",
                key=True,
            )
        schema = at.schema(self.schema_, "schema")
        value = type_of_schema(schema) if schema is not None else None
        if value is not None:
            at.types["(value)"] = value
        self._ready = Ready(file, rules, schema, tuple(at.checks(self.verify, "verify")))
        return answer_type(value)

    @property
    def ready(self) -> Ready:
        """What was made of the fields when the file was checked."""
        return self._ready

    def query(self, running: StepContext, given: JsonMapping, **more: Any) -> Query:
        """The query that the fields make."""
        ready = self._ready
        variables = given.get("with") or {}
        prompt = ready.file.render(variables) if ready.file is not None else given["prompt"]
        rules = ready.rules.render(variables) if ready.rules is not None else given.get("system")
        question = given.get("question") or (as_text(variables["question"]) if variables.get("question") else prompt)
        history = tuple(_turns(given.get("history")))
        return Query.parse(
            question,
            prompt=prompt if prompt != question else None,
            system=rules,
            history=history,
            scope=running.host.log_scope,
            schema=ready.schema,
            uses_memory=False,
            criteria=tuple(self.criteria),
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            sources=notes_of(sources_of(ready.checks, running.values)),
            **more,
        )

    async def answer(self, running: StepContext, query: Query, strategy: str) -> JsonObject:
        """Searches, and gives the answer as later steps see it."""
        ready = self._ready
        checks = [await check.verifier(running) for check in ready.checks]
        found = await answered(running, query, strategy=strategy, checks=checks)
        value = as_value(found)
        if ready.schema is not None and not found.abstained:
            value["value"] = value_of(found, "an answer")
        return value


class SearchStep(Prompted):
    """Asks the fleet as one.

    The cheapest adequate answer, drafted, checked, and revised or escalated within the budget.
    """

    verb: ClassVar[str] = "search"
    search: Annotated[str, WithJsonSchema({"enum": list(NAMES)})]
    """The strategy."""
    models: list[str] | None = Field(default=None, min_length=1)
    """Only these models of the fleet."""
    quality: NumberField | None = None
    """The P(correct) at which the search stops."""
    value_usd: Usd | None = None
    """What a right answer is worth."""
    may_abstain: bool = False
    """Give no answer rather than one that is believed less than `quality`."""

    def gives(self, at: CheckContext) -> ValueType:
        check_strategy_name(at, "search", self.search)
        for index, name in enumerate(self.models or ()):
            at.model(name, "models", index)
        return super().gives(at)

    async def perform(self, running: StepContext, given: JsonMapping) -> JsonValue:
        models = None if self.models is None else frozenset(self.models)
        more = {"quality": given.get("quality"), "value_usd": self.value_usd, "may_abstain": self.may_abstain}
        return await self.answer(running, self.query(running, given, models=models, **more), self.search)

    def forecast(self, outlook: Estimator) -> Forecast:
        return outlook.of_search(self, self.search, self.models)


def check_strategy_name(at: CheckContext, field: str, name: str) -> None:
    """Tells of a strategy that there is not."""
    known = [*NAMES, *plugin_names(STRATEGIES)] if name not in NAMES else NAMES
    if name not in known:
        at.problem("E107", f"{at.what}: unknown strategy '{name}'", field, hint=suggestion(name, known))


class AskStep(Prompted):
    """Asks one model once. How likely the answer is right is estimated only if an expression reads `confidence`."""

    verb: ClassVar[str] = "ask"
    ask: TextField
    """The model: a name of the fleet, or an expression that gives one."""
    _is_plain: bool = PrivateAttr(False)

    def gives(self, at: CheckContext) -> ValueType:
        at.model(self.ask, "ask")
        gives = super().gives(at)
        self._is_plain = not self._ready.checks and self._ready.schema is None and not at.is_read("confidence")
        return gives

    async def perform(self, running: StepContext, given: JsonMapping) -> JsonValue:
        model = given["ask"]
        query = self.query(running, given, models=frozenset([model]))
        if self._is_plain:
            from orchestrator.pipeline.steps.asking import as_value, asked  # numpy

            found = await asked(running, query, model)
            if found is not None:
                return {name: each for name, each in as_value(found).items() if name != "confidence"}
        return await self.answer(running, query, "single")

    def forecast(self, outlook: Estimator) -> Forecast:
        return outlook.of_search(self, "single", None if "${" in self.ask else [self.ask])


def _turns(history: Any) -> list[Message]:
    turns = [Turn.model_validate({"role": turn.get("role"), "content": turn.get("content")}) for turn in history or ()]
    return [Message(turn.role, turn.content) for turn in turns]
