"""What is wrong with a pipeline file.

Each mistake with its code, its place, the line it stands on and what to write instead.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from orchestrator.config.yaml_loader import without_secrets
from orchestrator.errors import ConfigError
from orchestrator.jsontypes import JsonObject
from orchestrator.pipeline.language.codes import codes

MAX_SHOWN = 120
Format = Literal["text", "json", "github", "sarif"]


@dataclass(frozen=True, slots=True, order=True)
class Diagnostic:
    """`line` and `column` count from 1; `length` is how many characters the mistake covers.

    Codes that begin with W are warnings.
    """

    file: str
    line: int
    column: int
    code: str
    message: str
    hint: str = ""
    source: str = ""
    length: int = 1

    @property
    def is_error(self) -> bool:
        """Whether it keeps the pipeline from running; others are warnings."""
        return not self.code.startswith("W")

    def as_text(self) -> str:
        """As compilers show it: the place, the line, a caret under what is meant."""
        kind = "error" if self.is_error else "warning"
        if not self.source:  # of a file that could not be read, there is no line to show
            return f"{self.file}: {kind}[{self.code}]: {self.message}{f'; {self.hint}' if self.hint else ''}"
        cut = max(self.column - 1 - MAX_SHOWN // 2, 0) if len(self.source) > MAX_SHOWN else 0
        shown = without_secrets(self.source)[cut : cut + MAX_SHOWN]
        carets = "^" * max(1, min(self.length, len(shown) - (self.column - 1 - cut)))
        hint = f" {self.hint}" if self.hint else ""
        under = f"{' ' * (self.column - 1 - cut)}{carets}{hint}"
        return (
            f"{self.file}:{self.line}:{self.column}: {kind}[{self.code}]: {self.message}\n  {self.line:4d} | "
            f"{shown}\n       | {under}"
        )

    def as_dict(self) -> JsonObject:
        """The mistake as JSON values."""
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "length": self.length,
            "severity": "error" if self.is_error else "warning",
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
        }


class InvalidPipeline(ConfigError):
    """A pipeline that cannot run.

    `diagnostics` are all its mistakes, in the order of the file, `files` what was read.
    """

    code = "invalid_pipeline"

    def __init__(self, diagnostics: Sequence[Diagnostic], files: Sequence[Path] = ()) -> None:
        self.diagnostics = tuple(sorted(diagnostics))
        self.files = tuple(files)
        super().__init__(rendered(self.diagnostics))

    def as_dict(self) -> JsonObject:
        """As every error, with every mistake."""
        return {**super().as_dict(), "diagnostics": [each.as_dict() for each in self.diagnostics]}


def rendered(diagnostics: Iterable[Diagnostic], form: Format = "text") -> str:
    """All of them as one text: for people, as JSON, as GitHub's workflow commands, or as SARIF 2.1.0."""
    found = sorted(diagnostics)
    if form == "json":
        return json.dumps([each.as_dict() for each in found], indent=2, ensure_ascii=False)
    if form == "github":
        return "\n".join(map(_github, found))
    if form == "sarif":
        return json.dumps(_sarif(found), indent=2, ensure_ascii=False)
    closing = _closing([each for each in found if each.is_error])
    return "\n".join([*(each.as_text() for each in found), *([closing] if closing else [])])


def _closing(errors: Sequence[Diagnostic]) -> str:
    if not errors:
        return ""
    count = "" if len(errors) == 1 else f"{len(errors)} mistakes. "
    return f"{count}More about the first: orchestrator explain {errors[0].code}"


def _github(each: Diagnostic) -> str:
    level = "error" if each.is_error else "warning"
    told = (
        ": ".join(filter(None, (each.message, each.hint))).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    )
    place = f"file={each.file},line={each.line},col={each.column},endColumn={each.column + each.length}"
    return f"::{level} {place},title={each.code}::{told}"


def _sarif(found: Sequence[Diagnostic]) -> JsonObject:
    rules = [
        {"id": code, "shortDescription": {"text": codes()[code].title}}
        for code in dict.fromkeys(each.code for each in found)
    ]
    results = [
        {
            "ruleId": each.code,
            "level": "error" if each.is_error else "warning",
            "message": {"text": f"{each.message} {each.hint}".strip()},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": each.file},
                        "region": {
                            "startLine": each.line,
                            "startColumn": each.column,
                            "endColumn": each.column + each.length,
                        },
                    }
                }
            ],
        }
        for each in found
    ]
    driver = {"name": "orchestrator", "rules": rules}
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }
