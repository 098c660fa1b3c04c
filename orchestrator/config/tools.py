"""Tools as `tools:` of a configuration and of a pipeline state them, by what they are: `http`, `openapi`, `sql`,
`python` or `mcp`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from orchestrator.config.exact import Exact, Seconds

MAX_ROWS = 10_000
KINDS = ("openapi", "http", "sql", "python", "mcp")
InputKind = Literal["text", "number", "integer", "boolean", "list", "object", "any"]
Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
READING = ("GET", "HEAD")


class Input(Exact):
    """A value that a run, or a tool, is given."""

    type: InputKind = "any"
    """What it is."""
    default: Any = None
    """Its value where none is given; without one it is needed."""
    choices: list[Any] | None = Field(default=None, min_length=1)
    """The values that it may have."""
    schema_: dict[str, Any] | str | None = Field(default=None, alias="schema")
    """A JSON Schema, or the file of one."""
    description: str = ""
    """What it is for."""

    @property
    def is_required(self) -> bool:
        """Whether a run must state it: it has no default."""
        return "default" not in self.model_fields_set


class ToolOptions(Exact):
    """What all tools have in common."""

    description: str = ""
    """What it does, for models."""
    effects: Literal["none", "idempotent", "once"] | None = None
    """What a call changes; `once` is never made a second time. Default: what the kind of the tool tells."""
    needs: Literal["approval"] | None = None
    """Somebody is asked before a model's call is made."""
    max_calls: Annotated[int, Field(ge=1)] | None = None
    """The most calls of a model in one run."""
    timeout: Seconds = 30.0
    """How long one call may take, in seconds or as `10s`."""


class Reaching(ToolOptions):
    """What tools over HTTP have in common."""

    hosts: list[str] | None = None
    """Which hosts it may speak to; default: that of its address."""
    private: bool = False
    """It may speak to addresses of the own network."""
    headers: dict[str, str] = {}
    """Sent with every call; `${env.NAME}` is a variable of the environment."""
    idempotency_header: str = "Idempotency-Key"
    """In which header a server is told that a request is the same as an earlier one
    (draft-ietf-httpapi-idempotency-key-header).
    """


class HttpOptions(Reaching):
    """A tool that is one HTTP request."""

    http: str
    """The address; {name} stands for a parameter."""
    method: Method = "GET"
    """`GET` and `HEAD` change nothing; the others have effects unless `effects` says otherwise."""
    parameters: dict[str, InputKind | Input] = {}
    """What a call takes: what is not part of the address goes into the query, or the body."""
    gives: Annotated[dict[str, Any] | str | None, Field()] = None
    """A JSON Schema of what comes back, or the file of one."""
    changes: bool | None = None
    """Whether it changes anything; default: GET and HEAD do not, the others do."""

    @property
    def has_effects(self) -> bool:
        """Whether it changes anything."""
        return self.method not in READING if self.changes is None else self.changes


class OpenApiOptions(Reaching):
    """Tools of an OpenAPI document."""

    openapi: str
    """The document: a file, or an address."""
    base_url: str | None = None
    """Where the API is; default: the document's first server, or where the document was."""
    only: list[str] | None = Field(default=None, min_length=1)
    """Only these operations."""


class SqlOptions(ToolOptions):
    """A tool that is one SQL statement."""

    sql: str
    """The database: `sqlite:FILE`, or `postgresql://...` (from the environment)."""
    query: str
    """One statement; `:name` stands for a parameter."""
    writes: bool = False
    """The query changes something: it is made once for each step of a run."""
    parameters: dict[str, InputKind | Input] = {}
    """Types of parameters; those that are not listed take anything."""
    gives: dict[str, Any] | str | None = None
    """A JSON Schema of the list of rows, or the file of one."""
    rows: Annotated[int, Field(ge=1, le=MAX_ROWS)] = 1_000
    """At most so many rows are given."""


class PythonOptions(ToolOptions):
    """A tool that is a Python function."""

    python: str
    """`package.module:function`"""
    changes: bool = True
    """Whether it changes anything outside. A function with a parameter `idempotency_key` is told which call this is."""


class McpAddress(Exact):
    """Where an MCP server is: a command that is started, or an address."""

    command: list[str] | None = Field(default=None, min_length=1)
    """A program and its arguments that speak on standard input and output."""
    url: str | None = None
    """Or the address of a server (streamable HTTP)."""
    env: dict[str, str] = {}
    """Variables of the environment for the command, beside a safe few."""
    headers: dict[str, str] = {}
    """Sent with every request to the address."""
    cwd: str | None = None
    """The folder in which the program is started."""
    roots: list[str] = []
    """Folders that the server is told it may work in."""

    @model_validator(mode="after")
    def _one(self) -> McpAddress:
        if (self.command is None) == (self.url is None):
            raise ValueError("an MCP server has either a command or a url")
        return self


class McpOptions(ToolOptions):
    """Tools of an MCP server (extra `mcp`)."""

    mcp: McpAddress
    """Where the server is, or how it is started."""
    only: list[str] | None = Field(default=None, min_length=1)
    """Only these tools, by the names that the server gives them."""


def kind_of(stated: object) -> str:
    """Which of `KINDS` an entry states; "" for none, or for several."""
    if not isinstance(stated, Mapping):
        return next((kind for kind in KINDS if hasattr(stated, kind)), "")
    kinds = [kind for kind in KINDS if kind in stated]
    return kinds[0] if len(kinds) == 1 else ""


TOOL_SECTIONS = (HttpOptions, OpenApiOptions, SqlOptions, PythonOptions, McpOptions)
AnyTool = Annotated[
    Annotated[HttpOptions, Tag("http")]
    | Annotated[OpenApiOptions, Tag("openapi")]
    | Annotated[SqlOptions, Tag("sql")]
    | Annotated[PythonOptions, Tag("python")]
    | Annotated[McpOptions, Tag("mcp")],
    Discriminator(
        kind_of,
        custom_error_type="tool_kind",
        custom_error_message=f"a tool says what it is by one of: {', '.join(KINDS)}",
    ),
]
