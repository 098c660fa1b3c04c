"""The dashboard as an ASGI application: who looks, which page, and in which form."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import quote, unquote

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from orchestrator.dashboard.forms import read_form
from orchestrator.dashboard.host import DashboardError, DashboardHost
from orchestrator.dashboard.origins import check_local, check_origin, is_https
from orchestrator.dashboard.page import BASE, Page, PageRequest, PageRoute, Redirect
from orchestrator.dashboard.problems import to_problem
from orchestrator.dashboard.rendering import HEADERS, private_headers, render
from orchestrator.dashboard.routes import ROUTES, STREAMS
from orchestrator.dashboard.sessions import COOKIE, Session, read_session
from orchestrator.dashboard.signing_in import SigningIn
from orchestrator.dashboard.static_files import static_files, static_version
from orchestrator.dashboard.viewer import Viewer
from orchestrator.jsontypes import JsonValue

SAID = "said"


class Dashboard:
    """Pages at `/ui` (and `/docs`), each as HTML and as JSON.

    JSON is given to who asks for it (`accept: application/json`, or an address that ends in `.json`). A browser signs
    in with a key; a program sends its key as it does to the API.
    """

    def __init__(self, host: DashboardHost) -> None:
        self._host = host
        routes = [Route(BASE + each.path, self._endpoint(each), methods=[each.method]) for each in ROUTES]
        routes += [Route(BASE + each.path, self._streaming(each), methods=[each.method]) for each in STREAMS]
        routes += [
            Route("/", self._to_overview),
            Route("/docs", self._documentation),
            Route(BASE, self._to_overview),
            Route(f"{BASE}/static/{{name}}", self._static),
            *SigningIn(host, self._around, self._failed).routes(),
            Route(f"{BASE}/sign-out", self._sign_out, methods=["POST"]),
        ]
        self._router = Router(routes, redirect_slashes=False)

    @staticmethod
    def serves(path: str) -> bool:
        """Whether an address is one of the dashboard's."""
        return path in ("/", "/docs", BASE) or path.startswith(f"{BASE}/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request (ASGI)."""
        scope = dict(scope)
        wants_json = scope["path"].endswith(".json")
        if wants_json:
            scope["path"] = scope["path"].removesuffix(".json") or "/"
        scope["app"] = None
        request = Request(scope, receive)
        request.state.wants_json = wants_json or _accepts_json(request)
        try:
            await self._router(scope, receive, send)
        except HTTPException as error:
            told = "there is no such page" if error.status_code == 404 else str(error.detail)
            problem = DashboardError(error.status_code, told, remedy=f"The overview is at {BASE}/")
            await self._failed(request, None, problem)(scope, receive, send)

    # Pages

    def _endpoint(self, route: PageRoute) -> Callable[[Request], Awaitable[Response]]:
        async def serve(request: Request) -> Response:
            viewer: Viewer | None = None
            try:
                viewer, session = await self._viewer(request)
                form = await self._form(request, session) if route.method == "POST" else {}
                page = self._page_request(request, viewer, route, form)
                made = await route.handler(page)
            except _NotSignedIn as refused:
                return self._ask_to_sign_in(request, refused)
            except Exception as error:
                return self._failed(request, viewer, to_problem(error))
            if isinstance(made, Redirect):
                return _redirect(request, made)
            assert isinstance(made, Page)
            return self._shown(request, viewer, session, made)

        return serve

    def _streaming(self, route: PageRoute) -> Callable[[Request], Awaitable[Response]]:
        async def serve(request: Request) -> Response:
            try:
                viewer, session = await self._viewer(request)
                form = await self._form(request, session) if route.method == "POST" else {}
                events = await route.handler(self._page_request(request, viewer, route, form))
                assert not isinstance(events, Page | Redirect)
            except _NotSignedIn as refused:
                return self._failed(request, None, refused.problem)
            except Exception as error:
                return self._failed(request, None, to_problem(error))
            headers = {**HEADERS, "cache-control": "no-cache", "x-accel-buffering": "no"}
            return StreamingResponse(events, media_type="text/event-stream", headers=headers)

        return serve

    def _page_request(self, request: Request, viewer: Viewer, route: PageRoute, form: Mapping[str, str]) -> PageRequest:
        if not route.is_served(self._host):
            raise DashboardError(404, "there is nothing of that kind here", kind="not_found")
        if not route.allows(viewer):
            remedy = f"It is for keys of the role {route.role!r}"
            if route.permission is not None and not viewer.may(route.permission):
                remedy = f"The key {viewer.name!r} has no permission {route.permission!r}"
            raise DashboardError(403, "this page is not for this key", remedy=remedy, kind="forbidden")
        given = request.query_params
        params = {
            name: (",".join(given.getlist(name)) if name == "pick" else given[name]).replace("\0", "") for name in given
        }
        form = {name: value.replace("\0", "") for name, value in form.items()}
        return PageRequest(self._host, viewer, params, dict(request.path_params), form, request.state.wants_json)

    def _shown(self, request: Request, viewer: Viewer, session: Session | None, page: Page) -> Response:
        if request.state.wants_json:
            return JSONResponse(_plain(page.data), page.status, headers=private_headers())
        token = session.form_token(self._host.secret) if session is not None else ""
        values = {**page.data, **page.extra, **self._around(request, viewer, page.title), "token": token}
        response = Response(render(page.template, values), page.status, private_headers(), "text/html; charset=utf-8")
        if request.cookies.get(SAID):
            response.delete_cookie(SAID, path=BASE)
        return response

    def _around(self, request: Request, viewer: Viewer | None, title: str) -> dict[str, object]:
        """What every page has: its navigation, who looks, and what was said of the last change."""
        pages = [
            {"title": each.title, "path": BASE + each.path}
            for each in ROUTES
            if viewer is not None and each.title and each.is_served(self._host) and each.allows(viewer)
        ]
        engine = self._host.engine
        fleet = [] if engine is None else list(engine.backends.values())
        return {
            "title": title,
            "viewer": viewer,
            "pages": pages,
            "here": request.url.path,
            "params": dict(request.query_params),
            "said": _said(request),
            "now": self._host.clock(),
            "version": static_version(),
            "origin": f"{'https' if is_https(request) else 'http'}://{request.headers.get('host', '')}",
            "has_api": self._host.openapi is not None,
            "is_simulated": bool(fleet) and all(backend.profile.simulated for backend in fleet),
        }

    # Signing in

    async def _viewer(self, request: Request) -> tuple[Viewer, Session | None]:
        if self._host.is_local:
            check_local(request)
            return self._host.viewer(), None
        bearer = request.headers.get("authorization", "")
        if bearer.lower().startswith("bearer "):
            return await self._host.sign_in(bearer[7:].strip()), None
        cookie = request.cookies.get(COOKIE)
        if cookie is None:
            raise _NotSignedIn("sign in to see this page")
        session = read_session(cookie, self._host.secret, self._host.clock())
        viewer = None if session is None else await self._host.viewer_of(session.key)
        if session is None or viewer is None or not session.is_of(viewer.stamp):
            raise _NotSignedIn("the session has ended: sign in again")
        if await self._host.has_ended(session.nonce):
            raise _NotSignedIn("the session has ended: sign in again")
        return viewer, session

    async def _whoever(self, request: Request) -> tuple[Viewer | None, Session | None]:
        """Who looks at a page that is for everybody."""
        try:
            return await self._viewer(request)
        except (_NotSignedIn, DashboardError):
            return None, None

    async def _form(self, request: Request, session: Session | None) -> dict[str, str]:
        """What was filled in. Raises `DashboardError` where it does not come from a page of this session."""
        site = check_origin(request)
        form = await read_form(request)
        token = request.headers.get("x-form-token") or form.pop("token", "")
        if session is not None and not session.accepts(self._host.secret, token):
            remedy = "Open the page again and send its form once more"
            raise DashboardError(403, "this form is not of this session", remedy=remedy, kind="forbidden")
        if self._host.is_local and site != "same-origin":
            raise DashboardError(403, "this form comes from elsewhere", kind="forbidden")
        return form

    async def _sign_out(self, request: Request) -> Response:
        try:
            _, session = await self._viewer(request)
            await self._form(request, session)
            if session is not None:
                await self._host.end_session(session.nonce, session.ends_at)
        except _NotSignedIn:
            pass
        except Exception as error:
            return self._failed(request, None, to_problem(error))
        response = RedirectResponse(f"{BASE}/sign-in", 303, private_headers())
        response.delete_cookie(COOKIE, httponly=True, samesite="lax", secure=is_https(request))
        return response

    def _ask_to_sign_in(self, request: Request, refused: _NotSignedIn) -> Response:
        if request.state.wants_json or request.method != "GET":
            return self._failed(request, None, refused.problem)
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        why = "" if request.cookies.get(COOKIE) is None else "&ended=1"
        return RedirectResponse(f"{BASE}/sign-in?next={quote(here, safe='/')}{why}", 303, private_headers())

    # What is the same for everybody

    async def _to_overview(self, request: Request) -> Response:
        return RedirectResponse(f"{BASE}/", 307, HEADERS)

    async def _documentation(self, request: Request) -> Response:
        """The operations of the API; they are no secret: /openapi.json is open, too."""
        if self._host.openapi is None:
            return self._failed(request, None, DashboardError(404, "no API is served here"))
        from orchestrator.dashboard.pages.documentation import documented

        viewer, session = await self._whoever(request)
        token = session.form_token(self._host.secret) if session is not None else ""
        values = {**self._around(request, viewer, "API"), **documented(self._host.openapi), "token": token}
        return Response(render("documentation.html", values), 200, private_headers(), "text/html; charset=utf-8")

    async def _static(self, request: Request) -> Response:
        found = static_files().get(request.path_params["name"])
        if found is None:
            return self._failed(request, None, DashboardError(404, "there is no such file"))
        kind, content = found
        headers = {**HEADERS, "cache-control": "public, max-age=31536000, immutable"}
        return Response(content, 200, headers, kind)

    def _failed(self, request: Request, viewer: Viewer | None, problem: DashboardError) -> Response:
        headers = {**private_headers(), **({"www-authenticate": "Bearer"} if problem.status == 401 else {})}
        if request.state.wants_json:
            told = {"code": problem.kind, "message": problem.message, "remedy": problem.remedy}
            return JSONResponse({"error": told}, problem.status, headers=headers)
        values = {**self._around(request, viewer, "Something is wrong"), "problem": problem, "token": ""}
        return Response(render("error.html", values), problem.status, headers, "text/html; charset=utf-8")


class _NotSignedIn(Exception):
    """Nobody is signed in, or not any more."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.problem = DashboardError(
            401, message, remedy="Sign in, or send a key as `authorization: Bearer KEY`", kind="not_signed_in"
        )


def _accepts_json(request: Request) -> bool:
    accept = request.headers.get("accept", "")
    return "application/json" in accept and "text/html" not in accept


def _plain(data: object) -> JsonValue:
    """JSON values without what JSON has no word for."""
    return orjson.loads(orjson.dumps(data, default=str))


def _redirect(request: Request, made: Redirect) -> Response:
    if request.state.wants_json:
        return JSONResponse({"done": made.said, "see": made.to}, headers=private_headers())
    response = RedirectResponse(made.to, 303, private_headers())
    if made.said:
        response.set_cookie(SAID, quote(made.said), max_age=30, path=BASE, samesite="lax", httponly=True)
    return response


def _said(request: Request) -> str:
    return unquote(request.cookies.get(SAID, ""))[:300]
