"""A pipeline file as a whole, apart from its steps: what it takes, may use and gives, and how it is tested."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from orchestrator.config.exact import Exact, Seconds
from orchestrator.config.tools import Input, InputKind
from orchestrator.pipeline.language.fields import Count, Share, Usd, refers_to

VERSION = 1
Steps = Annotated[dict[str, Any], refers_to("Steps")]


class EnvVariable(Exact):
    """A variable of the environment that the pipeline takes."""

    default: str | None = None
    """Its value where it is not set; without one it must be set."""
    secret: bool = False
    """Never printed, kept or put into a prompt: it may go into headers and addresses of tools only."""
    optional: bool = False
    """It may be missing: its value is null then."""
    description: str = ""
    """What it is for, in words."""


class RunBudget(Exact):
    """Limits for the whole run, what its steps call included."""

    usd: Usd | None = None
    """USD; the worst case of a call is held back before it."""
    tokens: Annotated[Count, Field(ge=0)] | None = None
    """Tokens, read and written together; `20k` is 20,000."""
    seconds: Seconds | None = None
    """Seconds, or as `2m`."""
    calls: Annotated[int, Field(ge=0)] | None = None
    """Calls of models."""
    when_spent: Literal["best_so_far", "fail"] = "best_so_far"
    """`best_so_far` gives what there is, marked `partial`; `fail` is an error."""


class StepBudget(Exact):
    """Limits for one step: absolute ones, or a share of the run's."""

    usd: Usd | None = None
    """USD."""
    tokens: Annotated[Count, Field(ge=0)] | None = None
    """Tokens, read and written together."""
    seconds: Seconds | None = None
    """Seconds, or as `5s`."""
    calls: Annotated[int, Field(ge=0)] | None = None
    """Calls of models."""
    share: Share | None = None
    """A part of each limit of the run: `30%`, or 0.3."""


class Expected(Exact):
    """What a test wants of a value; all of it must hold."""

    equals: Any = None
    """The value itself; a plain value instead of a section means the same."""
    contains: str | None = None
    """A text that stands in it, upper and lower case told apart."""
    lacks: str | None = None
    """A text that does not."""
    matches: str | None = None
    """A regular expression that is found in it."""
    at_least: float | None = None
    """The least that a number may be."""
    at_most: float | None = None
    """The most that a number may be."""
    one_of: list[Any] | None = None
    """The values that it may be."""


class Test(Exact):
    """A run that is judged.

    Its models are stand-ins unless `fleet: configured`: it costs nothing and needs no network.
    """

    name: str = Field(min_length=1)
    """What it shows, in words."""
    inputs: dict[str, Any] = {}
    """What the run is given."""
    fleet: Literal["simulated", "configured"] = "simulated"
    """`configured` asks the models of the configuration, which may cost money."""
    replies: dict[str, Any] = {}
    """What the models of a step say, by the step's path.

    A text, any value as JSON, or a list of them, one for each call; of an `agent`, `{call: {TOOL: arguments}}`, too.
    """
    tools: dict[str, Any] = {}
    """What tools give, by name, instead of being called; a list is one value for each call."""
    memories: dict[str, list[str]] = {}
    """What memory holds before the run, by scope."""
    expect: dict[str, Any] = {}
    """What is looked at: output, usd, seconds, error, partial, or a step's path with a field: `reply.confidence`."""


class Document(Exact):
    """The file. Steps and tools are looked at one by one."""

    version: Literal[1]
    """The version of this form of files."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,99}$")]
    """Letters, digits, `_`, `.` and `-`; a gateway serves the pipeline as the model `pipeline:NAME`."""
    release: str | int | None = None
    """Which edition of the pipeline this is; a pipeline that calls it may insist on one."""
    description: str = ""
    """What the pipeline is for, in words."""
    include: list[str] = []
    """Files whose `env`, `inputs`, `tools` and `steps` stand here, too."""
    env: dict[str, EnvVariable | None] = {}
    """Variables of the environment that it takes: `${env.NAME}`. Nothing else of the environment is to be seen."""
    inputs: dict[str, Input | InputKind] = {}
    """What a run is given: `${inputs.NAME}`. A type (`text`) or a section."""
    budget: RunBudget = Field(default_factory=RunBudget)
    """Limits for the whole run."""
    tools: dict[str, dict[str, Any]] = {}
    """What steps and models may call, as `tools` of [the configuration](fields.md#tools)."""
    steps: Steps = Field(min_length=1)
    """Each a name with a step: a [verb](verbs.md) and its fields."""
    output: Any = None
    """What the run gives: any value, with expressions in it. Default: what its only step gives, or all by names."""
    tests: list[Test] = []
    """Runs that `orchestrator test` judges."""
