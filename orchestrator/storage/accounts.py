"""Who may use the gateway: organisations, their teams, and keys.

A key itself is kept nowhere, only its SHA-256 (it has 256 random bits).

Every change raises the `revision`, by which other processes notice that what they remember is out of date.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Literal

from orchestrator.jsontypes import JsonMapping
from orchestrator.storage.account_types import (
    AccountError,
    AccountLimits,
    Found,
    Key,
    NewKey,
    NoAccount,
    Org,
    Team,
    check_name,
    json_or_none,
    key_of_row,
    org_of_row,
    team_of_row,
    to_json,
)
from orchestrator.storage.database import Database, Run
from orchestrator.storage.migrations import migrate

_SCOPE_NAME = r"[A-Za-z0-9_@+:=-][A-Za-z0-9_@.+:=-]{0,127}"
_SCOPE_RULE = re.compile(
    rf"{_SCOPE_NAME}(/{_SCOPE_NAME})?|({_SCOPE_NAME}(/({_SCOPE_NAME})?)?)?[*]"
)  # as ScopeRule of gateway/schemas.yaml
_SCHEMA = """
CREATE TABLE revision (id BIGINT PRIMARY KEY, number BIGINT NOT NULL, config BIGINT NOT NULL);
INSERT INTO revision VALUES (1, 0, 0);
CREATE TABLE orgs (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, limits TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL);
CREATE TABLE teams (
    id TEXT PRIMARY KEY, org TEXT NOT NULL REFERENCES orgs (id), name TEXT NOT NULL, limits TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL, UNIQUE (org, name)
);
CREATE TABLE keys (
    id TEXT PRIMARY KEY, org TEXT REFERENCES orgs (id), team TEXT REFERENCES teams (id), name TEXT NOT NULL,
    hint TEXT NOT NULL,
    digest TEXT NOT NULL UNIQUE, old_digest TEXT UNIQUE, old_until DOUBLE PRECISION, permissions TEXT NOT NULL,
    models TEXT, scopes TEXT,
    limits TEXT NOT NULL, created_at DOUBLE PRECISION NOT NULL, expires_at DOUBLE PRECISION, revoked_at DOUBLE PRECISION
)
"""
_KEY_COLUMNS = "id, org, team, name, hint, permissions, models, scopes, limits, created_at, expires_at, revoked_at"


class Accounts:
    """Calls block. Raises `AccountError`."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        migrate(database, "accounts", [_SCHEMA])

    def revision(self) -> tuple[int, int]:
        """How often accounts were changed, and how often a reload of the configuration was asked for."""
        number, config = self._database.read("SELECT number, config FROM revision")[0]
        return int(number), int(config)

    def announce(self) -> None:
        """Lets every process look anew at what it remembers, within a second or so."""
        with self._database.writing() as run:
            run("UPDATE revision SET number = number + 1")

    def ask_for_reload(self) -> None:
        """Lets every process read the configuration again."""
        with self._database.writing() as run:
            run("UPDATE revision SET config = config + 1")

    def add_org(self, name: str, limits: AccountLimits | None = None) -> Org:
        """Adds an organisation. Raises `AccountError` on a name that is taken."""
        check_name(name, "an organisation")
        org = Org(_id("org"), name, limits or AccountLimits(), self._clock())
        with self._changing(f"an organisation named {name!r} exists") as run:
            run("INSERT INTO orgs VALUES (?, ?, ?, ?)", org.id, name, to_json(asdict(org.limits)), org.created_at)
        return org

    def add_team(self, org: str, name: str, limits: AccountLimits | None = None) -> Team:
        """Adds a team. Raises `AccountError` on a name that is taken."""
        self.org(org)
        check_name(name, "a team")
        team = Team(_id("team"), org, name, limits or AccountLimits(), self._clock())
        with self._changing(f"a team named {name!r} exists in this organisation") as run:
            run(
                "INSERT INTO teams VALUES (?, ?, ?, ?, ?)",
                team.id,
                org,
                name,
                to_json(asdict(team.limits)),
                team.created_at,
            )
        return team

    @property
    def database(self) -> Database:
        """Where the accounts are."""
        return self._database

    def add_key(self, new: NewKey, secret: str | None = None) -> tuple[Key, str]:
        """The key and its secret, which is not kept: this is the only time that it is seen.

        `secret` is for one that the operator chose.
        """
        check_name(new.name, "a key")
        if new.org is not None:
            self.org(new.org)
        if new.team is not None and self.team(new.team).org != new.org:
            raise NoAccount(f"no team {new.team!r} in this organisation", remedy="orchestrator teams list shows them")
        if "team" in new.permissions and new.team is None:
            raise AccountError(
                "the permission 'team' is for a key of a team: it lets it see what the team's keys did",
                remedy="Name a team, or leave out the permission",
            )
        _check_scopes(new.scopes)
        secret = secret or new_secret()
        key = Key(
            _id("key"),
            new.org,
            new.team,
            new.name,
            secret[:10],
            new.permissions,
            new.models,
            new.scopes,
            new.limits,
            self._clock(),
            new.expires_at,
            None,
        )
        with self._changing("this key exists already") as run:
            run(
                f"INSERT INTO keys ({_KEY_COLUMNS}, digest) VALUES ({','.join('?' * 13)})",
                *(key.id, key.org, key.team, key.name, key.hint, to_json(key.permissions), json_or_none(key.models)),
                *(
                    json_or_none(key.scopes),
                    to_json(asdict(key.limits)),
                    key.created_at,
                    key.expires_at,
                    None,
                    digest_of(secret),
                ),
            )
        return key, secret

    def rotate_key(self, key: str, *, grace_s: float = 0.0) -> tuple[Key, str]:
        """Gives a key a new secret; the old one is good for `grace_s` seconds more."""
        found, secret = self.key(key), new_secret()
        with self._changing("try again") as run:
            run(
                "UPDATE keys SET old_digest = digest, old_until = ?, digest = ?, hint = ? WHERE id = ?",
                self._clock() + grace_s,
                digest_of(secret),
                secret[:10],
                found.id,
            )
        return self.key(key), secret

    def revoke_key(self, key: str) -> Key:
        """Ends a key for good, old secret included; its record stays."""
        self.key(key)
        with self._changing("try again") as run:
            run(
                "UPDATE keys SET revoked_at = coalesce(revoked_at, ?), old_digest = NULL WHERE id = ?",
                self._clock(),
                key,
            )
        return self.key(key)

    def change(self, kind: Literal["orgs", "teams", "keys"], id: str, changes: JsonMapping) -> None:
        """Changes fields of a record: `name`, `limits`.

        Of keys also `permissions`, `models`, `scopes`, `expires_at`.
        """
        allowed = {"name", "limits"} | ({"permissions", "models", "scopes", "expires_at"} if kind == "keys" else set())
        if not changes.keys() <= allowed:
            raise AccountError(
                f"cannot change {', '.join(sorted(changes.keys() - allowed))}",
                remedy=f"Change: {', '.join(sorted(allowed))}",
            )
        if not self._database.read(f"SELECT 1 FROM {kind} WHERE id = ?", id):
            raise NoAccount(f"no {kind[:-1]} {id!r}", remedy=f"orchestrator {kind} list shows them")
        _check_scopes(changes.get("scopes"))
        with self._changing("the name is taken") as run:
            for name, value in changes.items():
                stored = asdict(value) if isinstance(value, AccountLimits) else value
                is_json = name in ("limits", "permissions", "models", "scopes") and stored is not None
                run(f"UPDATE {kind} SET {name} = ? WHERE id = ?", to_json(stored) if is_json else stored, id)

    def org(self, id: str) -> Org:
        """An organisation. Raises `NoAccount`."""
        rows = self._database.read("SELECT id, name, limits, created_at FROM orgs WHERE id = ?", id)
        if not rows:
            raise NoAccount(f"no organisation {id!r}", remedy="orchestrator orgs list shows them")
        return org_of_row(rows[0])

    def team(self, id: str) -> Team:
        """A team. Raises `NoAccount`."""
        rows = self._database.read("SELECT id, org, name, limits, created_at FROM teams WHERE id = ?", id)
        if not rows:
            raise NoAccount(f"no team {id!r}", remedy="orchestrator teams list shows them")
        return team_of_row(rows[0])

    def key(self, id: str) -> Key:
        """A key. Raises `NoAccount`."""
        rows = self._database.read(f"SELECT {_KEY_COLUMNS} FROM keys WHERE id = ?", id)
        if not rows:
            raise NoAccount(f"no key {id!r}", remedy="orchestrator keys list shows them")
        return key_of_row(rows[0])

    def org_called(self, text: str) -> Org:
        """By its id or its name."""
        rows = self._database.read(
            "SELECT id, name, limits, created_at FROM orgs WHERE id = ? OR name = ? ORDER BY id <> ?", text, text, text
        )
        if not rows:
            raise NoAccount(f"no organisation {text!r}", remedy="orchestrator orgs list shows them")
        return org_of_row(rows[0])

    def team_called(self, org: str, text: str) -> Team:
        """By its id or its name in an organisation."""
        found = [team for team in self.teams(org) if text in (team.id, team.name)]
        if not found:
            raise NoAccount(f"no team {text!r} in this organisation", remedy="orchestrator teams list shows them")
        return min(found, key=lambda team: team.id != text)

    def key_called(self, text: str) -> Key:
        """By its id, by itself, or by its name if one key alone that is not revoked has it."""
        rows = self._database.read(f"SELECT {_KEY_COLUMNS} FROM keys WHERE id = ? OR digest = ?", text, digest_of(text))
        if not rows:
            rows = self._database.read(
                f"SELECT {_KEY_COLUMNS} FROM keys WHERE name = ? AND revoked_at IS NULL ORDER BY id", text
            )
        if not rows:
            raise NoAccount("there is no such key", remedy="Give its id, its name, or itself; look at the list of keys")
        if len(rows) > 1:
            raise AccountError(
                f"{len(rows)} keys are named {text!r}", remedy=f"Give an id: {', '.join(row[0] for row in rows[:5])}"
            )
        return key_of_row(rows[0])

    def orgs(self) -> list[Org]:
        """All organisations, the oldest first."""
        return [
            org_of_row(row)
            for row in self._database.read("SELECT id, name, limits, created_at FROM orgs ORDER BY created_at, id")
        ]

    def teams(self, org: str | None = None) -> list[Team]:
        """The teams of an organisation, the oldest first."""
        rows = self._database.read("SELECT id, org, name, limits, created_at FROM teams ORDER BY created_at, id")
        return [team for row in rows if org in (None, (team := team_of_row(row)).org)]

    def keys(self, org: str | None = None) -> list[Key]:
        """The keys of an organisation, or all."""
        rows = self._database.read(f"SELECT {_KEY_COLUMNS} FROM keys ORDER BY created_at, id")
        return [key for row in rows if org in (None, (key := key_of_row(row)).org)]

    def find(self, digest: str) -> Found | None:
        """The key whose secret has this digest, valid or not; `None` if there never was one."""
        columns = ", ".join(f"keys.{name}" for name in _KEY_COLUMNS.split(", "))
        rows = self._database.read(
            f"SELECT {columns}, digest, old_until FROM keys WHERE digest = ? OR old_digest = ?", digest, digest
        )
        if not rows:
            return None
        *columns_of_key, current, old_until = rows[0]
        return self._found(key_of_row(columns_of_key), None if current == digest else old_until)

    def found(self, id: str) -> Found:
        """A key by its id, valid or not, with whom it belongs to."""
        return self._found(self.key(id), None)

    def _found(self, key: Key, replaced_at: float | None) -> Found:
        ends = [moment for moment in (key.expires_at, replaced_at) if moment is not None]
        valid_until = min(ends) if ends else None
        why_not = "it was revoked" if key.revoked_at is not None else ""
        if not why_not and valid_until is not None and valid_until <= self._clock():
            why_not = "it has expired" if replaced_at is None else "it was replaced by a new one"
        return Found(
            key, self.org(key.org) if key.org else None, self.team(key.team) if key.team else None, valid_until, why_not
        )

    def _changing(self, conflict: str) -> Any:
        return _Change(self._database, conflict)


class _Change:
    """A transaction that raises the revision, and says `conflict` where a unique value is taken."""

    def __init__(self, database: Database, conflict: str) -> None:
        self._context = database.writing()
        self._conflict = conflict

    def __enter__(self) -> Run:
        run: Run = self._context.__enter__()
        run("UPDATE revision SET number = number + 1")
        return run

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._context.__exit__(kind, error, trace)
        if isinstance(error, sqlite3.IntegrityError):
            raise AccountError(self._conflict, remedy="Choose another") from None


def new_secret() -> str:
    """A key of 256 random bits."""
    return f"orc-{secrets.token_urlsafe(32)}"


def digest_of(secret: str) -> str:
    """What is stored of a secret: its SHA-256."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _check_scopes(scopes: Sequence[str] | None) -> None:
    for scope in scopes or ():
        if not _SCOPE_RULE.fullmatch(scope):
            raise AccountError(
                f"{scope!r} is no memory scope",
                remedy="Give names like ann or ann/chat-7, or a beginning that ends in *: ann/*",
            )


def _id(kind: str) -> str:
    return f"{kind}_{secrets.token_hex(8)}"
