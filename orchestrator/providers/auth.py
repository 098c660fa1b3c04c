"""How a provider is shown a key."""

from __future__ import annotations

from orchestrator.providers.provider import Auth, Provider

_AUTH_HEADERS: dict[Auth, tuple[str, str]] = {
    "bearer": ("authorization", "Bearer "),
    "x-api-key": ("x-api-key", ""),
    "api-key": ("api-key", ""),
    "x-goog-api-key": ("x-goog-api-key", ""),
}


def headers_for(provider: Provider, key: str | None) -> dict[str, str]:
    """How this provider wants to be shown a key, and what it wants with every call."""
    if key is None or provider.auth == "none":
        return dict(provider.headers)
    name, before = _AUTH_HEADERS[provider.auth]
    return {**provider.headers, name: before + key}
