"""One call of a model: what it said, and what it used."""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.jsontypes import JsonObject
from orchestrator.types.tool_call import ToolCall


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call, in the same words whoever counted them.

    `prefill_tokens` are all tokens read; `cached_tokens` of them came from a cache, `cache_write_tokens` were written
    to one (`cache_write_1h_tokens` of these for an hour), `audio_prefill_tokens` were sound, `tool_tokens` came from
    tools that the provider ran itself. `output_tokens` are all tokens written; `reasoning_tokens` of them were
    thoughts, `audio_output_tokens` sound. `estimated` says that the backend did not report them.
    """

    prefill_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    estimated: bool = False
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    audio_prefill_tokens: int = 0
    audio_output_tokens: int = 0
    tool_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """What was read and written."""
        return self.prefill_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prefill_tokens + other.prefill_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.estimated or other.estimated,
            self.cache_write_tokens + other.cache_write_tokens,
            self.cache_write_1h_tokens + other.cache_write_1h_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.audio_prefill_tokens + other.audio_prefill_tokens,
            self.audio_output_tokens + other.audio_output_tokens,
            self.tool_tokens + other.tool_tokens,
        )


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer of one model. `text` is `None` when the backend abstains, `note` then says why.

    `confidence` is the backend's own P(correct) where it has one (a calculator, a search over memory), else `None`.
    `certainty` is the mean natural log-probability of the answer's tokens, where the request asked for it and the
    provider gives it. `others` are the further answers of a call that asked for several; `usage` is that of all.
    `thoughts` are what the model let see of its reasoning. `unseen_calls` were made beside this one and their answers
    never read, though their provider may charge for them: whoever pays books their worst case. `calls` are the tools
    that the model wants called; the text is then what it says beside that, often nothing. `signed` are fields of its
    message, in OpenAI's form, that must go back to this model with the tools' results: thoughts that it signed.
    """

    model: str
    text: str | None
    usage: Usage = Usage()
    latency_s: float = 0.0
    ttft_s: float | None = None
    finish_reason: str = "stop"
    citations: tuple[str, ...] = ()
    confidence: float | None = None
    certainty: float | None = None
    note: str = ""
    simulated: bool = False
    others: tuple[str, ...] = ()
    thoughts: str = ""
    unseen_calls: int = 0
    calls: tuple[ToolCall, ...] = ()
    signed: JsonObject = field(default_factory=dict)

    @property
    def abstained(self) -> bool:
        """Whether the model gave no answer."""
        return self.text is None
