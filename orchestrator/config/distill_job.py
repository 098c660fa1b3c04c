"""A job of distillation as its file states it: which task, where texts come from, who teaches, what is promised."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from orchestrator.config.exact import Seconds
from orchestrator.config.fields import Price, Share, Strict
from orchestrator.config.file_loader import load_file
from orchestrator.jsontypes import JsonObject
from orchestrator.students.task import StudentTask, TaskError

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
FieldKind = Literal["text", "number", "integer", "email"]


class TaskConfig(Strict):
    """What students of this job answer."""

    prompt: str = "{text}"
    """The query, with `{text}` where the text stands: who asks so is answered by the student."""
    system: str | None = None
    """The system message under which it is asked."""
    answer: str = "{label}"
    """How a label becomes an answer."""
    labels: list[Annotated[str, Field(min_length=1)]] = []
    """What may be answered; without them, whatever teachers answer is a label."""
    fields: dict[Annotated[str, Field(min_length=1)], FieldKind] = {}
    """Fields that are to be copied out of the text, instead of labels."""
    generates: bool = False
    """Answers are free text: data are exported for fine-tuning, and no student is trained here."""

    @property
    def kind(self) -> Literal["classification", "extraction", "generation"]:
        """What is answered."""
        return "extraction" if self.fields else "generation" if self.generates else "classification"

    def as_task(self) -> StudentTask:
        """The task as a student has it."""
        kind: Literal["classification", "extraction"] = "extraction" if self.fields else "classification"
        return StudentTask(self.prompt, self.system, self.answer, kind)

    @model_validator(mode="after")
    def _can_be(self) -> Self:
        try:
            self.as_task()
        except TaskError as error:
            raise ValueError(str(error)) from None
        if sum(map(bool, (self.labels, self.fields, self.generates))) > 1:
            raise ValueError("a task has labels, or fields, or generates text: state one of them")
        if len(self.labels) == 1 or len({label.casefold() for label in self.labels}) != len(self.labels):
            raise ValueError("labels must be at least two, all different")
        return self


class SourceConfig(Strict):
    """Where texts come from: exactly one of `file`, `prompts`, `documents`, `traffic`, `decisions`, `outcomes`."""

    file: str | None = None
    """CSV, JSON lines or Parquet; a `.txt` file has one text a line."""
    text: str = "text"
    """The column of the texts; this and the next ones are for files."""
    label: str | None = None
    """The column of what a teacher has answered already: such rows are not asked for again."""
    confidence: str | None = None
    gold: str | None = None
    """The column of right answers, which are never trained on unless `gold_teaches`."""
    gold_teaches: bool = False
    """Take gold as the teacher's answer."""
    group: str | None = None
    """The column of what belongs together: a customer, a thread, a document."""
    time: str | None = None
    """The column of when it was: ISO 8601, or anything that sorts."""
    teacher: str = "recorded"
    """Who gave the labels of a file."""
    license: str = ""
    """For the data card."""
    prompts: list[str] = []
    documents: str | None = None
    """Files, as a pattern: the fleet writes a question for each passage."""
    traffic: Seconds | None = None
    """What the fleet answered to queries of this task within so long (`30d`); see `distill.jobs` of the configuration.
    """
    decisions: Seconds | None = None
    """Queries of this task in the decision log, within so long; their answers are asked for again."""
    outcomes: Seconds | None = None
    """Graded queries of the decision log, within so long; the label is the cheapest model that was right."""
    limit: Annotated[int, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        stated = [self.file, self.prompts, self.documents, self.traffic, self.decisions, self.outcomes]
        if sum(map(bool, stated)) != 1:
            raise ValueError("a source is exactly one of file, prompts, documents, traffic, decisions and outcomes")
        return self


class TeachConfig(Strict):
    """Who answers, and how."""

    models: list[str] = []
    """Models of the fleet that may teach; all of them unless named."""
    committee: bool = False
    """Ask each of `models` every text, and let them vote."""
    strategy: str | None = None
    """How the fleet searches for an answer."""
    batch: bool = False
    """Hand texts in as a batch of the provider, at half the price: for one model, or a committee of models."""
    concurrency: Annotated[int, Field(gt=0, le=1_000)] = 16
    max_tokens: Annotated[int, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _voters(self) -> Self:
        if self.committee and len(set(self.models)) < 2:
            raise ValueError("a committee needs at least two models")
        if self.batch and not self.models:
            raise ValueError("a batch needs `models`: which model is handed the texts")
        if self.batch and len(self.models) > 1 and not self.committee:
            raise ValueError("a batch of several models is a committee: state `committee: true`, or one model")
        return self


class FilterConfig(Strict):
    """Which rows are left to learn from. Every rejected row keeps its reason."""

    min_confidence: Annotated[float, Field(ge=0, le=1)] = 0.5
    """P(correct) of the teacher's answer."""
    noise: bool = True
    """Reject labels that students which did not see them find improbable."""
    near_duplicates: Annotated[float, Field(ge=0.5, le=1)] | None = 0.9
    """Texts that share so much (Jaccard, runs of five characters) are one text; `null`: only equal ones are."""
    evaluation: list[str] = []
    """Files of evaluation sets, none of whose texts may be learned from."""
    evaluation_text: str = "text"
    """The column of their texts."""
    max_similarity: Annotated[float, Field(gt=0, le=1)] = 0.95
    """How like a text of an evaluation set (cosine of static vectors) is still allowed, if it shares a third of its
    words."""
    reject_personal_data: bool = False
    fewest_per_label: Annotated[int, Field(ge=3)] = 5
    balance: Annotated[float, Field(ge=1)] | None = None
    """At most so many times as many texts of a label as the median label has."""
    tools: JsonObject | None = None
    """Definitions of tools (OpenAI's form, under `tools`): answers that are calls must fit them."""


class SplitConfig(Strict):
    """What is held out for the report."""

    test: Annotated[float, Field(ge=0, lt=1)] = 0.2
    by: Literal["group", "time"] = "group"
    """`time`: the newest texts are held out."""


class AugmentConfig(Strict):
    """Texts that the fleet writes, each answered and verified like any other."""

    paraphrases: Annotated[int, Field(ge=0, le=20)] = 1
    """Of each text that is chosen."""
    hard_negatives: bool = True
    """Also texts like it that have another label."""
    share: Annotated[float, Field(gt=0, le=2)] = 0.2
    """Synthetic texts, against real ones."""


class ExportConfig(Strict):
    """What is written for fine-tuning elsewhere."""

    formats: list[Literal["openai", "huggingface", "parquet"]] = ["openai", "huggingface", "parquet"]
    preferences: bool = True
    """Pairs of a better and a worse answer, with the margin between them."""
    recipes: bool = True


class PromiseSettings(Strict):
    """What is promised of the student's answers."""

    agreement: Share = 0.95
    confidence: Share = 0.9
    against: Literal["teacher", "gold"] = "teacher"


class JobBudget(Strict):
    """What the whole job may cost, however often it is resumed."""

    usd: Price


class DistillJob(Strict):
    """The whole file."""

    _folder: Path = PrivateAttr(default_factory=Path)

    @property
    def folder(self) -> Path:
        """Where the file is: files that it names are looked for there."""
        return self._folder

    @property
    def out_folder(self) -> Path:
        """Where results go."""
        return self._folder / (self.out or f"{self.name}-student")

    name: Name
    task: TaskConfig = TaskConfig()
    collect: Annotated[list[SourceConfig], Field(min_length=1)]
    teach: TeachConfig = TeachConfig()
    filter: FilterConfig = FilterConfig()
    augment: AugmentConfig | None = None
    split: SplitConfig = SplitConfig()
    export: ExportConfig = ExportConfig()
    promise: PromiseSettings = PromiseSettings()
    budget: JobBudget = JobBudget(usd=1.0)
    seed: Annotated[int, Field(ge=0)] = 0
    out: Annotated[str, Field(pattern=r"^[^\x00]+$")] | None = None


def load_job(path: str | Path) -> DistillJob:
    """Reads the file of a job. Raises `ConfigError` that lists every mistake in it, each with its place."""
    path = Path(path)
    job = load_file(path, DistillJob, starts_with="name", page="docs/distill.md")
    job._folder = path.resolve().parent
    return job
