"""Keys that a configuration names: in the environment, in a file, or printed by a command."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from orchestrator.config.names import DEFAULT_NAME as DEFAULT_NAME
from orchestrator.errors import ConfigError
from orchestrator.providers.credentials import clean_key

COMMAND_S = 30.0


def is_reference(stated: str) -> str:
    """A reference as it is. Raises `ValueError` on what may be the secret itself."""
    kind, _, where = stated.partition(":")
    if kind not in ("env", "file", "command") or not where.strip():
        raise ValueError(
            "a secret must be a reference, never the secret itself: env:NAME, file:PATH or command:PROGRAM"
        )
    return stated


def secret(reference: str | None, default_variable: str | None) -> str | None:
    """The key behind a reference, else that of the provider's usual variable.

    A reference is `env:NAME`, `file:PATH` or `command:PROGRAM ARGUMENTS` (no shell). Raises `ConfigError`.
    """
    if reference is None:
        found = os.environ.get(default_variable) if default_variable else None
        return (clean_key(found, f"the environment variable {default_variable}") or None) if found is not None else None
    kind, _, where = reference.partition(":")
    if kind == "env" and where:
        value = clean_key(os.environ.get(where, ""), f"the environment variable {where}")
        if not value:
            raise ConfigError(f"the environment variable {where} is not set", remedy=f"export {where}=... first")
        return value
    if kind == "file" and where:
        try:
            return clean_key(Path(where).read_text(encoding="utf-8"), f"the key file {where}")
        except OSError as error:
            message = f"the key file {where} cannot be read: {error.strerror}"
            raise ConfigError(message, remedy="Check the path") from None
        except UnicodeDecodeError:
            raise ConfigError(f"the key file {where} is not UTF-8 text", remedy="Save the key as plain text") from None
    if kind == "command" and where.strip():
        return clean_key(_printed_by(where), f"what the key command {where!r} printed")
    message = "a key must be a reference, never the key itself"
    raise ConfigError(message, remedy="Write key: env:NAME, file:PATH or command:PROGRAM")


def _printed_by(command: str) -> str:
    import subprocess  # heavy, and rarely needed

    try:
        done = subprocess.run(shlex.split(command), capture_output=True, text=True, timeout=COMMAND_S, check=False)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise ConfigError(
            f"the key command {command!r} cannot be run: {type(error).__name__}", remedy="Run it by hand first"
        ) from None
    if done.returncode or not done.stdout.strip():
        raise ConfigError(
            f"the key command {command!r} gave no key (exit code {done.returncode})", remedy="Run it by hand first"
        )
    return done.stdout.strip()
