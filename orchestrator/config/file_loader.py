"""Reads a YAML file into a pydantic model; every mistake is told in one pass, with file:line:column."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from orchestrator.config.problems import describe_problem, fields_at, mistakes_told, relevant_problems
from orchestrator.config.yaml_loader import load_located
from orchestrator.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)


def load_file(path: Path, model: type[Model], *, starts_with: str, page: str) -> Model:
    """The file as a `model`.

    `starts_with` is the field that an empty file lacks most, `page` the document that explains the file.

    Raises `ConfigError` that lists every mistake.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        told = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read: {told}", remedy="Check the path") from None
    located = load_located(text, str(path))
    if not isinstance(located.value, dict):
        raise ConfigError(f"{path}:1:1: the file is empty or not a mapping", remedy=f"Start with `{starts_with}:`")
    try:
        return model.model_validate(located.value)
    except ValidationError as error:
        problems = [
            describe_problem(located, problem, lambda where: fields_at(model, where), page)
            for problem in relevant_problems(error, located.value)
        ]
        raise mistakes_told(problems) from None
