"""Every code that a diagnostic may have, and what `orchestrator explain CODE` tells of it.

They stand in `codes.yaml`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Code:
    """`wrong` and `right` are what one writes by mistake, and what is meant."""

    title: str
    about: str
    wrong: str = ""
    right: str = ""


@cache
def codes() -> dict[str, Code]:
    """Every code of a mistake with its explanation."""
    from orchestrator.config.yaml_loader import load_located  # pydantic and YAML

    stated = load_located(Path(__file__).with_name("codes.yaml").read_text(encoding="utf-8"), "codes.yaml").value
    return {name: Code(**each) for name, each in stated.items()}
