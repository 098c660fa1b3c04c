"""Every verifier by the name that configurations and pipelines know it by. A new one is its file and a line here.

Other packages add theirs under the entry point `orchestrator.verifiers`.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.plugins.entry_points import VERIFIERS as GROUP
from orchestrator.plugins.entry_points import load_plugin, make_plugin, plugin_names
from orchestrator.verifiers.verdict import Verifier

VERIFIERS: dict[str, str] = {
    "arithmetic": "answers.arithmetic_check:ArithmeticVerifier",
    "choice": "answers.choice:ChoiceVerifier",
    "cites": "grounding:GroundingVerifier",
    "json": "form.schema:JsonSchemaVerifier",
    "language": "form.language:LanguageVerifier",
    "length": "form.regex_length:LengthVerifier",
    "mathematics": "mathematics:MathematicsVerifier",
    "number": "answers.number_range:NumberRangeVerifier",
    "numeric": "answers.number:NumericVerifier",
    "personal_data": "form.personal_data:PersonalDataVerifier",
    "quantity": "quantity:QuantityVerifier",
    "regex": "form.regex_length:RegexVerifier",
    "safety": "form.safety:SafetyVerifier",
    "sql": "sql:SqlVerifier",
    "tests": "code.unit_tests:UnitTestVerifier",
}
SCHEMA_KEYWORDS = frozenset(
    "$schema $id $ref $defs definitions type enum const properties patternProperties additionalProperties required "
    "propertyNames minProperties maxProperties dependentRequired dependentSchemas unevaluatedProperties items "
    "prefixItems contains minItems maxItems uniqueItems unevaluatedItems minLength maxLength pattern format minimum "
    "maximum exclusiveMinimum exclusiveMaximum multipleOf allOf anyOf oneOf not if then else title description".split()
)
NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)  # what a file can state by name
SHORT = {"length": "max_words", "safety": "forbidden"}
"""The setting that is meant where a value stands alone, if it is not the first one."""


def verifier_names() -> tuple[str, ...]:
    """All names: ours, then those of other packages."""
    return (*VERIFIERS, *(name for name in plugin_names(GROUP) if name not in VERIFIERS))


def verifier_class(name: str) -> Any:
    """What makes the verifier of this name: a class, or a function. Raises `KeyError` on a name that nobody knows."""
    if name not in VERIFIERS:
        return load_plugin(GROUP, name)
    module, _, attribute = VERIFIERS[name].partition(":")
    return getattr(import_module(f"orchestrator.verifiers.{module}"), attribute)


def settings_of(name: str) -> dict[str, inspect.Parameter]:
    """The settings of a verifier by their names: the parameters of its constructor, with their types resolved."""
    made = verifier_class(name)
    function = vars(made).get("__init__", made) if isinstance(made, type) else made
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):  # annotations of another package that cannot be resolved here
        hints = {}
    found = (each for each in inspect.signature(made).parameters.values() if each.kind in NAMED)
    return {each.name: each.replace(annotation=hints.get(each.name, Any)) for each in found}


def read_settings(name: str, stated: JsonValue) -> JsonObject:
    """Settings as they stand in a file, checked: `true` for none, a value alone for the first one, or a mapping.

    Raises `ValueError` that says which setting is wrong or missing, and what there is.
    """
    parameters = settings_of(name)
    if stated is True or stated is None:
        stated = {}
    elif not isinstance(stated, Mapping) or (name == "json" and is_schema(stated)):
        if not parameters:
            raise ValueError(f"{name} has no settings; write {name}: true")
        stated = {SHORT.get(name) or next(iter(parameters)): stated}
    for setting in stated:
        if setting not in parameters:
            near = get_close_matches(str(setting), parameters, n=1)
            told = f"Did you mean {near[0]!r}?" if near else f"It has: {', '.join(parameters) or 'none'}"
            raise ValueError(f"{name} has no setting {setting!r}. {told}")
    for setting, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and setting not in stated:
            raise ValueError(f"{name} needs {setting!r}")
    return {
        setting: _checked(f"{name}.{setting}", value, parameters[setting].annotation)
        for setting, value in stated.items()
    }


def is_schema(stated: Mapping[str, JsonValue]) -> bool:
    """Whether a mapping is a JSON Schema itself, and not settings with one under `schema`."""
    return not stated or ("schema" not in stated and bool(stated.keys() & SCHEMA_KEYWORDS))


def make_verifier(name: str, stated: JsonValue = None) -> Verifier:
    """The verifier of this name with settings as they stand in a file.

    Raises `ValueError` on settings that it cannot have, `PluginError` on one of another package that cannot be made.
    """
    settings = read_settings(name, stated)
    if name not in VERIFIERS:
        foreign: Verifier = make_plugin(GROUP, name, needs=("name", "verify"), settings=settings)
        return foreign
    made: Verifier = verifier_class(name)(**settings)
    return made


def _checked(where: str, value: Any, annotation: Any) -> Any:
    """A value as a parameter's type has it."""
    from pydantic import ConfigDict, TypeAdapter, ValidationError  # takes a tenth of a second, and only files need it

    try:
        config = None if _is_own_model(annotation) else ConfigDict(arbitrary_types_allowed=True)
        return TypeAdapter(annotation, config=config).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{where}: {first['msg'][:1].lower()}{first['msg'][1:]}, not {_short(value)}") from None


def _is_own_model(annotation: Any) -> bool:
    """Whether a type brings a configuration of its own, so that none may be given beside it."""
    return hasattr(annotation, "__dataclass_fields__") or hasattr(annotation, "model_fields")


def _short(value: JsonValue) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:79]}…"
