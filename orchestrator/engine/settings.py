"""Everything that one query can be asked with, under one name in every method that asks."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, TypedDict, cast

import orjson

from orchestrator.agent.approval import Approve
from orchestrator.agent.journal import RunRecord
from orchestrator.agent.loop import RunLimits
from orchestrator.backends.base import Backend
from orchestrator.budget import Budget, BudgetLike
from orchestrator.budget.limits import plain_number
from orchestrator.config.model_entry import harmless_body
from orchestrator.engine.attachments import attachment_part
from orchestrator.engine.plan import find_strategy
from orchestrator.errors import InvalidArgument, InvalidQuery, UnknownModel
from orchestrator.fleet.named import known_names
from orchestrator.jsontypes import JsonObject
from orchestrator.router import Preference
from orchestrator.search.state import Strategy
from orchestrator.tools import Catalog, ToolLike, ToolSet
from orchestrator.trace import Event
from orchestrator.types import Message, Query
from orchestrator.types.query import Reasoning
from orchestrator.verifiers import Verifier, find_json

MessageLike = Message | Mapping[str, Any]
RUN_ID = re.compile(r"[\w.:-]{1,128}")


class QuerySettings(TypedDict, total=False):
    """The settings of one query; what is left out is as the fleet has it."""

    messages: Sequence[MessageLike]
    """The conversation in OpenAI's form, instead of a query; its last message is the user's."""
    history: Sequence[MessageLike]
    """What was said before the query, oldest first."""
    attachments: Sequence[str | Path | bytes]
    """Pictures and files beside the query: paths, addresses (https:) or the bytes of a picture."""
    system: str
    """The rules that stand before the conversation."""
    scope: str
    """Whose memory this is: `tenant/user/session`."""
    schema: JsonObject | type[Any] | None
    """A JSON Schema (or a pydantic model) that the answer must satisfy; see `Answer.value`."""
    output: object
    """A pydantic model, dataclass or other type that the answer is to be; see `Answer.value`."""
    quality: float
    """P(correct) in [0, 1] at which the search stops."""
    budget: BudgetLike | None
    """Limits of this query, beside those of the fleet: `0.02`, `"$0.02"`, `{"usd": 0.02, "seconds": 10}`."""
    strategy: str | Strategy | None
    """How the answer is searched for; `single` asks one model once."""
    models: Sequence[str] | None
    """The models that may answer."""
    fallbacks: Sequence[str]
    """Models that are asked, in this order, when the others failed."""
    uses_memory: bool
    """Whether memory is asked for what this query needs."""
    criteria: Sequence[str]
    """What a critique judges by."""
    value_usd: float | None
    """What a right answer is worth, in USD."""
    usd_per_second: float | None
    """What a second less to wait is worth, in USD."""
    may_abstain: bool
    """Whether an answer that is believed less than `quality` is withheld."""
    max_tokens: int | None
    """The longest answer, in tokens."""
    temperature: float | None
    """In [0, 2], of every draft."""
    stop: str | Sequence[str]
    """Texts at which a model stops writing."""
    seed: int | None
    """Makes drafts repeatable, of providers that take one."""
    reasoning: Reasoning | None
    """How much a model may reason before it answers."""
    extra_body: JsonObject | None
    """Further fields of every call's body, in the words of the provider."""
    metadata: Mapping[str, str | int | float | bool] | None
    """Labels of your own: in the trace and in telemetry, seen by no model."""
    timeout: float | None
    """The longest that one try of a call to a model may take, in seconds."""
    retries: int | None
    """How often a call that failed without an answer is made again."""
    tools: Sequence[ToolLike]
    """What a model may call: Python functions, `Tool`s, MCP servers, names of the configuration's tools, or functions
    in OpenAI's form, which you then run.
    """
    tool_choice: str | JsonObject | None
    """"auto", "none", "required", or the function that must be called first, in OpenAI's form."""
    parallel_tool_calls: bool | None
    """Whether several tools may be called at once."""
    approve: Approve | None
    """Decides about calls of tools that need approval; without it such calls are in `Answer.calls`, and wait."""
    decided: Mapping[str, bool]
    """What was decided about calls that wait, by their ids; with `run`."""
    max_steps: int
    """The most steps with tools (20)."""
    run: str
    """The id of a run that uses tools: one that was interrupted, or waits, goes on; needs `storage` of the fleet."""
    on_event: Callable[[Event], None] | None
    """Told of everything that happens, as it happens."""


