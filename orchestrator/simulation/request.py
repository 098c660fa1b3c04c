"""What is asked of a simulated fleet, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field

CHUNK_TOKENS = 512


@dataclass(frozen=True, slots=True)
class SimulatedRequest:
    """One request.

    Attributes:
        arrival_s: When it comes, in seconds from the beginning.
        prompt_tokens: Tokens of its prompt.
        output_tokens: Tokens that the model writes.
        chunks: What stands in its prompt, in pieces of `CHUNK_TOKENS` tokens: the same number for the same piece after
            the same beginning. Empty for a prompt that shares nothing.
        session: Whose request it is, for policies that keep sessions together; "" for nobody's.
        is_read: Whether its prompt was read elsewhere and comes with it.
    """

    arrival_s: float
    prompt_tokens: int
    output_tokens: int
    chunks: tuple[int, ...] = ()
    session: str = ""
    is_read: bool = False


@dataclass(slots=True)
class SimulatedOutcome:
    """What came of one request: seconds from the beginning, or NaN for what did not happen."""

    arrival_s: float
    prompt_tokens: int
    output_tokens: int
    replica: int = 0
    cached_tokens: int = 0
    preemptions: int = 0
    scheduled_s: float = float("nan")
    first_token_s: float = float("nan")
    last_token_s: float = float("nan")
    refused: str = ""
    work: list[tuple[float, ...]] = field(default_factory=list, repr=False)

    @property
    def has_ended(self) -> bool:
        """Whether nothing further comes of it."""
        return self.last_token_s == self.last_token_s or bool(self.refused)

    @property
    def ttft_s(self) -> float:
        """Time to first token."""
        return self.first_token_s - self.arrival_s

    @property
    def latency_s(self) -> float:
        """Time to last token."""
        return self.last_token_s - self.arrival_s

    @property
    def per_token_s(self) -> float:
        """Mean time between two tokens, after the first."""
        return (self.last_token_s - self.first_token_s) / max(self.output_tokens - 1, 1)
