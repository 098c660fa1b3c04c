"""How a provider is shown a key."""

from __future__ import annotations

from orchestrator.errors import ConfigError
from orchestrator.provider import Auth, Provider

_AUTH_HEADERS: dict[Auth, tuple[str, str]] = {
    "bearer": ("authorization", "Bearer "),
    "x-api-key": ("x-api-key", ""),
    "api-key": ("api-key", ""),
    "x-goog-api-key": ("x-goog-api-key", ""),
}


def clean_key(text: str, where: str = "the key") -> str:
    """A key as it was read from a file or the environment: without a byte order mark, line ends and quotation marks around it.

    Raises `ConfigError` on what no header can hold.
    """
    key = text.lstrip("\ufeff").strip()
    if len(key) > 1 and key[0] == key[-1] and key[0] in "\"'":
        key = key[1:-1].strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        wrong = next(place for place, sign in enumerate(key) if sign == " " or not sign.isascii() or not sign.isprintable())
        raise ConfigError(
            f"{where} holds a character at place {wrong + 1} that no key has", remedy="Copy it anew, without line breaks or quotes"
        )
    return key


def headers_for(provider: Provider, key: str | None) -> dict[str, str]:
    """How this provider wants to be shown a key, and what it wants with every call."""
    if key is None or provider.auth == "none":
        return dict(provider.headers)
    name, before = _AUTH_HEADERS[provider.auth]
    return {**provider.headers, name: before + key}