SETTINGS = QuerySettings.__annotations__
_OF_RUN = ("tools", "approve", "decided", "max_steps", "run")
_NOT_OF_QUERY = frozenset((*_OF_RUN, "messages", "attachments", "output", "budget", "strategy", "timeout", "on_event"))
UNLIMITED = Budget()
NO_TOOLS = ToolSet()


@dataclass(frozen=True, slots=True)
class PreparedQuery:
    """A query with what holds for it alone. `reads` makes a value of the answer's text.

    `checks` are made of every answer beside those of the fleet; `preference` outranks the query's quality. The other
    fields are those of a run that uses tools: see `QuerySettings`; `record` is where it is kept, if not in the fleet's
    storage.
    """

    query: Query
    budget: Budget = UNLIMITED
    strategy: str | Strategy | None = None
    on_event: Callable[[Event], None] | None = None
    reads: Callable[[str], Any] | None = None
    tools: ToolSet = NO_TOOLS
    approve: Approve | None = None
    decided: Mapping[str, bool] = field(default_factory=dict)
    limits: RunLimits = field(default_factory=RunLimits)
    run: str = ""
    record: RunRecord | None = None
    checks: tuple[Verifier, ...] = ()
    preference: Preference | None = None


def read_settings(
    query: str | bytes | Query | Sequence[MessageLike] | None,
    settings: QuerySettings,
    backends: Mapping[str, Backend],
    tools: ToolSet = NO_TOOLS,
    catalog: Catalog | None = None,
) -> PreparedQuery:
    """What a caller asks for, checked; `tools` are those that every query has, `catalog` those that it may name.

    Raises `InvalidQuery`, `InvalidBudget`, `InvalidArgument`, `UnknownModel`, or `ConfigError` on what is no strategy.
    """
    stated: dict[str, Any] = {
        name: plain_number(value) for name, value in settings.items() if value is not None and name not in _NOT_OF_QUERY
    }
    if (messages := settings.get("messages")) is not None:
        if query is not None:
            raise InvalidArgument(
                "a query and messages are both given", remedy="Put the query into messages, as the last one"
            )
        if isinstance(messages, str | bytes) or not isinstance(messages, Sequence):
            raise InvalidQuery(
                f"messages must be a list of messages, not {type(messages).__name__}",
                remedy='Write [{"role": "user", "content": "..."}]',
            )
        query = messages
    if query is None:
        raise InvalidQuery("nothing is asked", remedy="Pass a query, or messages=[...]")
    if (attachments := settings.get("attachments")) is not None:
        stated["parts"] = tuple(map(attachment_part, _listed("attachments", attachments)))
    if (timeout := settings.get("timeout")) is not None:
        stated["timeout_s"] = plain_number(timeout)
    reads = _reader(settings, stated)
    if (named := settings.get("tools")) is not None:
        tools = ToolSet(named, catalog)
    if len(tools):
        stated["tools"] = tools.wire
    if isinstance(query, Query):
        made = _with(query, stated) if stated else query
    else:
        made = Query.parse(query, **stated)
    if made.extra_body is not None:
        _check_body(made.extra_body)
    check_models(made.models, backends)
    check_models(made.fallbacks, backends)
    if made.fallbacks and set(made.fallbacks) >= (made.models or backends.keys()):
        raise InvalidArgument("every model that may answer is a fallback", remedy="Leave at least one out of fallbacks")
    strategy = settings.get("strategy")
    if strategy is not None:
        strategy = check_strategy(strategy)
    on_event = settings.get("on_event")
    check_listener("on_event", on_event, "an Event")
    stated_budget = settings.get("budget")
    budget = UNLIMITED if stated_budget is None else Budget.parse(stated_budget)
    run = _run_settings(settings)
    return PreparedQuery(made, budget, strategy, on_event, reads, tools, settings.get("approve"), *run)


def _run_settings(settings: QuerySettings) -> tuple[Mapping[str, bool], RunLimits, str]:
    """(what was decided, limits, the id) of a run. Raises `InvalidArgument`."""
    run, steps, decided = settings.get("run"), settings.get("max_steps"), settings.get("decided")
    approve = settings.get("approve")
    if approve is not None and not callable(approve):
        raise InvalidArgument(
            f"approve must be a function, not {type(approve).__name__}", remedy="approve=lambda request: True"
        )
    if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int) or steps < 1):
        raise InvalidArgument(f"max_steps must be a whole number of at least 1, not {steps!r}", remedy="max_steps=20")
    if run is not None and (not isinstance(run, str) or not RUN_ID.fullmatch(run)):
        raise InvalidArgument(f"run must be the id of a run, not {run!r:.80}", remedy="Pass answer.run")
    if decided is not None and not (
        isinstance(decided, Mapping) and all(isinstance(each, bool) for each in decided.values())
    ):
        raise InvalidArgument("decided must say True or False for ids of calls", remedy='decided={"call_0": True}')
    return decided or {}, RunLimits() if steps is None else RunLimits(steps), run or ""


