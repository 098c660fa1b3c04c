"""One answer under consideration, and what a query cost beside what one call would have."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from orchestrator.jsontypes import JsonObject
from orchestrator.types.completion import Completion
from orchestrator.types.tool_call import ToolCall

if TYPE_CHECKING:
    from orchestrator.verifiers import Verdict

Way = Literal["words", "program"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One answer under consideration.

    Which model wrote it, as a draft, as a revision of which candidate (index), made of which candidates.

    `way` is how it was found: in "words", or by a "program" that the model wrote and the sandbox ran.
    """

    completion: Completion
    verdicts: tuple[Verdict, ...] = ()
    revises: int | None = None
    made_of: tuple[int, ...] = ()
    way: Way = "words"

    @property
    def model(self) -> str:
        """The model that wrote it."""
        return self.completion.model

    @property
    def text(self) -> str:
        """The text of the answer; empty where there is none."""
        return self.completion.text or ""

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The tools that it wants called."""
        return self.completion.calls

    @property
    def shown(self) -> str:
        """What a reader is shown of it: its text, and the calls that it makes, as JSON."""
        if not self.calls:
            return self.text
        calls = json.dumps([call.as_dict() for call in self.calls], ensure_ascii=False)
        return f"{self.text}\n{calls}".strip()

    @property
    def ruled_out(self) -> bool:
        """A decisive verifier failed it."""
        return any(verdict.decisive and verdict.passed is False for verdict in self.verdicts)

    def as_dict(self) -> JsonObject:
        """The candidate as JSON values, with its verdicts."""
        verdicts = [
            {
                "verifier": v.verifier,
                "score": v.score,
                "passed": v.passed,
                "feedback": v.feedback,
                "cost_usd": v.cost_usd,
            }
            for v in self.verdicts
        ]
        found: JsonObject = {"model": self.model, "text": self.text, "way": self.way, "revises": self.revises}
        if self.calls:
            found["calls"] = [call.as_dict() for call in self.calls]
        return found | {"verdicts": verdicts}


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the query cost beside what one call of `reference` would have, in USD.

    `saved_usd` is negative when routing and search cost more.

    The reference is the model of a guarantee, else the most promising one that is not free. Its price is for the same
    prompt and an answer of its usual length. Failed and discarded attempts count against us. `None` stands for a price
    that is not known.
    """

    reference: str
    reference_cost_usd: float | None
    cost_usd: float | None
    calls: int

    @property
    def saved_usd(self) -> float | None:
        """What was saved against the reference in USD; negative where it cost more."""
        return (
            None
            if self.reference_cost_usd is None or self.cost_usd is None
            else self.reference_cost_usd - self.cost_usd
        )
