"""The native API.

Whole answers with everything that is known of them, routes without a model asked, feedback, traces, usage.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from orchestrator.budget import to_nano
from orchestrator.errors import UnknownAnswer
from orchestrator.gateway.accounts.principals import Principal
from orchestrator.gateway.accounts.quota_leases import USD, period_of
from orchestrator.gateway.api.chat import CompletionSession
from orchestrator.gateway.api.dashboard_host import budget_states
from orchestrator.gateway.api.endpoint import Endpoint
from orchestrator.gateway.api.validators import Param
from orchestrator.gateway.api.visibility import is_among, requests_of, usage_of
from orchestrator.gateway.chat.client_request import ClientRequest
from orchestrator.gateway.chat.completions import AUTO
from orchestrator.gateway.errors import GatewayError
from orchestrator.gateway.http.redaction import without_addresses
from orchestrator.gateway.http.request import JSON
from orchestrator.jsontypes import JsonObject
from orchestrator.storage.quotas import Quota
from orchestrator.types import Answer

if TYPE_CHECKING:
    from orchestrator.gateway.api.services import Services

DAY_S = 86_400.0
READY_S = 3.0
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


async def answer(services: Services, call: ClientRequest, body: JsonObject) -> None:
    """Answers a question, with everything that is known of the answer."""
    chat = _chat_body(body)
    if chat["model"] in services.serving.pipelines.models:
        raise GatewayError(
            400,
            "a pipeline is run by POST /v1/pipelines/NAME/runs, or as the model of a chat",
            code="is_a_pipeline",
            param="model",
        )
    if chat["model"] != AUTO and not chat["model"].startswith(f"{AUTO}:"):
        chat["orchestrator"] = {**chat.get("orchestrator", {}), "strategy": "single"}
    async with CompletionSession(services, call, "answer", chat) as order, call.watched():
        found = await order.serving.completions.answer(
            order.job, only=None if chat["model"].startswith(AUTO) else chat["model"]
        )
        await call.reply_json(as_json(found), headers=order.closing_headers())


async def route(services: Services, call: ClientRequest, body: JsonObject) -> None:
    """Shows which model would be asked, and why; none is."""
    if body.get("model") in services.serving.pipelines.models:
        raise GatewayError(400, "a pipeline is not routed: its steps are", code="is_a_pipeline", param="model")
    async with CompletionSession(services, call, "route", _chat_body(body)) as order:
        plan = await order.serving.completions.planned(order.job)
        call.tab = None  # nothing was served: a look at the route is no request to a model
        await call.reply_json({**plan.route.as_dict(), "one_draft_by": plan.single_draft_model()})


def _chat_body(body: JsonObject) -> JsonObject:
    """A native request as the completions take it."""
    shape = (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": body["schema"]}}}
        if "schema" in body
        else {}
    )
    return {
        "model": body.get("model", AUTO),
        "messages": [*body.get("history", ()), {"role": "user", "content": body["query"]}],
        **{name: body[name] for name in ("max_tokens", "temperature") if name in body},
        **({"orchestrator": body["options"]} if "options" in body else {}),
        **shape,
    }


def as_json(found: Answer) -> JsonObject:
    """An answer with everything that is known of it; addresses of servers are the operator's business."""
    stated = found.as_dict()
    return stated | {"trace": without_addresses(stated["trace"]) if stated["trace"] else None}


async def feedback(services: Services, call: ClientRequest, body: JsonObject) -> None:
    """Says how right an answer was; the router learns from it."""
    engine, principal = services.engine, call.principal
    if engine.decisions is None:
        raise GatewayError(
            404, "this gateway keeps no decisions: write online: {} in its configuration", code="no_decision_log"
        )
    logged = await asyncio.to_thread(engine.decisions.find, body["trace_id"])
    if logged is None or not await _may_read(services, principal, body["trace_id"], logged.scope):
        raise UnknownAnswer(
            f"there is no answer {body['trace_id']!r}", remedy="Use the trace id that the answer carried"
        )
    services.influence.count(principal.org)
    grades = await engine.feedback(
        body["trace_id"],
        body.get("score"),
        expected=body.get("expected"),
        reliability=body.get("reliability", 1.0),
        source=body.get("source") or "user",
    )
    await call.reply_json({"trace_id": body["trace_id"], "grades": grades})


async def _may_read(services: Services, principal: Principal, trace_id: str, scope: str) -> bool:
    """Whether a key may read a trace, and so grade it.

    Of its organisation, of a scope that it may touch, and of its own unless it manages.
    """
    org, _, name = scope.partition("/")
    if org != principal.org or not principal.may_touch(name):
        return False
    only = requests_of(principal, {})
    if not only:
        return True
    await services.recorder.flush()
    found = await asyncio.to_thread(services.requests.head, principal.org, trace_id)
    return found is not None and is_among(found, only)


async def traces(services: Services, call: ClientRequest, query: JsonObject) -> None:
    """Lists the requests of an organisation, the newest first."""
    found = await asyncio.to_thread(
        services.requests.recent,
        call.principal.org,
        query.get("limit", 100),
        before=query.get("before"),
        only=requests_of(call.principal, query),
    )
    await call.reply_json({"object": "list", "data": [_outside(one) for one in found]})


async def trace(services: Services, call: ClientRequest, _: object) -> None:
    """Shows one request with its trace."""
    await services.recorder.flush()
    found = await asyncio.to_thread(services.requests.find, call.principal.org, call.params["id"])
    if found is None or not is_among(found, requests_of(call.principal, {})):
        raise GatewayError(404, f"there is no trace {call.params['id']!r}", code="trace_not_found")
    await call.reply_json(_outside(found))


