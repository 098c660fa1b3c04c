"""POST /v1/chat/completions, and how the other dialects get their completions."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from orchestrator.gateway.accounts.request_account import RequestAccount
from orchestrator.gateway.api.endpoint import Endpoint
from orchestrator.gateway.chat.client_request import ClientRequest
from orchestrator.gateway.chat.completions import AUTO
from orchestrator.gateway.chat.job import ChatJob
from orchestrator.gateway.chat.options import options_of
from orchestrator.gateway.chat.provenance import Provenance
from orchestrator.gateway.chat.remembering import RememberedChat
from orchestrator.gateway.chat.request import ChatRequest
from orchestrator.gateway.errors import GatewayError
from orchestrator.gateway.http import sse
from orchestrator.gateway.http.rate_limit_headers import rate_limit_headers
from orchestrator.gateway.http.request import EVENTS, JSON, Headers
from orchestrator.jsontypes import JsonObject

if TYPE_CHECKING:
    from orchestrator.gateway.api.services import Services


class CompletionSession:
    """One completion that was ordered through any API.

    Opened before the model is asked, closed when the answer is sent.
    """

    def __init__(self, services: Services, call: ClientRequest, api: str, body: JsonObject) -> None:
        options = options_of(body, call.headers)
        model = body["model"]
        self.serving = services.serving
        self.call = call
        self.tab = call.tab = RequestAccount(services.limiter, call, api, model)
        self.facts = call.facts = Provenance()
        if services.recorder.policy.content:
            self.facts.keeps_content, self.facts.question = True, body["messages"]
        principal = call.principal
        self.tab.served.scope = principal.scope(options.scope)
        model = self._take_part(model)
        body = {**body, "model": model}
        if model != AUTO and not model.startswith(f"{AUTO}:"):
            if model not in self.serving.engine.backends and model not in self.serving.pipelines.models:
                known = ", ".join(
                    name for name in self.serving.completions.models if principal.may_use(name) or name.startswith(AUTO)
                )
                message = f"there is no model {model!r}. There are: {known}"
                raise GatewayError(404, message, code="model_not_found", param="model")
            if not principal.may_use(model):
                message = f"this key may not use the model {model!r}"
                raise GatewayError(403, message, code="model_not_allowed", param="model", should_retry=False)
        if not model.startswith(f"{AUTO}:") or model.removeprefix(f"{AUTO}:") in self.serving.completions.autos:
            self.tab.served.model = model  # until another one answers; what a stranger makes up is no label
        self.job: ChatJob = self.serving.completions.job(self.tab, ChatRequest(body), options, self.facts)
        is_pipeline = model in self.serving.pipelines.models  # what it does beside answering must be done again
        acts = is_pipeline or self.serving.completions.tool_runs.wanted(self.job)
        self._remembers = services.remembers(principal, options)
        acts |= self._remembers
        self._cached = services.cache.entry(call, self.job) if services.cache is not None and not acts else None
        self._services = services
        self._chat: RememberedChat | None = None

    def _take_part(self, model: str) -> str:
        """The model that is asked for, or the other arm's where the request is in that arm of an experiment."""
        principal = self.call.principal
        for name, experiment in self.serving.config.gateway.experiments.items():
            if experiment.of == model and principal.is_one_of(experiment.keys):
                unit = principal.key if experiment.by == "key" else self.tab.served.scope
                arm = experiment.arm_of(name, unit)
                self.facts.experiment = {"name": name, "arm": arm, "unit": unit}
                return experiment.against if arm == "variant" else model
        return model

    async def __aenter__(self) -> CompletionSession:
        self.serving.running += 1
        try:
            if self._remembers:
                self._chat = await RememberedChat.begin(self.serving.engine, self._services.conversations, self.job)
        except BaseException:
            await self.serving.ended()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.serving.ended()

    async def whole(self) -> bytes:
        """The answer as a chat completion."""
        if self._cached is None:
            content = await self.serving.completions.whole(self.job)
            if self._chat is not None:
                await self._chat.keep_whole(content, self.job)
            return content
        return await self._cached.whole(lambda: self.serving.completions.whole(self.job))

    async def stream(self) -> AsyncIterator[bytes]:
        """The answer as events: from the cache, or as it is made."""
        if self._cached is None:
            events = await self.serving.completions.stream(self.job)
            return events if self._chat is None else self._chat.kept_stream(events, self.job)
        return await self._cached.stream(lambda: self.serving.completions.stream(self.job))

    def headers(self) -> Headers:
        """What goes with every answer: the trace id, the model, the limits."""
        found = [(b"x-orchestrator-trace-id", self.tab.id.encode())]
        if self.facts.model:
            found.append((b"x-orchestrator-model", self.facts.model.encode("utf-8", "replace")))
        if self.facts.experiment is not None:
            told = f"{self.facts.experiment['name']}={self.facts.experiment['arm']}"
            found.append((b"x-orchestrator-experiment", told.encode()))
        if self.facts.cached:
            found.append((b"x-orchestrator-cached", self.facts.cached["kind"].encode()))
        return [*found, *rate_limit_headers(self.tab.limits(), self.call.at)]

    def closing_headers(self) -> Headers:
        """What is known only at the end."""
        found = self.headers()
        cost = self.tab.cost_usd
        if cost is not None:
            found.append((b"x-orchestrator-cost-usd", f"{cost:.9f}".encode()))
        if self.facts.confidence is not None:
            found.append((b"x-orchestrator-confidence", f"{self.facts.confidence:.4f}".encode()))
        return found

    def details(self) -> JsonObject | None:
        """The field `orchestrator` of the answer; `None` if its caller wants none."""
        return self.job.details()

    async def send(self, events: AsyncIterator[bytes]) -> None:
        """Sends a stream, until its end or the client's."""
        call = self.call
        await call.begin(200, [*EVENTS, *self.headers()])
        async with contextlib.aclosing(events):  # type: ignore[type-var]
            async for event in events:
                await call.write(event)
        await call.end()


async def complete(services: Services, call: ClientRequest, body: JsonObject) -> None:
    """OpenAI's chat completions."""
    async with CompletionSession(services, call, "chat", body) as order, call.watched(services.stalled_s):
        if order.job.asked.wants_stream:
            await order.send(await order.stream())
            return
        content = await order.whole()
        details = order.details()
        if details is not None:
            content = sse.spliced(content, "orchestrator", details)
        await call.reply(200, content, [JSON, *order.closing_headers()])


ENDPOINTS = (
    Endpoint(
        "POST",
        "/v1/chat/completions",
        complete,
        "Answer a conversation (OpenAI's dialect)",
        "inference",
        body="ChatRequest",
        answer="ChatCompletion",
        streams=True,
    ),
)
