"""Which addresses a tool may speak to: the hosts that it lists, and none of the own network unless that is said.

The name is resolved here and the connection goes to the address that was checked, so that a name cannot point elsewhere
a moment later (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from orchestrator.jsontypes import JsonObject
from orchestrator.tools.tool import ToolFailed

# NAT64 (RFC 6052), IPv4-translated (RFC 2765), IPv4-compatible (RFC 4291, 2.5.5.1): the last four bytes are an IPv4
# address.
_HOLDING_IPV4 = [ipaddress.IPv6Network(each) for each in ("64:ff9b::/96", "::ffff:0:0:0/96", "::/96")]
_INSIDE = [
    ipaddress.IPv6Network(each) for each in ("64:ff9b:1::/48", "fec0::/10", "fc00::/7", "fe80::/10")
]  # local NAT64, site-local, unique local
PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Allowed:
    """`hosts` are names or addresses; `private` allows loopback and other addresses of the own network."""

    hosts: tuple[str, ...]
    private: bool = False

    async def address(self, url: str) -> tuple[str, dict[str, str], JsonObject]:
        """The URL with the host's checked address, and the headers and extensions with which httpx still speaks to the
        host by its name.

        Raises `ToolFailed`.
        """
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        if parts.scheme not in PORTS or not host or parts.username is not None:
            raise ToolFailed(f"{url[:100]!r} is not an http or https address", remedy="Check the tool's address")
        if host not in self.hosts:
            raise ToolFailed(f"the tool may not speak to {host}", remedy=f"It may speak to: {', '.join(self.hosts)}")
        try:
            port = parts.port or PORTS[parts.scheme]
        except ValueError:
            raise ToolFailed(f"{url[:100]!r} has no such port", remedy="Check the tool's address") from None
        address = await self._resolved(host, port)
        shown = f"[{address}]" if ":" in address else address
        target = parts._replace(netloc=f"{shown}:{port}").geturl()
        bare = f"[{host}]" if ":" in host else host
        named = bare if port == PORTS[parts.scheme] else f"{bare}:{port}"
        return target, {"host": named}, {"sni_hostname": host} if parts.scheme == "https" else {}

    async def _resolved(self, host: str, port: int) -> str:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise ToolFailed(
                f"the host {host} cannot be found: {error}", remedy="Check its name", retryable=True
            ) from None
        addresses = [str(each[4][0]) for each in found]
        forbidden = next((each for each in addresses if not self.private and not is_public(each)), None)
        if forbidden is not None:
            raise ToolFailed(
                f"{'it' if host == forbidden else host} is {forbidden}, an address of the own network",
                remedy="Say private: true if the tool may speak to it",
            )
        return addresses[0]


def is_public(address: str) -> bool:
    """Whether an address is one of the public internet.

    Not loopback, link-local, private, multicast, or one of those mapped into IPv6.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if inner is not None:
            return is_public(str(inner))
        if any(found in network for network in _HOLDING_IPV4):
            return is_public(str(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)))
        if any(found in network for network in _INSIDE):
            return False
    return found.is_global and not found.is_multicast
