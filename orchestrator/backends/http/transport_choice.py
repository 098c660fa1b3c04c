"""How a server is reached.

Directly over our own wire, or by httpx where something stands between (a proxy, a company's certificates, HTTP/2).

The choice follows from the environment (`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`, as curl reads them) and
from what is stated of a model. Addresses of this machine are reached directly whatever the environment says. Both ways
have the same face and the same errors (`TransportError`).
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from orchestrator.backends.http.transport import CONNECT_S, IDLE_S, HttpTransport, whole_body
from orchestrator.backends.provider_errors import TransportError
from orchestrator.providers.addresses import is_loopback

if TYPE_CHECKING:
    import httpx

DIRECT = "none"
_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


class AnyResponse(Protocol):
    """The answer to one call; `headers` have names in small letters. It is read to its end, or cancelled."""

    status: int
    headers: dict[str, str]

    async def read(self) -> bytes:
        """The whole body. Raises `TransportError`."""

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises `TransportError`."""

    def cancel(self) -> None:
        """Ends the call; nothing more is read."""


class Transport(Protocol):
    """How requests are sent: over our own connections, or by httpx."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, *, timeout_s: float) -> AnyResponse:
        """Sends a request; returns when the head of the answer is there. Raises `TransportError`."""

    async def close_idle(self, url: str) -> None:
        """Closes the connections to a server that nobody uses."""

    async def aclose(self) -> None:
        """Closes all connections."""


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificates that are trusted beside none other (`ca`, a file), and the client's own (`cert`, `key`)."""

    ca: str | None = None
    cert: str | None = None
    key: str | None = None

    def context(self) -> ssl.SSLContext:
        """Raises `OSError`, `ssl.SSLError` on files that cannot be used."""
        import certifi  # needed with TLS only

        context = ssl.create_default_context(cafile=self.ca or certifi.where())
        if self.cert is not None:
            context.load_cert_chain(self.cert, self.key)
        return context


@dataclass(frozen=True, slots=True)
class Way:
    """How a model's servers are reached.

    `proxy` is an address, `none` for no proxy, or `None` for the environment's.
    """

    proxy: str | None = None
    tls: Tls | None = None
    http2: bool = False

    def is_direct(self, url: str) -> bool:
        """Whether our own wire reaches an address."""
        return self.tls is None and not self.http2 and self.proxy_for(url) is None

    def proxy_for(self, url: str) -> str | None:
        """The proxy for an address: what is stated, else what the environment says; `None` to go directly."""
        if self.proxy is not None:
            return None if self.proxy == DIRECT else self.proxy
        return environment_proxy(url)


def environment_proxy(url: str) -> str | None:
    """The proxy through which the environment says that an address is reached; `None` if directly."""
    if not any(os.environ.get(name) for name in _VARIABLES):
        return None
    # urllib.request loads much
    from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

    split = urlsplit(url)
    proxies = getproxies_environment()
    found = proxies.get(split.scheme) or proxies.get("all")
    if (
        not found
        or is_loopback(split.hostname or "")
        or proxy_bypass_environment(split.netloc.rpartition("@")[2], proxies)
    ):
        return None
    return found if "://" in found else f"http://{found}"


_wires: WeakKeyDictionary[asyncio.AbstractEventLoop, HttpTransport] = WeakKeyDictionary()
_others: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Any, HttpxTransport]] = WeakKeyDictionary()


def transport_for(url: str, way: Way) -> Transport:
    """Of the running event loop: connections outlive calls, and models share them."""
    if way.is_direct(url):
        return wire()
    proxy = way.proxy_for(url)
    others = _others.setdefault(asyncio.get_running_loop(), {})
    key = (proxy, way.tls, way.http2)
    if key not in others:
        others[key] = HttpxTransport(proxy=proxy, tls=way.tls, http2=way.http2)
    return others[key]


