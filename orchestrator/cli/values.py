"""Kinds of values that options take."""

from __future__ import annotations

import math
import os
from pathlib import Path

import click


class FiniteRange(click.FloatRange):
    """A range of floats without NaN and infinity, which compare with nothing as people expect."""

    def convert(self, value: str | float, param: click.Parameter | None, context: click.Context | None) -> float:
        """The number, or a usage error."""
        number = float(super().convert(value, param, context))  # type: ignore[arg-type]
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, context)
        return number


class OutputFile(click.Path):
    """A file to be written, in a folder that is there: that it is not is told before anything is done or paid for."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, writable=True, path_type=Path)

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, context: click.Context | None
    ) -> Path:
        """The path, or a usage error."""
        path = Path(os.fsdecode(super().convert(value, param, context)))
        if not path.parent.is_dir():
            self.fail(f"there is no folder {path.parent}. Make it first, or write elsewhere", param, context)
        return path
