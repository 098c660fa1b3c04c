"""Signing in with an identity provider: a double on a real socket, made from OpenID Connect Core 1.0 and RFC 7636."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse
from starlette.routing import Route

from orchestrator.storage.account_types import NewKey
from tests.support.gateway import Running, running_gateway, served


class Provider:
    """Signs whoever asks in as `claims`; `wrong` changes what its token says."""

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "one"})
        self.claims: dict[str, Any] = {"sub": "u1", "email": "ann@example.com", "email_verified": True}
        self.wrong: dict[str, Any] = {}
        self.codes: dict[str, dict[str, str]] = {}
        self.url = ""
        self.signs_with: Any = self.key
        routes = [
            Route("/.well-known/openid-configuration", self.describe),
            Route("/jwks", self.keys),
            Route("/authorize", self.authorize),
            Route("/token", self.token, methods=["POST"]),
        ]
        self.app = Starlette(routes=routes)

    async def describe(self, request: Request) -> JSONResponse:
        names = ("authorize", "token", "jwks")
        places = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "jwks"}
        assert set(places.values()) == set(names)
        return JSONResponse({"issuer": self.url, **{name: f"{self.url}/{path}" for name, path in places.items()}})

    async def keys(self, request: Request) -> JSONResponse:
        return JSONResponse({"keys": [self.key.as_dict(private=False)]})

    async def authorize(self, request: Request) -> RedirectResponse:
        asked = dict(request.query_params)
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"]
        code = f"code-{len(self.codes)}"
        self.codes[code] = asked
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}")

    async def token(self, request: Request) -> JSONResponse:
        form = dict(parse_qsl((await request.body()).decode()))
        asked = self.codes.pop(form["code"])
        challenge = (
            base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).decode().rstrip("=")
        )
        shown = base64.b64decode(request.headers["authorization"].split()[1]).decode()
        if challenge != asked["code_challenge"] or shown != "gateway:s3cret":
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        said = {"iss": self.url, "aud": "gateway", "exp": now + 60, "iat": now, "nonce": asked["nonce"], **self.claims}
        said = {name: value for name, value in {**said, **self.wrong}.items() if value is not None}
        algorithm = "ES256" if isinstance(self.signs_with, ECKey) else "RS256"
        signed = jwt.encode({"alg": algorithm, "kid": "one"}, said, self.signs_with)
        return JSONResponse({"access_token": "a", "token_type": "Bearer", "expires_in": 60, "id_token": signed})


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    found = Provider()
    with served(found.app) as url:
        found.url = url
        yield found


@pytest.fixture
def gateway(tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    provider.wrong, provider.signs_with = {}, provider.key
    provider.claims = {"sub": "u1", "email": "ann@example.com", "email_verified": True}
    monkeypatch.setenv("OIDC_SECRET", "s3cret")
    oidc = {
        "issuer": provider.url,
        "client_id": "gateway",
        "client_secret": "env:OIDC_SECRET",
        "keys": {"boss@example.com": "acme/nobody", "*@example.com": "acme/staff"},
    }
    with running_gateway(tmp_path, gateway={"oidc": oidc}) as run:
        run.accounts.add_key(NewKey("staff", run.org))
        yield run


def signed_in(gateway: Running, browser: httpx.Client, start: str = "/ui/oidc/start") -> httpx.Response:
    """Follows the browser to the provider and back."""
    at_provider = browser.get(gateway.url + start)
    assert at_provider.status_code == 303, at_provider.text
    back = browser.get(at_provider.headers["location"])
    return browser.get(back.headers["location"])


def test_a_person_acts_as_the_owner_of_a_key(gateway: Running) -> None:
    with httpx.Client(trust_env=False) as browser:
        assert "Sign in with your organisation" in browser.get(gateway.url + "/ui/sign-in").text
        answer = signed_in(gateway, browser, "/ui/oidc/start?next=/ui/traces")
        assert (answer.status_code, answer.headers["location"]) == (303, "/ui/traces")
        page = browser.get(gateway.url + "/ui/")
        assert page.status_code == 200
        assert "staff" in page.text


@pytest.mark.parametrize(
    "wrong",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"aud": "somebody-else"},
        {"iss": "https://evil.example"},
        {"exp": 1},
        {"exp": None},
        {"email_verified": False},
        {"email": None},
    ],
    ids=str,
)
def test_a_token_that_is_wrong_opens_nothing(gateway: Running, provider: Provider, wrong: dict[str, Any]) -> None:
    provider.wrong = wrong
    with httpx.Client(trust_env=False) as browser:
        assert signed_in(gateway, browser).status_code == 401
        assert browser.get(gateway.url + "/ui/").status_code == 303


def test_a_token_of_another_signer_opens_nothing(gateway: Running, provider: Provider) -> None:
    for signer in (RSAKey.generate_key(2048, {"kid": "one"}), ECKey.generate_key("P-256", {"kid": "one"})):
        provider.signs_with = signer
        with httpx.Client(trust_env=False) as browser:
            assert signed_in(gateway, browser).status_code == 401


def test_who_has_no_key_is_told(gateway: Running, provider: Provider) -> None:
    for email in ("mallory@elsewhere.example", "boss@example.com", "ann@example.com.evil.example"):
        provider.claims = {"sub": "u2", "email": email, "email_verified": True}
        with httpx.Client(trust_env=False) as browser:
            answer = signed_in(gateway, browser)
            assert answer.status_code == 403
            assert email in answer.text


def test_an_answer_to_another_browser_is_refused(gateway: Running) -> None:
    with httpx.Client(trust_env=False) as victim, httpx.Client(trust_env=False) as attacker:
        at_provider = attacker.get(gateway.url + "/ui/oidc/start")
        back = attacker.get(at_provider.headers["location"]).headers["location"]
        assert victim.get(back).status_code == 401  # no flow of its own
        victim.get(gateway.url + "/ui/oidc/start")
        assert victim.get(back).status_code == 401  # another state
        assert victim.get(gateway.url + "/ui/").status_code == 303


def test_what_the_provider_refuses_is_told(gateway: Running) -> None:
    with httpx.Client(trust_env=False) as browser:
        state = dict(parse_qsl(urlsplit(browser.get(gateway.url + "/ui/oidc/start").headers["location"]).query))[
            "state"
        ]
        told = urlencode({"error": "access_denied", "error_description": "<b>no</b>", "state": state})
        answer = browser.get(f"{gateway.url}/ui/oidc/callback?{told}")
        assert answer.status_code == 401
        assert "&lt;b&gt;no&lt;/b&gt;" in answer.text
        wrong = browser.get(f"{gateway.url}/ui/oidc/callback?{urlencode({'code': 'nonsense', 'state': state})}")
        assert wrong.status_code == 401


def test_without_a_provider_there_is_no_such_page(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as run:
        assert httpx.get(run.url + "/ui/oidc/start", trust_env=False).status_code == 404
        assert "your organisation" not in httpx.get(run.url + "/ui/sign-in", trust_env=False).text


def test_a_provider_that_is_away_is_told(tmp_path: Path) -> None:
    oidc = {"issuer": "http://127.0.0.1:9", "client_id": "x", "keys": {"*": "first"}}
    with running_gateway(tmp_path, gateway={"oidc": oidc}) as run:
        answer = httpx.get(run.url + "/ui/oidc/start", trust_env=False)
        assert answer.status_code == 502
        assert "sign in with a key" in answer.text
