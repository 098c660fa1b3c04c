"""Models that do something beside chat: they embed, rank or judge texts.

A request goes to its server as it came, and is paid by what was read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from orchestrator.backends.provider_errors import failure_in, told_failure
from orchestrator.backends.usage import MAX_TOKENS
from orchestrator.errors import BackendError, BadResponse
from orchestrator.gateway.accounts.request_account import RequestAccount
from orchestrator.gateway.api.auxiliary_models import AuxiliaryModels
from orchestrator.gateway.chat.client_request import ClientRequest
from orchestrator.gateway.errors import GatewayError
from orchestrator.gateway.http import sse
from orchestrator.gateway.http.request import JSON
from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.router import ModelProfile
from orchestrator.tokens.estimate import bound_tokens, estimate_tokens
from orchestrator.types import Usage

if TYPE_CHECKING:
    from orchestrator.backends.relay import Relay
    from orchestrator.gateway.api.services import Services

TIMEOUT_S = 120.0


def opened(services: Services, call: ClientRequest, api: str, name: str) -> RequestAccount:
    """The bill of a request to such a model. Raises `GatewayError` where its key may not use it."""
    call.tab = RequestAccount(services.limiter, call, api, name)
    if not call.principal.may_use(name):
        raise GatewayError(
            403, f"this key may not use the model {name!r}", code="model_not_allowed", param="model", should_retry=False
        )
    return call.tab


async def serve(
    services: Services,
    call: ClientRequest,
    api: str,
    models: AuxiliaryModels,
    path: str,
    body: JsonObject,
    texts: Sequence[JsonValue],
    holds: str,
) -> None:
    """Passes a request on to the model that it names, and the answer back."""
    name = body["model"]
    found = models.find(name)
    tab, serving = opened(services, call, api, name), services.serving
    serving.running += 1
    try:
        content = await _relayed(tab, path, body, *found, texts, holds)
    finally:
        await serving.ended()
    await call.reply(200, content, [JSON])


async def _relayed(
    tab: RequestAccount,
    path: str,
    body: JsonObject,
    relay: Relay,
    profile: ModelProfile,
    texts: Sequence[Any],
    holds: str,
) -> bytes:
    """The server's answer, paid: its list stands in the field `holds`.

    `texts` is all that is read for it. Raises `BackendError`.
    """
    tab.served.model = profile.name
    worst = sum(tokens_in(each, bound_tokens) for each in texts)
    await tab.hold(profile.cost_usd(worst, 0), worst)
    try:
        asked = {field: value for field, value in body.items() if field not in ("model", "orchestrator")}
        reply = await relay.post(path, asked, timeout_s=TIMEOUT_S)
        content = await reply.read()
        payload = _payload(content, profile.name, relay.key, holds)
    except BackendError as error:
        tab.failed(error)
        if error.status in (404, 405, 501):
            told = f"the server of {profile.name!r} has no {path}, or was not started for it"
            raise GatewayError(502, told, code="unsupported_by_model", should_retry=False) from error
        raise
    tab.settle(profile, _usage(payload, texts))
    return orjson.dumps({**payload, "model": profile.name}) if sse.is_path(payload.get("model")) else content


def _payload(content: bytes, model: str, key: str | None, holds: str) -> JsonObject:
    try:
        payload = orjson.loads(content)
    except orjson.JSONDecodeError:
        payload = None
    if isinstance(payload, dict) and (failure := failure_in(payload)) is not None:
        raise told_failure(model, failure, None, key=key)
    if not isinstance(payload, dict) or not isinstance(payload.get(holds), list):
        raise BadResponse(f"{model}: the answer holds no {holds}", remedy="Check the server")
    return payload


def _usage(payload: JsonObject, texts: Sequence[Any]) -> Usage:
    """What the server tells that it used.

    An estimate, where it tells nothing (Gemini's compatible API, some local servers).
    """
    usage = payload.get("usage")
    told = (
        next((usage[name] for name in ("prompt_tokens", "total_tokens") if usage.get(name)), None)
        if isinstance(usage, dict)
        else None
    )
    if isinstance(told, int) and 0 < told <= MAX_TOKENS:
        return Usage(told)
    return Usage(sum(tokens_in(each, estimate_tokens) for each in texts), estimated=True)


def tokens_in(each: JsonValue, count: Callable[[str], int]) -> int:
    """Tokens of one input: a text, a token id, a list of them, or an object with texts in it."""
    if isinstance(each, str):
        return count(each)
    if isinstance(each, list):
        return len(each)
    return count(orjson.dumps(each).decode()) if isinstance(each, dict) else 1


def listed(given: JsonValue) -> list[JsonValue]:
    """An input as a list: many APIs take one alone."""
    return given if isinstance(given, list) else [given]
