"""Keys as they are read from files and the environment."""

from __future__ import annotations

from orchestrator.errors import ConfigError


def clean_key(text: str, where: str = "the key") -> str:
    """A key as it was read from a file or the environment.

    Without a byte order mark, line ends and quotation marks around it.

    Raises `ConfigError` on what no header can hold.
    """
    key = text.lstrip("\ufeff").strip()
    if len(key) > 1 and key[0] == key[-1] and key[0] in "\"'":
        key = key[1:-1].strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        wrong = next(
            place for place, sign in enumerate(key) if sign == " " or not sign.isascii() or not sign.isprintable()
        )
        raise ConfigError(
            f"{where} holds a character at place {wrong + 1} that no key has",
            remedy="Copy it anew, without line breaks or quotes",
        )
    return key
