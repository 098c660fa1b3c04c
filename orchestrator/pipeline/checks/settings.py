"""What `verify:` lists: checks of an answer by name, cheap and certain ones first.

Each is a verifier with settings from the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from inspect import Parameter
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, PrivateAttr, create_model

from orchestrator.config.exact import Exact
from orchestrator.errors import ConfigError
from orchestrator.jsontypes import JsonMapping, JsonObject, JsonValue
from orchestrator.pipeline.checks.verifiers import verifier_of
from orchestrator.pipeline.expressions.evaluation import Compute
from orchestrator.pipeline.expressions.type_inference import suggestion
from orchestrator.pipeline.expressions.types import ANY, BOOL, TEXT
from orchestrator.pipeline.language.contracts import AnswerCheck, CheckContext, StepContext
from orchestrator.pipeline.language.fields import ListField, NumberField, TextField, ValueField
from orchestrator.pipeline.language.prompts import is_prompt_file
from orchestrator.pipeline.language.step import expression_fields
from orchestrator.pipeline.language.validation import validated
from orchestrator.plugins.entry_points import PluginError
from orchestrator.verifiers.registry import SHORT, is_schema, settings_of, verifier_names

if TYPE_CHECKING:
    from orchestrator.verifiers import Verifier


class CheckOptions(Exact):
    """Settings of one check; `checking.MAKERS` says which verifier is made of them."""

    short: ClassVar[str] = ""
    """The setting that is meant where there is nothing but a value: `regex: ^OK`."""

    def look(self, at: CheckContext, where: tuple[str | int, ...]) -> None:
        """Checks at load time what only this check can."""

    def settings(self) -> JsonObject:
        """The settings that are stated, as the check is made of them."""
        return self.model_dump(exclude_unset=True, by_alias=False)


class ArithmeticOptions(CheckOptions):
    """Equations in the answer are right; where the question is a sum as a whole, its result is."""


class CitesOptions(CheckOptions):
    """What the answer says must stand in the sources; what it cites must be one of them."""

    short: ClassVar[str] = "sources"
    sources: ListField
    every: bool = False
    """Every sentence must cite."""


class JudgeOptions(CheckOptions):
    """A model judges the answer by a rubric."""

    short: ClassVar[str] = "rubric"
    rubric: TextField | None = None
    """A text, or a file of one."""
    criteria: dict[str, str] = {}
    """Instead of a rubric: name: what is asked of an answer. Default: correct, complete, clear."""
    model: TextField | None = None
    """Default: the most capable model of the fleet."""
    at_least: Annotated[float, Field(gt=0, lt=1)] = 0.7
    _text: str | None = PrivateAttr(None)

    @property
    def text(self) -> str | None:
        """The rubric of the file, if it names one."""
        return self._text

    def look(self, at: CheckContext, where: tuple[str | int, ...]) -> None:
        if self.rubric is not None and self.criteria:
            at.problem("E107", "a judge has a rubric or criteria, not both", *where, "criteria", key=True)
        if self.rubric is not None and is_prompt_file(self.rubric):
            found = at.file(self.rubric, *where, "rubric")
            self._text = found[1].strip() if found is not None else ""
        if self.model is not None:
            at.model(self.model, *where, "model")


class JsonOptions(CheckOptions):
    """The answer is JSON that satisfies a schema."""

    short: ClassVar[str] = "schema"
    schema_: dict[str, Any] | str = Field(alias="schema")
    _schema: dict[str, Any] | None = PrivateAttr(None)

    @property
    def read(self) -> JsonObject:
        """The schema, read from the file if the check names one."""
        return self._schema or {}

    def look(self, at: CheckContext, where: tuple[str | int, ...]) -> None:
        self._schema = at.schema(self.schema_, *where, "schema")


class HoldsOptions(CheckOptions):
    """A condition of your own; `value` is the answer's JSON in it, `text` the answer."""

    short: ClassVar[str] = "that"
    that: str
    says: str = "a condition does not hold"
    """What a model is told that did not meet it."""
    _compute: Any = PrivateAttr(None)

    @property
    def compute(self) -> Compute:
        """The condition as a function from the values of names."""
        found: Compute = self._compute
        return found

    def look(self, at: CheckContext, where: tuple[str | int, ...]) -> None:
        schema = at.types.get("(value)", ANY)
        place = (*where, "that") if isinstance(at.raw_at(where), dict) else where
        at.type_of(self.that, *place, wanted=BOOL, more={"value": schema, "text": TEXT})
        self._compute = at.computed(self.that)


class RegexOptions(CheckOptions):
    """The answer, or a part of it, has a form."""

    short: ClassVar[str] = "pattern"
    pattern: str
    whole: bool = False

    def look(self, at: CheckContext, where: tuple[str | int, ...]) -> None:
        try:
            re.compile(self.pattern)
        except re.error as error:
            at.problem("E106", f"not a regular expression: {error}", *where)


class LengthOptions(CheckOptions):
    """The answer is not too short or too long."""

    short: ClassVar[str] = "max_words"
    min_words: Annotated[int, Field(ge=0)] = 0
    max_words: Annotated[int, Field(ge=0)] | None = None
    max_chars: Annotated[int, Field(ge=0)] | None = None


class LanguageOptions(CheckOptions):
    """The answer is in a language."""

    short: ClassVar[str] = "of"
    of: str = "query"
    """`query`, or two letters: `de`. Needs the extra `language`."""

    def settings(self) -> JsonObject:
        return {} if self.of == "query" else {"language": self.of}


class PersonalDataOptions(CheckOptions):
    """There are no mail addresses, telephone, card or account numbers in the answer."""


