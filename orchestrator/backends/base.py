"""The contract of every backend, and the request that it gets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from orchestrator.config import defaults
from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.router import ModelProfile
from orchestrator.tokens.estimate import (
    FAMILY_THAT_COUNTS_MOST,
    TOKENS_PER_MESSAGE,
    TokenizerFamily,
    bound_tokens,
    estimate_message,
    family_of,
    request_bound,
    request_estimate,
)
from orchestrator.types import Completion, Message
from orchestrator.types.message import SIGNED_FIELDS

if TYPE_CHECKING:
    from orchestrator.memory import RecalledRecord


MAX_REMEMBERED_BYTES = 50_000
PART_CAPABILITIES: Mapping[str, str] = {"image_url": "vision", "input_audio": "audio"}


@dataclass(frozen=True, slots=True)
class Request:
    """One call.

    `question` is the bare query text and `recalled` the facts at hand: for backends that are no language models.

    `deadline_s` is the time left for the whole call, retries included. `several` answers at once are asked only of
    models with the capability "n". Models with the capability "json" are held to the JSON Schema `schema` by their own
    server; all are told of it in the prompt. `scope` is whose it is: a server that can keep prefixes apart keeps those
    of other tenants and users apart. `certainty` asks for the tokens' log-probabilities, of providers that give them.
    `stop`, `reasoning`, `extra_body` and `parts` are those of `Query`; `timeout_s` is the longest that one try may take
    and `retries` how many follow it (`None`: as the backend has it). `tools` (functions in OpenAI's form),
    `tool_choice` and `parallel_tool_calls` are those of `Query`. `rules` are the texts of the caller's own system and
    developer messages, without what the fleet adds.
    """

    messages: tuple[Message, ...]
    question: str
    max_tokens: int = defaults.MAX_TOKENS
    temperature: float | None = None
    seed: int | None = None
    several: int = 1
    schema: dict[str, Any] | None = None
    deadline_s: float | None = None
    recalled: Sequence[RecalledRecord] = field(default=())
    scope: str = ""
    certainty: bool = False
    stop: tuple[str, ...] = ()
    reasoning: str | None = None
    extra_body: JsonObject | None = None
    timeout_s: float | None = None
    retries: int | None = None
    parts: tuple[JsonObject, ...] = ()
    tools: tuple[JsonObject, ...] = ()
    tool_choice: str | JsonObject | None = None
    parallel_tool_calls: bool | None = None
    rules: tuple[str, ...] = ()

    @property
    def forms(self) -> JsonValue:
        """What a model is told beside the messages, as JSON: the schema of its answer, and its tools."""
        if not self.tools:
            return self.schema
        return [*self.tools, *([] if self.schema is None else [self.schema])]


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of an answer as it is written."""

    text: str


class Backend(Protocol):
    """Asks one model. Errors are `BackendError` subclasses; abstaining is a completion whose text is `None`."""

    @property
    def profile(self) -> ModelProfile:
        """What is known of the model: name, prices, context, capabilities."""

    async def complete(self, request: Request) -> Completion:
        """One answer. Raises a `BackendError`; a backend that abstains answers with the text `None`."""

    def stream(self, request: Request) -> AsyncIterator[Delta | Completion]:
        """Yields deltas, then exactly one `Completion` that holds the whole text and the usage."""
        ...

    def estimate(self, request: Request) -> float | None:
        """P(correct) in [0, 1] if this backend can tell by itself whether it can answer, else `None`.

        Cheap, and never calls a model.
        """
        ...

    async def aclose(self) -> None:
        """Closes connections and files."""


class LocalBackend:
    """Base of backends that answer inside this process.

    `complete` is theirs, streaming is one delta, nothing to close.
    """

    def __init__(self, profile: ModelProfile) -> None:
        self._profile = profile

    @property
    def profile(self) -> ModelProfile:
        """What is known of the model: name, prices, context, capabilities."""
        return self._profile

    async def complete(self, request: Request) -> Completion:
        """One answer, made in this process. Subclasses define it."""
        raise TypeError(f"{type(self).__name__} must define complete()")

    async def stream(self, request: Request) -> AsyncIterator[Delta | Completion]:
        """The whole answer as one delta, then the completion."""
        completion = await self.complete(request)
        if completion.text:
            yield Delta(completion.text)
        yield completion

    def estimate(self, request: Request) -> float | None:
        """`None`: it cannot tell by itself whether it can answer."""
        return None

    async def aclose(self) -> None:
        """Nothing is open."""
        return


def is_available(backend: Backend) -> bool:
    """Whether it may be asked right now; a backend that never rests need not say so."""
    return bool(getattr(backend, "is_available", True))


def expected_cached_tokens(backend: Backend, request: Request) -> int:
    """About how many tokens of the prompt its provider's cache holds; 0 for backends that know of no cache."""
    expected = getattr(backend, "expected_cached_tokens", None)
    return 0 if expected is None else int(expected(request))


def tokenizer_of(backend: Backend) -> TokenizerFamily:
    """How the model behind a backend counts, by the name that its server knows it by."""
    return family_of(getattr(getattr(backend, "upstream", None), "model", backend.profile.name))


def estimate_prompt_tokens(
    messages: Sequence[Message], schema: JsonValue = None, family: TokenizerFamily | None = None
) -> int:
    """Expected tokens of a prompt, of the form that its answer must have, and of what stands around each message."""
    counting = FAMILY_THAT_COUNTS_MOST if family is None else family
    texts = (*(message.content for message in messages if message.wire is None), *_forms(schema))
    counted = sum(estimate_message(text, counting) for text in texts)
    counted += sum(_estimate_rich(orjson.dumps(each.wire), counting) for each in messages if each.wire is not None)
    return counted + TOKENS_PER_MESSAGE * len(messages)


def _estimate_rich(message: bytes, family: TokenizerFamily) -> int:
    """Of a message that is more than text; a run that uses tools says the same ones again with each step."""
    counted = _estimate_once if len(message) <= MAX_REMEMBERED_BYTES else _estimate_once.__wrapped__
    return counted(message, family)


@lru_cache(maxsize=2_048)
def _estimate_once(message: bytes, family: TokenizerFamily) -> int:
    return request_estimate({"messages": [orjson.loads(message)]}, family)


def worst_case_prompt_tokens(messages: Sequence[Message], schema: JsonValue = None) -> int:
    """What a prompt may at most cost."""
    text = "\n".join([*(message.content for message in messages if message.wire is None), *_forms(schema)])
    rich = _rich(messages)
    beside = 0 if rich is None else request_bound(rich)
    return bound_tokens(text) + beside + 2 * TOKENS_PER_MESSAGE * len(messages)


def needed_capabilities(kinds: Iterable[str]) -> frozenset[str]:
    """What a model must be able to take in, by the types of parts in OpenAI's form."""
    return frozenset(PART_CAPABILITIES[kind] for kind in kinds if kind in PART_CAPABILITIES)


def part_kinds(messages: Iterable[Message]) -> Iterator[str]:
    """The type of each part of messages that are more than text."""
    for message in messages:
        content = None if message.wire is None else message.wire.get("content")
        if isinstance(content, list | tuple):
            yield from (part["type"] for part in content)


def as_wire(message: Message, model: str = "") -> JsonObject:
    """The message in OpenAI's form; without what a model other than `model` has signed."""
    if message.wire is None:
        return {"role": message.role, "content": message.content}
    if not message.by or message.by == model:
        return message.wire
    plain = {name: value for name, value in message.wire.items() if name not in SIGNED_FIELDS}
    if isinstance(plain.get("tool_calls"), list):
        plain["tool_calls"] = [
            {name: value for name, value in call.items() if name not in SIGNED_FIELDS} for call in plain["tool_calls"]
        ]
    return plain


def _rich(messages: Sequence[Message]) -> JsonObject | None:
    """The messages that are more than text, as the body of a request."""
    found = [message.wire for message in messages if message.wire is not None]
    return {"messages": found} if found else None


def _forms(schema: JsonValue) -> list[str]:
    return [] if schema is None else [orjson.dumps(schema).decode()]
