"""What `orchestrator probe` measured of models, kept in a file beside the configuration.

It fills in what the configuration does not state.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path

from orchestrator.storage.json_rows import load_rows, save_row

DEFAULT_PATH = ".orchestrator/profiles.json"
MADE_BY = "orchestrator probe"


@dataclass(frozen=True, slots=True)
class Measured:
    """Times in seconds, lengths in tokens, in the words of `ModelProfile`; `None` is what was not measured.

    `cache_gain` is the share of the time to the first token that a cached prefix saves, `measured_at` a date.
    """

    ttft_s: float | None = None
    prefill_tokens_per_s: float | None = None
    tokens_per_s: float | None = None
    effective_context_tokens: int | None = None
    cache_gain: float | None = None
    cached_tokens: int | None = None
    measured_at: str = ""


def load_measured(path: str | Path = DEFAULT_PATH) -> dict[str, Measured]:
    """By model; empty if there is no file. Raises `ConfigError` on one that cannot be read."""
    known = {field.name for field in fields(Measured)}
    rows = load_rows(path, made_by=MADE_BY)
    return {
        model: Measured(**{name: value for name, value in row.items() if name in known}) for model, row in rows.items()
    }


def save_measured(
    model: str, measured: Measured, path: str | Path = DEFAULT_PATH, *, earlier: Measured | None = None
) -> None:
    """What was not measured this time stays as it was `earlier`."""
    known = {} if earlier is None else asdict(earlier)
    found = {name: value for name, value in asdict(measured).items() if value is not None}
    save_row(path, model, {**asdict(measured), **known, **found}, made_by=MADE_BY)
