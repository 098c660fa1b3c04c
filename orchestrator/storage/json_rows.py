"""Small files of JSON that a command writes and a fleet reads: one row of numbers for each model."""

from __future__ import annotations

import json
from pathlib import Path

from orchestrator.errors import ConfigError
from orchestrator.jsontypes import JsonMapping, JsonObject


def load_rows(path: str | Path, *, made_by: str) -> dict[str, JsonObject]:
    """By model; empty if there is no file.

    Raises `ConfigError` on one that cannot be read; `made_by` is the command that writes it.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        return {str(model): dict(row) for model, row in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise wrong_rows(path, error, made_by=made_by) from None


def wrong_rows(path: str | Path, error: Exception, *, made_by: str) -> ConfigError:
    """For a file whose rows are not what they should be."""
    return ConfigError(f"{path}: not a file of {made_by}: {error}", remedy=f"Make it again: {made_by}")


def save_row(path: str | Path, model: str, row: JsonMapping, *, made_by: str) -> None:
    """Adds or replaces one row; the file is replaced at once, so that nobody reads half of it."""
    path = Path(path)
    found = load_rows(path, made_by=made_by) | {model: dict(row)}
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    beside.replace(path)