def check_models(names: Collection[str] | None, backends: Mapping[str, Backend]) -> None:
    """Raises `UnknownModel`, with what was probably meant, on a name that the fleet does not have."""
    for name in names or ():
        if name not in backends:
            raise UnknownModel(f"this fleet has no model {name!r}", remedy=known_names(backends, name))


def check_listener(name: str, listener: object, takes: str) -> None:
    """Raises `InvalidArgument` on what cannot be told of anything: no function, or one that nobody would await."""
    if listener is None:
        return
    if not callable(listener):
        raise InvalidArgument(
            f"{name} must be a function, not {type(listener).__name__}", remedy=f"Pass a function that takes {takes}"
        )
    if inspect.iscoroutinefunction(listener):
        raise InvalidArgument(
            f"{name} is a coroutine function, which would never run", remedy=f"Pass a plain function that takes {takes}"
        )


def check_strategy(strategy: object) -> str | Strategy:
    """Raises `InvalidArgument` or `ConfigError` on what is no strategy."""
    if callable(strategy):
        return strategy
    if isinstance(strategy, str):
        return find_strategy(strategy)
    raise InvalidArgument(
        f"a strategy must be a name or a function, not {type(strategy).__name__}", remedy='For example "single"'
    )


def _with(query: Query, stated: dict[str, Any]) -> Query:
    """A query with some of its settings replaced: read as raw input is."""
    kept = {name: getattr(query, name) for name in Query.__slots__ if name != "text"}
    return Query.parse(query.text, **{**kept, **stated})


def _listed(name: str, stated: object) -> Sequence[Any]:
    if isinstance(stated, str | bytes | Path):
        return [stated]
    if not isinstance(stated, Sequence):
        raise InvalidArgument(f"{name} must be a list, not {type(stated).__name__}", remedy=f"{name}=[...]")
    return stated


def _check_body(body: JsonObject) -> None:
    try:
        orjson.dumps(body)
        harmless_body(body)
    except TypeError as error:  # orjson's own error is one
        raise InvalidArgument(f"extra_body cannot be sent as JSON: {error}", remedy="Use plain JSON values") from None
    except ValueError as error:
        raise InvalidArgument(f"extra_body: {error}", remedy="Use the setting of that name") from None


def _reader(settings: QuerySettings, stated: dict[str, Any]) -> Callable[[str], Any] | None:
    """What makes a value of the answer's text; `output` also states the schema."""
    output = settings.get("output")
    schema = settings.get("schema")
    if output is None and isinstance(schema, type):
        output = schema
    if output is None:
        return None if schema is None else find_json
    from pydantic import TypeAdapter, ValidationError  # only who asks for a type waits for it
    from pydantic.errors import PydanticUserError
    from pydantic_core import SchemaError

    if schema is not None and schema is not output:
        raise InvalidArgument("a schema and an output are both given", remedy="Leave out schema")
    if isinstance(output, Mapping):
        raise InvalidArgument("output is a dict, not a type", remedy="Pass a JSON Schema as schema=")
    if isinstance(output, str | FunctionType | MethodType | BuiltinFunctionType):
        remedy = "Pass the type itself: output=str, a pydantic model, list[int]"
        raise InvalidArgument(f"output={output!r:.60} is no type", remedy=remedy)
    try:
        adapter: TypeAdapter[object] = TypeAdapter(cast("type[object]", output))
        stated["schema"] = adapter.json_schema()
    except (PydanticUserError, SchemaError, TypeError) as error:
        is_instance = not isinstance(output, type) and isinstance(getattr(type(output), "model_fields", None), dict)
        remedy = f"Pass the class: output={type(output).__name__}" if is_instance else "Pass a pydantic model or a type"
        raise InvalidArgument(f"output={output!r:.60} is no type that has a JSON Schema", remedy=remedy) from error

    def read(text: str) -> object:
        try:
            return adapter.validate_json(orjson.dumps(find_json(text)))
        except ValidationError as error:
            raise ValueError(
                "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            ) from error

    return read
