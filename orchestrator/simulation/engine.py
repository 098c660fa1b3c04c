"""An engine in a handful of numbers: how long one of its steps takes, and what it can hold.

Engines with continuous batching (Orca, OSDI 2022, section 3; vLLM, SOSP 2023) work in steps. In one step every request
that is being written gets one token, and what is left of the step's token budget reads prompts in chunks
(Sarathi-Serve, OSDI 2024, section 4). A step reads the weights once, multiplies each token by them, and reads the keys
and values of all that was written before, so its time is close to linear in those three.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from orchestrator.errors import InvalidArgument

UNLIMITED = 10**12
BLOCK_TOKENS = 16
LEAST_STEP_S = 1e-9


@dataclass(frozen=True, slots=True)
class Engine:
    """The numbers of one engine.

    Attributes:
        step_s: Seconds of a step whatever is in it: reading the weights, launching the kernels.
        prefill_token_s: Seconds for each prompt token that a step reads.
        sequence_s: Seconds for each request that gets a token in a step.
        context_token_s: Seconds for each token that those requests look back at.
        attention_s: Seconds for each pair of a prompt token and a token before it in its prompt.
        token_budget: Tokens of one step, prompts and answers together (vLLM's `max_num_batched_tokens`).
        max_sequences: Requests that run at once (vLLM's `max_num_seqs`).
        kv_tokens: Tokens whose keys and values fit into memory; beyond, the youngest request starts again.
        schedules_ahead: Whether the next step is planned while one runs, so that a request that has just arrived waits
            one step longer (vLLM's `async_scheduling`).
        prefix_caching: Whether prompts that begin alike are read once, while memory lasts.
        overhead_s: Seconds before the engine knows of a request: network, router, turning text into tokens.
    """

    step_s: float
    prefill_token_s: float
    sequence_s: float = 0.0
    context_token_s: float = 0.0
    attention_s: float = 0.0
    token_budget: int = 2_048
    max_sequences: int = UNLIMITED
    kv_tokens: int = UNLIMITED
    schedules_ahead: bool = False
    prefix_caching: bool = True
    overhead_s: float = 0.0

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, float) and not 0.0 <= value < float("inf"):
                raise InvalidArgument(
                    f"{each.name} of an engine is {value}", remedy="Give a number of seconds of at least 0"
                )
            if isinstance(value, int) and not isinstance(value, bool) and value < 0:
                raise InvalidArgument(f"{each.name} of an engine is {value}", remedy="Give a whole number above 0")
        if self.step_s < LEAST_STEP_S:
            told = f"a step of {self.step_s:g} s takes no time"
            raise InvalidArgument(told, remedy="Give its step_s in seconds: 0.012 for 12 ms")
        if min(self.token_budget, self.max_sequences) < 1 or self.kv_tokens < BLOCK_TOKENS:
            raise InvalidArgument(
                "an engine needs room for one request",
                remedy=f"Give token_budget and max_sequences of at least 1 and kv_tokens of at least {BLOCK_TOKENS}",
            )

    def with_seconds(self, seconds: Mapping[str, float]) -> Engine:
        """The engine with other times: names of attributes with their seconds."""
        changes: dict[str, Any] = {**seconds, "step_s": max(seconds.get("step_s", self.step_s), LEAST_STEP_S)}
        return replace(self, **changes)

    def step(self, prefill: int, attention: float, sequences: int, context: int) -> float:
        """Seconds of one step."""
        return (
            self.step_s
            + self.prefill_token_s * prefill
            + self.attention_s * attention
            + self.sequence_s * sequences
            + self.context_token_s * context
        )
