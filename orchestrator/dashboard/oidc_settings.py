"""An identity provider, and whom its people act as."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """An identity provider.

    Args:
        issuer: Its address; `/.well-known/openid-configuration` below it says the rest.
        client_id: What this gateway is called there.
        client_secret: Its secret there; `None` for a public client.
        claim: Which claim of the ID token names a person: `email`, `sub`, `preferred_username`.
        keys: From identities to keys of this gateway, by id or name; a first `*` stands for any beginning
            (`*@example.com`). One that is named counts before the patterns, of which the first that fits does.
    """

    issuer: str
    client_id: str
    client_secret: str | None
    claim: str
    keys: Mapping[str, str]

    def key_of(self, identity: str) -> str | None:
        """The key that an identity acts as; `None` where none is meant for it."""
        if identity in self.keys:
            return self.keys[identity]
        patterns = ((pattern[1:], key) for pattern, key in self.keys.items() if pattern.startswith("*"))
        return next((key for ending, key in patterns if identity.endswith(ending)), None)
