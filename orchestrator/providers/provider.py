"""A row of the provider table: everything in which one API differs from another, as data.

See `orchestrator.providers.table` for the rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

DialectName = Literal["chat", "responses", "anthropic", "gemini"]
Auth = Literal["bearer", "x-api-key", "api-key", "x-goog-api-key", "none"]
CacheStyle = Literal["implicit", "openai", "anthropic", "gemini", "none"]
Thoughts = Literal["reasoning_content", "reasoning", "none"]
JsonMode = Literal["schema", "object", "none"]
Timings = Literal["none", "llamacpp", "groq", "cerebras", "fireworks"]


@dataclass(frozen=True, slots=True)
class DefaultModel:
    """A model that is offered when only a key is found.

    Prices in USD per million tokens, from the providers' public price pages: for models that the price list lacks.
    """

    model: str
    input_usd_per_mtok: float
    output_usd_per_mtok: float
    skill: float


@dataclass(frozen=True, slots=True)
class Provider:
    """One API. What stands here by default is what OpenAI's chat completions document and most servers copy."""

    name: str
    base_url: str
    title: str = ""
    key_variable: str | None = None
    """The environment variable that its own tools read the key from; `None` for servers that want none."""
    auth: Auth = "bearer"
    dialect: DialectName = "chat"
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent with every call (a version, for example)."""

    port: int | None = None
    """The usual port of a server that one runs oneself; `None` for a hosted API."""
    models_path: str = "/models"
    health_path: str | None = None
    """Answers 200 when the server is ready, relative to the address without `/v1`."""
    limit_headers: str = "x-ratelimit-"
    """How the headers begin that tell what is left of the rate limit."""

    token_field: str = "max_tokens"
    renames: Mapping[str, str] = field(default_factory=dict)
    """Parameters that have another name here."""
    drops: frozenset[str] = frozenset()
    """Parameters that are left out because this API rejects them, where an answer without them is still what was asked
    for.
    """
    lacks: frozenset[str] = frozenset()
    """Parameters without which the answer would be another: a call that has one is refused before it is sent."""
    only: frozenset[str] | None = None
    """The parameters that it knows, where it rejects all others."""
    most_choices: int = 128
    """The largest `n`."""
    several: bool = False
    """Whether a prompt is read and paid once for several answers."""
    least_temperature: float = 0.0
    most_temperature: float = 2.0
    no_sampling: str = ""
    """Regular expression of models that take no temperature, top_p or top_k."""
    json: JsonMode = "schema"
    """What `response_format` it follows; a schema that it does not follow is told in the prompt."""
    strict_json: bool = True
    developer_role: bool = False
    names_in_messages: bool = True
    parts: bool = True
    """Whether a message may be a list of parts; else its texts are joined."""
    tool_choices: Mapping[str, str] = field(default_factory=dict)
    """Words of `tool_choice` that are others here; "" leaves it out."""

    stream_options: bool = True
    """Whether it takes `stream_options`; without, it reports the usage of a stream by itself or not at all."""
    thoughts: Thoughts = "reasoning_content"
    """The field of a message that holds the thoughts."""
    thoughts_back: bool = False
    """Whether thoughts must be sent back with the calls of tools that followed from them."""
    efforts: Mapping[str, str] = field(default_factory=dict)
    """What each `reasoning_effort` is called here; "" leaves it out."""
    effort_field: str = "reasoning_effort"
    """Where the effort goes; `thinking` means an object that switches thinking on or off."""

    cache: CacheStyle = "implicit"
    """How a prefix is marked for the cache.

    Not at all, by OpenAI's breakpoints and key, Anthropic's cache_control, Gemini's cached contents.
    """
    least_cached_tokens: int = 1_024
    cache_minutes: tuple[int, ...] = (5,)
    """Lifetimes that a cached prefix may have."""
    tells_load: bool = False
    """Whether its servers tell their load, at /metrics and in a header where it is asked for."""
    cache_salt: bool = False
    """Whether prefixes are kept apart by a field `cache_salt`.

    What is kept for one salt is not found by another (CVE-2025-46570).
    """
    timings: Timings = "none"
    """Where it tells how long reading and writing took, apart."""

    completions: bool = False
    """Whether it may complete a text with no conversation around it (POST /completions).

    A server that answers 404 is not asked again.
    """
    decisions: str | None = None
    """Path of its endpoint for decisions: `/systemone` or `/decisions`."""
    batches: Literal["openai", "anthropic"] | None = None
    logprobs: bool = True
    prices: str = ""
    """Its name in genai-prices, where that is another."""
    defaults: tuple[DefaultModel, ...] = ()

    @property
    def capabilities(self) -> frozenset[str]:
        """What every model of the provider can do."""
        found = {"n"} if self.several else set()
        if self.logprobs:
            found.add("logprobs")
        return frozenset(found)

    @property
    def is_local(self) -> bool:
        """Whether it is a server that people run on their own machine."""
        return self.port is not None
