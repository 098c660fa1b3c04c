"""Organisations, teams, keys and their limits, as they are stored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from orchestrator.errors import OrchestratorError
from orchestrator.jsontypes import JsonValue

Period = Literal["total", "month", "day"]


PERMISSIONS = ("inference", "memory", "feedback", "usage", "traces", "files", "team", "admin")
"""`team` lets a key see what all keys of its team did; `admin` manages the whole organisation."""


DEFAULT_PERMISSIONS = ("inference", "memory", "feedback", "usage", "traces", "files")

MAX_NAME_CHARS = 128


class AccountError(OrchestratorError):
    """What was asked of the accounts cannot be done: a name that is taken, or something that does not exist."""

    code = "account"


class NoAccount(AccountError, LookupError):
    """An account that is not there."""

    code = "no_account"


def check_name(name: str, what: str) -> None:
    """Raises `AccountError` on a name that is blank, longer than 128 characters, or holds control characters."""
    if not name.strip() or len(name) > MAX_NAME_CHARS or any(ord(c) < 32 or ord(c) == 127 for c in name):
        told = f"the name of {what} has 1 to {MAX_NAME_CHARS} characters, none of them a control character"
        raise AccountError(f"{told}, not {name[:40]!r}", remedy="For example: shop-backend")


@dataclass(frozen=True, slots=True)
class AccountLimits:
    """What an organisation, team or key may use; `None`: no limit.

    `usd` is for each `period`, the others are for a minute, or at once.
    """

    usd: float | None = None
    period: Period = "total"
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None


@dataclass(frozen=True, slots=True)
class Org:
    """An organisation."""

    id: str
    name: str
    limits: AccountLimits
    created_at: float


@dataclass(frozen=True, slots=True)
class Team:
    """A team of an organisation."""

    id: str
    org: str
    name: str
    limits: AccountLimits
    created_at: float


@dataclass(frozen=True, slots=True)
class Key:
    """`hint` is how the key begins; `models` and `scopes` are what it may use (`None`: all of its organisation).

    A key without `org` is the operator's: it manages every organisation.
    """

    id: str
    org: str | None
    team: str | None
    name: str
    hint: str
    permissions: tuple[str, ...]
    models: tuple[str, ...] | None
    scopes: tuple[str, ...] | None
    limits: AccountLimits
    created_at: float
    expires_at: float | None
    revoked_at: float | None


@dataclass(frozen=True, slots=True)
class NewKey:
    """What a key shall be. `models` may hold names and prefixes that end in `*`; so may `scopes`."""

    name: str
    org: str | None
    team: str | None = None
    permissions: tuple[str, ...] = DEFAULT_PERMISSIONS
    models: tuple[str, ...] | None = None
    scopes: tuple[str, ...] | None = None
    limits: AccountLimits = field(default_factory=AccountLimits)
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A key as it was presented, with whom it belongs to; `why_not` says why it is refused."""

    key: Key
    org: Org | None
    team: Team | None
    valid_until: float | None
    why_not: str = ""


def to_json(value: JsonValue) -> str:
    """A value as JSON text."""
    return json.dumps(value)


def json_or_none(value: JsonValue) -> str | None:
    """A value as JSON text; `None` for `None`."""
    return None if value is None else json.dumps(value)


def org_of_row(row: Sequence[JsonValue]) -> Org:
    """The organisation in a row."""
    return Org(row[0], row[1], AccountLimits(**json.loads(row[2])), row[3])


def team_of_row(row: Sequence[JsonValue]) -> Team:
    """The team in a row."""
    return Team(row[0], row[1], row[2], AccountLimits(**json.loads(row[3])), row[4])


def key_of_row(row: Sequence[JsonValue]) -> Key:
    """The key in a row."""
    id_, org, team, name, hint, permissions, models, scopes, limits, created_at, expires_at, revoked_at = row
    return Key(
        id_,
        org,
        team,
        name,
        hint,
        tuple(json.loads(permissions)),
        None if models is None else tuple(json.loads(models)),
        None if scopes is None else tuple(json.loads(scopes)),
        AccountLimits(**json.loads(limits)),
        created_at,
        expires_at,
        revoked_at,
    )