class SafetyOptions(CheckOptions):
    """The answer holds nothing unsafe, and no text that is forbidden."""

    short: ClassVar[str] = "forbidden"
    forbidden: list[str] = []
    decisive: bool = True

    def settings(self) -> JsonObject:
        return {"forbidden": self.forbidden, "decisive": self.decisive}


class NumberOptions(CheckOptions):
    """The last number of the answer."""

    short: ClassVar[str] = "equals"
    equals: NumberField | None = None
    at_least: NumberField | None = None
    at_most: NumberField | None = None


class TestsOptions(CheckOptions):
    """The Python program in the answer passes these tests, in the sandbox."""

    short: ClassVar[str] = "pass"
    pass_: ListField = Field(alias="pass")
    """Expressions, or `assert` statements."""

    def settings(self) -> JsonObject:
        return {}


CHECKS: dict[str, type[CheckOptions]] = {
    "arithmetic": ArithmeticOptions,
    "json": JsonOptions,
    "holds": HoldsOptions,
    "regex": RegexOptions,
    "length": LengthOptions,
    "number": NumberOptions,
    "language": LanguageOptions,
    "personal_data": PersonalDataOptions,
    "safety": SafetyOptions,
    "cites": CitesOptions,
    "tests": TestsOptions,
    "judge": JudgeOptions,
}


def find_check(name: str) -> type[CheckOptions] | None:
    """The settings of a check by its name.

    Those above, else what the verifier of this name takes, each an expression if one likes.
    """
    if name in CHECKS:
        return CHECKS[name]
    return _settings_model(name) if name in verifier_names() else None


def all_checks() -> dict[str, type[CheckOptions]]:
    """Every check by its name, those of other packages too."""
    return {**CHECKS, **{name: _settings_model(name) for name in verifier_names() if name not in CHECKS}}


class _PlainOptions(CheckOptions):
    """Settings of a verifier as its constructor takes them.

    Each may hold expressions, so all of them are among what is given at run time.
    """

    def settings(self) -> JsonObject:
        return {}


@cache
def _settings_model(name: str) -> type[CheckOptions]:
    fields: dict[str, Any] = {}
    try:
        settings = settings_of(name)
    except PluginError as error:
        raise ConfigError(f"the check {error}", remedy="Reinstall its package") from None
    for setting, parameter in settings.items():
        is_required = parameter.default is Parameter.empty
        kind = ValueField if is_required else ValueField | None
        fields[f"{setting}_"] = (kind, Field(alias=setting) if is_required else Field(default=None, alias=setting))
    made = create_model(f"{name.title()}Options", __base__=_PlainOptions, **fields)
    made.short = SHORT.get(name) or next(iter(settings), "")
    return made


@dataclass(frozen=True, slots=True)
class Check:
    """One entry of `verify:`, checked; `fields` compute its settings."""

    name: str
    options: CheckOptions
    fields: Mapping[str, Compute]

    def given(self, values: JsonMapping) -> JsonObject:
        """The settings that are expressions, with their values."""
        return {name: compute(values) for name, compute in self.fields.items()}

    async def verifier(self, running: StepContext) -> Verifier:
        """Raises `ConfigError` on a check that cannot be made here."""
        return await verifier_of(self.name, self.options, self.given(running.values), running)


def read_checks(stated: Sequence[JsonValue], at: CheckContext, where: tuple[str | int, ...]) -> list[Check]:
    """The checks of a list, mistakes told."""
    found = []
    for index, entry in enumerate(stated):
        check = _read(entry, at, (*where, index))
        if check is not None:
            found.append(check)
    return found


def _find(name: str) -> tuple[type[CheckOptions] | None, str, str]:
    """The settings of a check; if there are none, what is wrong with its name and what to do."""
    try:
        kind = find_check(name)
    except ConfigError as error:
        return None, error.message, error.remedy
    if kind is None:
        return None, f"there is no check '{name}'", suggestion(name, [*CHECKS, *verifier_names()])
    return kind, "", ""


def _read(entry: Any, at: CheckContext, where: tuple[str | int, ...]) -> Check | None:
    raw: Any = {}
    if isinstance(entry, str):
        name, place = entry, where
    elif isinstance(entry, dict) and len(entry) == 1:
        ((name, raw),) = entry.items()
        place = (*where, name)
    else:
        at.problem("E504", "a check is a name, or a name with settings: {judge: {rubric: ...}}", *where)
        return None
    kind, wrong, hint = _find(name)
    if kind is None:
        at.problem("E504", wrong, *place, hint=hint, key=place != where)
        return None
    raw = {} if raw is True else raw  # `personal_data: true` is the check alone, as in the configuration
    short = not isinstance(raw, dict) or (kind is JsonOptions and is_schema(raw))
    if short and raw is not None and kind.short:
        raw = {kind.short: raw}
    options = validated(kind, raw or {}, (*at.where, *place), at.sources, f"check '{name}'")
    fields: dict[str, Compute] = {}
    for field, (_, takes) in expression_fields(kind).items():
        if raw and raw.get(field) is not None:
            at.type_of(raw[field], *place, *([] if short else [field]), wanted=takes.type)
            if options is not None:
                fields[field] = at.computed(raw[field])
    if options is None:
        return None
    options.look(at, place)
    return Check(name, options, fields)


def sources_of(checks: Sequence[AnswerCheck], values: JsonMapping) -> JsonValue:
    """What the answer may cite, for models that answer from notes."""
    return next((check.given(values).get("sources") for check in checks if check.name == "cites"), None)
