"""What a caller wants answered, checked wherever it is made."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from orchestrator.errors import InvalidQuery
from orchestrator.jsontypes import JsonObject
from orchestrator.types.keywords import tells_keywords
from orchestrator.types.message import Message
from orchestrator.types.recall_limits import RecallLimits

if TYPE_CHECKING:
    from orchestrator.memory import RecalledRecord

Reasoning = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
REASONING: tuple[str, ...] = get_args(Reasoning)
MAX_QUERY_CHARS = 2_000_000
MAX_METADATA_CHARS = 512
MAX_TOOLS = 512
NONE: tuple[()] = ()
_CALLED = {"timeout_s": "timeout"}  # what callers know a field as
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")


@tells_keywords
@dataclass(frozen=True, slots=True, repr=False)
class Query:
    """What the caller wants answered. `text` is the last user message; `history` what came before it.

    Raises `InvalidQuery` on a field that cannot be used, `parse` also reads bytes and messages in OpenAI's form.

    Args:
        text: The question, at most 2,000,000 characters.
        history: What was said before it, oldest first.
        scope: Whose memory and cache this is: `tenant/user/session`.
        schema: A JSON Schema that the answer must satisfy.
        quality: P(correct) in [0, 1] at which the search stops (`None`: as the fleet has it).
        models: Names of models that may answer (`None`: all of the fleet).
        uses_memory: Whether memory is asked for what this query needs.
        criteria: What a critique judges by.
        value_usd: What a right answer is worth, in USD.
        usd_per_second: What a second less to wait is worth, in USD.
        may_abstain: Whether an answer that is believed less than `quality` in the end is not given.
        max_tokens: The longest answer of a draft, in tokens.
        temperature: In [0, 2], of every draft.
        prompt: What models read instead of `text`.
        system: The rules that stand before the conversation.
        sources: What models that answer from notes look into, beside what is recalled.
        parts: Pictures, files and sound beside the text, as parts of a message in OpenAI's form.
        stop: At most 16 texts at which a model stops writing; they are not part of the answer.
        seed: Makes drafts repeatable, of providers that take one.
        reasoning: How much a model may reason before it answers.
        extra_body: Further fields of the body of every draft's call, in the words of the provider.
        metadata: The caller's own labels, at most 16: they stand in the trace and in telemetry, and no model sees them.
        timeout_s: The longest that one try of a call to a model may take, in seconds.
        retries: How often a call that failed without an answer is made again.
        fallbacks: Models that are asked, in this order, only when the others failed (`None`: as the fleet has it).
        tools: What a model may call, as functions in OpenAI's form: the answer is then text, or `Answer.calls`.
        tool_choice: "auto", "none", "required", or the function that must be called, in OpenAI's form.
        parallel_tool_calls: Whether several tools may be called at once.
        continued: What was said since `text`: calls of tools, and their results.
        recall_limits: What memory may give (`None`: as the fleet has it).
    """

    text: str
    history: tuple[Message, ...] = ()
    scope: str = "default"
    schema: dict[str, Any] | None = None
    quality: float | None = None
    models: frozenset[str] | None = None
    uses_memory: bool = True
    criteria: tuple[str, ...] = ()
    value_usd: float | None = None
    usd_per_second: float | None = None
    may_abstain: bool = False
    max_tokens: int | None = None
    temperature: float | None = None
    prompt: str | None = None
    system: str | None = None
    sources: tuple[RecalledRecord, ...] = ()
    parts: tuple[JsonObject, ...] = ()
    stop: tuple[str, ...] = ()
    seed: int | None = None
    reasoning: Reasoning | None = None
    extra_body: JsonObject | None = None
    metadata: Mapping[str, str | int | float | bool] | None = None
    timeout_s: float | None = None
    retries: int | None = None
    fallbacks: tuple[str, ...] | None = None
    tools: tuple[JsonObject, ...] = ()
    tool_choice: str | JsonObject | None = None
    parallel_tool_calls: bool | None = None
    continued: tuple[Message, ...] = ()
    recall_limits: RecallLimits | None = None

    def __post_init__(self) -> None:
        _check_text(self.text)
        for name, (is_right, told, remedy) in _CHECKS.items():
            value = getattr(self, name)
            if value is not None and value is not NONE and not is_right(value):
                raise InvalidQuery(f"{_CALLED.get(name, name)} must be {told}, not {_short(value)}", remedy=remedy)

    def __repr__(self) -> str:
        said = {name: value for name in self.__slots__ if (value := getattr(self, name)) != _DEFAULTS.get(name)}
        return f"Query({', '.join(f'{name}={_short(value)}' for name, value in said.items())})"

    @classmethod
    def parse(cls, text: object, **fields: Any) -> Query:
        """A query from raw input: text, bytes, one message, or a conversation whose last message is the user's.

        `history`, `stop`, `criteria` and `models` may be lists, and messages mappings in OpenAI's form. Raises
        `InvalidQuery` on anything that is not usable.
        """
        if isinstance(text, bytes | bytearray):
            text = _decoded(bytes(text))
        elif isinstance(text, Mapping | Message):
            text = [text]
        history = fields.get("history")
        if history is not None and type(history) is not tuple:
            fields["history"] = _conversation(history, "history")
        elif history:
            fields["history"] = tuple(map(Message.parse, history))
        if isinstance(text, list | tuple):
            if fields.get("history"):
                raise InvalidQuery(
                    "a conversation and a history are both given", remedy="Put all messages into one list"
                )
            *before, last = _conversation(text, "messages") or (None,)
            if last is None or last.role != "user":
                told = "it is empty" if last is None else f"its last message is the {last.role}'s"
                raise InvalidQuery(
                    f"the conversation asks nothing: {told}", remedy='End it with {"role": "user", "content": "..."}'
                )
            text, fields["history"] = last.content, tuple(before)
            fields["parts"] = (*_parts(last), *fields.get("parts", ()))
            if not text.strip() and fields["parts"]:
                text = "What is this?"
        for name in ("stop", "criteria", "fallbacks"):
            if (stated := fields.get(name)) is not None and not isinstance(stated, tuple):
                fields[name] = (stated,) if isinstance(stated, str) else _tuple(name, stated)
        if (models := fields.get("models")) is not None and not isinstance(models, frozenset):
            fields["models"] = frozenset((models,) if isinstance(models, str) else _tuple("models", models))
        return cls(text, **fields)  # type: ignore[arg-type]


def _decoded(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidQuery(
            f"the query is not UTF-8 (byte {error.start})", remedy="Decode it first, or send text"
        ) from None


def _conversation(stated: object, name: str) -> tuple[Message, ...]:
    if isinstance(stated, str | bytes | Mapping) or not isinstance(stated, Sequence):
        raise InvalidQuery(
            f"{name} must be a list of messages, not {type(stated).__name__}",
            remedy='Write [{"role": "user", "content": "..."}]',
        )
    return tuple(map(Message.parse, stated))


def _parts(message: Message) -> tuple[JsonObject, ...]:
    """What a message holds beside its text."""
    content = (message.wire or {}).get("content")
    return tuple(part for part in content if part["type"] != "text") if isinstance(content, list | tuple) else ()


def _tuple(name: str, stated: object) -> tuple[Any, ...]:
    try:
        return tuple(stated)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidQuery(f"{name} must be a list of texts, not {_short(stated)}", remedy=f'{name}=["..."]') from None


def _check_text(text: object) -> None:
    if not isinstance(text, str):
        raise InvalidQuery(f"the query must be text, not {type(text).__name__}", remedy="Pass a str")
    if not text.strip():
        raise InvalidQuery("the query is empty", remedy="Ask something, for example: What is 17 * 23?")
    if len(text) > MAX_QUERY_CHARS:
        raise InvalidQuery(
            f"the query has {len(text):,} characters, the limit is {MAX_QUERY_CHARS:,}",
            remedy="Remember the document first and ask about it: orchestrator remember FILE",
        )
    control = 0 if text.isprintable() else len(_CONTROL.findall(text))
    if "\x00" in text or control > len(text) // 20:
        raise InvalidQuery("the query is binary data", remedy="Extract its text first")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidQuery(
            f"the query is not valid Unicode (character {error.start})", remedy="Repair the lone surrogate"
        ) from None


def _is_number(value: object, least: float, most: float = math.inf) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and least <= value <= most and value < math.inf  # type: ignore[operator]


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_text(value: object) -> bool:
    """Text that can be sent: no lone surrogates."""
    try:
        return isinstance(value, str) and value.encode("utf-8") is not None
    except UnicodeEncodeError:
        return False


def _are_texts(value: object, most: int) -> bool:
    return isinstance(value, tuple | frozenset) and len(value) <= most and all(map(_is_text, value))


def _are_labels(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and len(value) <= 16
        and all(isinstance(name, str) and isinstance(label, str | int | float | bool) for name, label in value.items())
        and all(len(str(label)) <= MAX_METADATA_CHARS for label in value.values())
    )


def _are_tools(value: object) -> bool:
    if not isinstance(value, tuple) or len(value) > MAX_TOOLS:
        return False
    functions = [each.get("function") if isinstance(each, Mapping) else None for each in value]
    names = [each.get("name") if isinstance(each, Mapping) else None for each in functions]
    return all(isinstance(name, str) and name for name in names) and len(set(names)) == len(names)


_MONEY = ("a number of dollars, at least 0", "value_usd=0.05 is 5 cents")
_SWITCH = (lambda value: isinstance(value, bool), "True or False", "Write True or False, without quotes")
_TEXT = (_is_text, "text (valid Unicode)", "Pass a str without lone surrogates")
_CHECKS: Mapping[str, tuple[Any, str, str]] = {
    "history": (
        lambda value: isinstance(value, tuple) and all(isinstance(each, Message) for each in value),
        "a list of messages",
        'Write [{"role": "user", "content": "..."}], and call Query.parse',
    ),
    "scope": (
        lambda value: isinstance(value, str) and bool(value.strip()),
        "the name of a scope, like shop/ann",
        'Leave it out for "default"',
    ),
    "schema": (
        lambda value: isinstance(value, dict),
        "a JSON Schema (a dict)",
        "Pass a dict, or a pydantic model as output=",
    ),
    "quality": (
        lambda value: _is_number(value, 0, 1),
        "a probability in [0, 1]",
        "0.9 asks for a 90 % chance of being right",
    ),
    "models": (
        lambda value: isinstance(value, frozenset) and value and _are_texts(value, 10_000),
        "a list of names of models, at least one",
        "Leave it out to allow all",
    ),
    "uses_memory": _SWITCH,
    "may_abstain": _SWITCH,
    "criteria": (lambda value: _are_texts(value, 100), "a list of texts", 'criteria=["is correct"]'),
    "value_usd": (lambda value: _is_number(value, 0), *_MONEY),
    "usd_per_second": (lambda value: _is_number(value, 0), *_MONEY),
    "max_tokens": (lambda value: _is_count(value, 1), "a whole number of tokens, at least 1", "max_tokens=500"),
    "temperature": (lambda value: _is_number(value, 0, 2), "a number in [0, 2]", "0 is the most predictable"),
    "prompt": _TEXT,
    "system": _TEXT,
    "parts": (
        lambda value: isinstance(value, tuple) and all(isinstance(each, Mapping) and "type" in each for each in value),
        "parts of a message in OpenAI's form",
        "Pass attachments=[PATH] instead",
    ),
    "stop": (
        lambda value: _are_texts(value, 16) and all(value),
        "at most 16 texts, none empty",
        'stop=["\\n\\n"]',
    ),
    "fallbacks": (lambda value: _are_texts(value, 1_000), "a list of names of models", 'fallbacks=["small"]'),
    "tools": (
        _are_tools,
        f"a list of at most {MAX_TOOLS} functions in OpenAI's form, each with a name of its own",
        'tools=[{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}]',
    ),
    "tool_choice": (
        lambda value: value in ("auto", "none", "required") or isinstance(value, Mapping),
        '"auto", "none", "required" or a function',
        'tool_choice={"type": "function", "function": {"name": "find"}}',
    ),
    "parallel_tool_calls": _SWITCH,
    "continued": (
        lambda value: isinstance(value, tuple) and all(isinstance(each, Message) for each in value),
        "a list of messages",
        'Write [{"role": "tool", "tool_call_id": "...", "content": "..."}]',
    ),
    "recall_limits": (lambda value: isinstance(value, RecallLimits), "RecallLimits", "Leave it out"),
    "seed": (lambda value: _is_count(value, -(2**63)) and value < 2**63, "a whole number of 64 bits", "seed=1"),
    "reasoning": (
        lambda value: value in REASONING,
        f"one of {', '.join(REASONING)}",
        "Leave it out for the model's own",
    ),
    "extra_body": (lambda value: isinstance(value, dict), "a dict of further fields", 'extra_body={"top_k": 20}'),
    "metadata": (
        _are_labels,
        f"at most 16 labels by name, each a text of at most {MAX_METADATA_CHARS} characters or a number",
        'metadata={"feature": "search"}',
    ),
    "timeout_s": (
        lambda value: _is_number(value, 0) and value > 0,
        "a number of seconds above 0",
        "timeout=30; for the whole query: budget={'seconds': 30}",
    ),
    "retries": (lambda value: _is_count(value, 0) and value <= 20, "a whole number from 0 to 20", "retries=2"),
}
_DEFAULTS: Mapping[str, object] = {
    field.name: field.default for field in Query.__dataclass_fields__.values() if field.name != "text"
}


def _short(value: object) -> str:
    if isinstance(value, float | int | bool) or value is None:
        return repr(value)
    if isinstance(value, frozenset):
        value = sorted(value)
    told = repr(value)
    return told if len(told) <= 60 else f"{told[:57]}..."
