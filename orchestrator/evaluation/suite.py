"""The file of an evaluation: examples, configurations, and what is expected of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, PrivateAttr, model_validator

from orchestrator.config.fields import Price, Share, Strict
from orchestrator.config.file_loader import load_file
from orchestrator.config.names import STRATEGY_ALIASES, STRATEGY_NAMES
from orchestrator.config.problems import FieldMistake
from orchestrator.config.suggestions import suggest

Name = Annotated[str, Field(pattern=r"^[\w][\w .-]{0,59}$")]
Unit = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


def _known_strategy(name: str) -> str:
    name = STRATEGY_ALIASES.get(name, name)
    if name not in STRATEGY_NAMES:
        raise ValueError(f"unknown strategy {name!r}{suggest(name, list(STRATEGY_NAMES))}")
    return name


class DataConfig(Strict):
    """A file of examples."""

    file: str
    """Beside the suite: .jsonl, .csv, .parquet, or tests of promptfoo in .yaml."""
    prompt: str | None = None
    """What is asked, with `{{name}}` for a variable or a column; without it, the example's question."""
    sample: Annotated[int, Field(gt=0)] | None = None
    """How many of its examples, drawn by the suite's `seed`; all unless stated."""


class VariantConfig(Strict):
    """A configuration under test: a file, and what is otherwise in it."""

    config: str = "orchestrator.yaml"
    """Beside the suite."""
    models: list[str] | None = None
    """The models that may answer; all unless stated."""
    quality: Unit | None = None
    strategy: Annotated[str, AfterValidator(_known_strategy)] | None = None
    value_usd: Price | None = None
    max_tokens: Annotated[int, Field(gt=0)] | None = None
    memory_tokens: Annotated[int, Field(ge=0)] | None = None
    """How many tokens of a prompt memories may fill; 0 asks no memory."""
    system: str | None = None
    """The rules that stand before each example's conversation."""


class Expectation(Strict):
    """Something that a configuration must reach: exactly one of the limits."""

    of: str
    """The configuration."""
    loses_at_most: Unit | None = None
    """Its mean score is at most this much below the baseline's."""
    score_at_least: Unit | None = None
    usd_per_1k_at_most: Price | None = None
    """What 1,000 examples cost."""
    p95_seconds_at_most: Price | None = None
    certain: bool = True
    """Whether a quality must be shown with the suite's `confidence`; else the plain figures are compared."""

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        limits = (self.loses_at_most, self.score_at_least, self.usd_per_1k_at_most, self.p95_seconds_at_most)
        if sum(limit is not None for limit in limits) != 1:
            raise ValueError(
                "an expectation has one limit: loses_at_most, score_at_least, usd_per_1k_at_most or p95_seconds_at_most"
            )
        return self

    def __str__(self) -> str:
        """In words."""
        if self.loses_at_most is not None:
            return f"{self.of} loses at most {self.loses_at_most:g}"
        if self.score_at_least is not None:
            return f"{self.of} scores at least {self.score_at_least:g}"
        if self.usd_per_1k_at_most is not None:
            return f"{self.of} costs at most {self.usd_per_1k_at_most:g} USD for 1,000"
        return f"{self.of} takes at most {self.p95_seconds_at_most:g} s (95th percentile)"

    @property
    def is_of_quality(self) -> bool:
        """Whether it is about scores, which can be shown by a test."""
        return self.loses_at_most is not None or self.score_at_least is not None


class Suite(Strict):
    """An evaluation."""

    _folder: Path = PrivateAttr(default_factory=Path)

    version: Literal[1] = 1
    name: str = "evaluation"
    data: Annotated[list[DataConfig], Field(min_length=1)]
    configurations: Annotated[dict[Name, VariantConfig | str], Field(min_length=1)]
    """By name: the file of a configuration, or that file with settings that differ."""
    baseline: str | None = None
    """The configuration that the others are compared with; the first unless stated."""
    expect: list[Expectation] = []
    judge: str | None = None
    """The model, of the baseline's configuration, that decides about `llm-rubric`."""
    usd: Price | None = None
    """What the whole evaluation may cost; a configuration without known prices is then not asked."""
    seed: int = 0
    """Of what is drawn by chance."""
    confidence: Share = 0.95
    """How sure it must be that what is expected holds: of all expectations together."""
    stop_early: bool = True
    """End as soon as every expectation of quality is shown or refuted."""
    at_once: Annotated[int, Field(ge=1, le=1000)] = 8
    """How many answers are awaited at once."""

    @property
    def folder(self) -> Path:
        """Where the file is: its other files are looked for there."""
        return self._folder

    @property
    def variants(self) -> dict[str, VariantConfig]:
        """The configurations, in the order of the file, the baseline first."""
        found = {
            name: VariantConfig(config=stated) if isinstance(stated, str) else stated
            for name, stated in self.configurations.items()
        }
        first = self.baseline or next(iter(found))
        return {first: found[first], **found}

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        known = list(self.configurations)
        named: list[tuple[str | None, tuple[str | int, ...]]] = [(self.baseline, ("baseline",))]
        named += [(each.of, ("expect", n, "of")) for n, each in enumerate(self.expect)]
        for name, where in named:
            if name is not None and name not in known:
                raise FieldMistake(f"there is no configuration {name!r}{suggest(name, known)}", *where)
        first = self.baseline or known[0]
        for n, each in enumerate(self.expect):
            if each.of == first and each.loses_at_most is not None:
                raise FieldMistake(f"{first} is the baseline: it cannot lose against itself", "expect", n, "of")
        return self


def load_suite(path: Path) -> Suite:
    """Reads the file. Raises `ConfigError` with every mistake and its place."""
    suite = load_file(path, Suite, starts_with="data", page="docs/evaluate.md")
    suite._folder = path.resolve().parent
    return suite
