"""One request as it was served, and how it lies in its row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

from orchestrator.budget import from_nano
from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.storage.database import Row


@dataclass(slots=True)
class ServedRequest:
    """One request as it was served.

    `cost_nano` is `None` where a model has no known price; `cached` is "", "exact" or "semantic"; `error` a code, "" if
    it was answered. `drafts` counts the answers that models wrote in a search (0: none was needed), `escalated` says
    that more than one model wrote, `reference_nano` is what the strongest model would have cost, as the router expected
    it. `spans` are those of `orchestrator.storage.spans`, `content` are texts, kept where the policy allows; `rounds`
    makes those of its search (`orchestrator.search.outline`), in the thread that writes.
    """

    id: str
    at: float
    org: str
    team: str | None
    key: str
    api: str
    asked: str
    model: str = ""
    status: int = 0
    prefill_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    cost_nano: int | None = 0
    latency_s: float = 0.0
    ttft_s: float | None = None
    cached: str = ""
    scope: str = ""
    error: str = ""
    confidence: float | None = None
    drafts: int = 0
    escalated: bool = False
    simulated: bool = False
    reference_nano: int | None = None
    trace: Mapping[str, Any] | None = None
    spans: Sequence[JsonObject] = ()
    content: JsonObject | None = None
    rounds: Callable[[], list[JsonObject]] | None = None


_BESIDE = ("trace", "spans", "content", "rounds")
COLUMNS = tuple(field.name for field in fields(ServedRequest) if field.name not in _BESIDE)
LIST = ", ".join((*COLUMNS, "spans"))
_plain = attrgetter(*COLUMNS)


def served_of(row: Row) -> ServedRequest:
    """The request in a row of `COLUMNS`."""
    found = ServedRequest(*row)
    found.escalated, found.simulated = bool(found.escalated), bool(found.simulated)
    return found


def values_of(one: ServedRequest) -> list[JsonValue]:
    """The values of its columns: a truth value is a number in every database."""
    return [int(value) if isinstance(value, bool) else _text(value) for value in _plain(one)]


def _text(value: JsonValue) -> JsonValue:
    """PostgreSQL keeps no text with a character of value 0; what holds one was never a name of ours."""
    return value.replace("\0", "\ufffd") if isinstance(value, str) and "\0" in value else value


def described(row: Row) -> JsonObject:
    """A row of `LIST` as JSON values."""
    found = dict(zip((*COLUMNS, "spans"), row, strict=True))
    nano, reference = found.pop("cost_nano"), found.pop("reference_nano")
    return {
        **found,
        "escalated": bool(found["escalated"]),
        "simulated": bool(found["simulated"]),
        "cost_usd": None if nano is None else from_nano(int(nano)),
        "reference_usd": None if reference is None else from_nano(int(reference)),
    }
