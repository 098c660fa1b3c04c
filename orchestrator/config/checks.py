"""The section `checks:` of the configuration."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationInfo, create_model

from orchestrator.config.fields import Share, Strict
from orchestrator.config.names import DEFAULT_NAME as DEFAULT_NAME
from orchestrator.config.suggestions import suggest
from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.plugins.entry_points import PluginError
from orchestrator.verifiers.registry import VERIFIERS, make_verifier, verifier_names


class LengthConfig(Strict):
    """Limits on the length of an answer."""

    min_words: Annotated[int, Field(ge=0)] = 0
    """At least so many words."""
    max_words: Annotated[int, Field(ge=0)] | None = None
    """At most so many words."""
    max_chars: Annotated[int, Field(ge=0)] | None = None
    """At most so many characters."""


class SafetyConfig(Strict):
    """What no answer may hold."""

    forbidden: list[str] = []
    """Texts that no answer may hold, a system prompt for example."""
    decisive: bool = False
    """Rule such answers out, instead of believing them less."""


class JudgeConfig(Strict):
    """A model of the fleet that judges answers."""

    model: str
    """A model of this fleet."""
    criteria: dict[str, str] = {}
    """Name: what is asked of an answer. Default: correct, complete, clear."""
    rubric: str | None = None
    """Instead of criteria: all that is asked of an answer, in one text."""
    at_least: Share = 0.7
    """The score in [0, 1] that passes."""


def _usable_settings(stated: JsonValue, about: ValidationInfo) -> JsonValue:
    """Settings of the check that a field is named after, tried by making it."""
    if stated is not None and stated is not False:
        _try(str(about.field_name).rstrip("_"), stated)
    return stated


def _try(name: str, settings: JsonValue) -> None:
    """Raises `ValueError` on settings with which a verifier cannot be made."""
    try:
        make_verifier(name, settings)
    except PluginError as error:
        raise ValueError(f"the verifier {error}. Look at its settings and its package") from None
    except ImportError:
        return  # told where it is used, with the extra that brings it


def _pattern(stated: str) -> str:
    try:
        re.compile(stated)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return stated


def _alone(setting: str) -> BeforeValidator:
    """A value alone is the setting that is usually meant; `true` takes the defaults."""

    def read(stated: JsonValue) -> JsonValue:
        if stated is True:
            return {}
        is_whole = stated is None or stated is False or isinstance(stated, dict | BaseModel)
        return stated if is_whole else {setting: stated}

    return BeforeValidator(read)


def _known_plugins(stated: JsonObject) -> JsonObject:
    for name, settings in stated.items():
        if name in VERIFIERS:
            raise ValueError(
                f"{name!r} is a check of ours, which no package can replace: write it under checks: itself"
            )
        others = [each for each in verifier_names() if each not in VERIFIERS]
        if name not in others:
            raise ValueError(f"no package registers a verifier {name!r}{suggest(name, others)}")
        _try(name, settings)
    return stated


CheckSettings = Annotated[Any, AfterValidator(_usable_settings)]


class _StatedChecks(Strict):
    """What every answer is checked for, beside what a query asks for itself (a schema, options, sources)."""

    regex: Annotated[str, AfterValidator(_pattern)] | None = None
    """A pattern that every answer must hold."""
    length: Annotated[LengthConfig | None, _alone("max_words")] = None
    """How long answers may be."""
    personal_data: bool = False
    """Look for mail addresses, card numbers and their like."""
    safety: Annotated[SafetyConfig | None, _alone("forbidden")] = None
    """No keys, destroying commands, hidden text, or texts that you forbid."""
    language: str | None = None
    """`query`, or two letters (`de`). Needs the extra `language`."""
    judge: JudgeConfig | None = None
    """A model that grades each answer."""
    plugins: Annotated[dict[str, Any], AfterValidator(_known_plugins)] = {}
    """Verifiers of other packages, by the names that they register, with their settings."""

    def stated(self) -> JsonObject:
        """The checks that are asked for, by name, with their settings."""
        found: dict[str, Any] = {}
        for field, described in type(self).model_fields.items():
            value = getattr(self, field)
            if field != "plugins" and value not in (None, False):
                found[described.alias or field] = value.model_dump() if isinstance(value, BaseModel) else value
        if found.get("language") == "query":
            found["language"] = True
        return found | self.plugins


_ABOUT = {
    "arithmetic": "`true`: no equation of an answer is wrong.",
    "choice": "The right option.",
    "cites": "Each claim must be found in the sources that it cites.",
    "json": "The JSON Schema of every answer.",
    "mathematics": "The right expression, in LaTeX or plain.",
    "number": "Bounds of the final number.",
    "numeric": "The right number, and how far an answer may be off.",
    "quantity": "The right number with its unit.",
    "sql": "The tables that a query must fit, and the rows that it must give.",
    "tests": "Python expressions that hold for a right program.",
}


def _with_every_verifier() -> type[_StatedChecks]:
    """A field for each verifier that has none yet: `true`, the first setting alone, or a mapping of settings."""
    fields: dict[str, Any] = {}
    for name in VERIFIERS:
        if name in _StatedChecks.model_fields:
            continue
        clashes = hasattr(Strict, name)  # `json` is a method of pydantic's models
        about = Field(default=None, alias=name if clashes else None, description=_ABOUT.get(name))
        fields[f"{name}_" if clashes else name] = (CheckSettings, about)
    return create_model("ChecksConfig", __base__=_StatedChecks, __doc__=_StatedChecks.__doc__, **fields)


if TYPE_CHECKING:
    ChecksConfig = _StatedChecks
else:
    ChecksConfig = _with_every_verifier()
