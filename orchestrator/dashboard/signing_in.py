"""Signing in and out: with a key, or with an identity provider."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from orchestrator.dashboard.forms import read_form
from orchestrator.dashboard.host import DashboardError, DashboardHost
from orchestrator.dashboard.oidc import COOKIE as FLOW_COOKIE
from orchestrator.dashboard.oidc import FLOW_S, IdentityProvider, SignInFlow
from orchestrator.dashboard.origins import check_origin, is_https, is_own_address, next_address
from orchestrator.dashboard.page import BASE
from orchestrator.dashboard.problems import to_problem
from orchestrator.dashboard.rendering import private_headers, render
from orchestrator.dashboard.sessions import COOKIE, SESSION_S, Session
from orchestrator.dashboard.viewer import Viewer
from orchestrator.errors import ConfigError

log = logging.getLogger(__name__)
Around = Callable[[Request, Viewer | None, str], Mapping[str, object]]
Failed = Callable[[Request, Viewer | None, DashboardError], Response]


class SigningIn:
    """The addresses of signing in. `around` gives what every page has, `failed` shows an error."""

    def __init__(self, host: DashboardHost, around: Around, failed: Failed) -> None:
        self._host = host
        self._around = around
        self._failed = failed
        self._provider: IdentityProvider | None = None

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            Route(f"{BASE}/sign-in", self._show, methods=["GET"]),
            Route(f"{BASE}/sign-in", self._with_key, methods=["POST"]),
            Route(f"{BASE}/oidc/start", self._start, methods=["GET"]),
            Route(f"{BASE}/oidc/callback", self._came_back, methods=["GET"]),
        ]

    async def _show(self, request: Request) -> Response:
        if self._host.is_local:
            return RedirectResponse(f"{BASE}/", 303, private_headers())
        return self._page(request, "", 200)

    def _page(self, request: Request, problem: str, status: int) -> Response:
        wanted = next_address(request)
        try:
            has_provider = self._host.oidc is not None
        except ConfigError as error:  # its secret cannot be read: keys still open the door
            log.error("signing in with an identity provider is not offered: %s", error)
            has_provider = False
        start = f"{BASE}/oidc/start?{urlencode({'next': wanted})}" if has_provider else ""
        values = {**self._around(request, None, "Sign in"), "problem": problem, "next": wanted, "oidc_start": start}
        return Response(render("sign_in.html", values), status, private_headers(), "text/html; charset=utf-8")

    async def _with_key(self, request: Request) -> Response:
        try:
            check_origin(request)
            form = await read_form(request)
            viewer = await self._host.sign_in(form.get("key", "").strip())
        except Exception as error:
            problem = to_problem(error)
            if request.state.wants_json or problem.status not in (400, 401):
                return self._failed(request, None, problem)
            return self._page(request, problem.message, problem.status)
        return self._begin(request, viewer, form.get("next", ""))

    def _begin(self, request: Request, viewer: Viewer, wanted: str) -> Response:
        session = Session.begin(viewer.key, self._host.clock(), viewer.stamp)
        response = RedirectResponse(wanted if is_own_address(wanted) else f"{BASE}/", 303, private_headers())
        response.set_cookie(
            COOKIE,
            session.as_cookie(self._host.secret),
            max_age=int(SESSION_S),
            httponly=True,
            samesite="lax",
            secure=is_https(request),
        )
        return response

    # With an identity provider

    async def _start(self, request: Request) -> Response:
        try:
            provider, flow = self._asked(), SignInFlow.begin(next_address(request))
            response = RedirectResponse(await provider.start_url(flow, _back(request)), 303, private_headers())
        except Exception as error:
            return self._failed(request, None, to_problem(error))
        response.set_cookie(
            FLOW_COOKIE,
            flow.as_cookie(),
            max_age=FLOW_S,
            httponly=True,
            samesite="lax",
            secure=is_https(request),
            path=f"{BASE}/oidc",
        )
        return response

    async def _came_back(self, request: Request) -> Response:
        flow = SignInFlow.read(request.cookies.get(FLOW_COOKIE, ""))
        try:
            provider = self._asked()
            if flow is None:
                raise DashboardError(401, "this answer is not of this browser", remedy="Sign in again", kind="refused")
            identity = await provider.identity(flow, _back(request), dict(request.query_params))
            key = provider.settings.key_of(identity)
            viewer = None if key is None else await self._host.viewer_of_named(key)
            if viewer is None:
                told = f"no key of this gateway is meant for {identity[:100]}"
                raise DashboardError(403, told, remedy="Ask the operator to name one under gateway.oidc.keys")
        except Exception as error:
            return self._failed(request, None, to_problem(error))
        response = self._begin(request, viewer, flow.next)
        response.delete_cookie(FLOW_COOKIE, path=f"{BASE}/oidc")
        return response

    def _asked(self) -> IdentityProvider:
        """The provider of the configuration at work. Raises `DashboardError` (404) where there is none."""
        settings = self._host.oidc
        if settings is None:
            raise DashboardError(404, "no identity provider is configured", kind="not_found")
        if self._provider is None or self._provider.settings != settings:
            self._provider = IdentityProvider(settings)
        return self._provider


def _back(request: Request) -> str:
    """The address at which the provider sends browsers back, as this browser knows the gateway."""
    scheme = "https" if is_https(request) else "http"
    return f"{scheme}://{request.headers.get('host', '')}{BASE}/oidc/callback"
