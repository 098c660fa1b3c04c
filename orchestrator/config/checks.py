"""The section `checks:` of the configuration."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, ValidationInfo

from orchestrator.config.fields import Share, Strict
from orchestrator.config.names import DEFAULT_NAME as DEFAULT_NAME
from orchestrator.config.suggestions import suggest
from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.plugins.entry_points import PluginError
from orchestrator.verifiers.registry import read_settings, verifier_names


class LengthConfig(Strict):
    """Limits on the length of an answer."""

    min_words: Annotated[int, Field(ge=0)] = 0
    max_words: Annotated[int, Field(ge=0)] | None = None
    max_chars: Annotated[int, Field(ge=0)] | None = None


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


def _usable_settings(stated: JsonValue, about: ValidationInfo) -> JsonValue:
    """Settings of the check that a field is named after."""
    if stated is not None and stated is not False:
        read_settings(str(about.field_name).rstrip("_"), stated)
    return stated


def _known_plugins(stated: JsonObject) -> JsonObject:
    for name, settings in stated.items():
        if name not in verifier_names():
            raise ValueError(f"no package registers a verifier {name!r}{suggest(name, list(verifier_names()))}")
        try:
            read_settings(name, settings)
        except PluginError as error:
            raise ValueError(f"the verifier {error}. Reinstall its package") from None
    return stated


CheckSettings = Annotated[Any, AfterValidator(_usable_settings)]


class ChecksConfig(Strict):
    """What every answer is checked for, beside what a query asks for itself (a schema, options, sources)."""

    regex: str | None = None
    length: LengthConfig | None = None
    personal_data: bool = False
    safety: SafetyConfig | None = None
    language: str | None = None
    """`query`, or two letters (`de`). Needs the extra `language`."""
    judge: JudgeConfig | None = None
    arithmetic: CheckSettings = None
    """These and the following take `true`, the first setting alone, or a mapping of settings.

    See docs/verification.md.
    """
    choice: CheckSettings = None
    cites: CheckSettings = None
    json_: CheckSettings = Field(default=None, alias="json")
    mathematics: CheckSettings = None
    number: CheckSettings = None
    numeric: CheckSettings = None
    quantity: CheckSettings = None
    sql: CheckSettings = None
    tests: CheckSettings = None
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