async def usage(services: Services, call: ClientRequest, query: JsonObject) -> None:
    """Sums up what was used, by key, team and model."""
    await services.recorder.flush()
    until = query.get("until", services.clock() + 1)
    since = query.get("since", until - 30 * DAY_S)
    by = query.get("by", "model")
    org = await usage_of(services.accounts, call.principal, query)
    found = await asyncio.to_thread(
        services.requests.usage, org, since=since, until=until, by=by, only=requests_of(call.principal, query)
    )
    await call.reply_json(
        {"since": since, "until": until, "by": by, "data": found, "budgets": await _budgets(services, call.principal)}
    )


def _outside(served: JsonObject) -> JsonObject:
    """A request as its tenant knows it: scopes without their wall."""
    return without_addresses({**served, "scope": served["scope"].partition("/")[2]})  # type: ignore[no-any-return]


async def _budgets(services: Services, principal: Principal) -> list[JsonObject]:
    """How the budgets above this caller stand."""
    found, now = [], services.clock()
    await services.limiter.book()
    for account in principal.chain:
        limits = account.limits
        if limits.usd is not None:
            quota = Quota(account.subject, USD, period_of(limits.period, now))
            used, leased = await asyncio.to_thread(services.limiter.quotas.standing, quota)
            left = max(to_nano(limits.usd) - used, 0)
            found.append(
                {
                    "of": account.what,
                    "period": limits.period,
                    "limit_usd": limits.usd,
                    "spent_usd": used / 1e9,
                    "left_usd": left / 1e9,
                    "reserved_usd": leased / 1e9,
                }
            )
    return found


async def healthy(services: Services, call: ClientRequest, _: object) -> None:
    """The process is alive."""
    await call.reply_json({"status": "ok"})


async def ready(services: Services, call: ClientRequest, _: object) -> None:
    """The process can serve: its database can be read and written."""
    if services.is_draining:
        raise GatewayError(503, "the gateway is about to end", code="draining", retry_after_s=1.0)
    async with asyncio.timeout(READY_S):
        await asyncio.to_thread(
            services.database.check
        )  # raises when the database cannot be read or written, or is locked
    await call.reply_json({"status": "ready"})


async def metrics(services: Services, call: ClientRequest, _: object) -> None:
    """Metrics in Prometheus' text format: of all tenants, so that they are the operator's."""
    if not call.principal.is_operator:
        raise GatewayError(403, "only the operator's key may do this", code="permission_denied", should_retry=False)
    await services.recorder.flush()
    await services.limiter.book()
    names, left = await asyncio.to_thread(_accounts, services)
    services.metrics.tell_accounts(names, left)
    await call.reply(200, services.metrics.text(), [(b"content-type", PROMETHEUS.encode())])


def _accounts(services: Services) -> tuple[list[tuple[str, str, str]], list[tuple[str, str, float]]]:
    """What accounts are called, and what is left of their budgets."""
    accounts = services.accounts
    names = [
        *((org.id, "organisation", org.name) for org in accounts.orgs()),
        *((team.id, "team", team.name) for team in accounts.teams()),
        *((key.id, "key", key.name) for key in accounts.keys(None) if key.revoked_at is None),
    ]
    left = [(one.subject, one.of, max(one.limit_usd - one.spent_usd, 0.0)) for one in budget_states(services)]
    return names, left


async def described(services: Services, call: ClientRequest, _: object) -> None:
    """The OpenAPI document."""
    await call.reply(200, services.openapi(), [JSON])


_MOMENT = {"type": "number", "minimum": 0, "maximum": 1e11}
_KEY = Param("key", {"ref": "Id"}, "only of this key (for keys that manage their organisation)")
ENDPOINTS = (
    Endpoint(
        "POST",
        "/v1/answer",
        answer,
        "Answer a question, with everything that is known of the answer",
        "inference",
        body="AnswerRequest",
        answer="Answer",
    ),
    Endpoint(
        "POST",
        "/v1/route",
        route,
        "Where a question would go, and why; no model is asked",
        "inference",
        body="RouteRequest",
        answer="Route",
    ),
    Endpoint(
        "POST",
        "/v1/feedback",
        feedback,
        "Say how right an answer was; the router learns from it",
        "feedback",
        body="Feedback",
        answer="Graded",
        errors=(404,),
    ),
    Endpoint(
        "GET",
        "/v1/traces",
        traces,
        "The newest requests",
        "traces",
        answer="TraceList",
        params=(
            Param("limit", {"type": "integer", "minimum": 1, "maximum": 1000}),
            Param("before", _MOMENT, "seconds since 1970"),
            _KEY,
        ),
    ),
    Endpoint(
        "GET",
        "/v1/traces/{id}",
        trace,
        "One request, with what was done for it",
        "traces",
        answer="Trace",
        path_schemas=(("id", "Id"),),
        errors=(404,),
    ),
    Endpoint(
        "GET",
        "/v1/usage",
        usage,
        "Requests, tokens and money, and how the budgets stand",
        "usage",
        answer="UsageReport",
        params=(
            Param("since", _MOMENT, "seconds since 1970; default: 30 days before `until`"),
            Param("until", _MOMENT),
            Param("by", {"type": "string", "enum": ["org", "model", "key", "team", "api", "day"]}),
            Param("org", {"ref": "Name"}, "for the operator: of this organisation alone, by its id or its name"),
            _KEY,
        ),
        errors=(404,),
    ),
    Endpoint("GET", "/healthz", healthy, "Whether the process lives", None, answer="Status"),
    Endpoint("GET", "/readyz", ready, "Whether it can serve", None, answer="Status", errors=(503,)),
    Endpoint("GET", "/metrics", metrics, "Prometheus metrics", "admin", answer_type=PROMETHEUS),
    Endpoint("GET", "/openapi.json", described, "This document", None),
)
