"""Base of sections in which nothing is converted, and the durations in them: those of pipelines, and of tools."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


class Exact(BaseModel):
    """Base of everything in a pipeline file: no unknown fields, and nothing converted (`no` is a text, not false)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True, defer_build=True)


def seconds_of(value: object) -> object:
    """A duration: a number of seconds, or a text like `500ms`, `5s`, `2m`, `1h`, `7d`."""
    if isinstance(value, str) and (found := _DURATION.fullmatch(value.strip())):
        return float(found[1]) * _SECONDS[found[2]]
    if isinstance(value, str):
        raise ValueError(f"a duration is a number of seconds, or like 500ms, 5s, 2m, 1h, 7d; not {value!r}")
    return value


Seconds = Annotated[
    float,
    BeforeValidator(seconds_of),
    Field(gt=0, le=31_536_000, allow_inf_nan=False),
    WithJsonSchema({"type": ["number", "string"]}),
]
