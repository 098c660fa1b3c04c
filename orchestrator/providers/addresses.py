"""Addresses of servers, as they are stated and as they are asked."""

from __future__ import annotations

import ipaddress
import os
import re
from functools import lru_cache
from urllib.parse import urlsplit

_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ENDINGS = ("/chat/completions", "/completions", "/responses", "/messages", "/embeddings", "/models")


def checked_address(stated: str) -> str:
    """The address of a server, with `${NAME}` filled in from the environment.

    Raises `ValueError` that says what is wrong with it.
    """
    address = filled_in(stated).strip()
    if not address.isprintable() or " " in address or not address.isascii():
        raise ValueError(f"the address {address!r} holds a blank or a character that no address has")
    if "$" in address or "{" in address:
        message = f"the address {address!r} holds a placeholder: write ${{NAME}} for a variable of the environment"
        raise ValueError(message)
    if not re.match(r"https?://", address, re.IGNORECASE):
        raise ValueError(f"the address {address!r} must begin with http:// or https://")
    try:
        split = urlsplit(address)
        has_port = split.port is None or split.port > 0
    except ValueError as error:
        raise ValueError(f"the address {address!r} is not one: {error}") from None
    if not split.hostname or not has_port:
        raise ValueError(f"the address {address!r} names no host")
    if split.username is not None or split.password is not None:
        raise ValueError("an address holds no user and password: give the key as `key`, and others by `headers`")
    if split.fragment:
        raise ValueError(f"the address {address!r} has a part behind #, which no server sees")
    path = split.path.rstrip("/")
    ending = next((each for each in _ENDINGS if path.endswith(each)), None)
    if ending is not None:
        raise ValueError(f"leave out {ending} at the end of the address {address!r}: it is added for each call")
    return split._replace(scheme=split.scheme.lower(), path=path).geturl()


def filled_in(stated: str) -> str:
    """A text with `${NAME}` filled in from the environment. Raises `ValueError` where a variable is not set."""
    return _PLACEHOLDER.sub(_filled_in, stated)


def _filled_in(found: re.Match[str]) -> str:
    name = found[1].strip()
    if not _NAME.fullmatch(name):
        raise ValueError(f"{found[0]} is no variable of the environment: write ${{NAME}}")
    value = os.environ.get(name, "")
    if not value.strip():
        raise ValueError(f"the environment variable {name} is not set: export {name}=... first")
    return value.strip()


@lru_cache(maxsize=1024)
def address_of(base_url: str, path: str) -> str:
    """The address of `path` behind a server's own, whose query (Azure's `?api-version=`) stays at the end."""
    base, _, query = base_url.partition("?")
    path, _, more = path.partition("?")
    queries = "&".join(each for each in (query, more) if each)
    return base.rstrip("/") + path + (f"?{queries}" if queries else "")


def is_nearby(host: str) -> bool:
    """Whether a host is this machine, one of a private network by its address, or one by a name without a domain."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal"))


def is_loopback(host: str) -> bool:
    """Whether a host is this machine's own."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
