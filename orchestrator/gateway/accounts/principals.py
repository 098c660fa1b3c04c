"""Who is calling: keys as they are presented, remembered by their digest until accounts change."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache

from orchestrator.gateway.accounts.quota_leases import Account
from orchestrator.gateway.errors import GatewayError
from orchestrator.memory.record import Scope
from orchestrator.storage.account_types import AccountLimits, Found
from orchestrator.storage.accounts import Accounts

MAX_REMEMBERED = 50_000
MAX_SCOPE_SEGMENTS = 2
OF_THE_OPERATOR = frozenset({"usage"})  # what a key that manages every organisation may do besides


@dataclass(frozen=True, slots=True)
class Principal:
    """The owner of a valid key.

    `chain` holds its limits, outermost first. Everything of a tenant is stored under `org`.
    """

    key: str
    name: str
    org: str
    team: str | None
    permissions: frozenset[str]
    models: tuple[str, ...] | None
    scopes: tuple[str, ...] | None
    chain: tuple[Account, ...]
    is_operator: bool = False

    def may(self, permission: str) -> bool:
        """Whether the key has a permission."""
        return permission in self.permissions

    @property
    def seen_team(self) -> str | None:
        """The team whose requests it may see, beside its own; `None` for its own alone."""
        return self.team if "team" in self.permissions and self.scopes is None else None

    def may_use(self, model: str) -> bool:
        """Whether the key may use a model."""
        return self.models is None or _matches(self.models, model)

    def may_touch(self, scope: str) -> bool:
        """Whether a scope (without the tenant's wall) is one of those that this key is limited to."""
        return self.scopes is None or _matches(self.scopes, scope)

    def is_one_of(self, keys: Collection[str]) -> bool:
        """Whether its id or its name is among `keys`, in which a last `*` stands for any ending."""
        return _matches(tuple(keys), self.key) or _matches(tuple(keys), self.name)

    @property
    def owner(self) -> str:
        """Whose files, responses and batches it sees: its organisation's.

        Its own alone, where it is limited to scopes.
        """
        return self.org if self.scopes is None else f"{self.org}/{self.key}"

    def scope(self, wanted: str | None) -> str:
        """The memory scope `wanted` of this tenant: below its own wall by construction.

        Raises `GatewayError` on one that the key may not touch.
        """
        name = wanted or "default"
        if self.scopes is not None and wanted is None and not _matches(self.scopes, name):
            beginning = next(iter(self.scopes), "").rstrip("*")
            name = f"{beginning}default" if beginning.endswith("/") else beginning or "default"
        if self.scopes is not None and not _matches(self.scopes, name):
            raise GatewayError(
                403, f"this key may not use the scope {name!r}", code="scope_not_allowed", should_retry=False
            )
        if name.count("/") >= MAX_SCOPE_SEGMENTS:
            raise GatewayError(
                400,
                f"a scope is a path of one or two names like 'ann/chat-7', not {name!r}",
                code="invalid_scope",
                param="scope",
            )
        return _scope_path(f"{self.org}/{name}")


class Keyring:
    """Finds principals. A key that was looked up once costs a hash and a dictionary until `forget`."""

    def __init__(self, accounts: Accounts, *, clock: Callable[[], float] = time.time) -> None:
        self._accounts = accounts
        self._clock = clock
        self._known: dict[bytes, tuple[Found, Principal | None]] = {}

    async def principal(self, secret: str | None) -> Principal:
        """Raises `GatewayError` (401) that says what is wrong with the key, as far as its owner may know."""
        if not secret:
            raise _refused("no API key: send it as 'Authorization: Bearer KEY' or 'x-api-key: KEY'")
        digest = hashlib.sha256(secret.encode("utf-8", "replace")).digest()
        known = self._known.get(digest)
        if known is None:
            found = await asyncio.to_thread(self._accounts.find, digest.hex())
            if found is None:
                raise _refused("the API key is not known here")
            known = found, _principal(found)
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            self._known[digest] = known
        found, principal = known
        if principal is None:
            raise _refused(f"the API key is no longer valid: {found.why_not}")
        if found.valid_until is not None and found.valid_until <= self._clock():
            raise _refused("the API key is no longer valid: it has expired or was replaced")
        return principal

    async def owner(self, key: str) -> Principal:
        """The principal of a key by its id, for work that goes on after its request.

        Raises `GatewayError` if the key is no longer valid.
        """
        found = await asyncio.to_thread(self._accounts.found, key)
        principal = _principal(found)
        if principal is None or (found.valid_until is not None and found.valid_until <= self._clock()):
            raise _refused("the API key is no longer valid")
        return principal

    def forget(self) -> None:
        """Looks everything up again: accounts have changed."""
        self._known.clear()


def _principal(found: Found) -> Principal | None:
    if found.why_not:
        return None
    key, org, team = found.key, found.org, found.team
    chain = []
    if org is not None:
        chain.append(Account.of(org.id, "organisation", org.limits))
    if team is not None:
        chain.append(Account.of(team.id, "team", team.limits))
    chain.append(Account.of(key.id, "key", key.limits))
    return Principal(
        key.id,
        key.name,
        org.id if org else "operator",
        team.id if team else None,
        frozenset(key.permissions) | (OF_THE_OPERATOR if org is None and "admin" in key.permissions else frozenset()),
        key.models,
        key.scopes,
        tuple(account for account in chain if account.limits != _NO_LIMITS),
        is_operator=org is None,
    )


def _refused(message: str) -> GatewayError:
    return GatewayError(
        401,
        message,
        code="invalid_api_key",
        headers=((b"www-authenticate", b'Bearer realm="orchestrator"'),),
        should_retry=False,
    )


@lru_cache(maxsize=4_096)
def _scope_path(path: str) -> str:
    return Scope.parse(path).path


@lru_cache(maxsize=4_096)
def _matches(patterns: tuple[str, ...], name: str) -> bool:
    return any(name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern for pattern in patterns)


_NO_LIMITS = AccountLimits()
