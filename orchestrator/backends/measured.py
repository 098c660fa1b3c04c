"""What `orchestrator probe` measured of models, kept in a file beside the configuration: it fills in what the configuration does not state."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from orchestrator.errors import ConfigError

DEFAULT_PATH = ".orchestrator/profiles.json"


@dataclass(frozen=True, slots=True)
class Measured:
    """Times in seconds, lengths in tokens, in the words of `ModelProfile`; `None` is what was not measured. `cache_gain` is the share of the time to
    the first token that a cached prefix saves, `measured_at` a date.
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
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        return {str(model): Measured(**{name: value for name, value in row.items() if name in known}) for model, row in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path}: not a file of measured profiles: {error}", remedy="Make it again: orchestrator probe") from None


def save_measured(model: str, measured: Measured, path: str | Path = DEFAULT_PATH) -> None:
    """Adds one to the file, which is replaced at once."""
    path = Path(path)
    found = {name: asdict(row) for name, row in load_measured(path).items()} | {model: asdict(measured)}
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    beside.replace(path)
