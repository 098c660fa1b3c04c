"""Kinds of values that sections of the configuration share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from orchestrator.config.names import DEFAULT_NAME as DEFAULT_NAME
from orchestrator.config.suggestions import MAX_CHOICES, suggest
from orchestrator.plugins.entry_points import BACKENDS, ENCODERS, plugin_names
from orchestrator.providers.addresses import checked_address, filled_in
from orchestrator.providers.table import PROVIDERS as _HOSTED

MAX_NAME_CHARS = 256  # of a model
ENCODER_NAMES = ("static", "minilm", "multilingual", "endpoint")


PROVIDERS = ("calculator", "extractive", "student", "simulated", "recorded", *_HOSTED)


Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


Share = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]


class Strict(BaseModel):
    """Base of every section: no unknown fields, and nothing changes after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


def _web_address(stated: str) -> str:
    return checked_address(stated)


def known_provider(name: str) -> str:
    """A provider of the table, or one that another package registers. Raises `ValueError` with a suggestion."""
    return _known("provider", name, PROVIDERS, BACKENDS)


def known_encoder(name: str) -> str:
    """An encoder of ours, or one that another package registers. Raises `ValueError` with a suggestion."""
    return _known("encoder", name, ENCODER_NAMES, ENCODERS)


def _known(what: str, name: str, ours: Sequence[str], group: str) -> str:
    """A name of ours, or one that another package registers. Raises `ValueError` with a suggestion."""
    if name not in ours and name not in (others := plugin_names(group)):
        raise ValueError(f"unknown {what} {name!r}{suggest(name, [*ours, *others], most=MAX_CHOICES)}")
    return name


Address = Annotated[str, AfterValidator(_web_address)]

Kept = Annotated[str, AfterValidator(filled_in)]
"""Where something is kept: a file, or `postgresql://...`; `${NAME}` in it is a variable of the environment."""


def usable_name(name: str) -> str:
    """The name of a model. Raises `ValueError` on one that nobody could ask for."""
    if not name or name != name.strip() or not name.isprintable() or len(name) > MAX_NAME_CHARS:
        told = f"a model's name is printable text of 1 to {MAX_NAME_CHARS} characters without blanks around it"
        raise ValueError(f"{told}, not {name[:MAX_NAME_CHARS]!r}")
    if name == "auto" or name.startswith(("auto:", "pipeline:")):
        raise ValueError(f"a gateway's clients mean something else by {name!r}: name the model otherwise")
    return name
