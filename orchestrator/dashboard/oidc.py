"""Signing in with an identity provider: OpenID Connect's code flow with PKCE (OpenID Connect Core 1.0; RFC 7636).

Whoever the provider names acts as the owner of a key of this gateway, so that roles and limits stay in one place. The
token of the provider is checked (signature, issuer, audience, time, nonce) and thrown away.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from orchestrator.dashboard.host import DashboardError
from orchestrator.dashboard.oidc_settings import OidcSettings
from orchestrator.errors import ConfigError
from orchestrator.jsontypes import JsonObject

COOKIE = "orchestrator_oidc"
FLOW_S = 600
CACHED_S = 3_600.0
FRESH_S = 60.0
TIMEOUT_S = 15.0
SIGNED_WITH = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA")


@dataclass(frozen=True, slots=True)
class SignInFlow:
    """What must come back from the provider: kept in a cookie for some minutes."""

    state: str
    nonce: str
    verifier: str
    next: str

    @classmethod
    def begin(cls, next: str) -> SignInFlow:
        """A new one."""
        return cls(secrets.token_urlsafe(24), secrets.token_urlsafe(24), secrets.token_urlsafe(48), next)

    def as_cookie(self) -> str:
        """The value of its cookie; it guards nothing but this browser's own flow."""
        return json.dumps([self.state, self.nonce, self.verifier, self.next])

    @classmethod
    def read(cls, cookie: str) -> SignInFlow | None:
        """The flow of a cookie; `None` where it is none."""
        try:
            state, nonce, verifier, next = json.loads(cookie)
        except (ValueError, TypeError, RecursionError):
            return None
        return cls(str(state), str(nonce), str(verifier), str(next))


class IdentityProvider:
    """One provider, asked over HTTP. Raises `ConfigError` where authlib is not installed (extra `oidc`)."""

    def __init__(self, settings: OidcSettings, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        try:
            import authlib  # noqa: F401 - optional: extra `oidc`
        except ImportError:
            raise ConfigError(
                "signing in with OpenID Connect needs authlib", remedy="pip install 'compound-orchestrator[oidc]'"
            ) from None
        self.settings = settings
        self._transport = transport
        self._known: dict[str, tuple[float, JsonObject]] = {}
        self._asking = asyncio.Lock()

    async def start_url(self, flow: SignInFlow, redirect_uri: str) -> str:
        """Where the browser is sent. Raises `DashboardError` where the provider cannot be reached."""
        described = await self._described()
        async with self._client(redirect_uri) as client:
            url, _ = client.create_authorization_url(
                described["authorization_endpoint"], state=flow.state, nonce=flow.nonce, code_verifier=flow.verifier
            )
        return str(url)

    async def identity(self, flow: SignInFlow, redirect_uri: str, answer: Mapping[str, str]) -> str:
        """Who came back. Raises `DashboardError` (401) on an answer that is not of this flow, or a token that is wrong.

        `answer` are the parameters with which the provider sent the browser back.
        """
        if answer.get("error"):
            told = answer.get("error_description") or answer["error"]
            raise DashboardError(401, f"the identity provider refused: {told[:200]}", kind="refused")
        if not secrets.compare_digest(answer.get("state", "").encode(), flow.state.encode()) or not answer.get("code"):
            raise DashboardError(401, "this answer is not of this browser", remedy="Sign in again", kind="refused")
        described = await self._described()
        try:
            async with self._client(redirect_uri) as client:
                token = await client.fetch_token(
                    described["token_endpoint"], code=answer["code"], code_verifier=flow.verifier
                )
        except Exception as error:  # whatever the library makes of a provider's answer
            raise DashboardError(401, f"the identity provider gave no token: {error}"[:300], kind="refused") from None
        id_token = str(token.get("id_token", ""))
        try:
            claims = await self._checked(id_token, flow, described)
        except DashboardError:  # the provider may have other keys by now
            if not self._forgets(described["jwks_uri"]):
                raise
            claims = await self._checked(id_token, flow, described)
        identity = claims.get(self.settings.claim)
        if not identity or (self.settings.claim == "email" and claims.get("email_verified") not in (True, "true")):
            told = f"the identity provider does not vouch for a claim {self.settings.claim!r}"
            raise DashboardError(401, told, kind="refused")
        return str(identity)

    async def _checked(self, id_token: str, flow: SignInFlow, described: JsonObject) -> JsonObject:
        from joserfc import jwt  # comes with authlib
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        try:
            keys = KeySet.import_key_set(await self._fetched(described["jwks_uri"]))  # type: ignore[arg-type]
            token = jwt.decode(id_token, keys, algorithms=list(SIGNED_WITH))
            jwt.JWTClaimsRegistry(
                now=int(time.time()),
                leeway=60,
                iss={"essential": True, "value": described["issuer"]},
                aud={"essential": True, "value": self.settings.client_id},
                exp={"essential": True},
                nonce={"essential": True, "value": flow.nonce},
            ).validate(token.claims)
        except (JoseError, ValueError, TypeError) as error:
            raise DashboardError(
                401, f"the identity provider's token is wrong: {error}"[:300], kind="refused"
            ) from None
        return dict(token.claims)

    def _forgets(self, url: str) -> bool:
        """Forgets a document that was fetched more than a minute ago; false where it was fetched just now."""
        at, _ = self._known.get(url, (0.0, {}))
        if time.monotonic() - at < FRESH_S:
            return False
        self._known.pop(url, None)
        return True

    async def _described(self) -> JsonObject:
        found = await self._fetched(f"{self.settings.issuer.rstrip('/')}/.well-known/openid-configuration")
        missing = [n for n in ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri") if n not in found]
        if missing or found["issuer"].rstrip("/") != self.settings.issuer.rstrip("/"):
            told = f"{self.settings.issuer} does not describe itself as an OpenID provider"
            raise DashboardError(502, told, remedy="Check gateway.oidc.issuer", kind="oidc")
        return found

    async def _fetched(self, url: str) -> JsonObject:
        """A document of the provider, kept for an hour."""
        async with self._asking:
            at, known = self._known.get(url, (0.0, {}))
            if known and time.monotonic() - at < CACHED_S:
                return known
            try:
                async with httpx.AsyncClient(transport=self._transport, timeout=TIMEOUT_S) as client:
                    answer = await client.get(url)
                    answer.raise_for_status()
                    found = answer.json()
            except (httpx.HTTPError, ValueError) as error:
                told = f"the identity provider {self.settings.issuer} cannot be asked: {error}"[:300]
                raise DashboardError(502, told, remedy="Try again, or sign in with a key", kind="oidc") from None
            if not isinstance(found, dict):
                raise DashboardError(502, f"{url} gave no JSON object", kind="oidc")
            self._known[url] = (time.monotonic(), found)
            return found

    def _client(self, redirect_uri: str) -> Any:  # noqa: ANN401 - of authlib, which has no types
        from authlib.integrations.httpx_client import AsyncOAuth2Client

        secret = self.settings.client_secret
        return AsyncOAuth2Client(
            client_id=self.settings.client_id,
            client_secret=secret,
            scope="openid email profile",
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
            token_endpoint_auth_method="client_secret_basic" if secret else "none",
            transport=self._transport,
            timeout=TIMEOUT_S,
        )
