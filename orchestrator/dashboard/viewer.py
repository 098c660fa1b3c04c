"""Who looks at the dashboard, and how far they see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["member", "team", "organisation", "operator"]
ROLES: tuple[Role, ...] = ("member", "team", "organisation", "operator")


@dataclass(frozen=True, slots=True)
class Viewer:
    """The owner of a key who has signed in, or whoever sits at a machine whose own store is shown.

    Args:
        key: The id of the key.
        name: How it is called.
        role: A `member` sees what its key did, a `team` all keys of its team, an `organisation` all of itself, the
            `operator` everything.
        org: The id of the organisation; `None` for the operator.
        team: The id of the team, if the key is of one.
        permissions: What the key may do through the API.
        scopes: The memory scopes that the key is limited to, without its organisation (`None`: all); a last `*` stands
            for any ending.
        models: The models that the key is limited to, in the same way.
        stamp: Changes when the key gets another secret, which ends the sessions of the old one.
        is_local: Whether the store is this machine's own, with nobody signed in.
    """

    key: str
    name: str
    role: Role
    org: str | None = None
    team: str | None = None
    permissions: frozenset[str] = frozenset()
    scopes: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None
    is_local: bool = False
    stamp: str = ""

    def may(self, permission: str) -> bool:
        """Whether the key may do something; who sits at the machine may do all."""
        return self.is_local or permission in self.permissions

    def is_at_least(self, role: Role) -> bool:
        """Whether what this viewer sees holds all that `role` sees."""
        return ROLES.index(self.role) >= ROLES.index(role)

    @property
    def bounds(self) -> dict[str, str]:
        """What every reading is limited to: columns of requests with their values."""
        if self.role == "operator":
            return {}
        found = {"org": self.org or ""}
        if self.role == "team":
            found["team"] = self.team or ""
        elif self.role == "member":
            found["key"] = self.key
        return found

    def may_touch(self, scope: str) -> bool:
        """Whether a memory scope (without the organisation) is one of those that the key is limited to."""
        return _fits(self.scopes, scope)

    def may_use(self, model: str) -> bool:
        """Whether the key may ask a model."""
        return _fits(self.models, model)

    @property
    def scope_prefix(self) -> str:
        """What the memory scopes of this viewer begin with; they are shown without it."""
        return f"{self.org}/" if self.org is not None and not self.is_local else ""


def _fits(rules: tuple[str, ...] | None, name: str) -> bool:
    return rules is None or any(name.startswith(r[:-1]) if r.endswith("*") else name == r for r in rules)


def role_of(
    permissions: frozenset[str], *, is_operator: bool, team: str | None, scopes: tuple[str, ...] | None = None
) -> Role:
    """How far a key with these permissions sees; one that is limited to memory scopes sees its own requests alone."""
    if is_operator:
        return "operator"
    if scopes is not None:
        return "member"
    if "admin" in permissions:
        return "organisation"
    return "team" if "team" in permissions and team is not None else "member"
