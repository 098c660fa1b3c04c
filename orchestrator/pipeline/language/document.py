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
    secret: bool = False
    """Never printed, kept or put into a prompt: it may go into headers and addresses of tools only."""
    optional: bool = False
    description: str = ""


class RunBudget(Exact):
    """Limits for the whole run, what its steps call included."""

    usd: Usd | None = None
    tokens: Annotated[Count, Field(ge=0)] | None = None
    seconds: Seconds | None = None
    calls: Annotated[int, Field(ge=0)] | None = None
    when_spent: Literal["best_so_far", "fail"] = "best_so_far"


class StepBudget(Exact):
    """Limits for one step: absolute ones, or a share of the run's."""

    usd: Usd | None = None
    tokens: Annotated[Count, Field(ge=0)] | None = None
    seconds: Seconds | None = None
    calls: Annotated[int, Field(ge=0)] | None = None
    share: Share | None = None


class Expected(Exact):
    """What a test wants of a value; all of it must hold."""

    equals: Any = None
    contains: str | None = None
    lacks: str | None = None
    matches: str | None = None
    at_least: float | None = None
    at_most: float | None = None
    one_of: list[Any] | None = None


class Test(Exact):
    """A run that is judged.

    Its models are stand-ins unless `fleet: configured`: it costs nothing and needs no network.
    """

    name: str = Field(min_length=1)
    inputs: dict[str, Any] = {}
    fleet: Literal["simulated", "configured"] = "simulated"
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
    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,99}$")]
    release: str | int | None = None
    """Which edition of the pipeline this is; a pipeline that calls it may insist on one."""
    description: str = ""
    include: list[str] = []
    env: dict[str, EnvVariable | None] = {}
    inputs: dict[str, Input | InputKind] = {}
    budget: RunBudget = Field(default_factory=RunBudget)
    tools: dict[str, dict[str, Any]] = {}
    steps: Steps = Field(min_length=1)
    output: Any = None
    tests: list[Test] = []