def wire() -> HttpTransport:
    """The wire of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _wires:
        _wires[loop] = HttpTransport()
    return _wires[loop]


async def close_transports() -> None:
    """Closes all connections of the running event loop."""
    loop = asyncio.get_running_loop()
    for transport in (_wires.pop(loop, None), *_others.pop(loop, {}).values()):
        if transport is not None:
            await transport.aclose()


class HttpxTransport:
    """Calls by httpx.

    Through a proxy, with certificates of one's own, over HTTP/2, or by a client that was handed in (which stays its
    owner's).
    """

    def __init__(
        self,
        *,
        proxy: str | None = None,
        tls: Tls | None = None,
        http2: bool = False,
        client: httpx.AsyncClient | None = None,
    ) -> None:
        self._is_ours = client is None
        self._proxy, self._tls, self._http2 = proxy, tls, http2
        self._under_way: set[HttpxAnswer] = set()
        self._client = client

    def _made(self) -> httpx.AsyncClient:
        import httpx  # heavy: 60 ms

        return httpx.AsyncClient(
            proxy=self._proxy,
            verify=(self._tls or Tls(os.environ.get("SSL_CERT_FILE"))).context(),
            http2=self._http2,
            trust_env=False,
            limits=httpx.Limits(
                max_connections=None, max_keepalive_connections=256, keepalive_expiry=IDLE_S
            ),  # each server has its own limit,
        )

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, *, timeout_s: float) -> HttpxAnswer:
        """As `HttpTransport.post`."""
        try:
            return await self._post(url, headers, body, timeout_s)
        except TransportError as error:
            if not error.is_stale:
                raise
        # The connection was closed before the call reached its server: it never saw it (RFC 9110, section 9.2.2).
        return await self._post(url, headers, body, timeout_s)

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float) -> HttpxAnswer:
        import httpx  # heavy: 60 ms

        is_new = False

        async def trace(event: str, info: Any) -> None:
            nonlocal is_new
            is_new = is_new or event.startswith(("connection.connect", "http_proxy.", "socks5."))

        timeout = httpx.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s), pool=min(CONNECT_S, timeout_s))
        client = self._client = self._client or self._made()
        request = client.build_request(
            "POST", url, headers=dict(headers), content=body, timeout=timeout, extensions={"trace": trace}
        )
        try:
            async with asyncio.timeout(timeout_s):
                response = await client.send(request, stream=True, follow_redirects=False)
        except TimeoutError as error:
            raise TransportError(f"no answer in {timeout_s:.0f} s", may_be_billed=True, is_timeout=True) from error
        except httpx.HTTPError as error:
            raise self._wrong(error, is_new=is_new) from error
        except (httpx.InvalidURL, ssl.SSLError) as error:
            raise TransportError(str(error), may_be_billed=False) from error
        answer = HttpxAnswer(response, timeout_s, self._under_way.discard)
        self._under_way.add(answer)
        return answer

    def _wrong(self, error: httpx.HTTPError, *, is_new: bool) -> TransportError:
        import httpx  # heavy: 60 ms

        through = f" through the proxy {_shown(self._proxy)}" if self._proxy else ""
        told = str(error) or type(error).__name__
        if isinstance(
            error,
            httpx.ConnectError
            | httpx.ConnectTimeout
            | httpx.PoolTimeout
            | httpx.ProxyError
            | httpx.UnsupportedProtocol,
        ):
            host = error.request.url.host
            return TransportError(f"cannot connect to {host}{through}: {told}", may_be_billed=False)
        if isinstance(error, httpx.TimeoutException):
            return TransportError("no answer in time", may_be_billed=True, is_timeout=True)
        is_stale = not is_new and isinstance(error, httpx.RemoteProtocolError | httpx.ReadError | httpx.WriteError)
        return TransportError(f"the connection broke off: {told}", may_be_billed=not is_stale, is_stale=is_stale)

    async def close_idle(self, url: str) -> None:
        """Closes all connections, unless a call is under way."""
        if not self._under_way and self._is_ours:
            await self.aclose()

    async def aclose(self) -> None:
        """Closes the client, if it was opened here."""
        if self._is_ours and self._client is not None:
            await self._client.aclose()
            self._client = None


class HttpxAnswer:
    """The answer to one call, as `AnyResponse` says."""

    def __init__(self, response: httpx.Response, timeout_s: float, ended: Callable[[HttpxAnswer], None]) -> None:
        self.status = response.status_code
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self._response = response
        self._timeout_s = timeout_s
        self._ended = ended
        self._closing: asyncio.Task[None] | None = None

    async def read(self) -> bytes:
        """The whole body. Raises `TransportError`."""
        return await whole_body(self.chunks(), self.cancel)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises `TransportError`."""
        import httpx  # heavy: 60 ms

        try:
            async for chunk in self._response.aiter_bytes():
                yield chunk
        except httpx.TimeoutException:
            raise TransportError(f"no answer in {self._timeout_s:.0f} s", may_be_billed=True, is_timeout=True) from None
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise TransportError(
                f"the connection broke off: {str(error) or type(error).__name__}", may_be_billed=True
            ) from None
        finally:
            self._ended(self)
            await self._response.aclose()

    def cancel(self) -> None:
        """Ends the call; nothing more is read."""
        self._ended(self)
        if not self._response.is_closed and self._closing is None:
            self._closing = asyncio.ensure_future(self._response.aclose())


def _shown(address: str) -> str:
    """An address without user and password."""
    split = urlsplit(address)
    return f"{split.scheme}://{split.netloc.rpartition('@')[2]}"
