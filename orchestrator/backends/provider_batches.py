"""Batches of OpenAI and Anthropic over HTTP.

OpenAI: a file of requests, a batch made of it, its output a file again (openai 3.54). Anthropic: requests in the body,
results behind an address (anthropic 2.12).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict, Unpack
from urllib.parse import urlsplit

import orjson

from orchestrator.backends.http.transport_choice import environment_proxy
from orchestrator.backends.provider_errors import error_of, error_text
from orchestrator.backends.remote import RemoteBackend
from orchestrator.backends.usage import usage_in
from orchestrator.errors import BackendUnavailable, BadResponse
from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.providers.addresses import address_of
from orchestrator.providers.auth import headers_for
from orchestrator.types import Usage

if TYPE_CHECKING:
    import httpx


TIMEOUT_S = 60.0


State = Literal["running", "done", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """`reason` says why it failed."""

    state: State
    completed: int = 0
    failed: int = 0
    total: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class BatchResult:
    """One request's answer, a chat completion, or why there is none.

    `usage` is `None` where none is told, or nothing was used.
    """

    id: str
    completion: dict[str, Any] | None
    usage: Usage | None = None
    error: str = ""


class Batches(Protocol):
    """The batches of one model. Errors are `BackendError` subclasses."""

    async def submit(self, bodies: Mapping[str, JsonObject]) -> str:
        """Hands in chat completions, by ids of the caller's; the batch's id."""
        ...

    async def status(self, batch: str) -> BatchStatus:
        """How far a batch is."""

    def results(self, batch: str) -> AsyncIterator[BatchResult]:
        """In no order."""
        ...

    async def cancel(self, batch: str) -> None:
        """Ends a batch; what was answered by then stays."""

    async def aclose(self) -> None:
        """Closes connections."""


def _origin(url: str) -> tuple[str, str]:
    split = urlsplit(url)
    return split.scheme, split.netloc


class _Options(TypedDict, total=False):
    """What a call may carry."""

    json: JsonObject
    data: Mapping[str, str]
    files: Mapping[str, tuple[str, bytes, str]]
    params: Mapping[str, str | int]


class ProviderApi:
    """HTTP with the provider's key, for calls that are no completions."""

    def __init__(self, backend: RemoteBackend, transport: httpx.AsyncBaseTransport | None) -> None:
        import httpx  # heavy: 60 ms

        upstream = backend.upstream
        self.backend = backend
        self.base_url = upstream.replicas.all[0].base_url
        self._key = upstream.key
        headers = headers_for(upstream.provider, upstream.key)
        self._http = httpx.AsyncClient(
            headers=headers,
            timeout=TIMEOUT_S,
            transport=transport,
            trust_env=environment_proxy(self.base_url) is not None,
        )

    async def ask(self, method: str, path: str, **options: Unpack[_Options]) -> bytes:
        """The body of an answer with status 200. Raises `BackendError`."""
        import httpx  # heavy: 60 ms

        where = f"{self.backend.profile.name} at {self.base_url}"
        url = path if path.startswith("http") else address_of(self.base_url, path)
        if _origin(url) != _origin(self.base_url):  # the key goes to nobody else
            raise BadResponse(
                f"{where}: results at another address: {url}", remedy="Check base_url", may_be_billed=True
            )
        try:
            reply = await self._http.request(method, url, **options)
        except httpx.HTTPError as error:
            was_sent = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
            raise BackendUnavailable(
                f"{where}: {type(error).__name__}", remedy="Ask again", may_be_billed=was_sent
            ) from None
        if reply.status_code != 200:
            raise error_of(where, reply.status_code, reply.headers, reply.content, key=self._key)
        return reply.content

    async def json(self, method: str, path: str, **options: Unpack[_Options]) -> JsonObject:
        """The JSON object in an answer with status 200. Raises `BackendError`."""
        try:
            found = orjson.loads(await self.ask(method, path, **options))
        except orjson.JSONDecodeError:
            found = None
        if not isinstance(found, dict):
            raise BadResponse(
                f"{self.backend.profile.name}: {path} gives no JSON object",
                remedy="Check base_url",
                may_be_billed=False,
            )
        return found

    def outgoing(self, body: JsonObject) -> tuple[str, JsonObject]:
        """(path, body) of one request in the provider's dialect."""
        backend, upstream = self.backend, self.backend.upstream
        made = upstream.dialect.outgoing(
            body, upstream.provider, upstream.model, most_tokens=backend.profile.max_output_tokens
        )
        return made.path, made.body

    def result(self, id: str, payload: JsonValue) -> BatchResult:
        """One answer in the provider's dialect."""
        if not isinstance(payload, dict):
            return BatchResult(id, None, error="no answer")
        completion = self.backend.upstream.dialect.completion(payload, self.backend.provider)
        if not completion.get("choices"):
            return BatchResult(id, None, error=error_text(payload))
        return BatchResult(id, completion, usage_in(completion))

    async def aclose(self) -> None:
        """Closes connections."""
        await self._http.aclose()


class OpenAIBatches:
    """Batches of OpenAI.

    A file of requests, a batch made of it, its output a file again (openai 3.54, resources.batches).
    """

    _STATES: Mapping[str, State] = {
        "completed": "done",
        "expired": "done",
        "failed": "failed",
        "cancelled": "cancelled",
    }

    def __init__(self, backend: RemoteBackend, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._api = ProviderApi(backend, transport)

    async def submit(self, bodies: Mapping[str, JsonObject]) -> str:
        """Uploads the requests as a file and makes a batch of it; its id."""
        lines = []
        endpoint = ""
        for id, body in bodies.items():
            path, made = self._api.outgoing(body)
            endpoint = f"/v1{path}"
            lines.append(orjson.dumps({"custom_id": id, "method": "POST", "url": endpoint, "body": made}))
        parts = {"file": ("batch.jsonl", b"\n".join(lines) + b"\n", "application/jsonl")}
        uploaded = await self._api.json("POST", "/files", data={"purpose": "batch"}, files=parts)
        made_of = {"input_file_id": uploaded.get("id"), "endpoint": endpoint, "completion_window": "24h"}
        return str((await self._api.json("POST", "/batches", json=made_of))["id"])

    async def status(self, batch: str) -> BatchStatus:
        """How far a batch is, as OpenAI tells it."""
        found = await self._api.json("GET", f"/batches/{batch}")
        counts = found.get("request_counts") or {}
        errors = ((found.get("errors") or {}).get("data") or [{}])[0]
        return BatchStatus(
            self._STATES.get(str(found.get("status")), "running"),
            counts.get("completed") or 0,
            counts.get("failed") or 0,
            counts.get("total") or 0,
            str(errors.get("message") or ""),
        )

    async def results(self, batch: str) -> AsyncIterator[BatchResult]:
        """The answers of both files, that of results and that of errors."""
        found = await self._api.json("GET", f"/batches/{batch}")
        for file in (found.get("output_file_id"), found.get("error_file_id")):
            if not file:
                continue
            for line in (await self._api.ask("GET", f"/files/{file}/content")).splitlines():
                if line.strip():
                    yield self._result(orjson.loads(line))

    async def cancel(self, batch: str) -> None:
        """Cancels a batch."""
        await self._api.json("POST", f"/batches/{batch}/cancel")

    async def aclose(self) -> None:
        """Closes connections."""
        await self._api.aclose()

    def _result(self, row: JsonObject) -> BatchResult:
        id, response = str(row.get("custom_id")), row.get("response") or {}
        if row.get("error") or response.get("status_code") != 200:
            return BatchResult(id, None, error=error_text(row.get("error") or response.get("body") or {}))
        return self._api.result(id, response.get("body"))


class AnthropicBatches:
    """Batches of Anthropic.

    Requests in the body, results behind an address (anthropic 2.12, resources.messages.batches).
    """

    def __init__(self, backend: RemoteBackend, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._api = ProviderApi(backend, transport)

    async def submit(self, bodies: Mapping[str, JsonObject]) -> str:
        """Hands in all requests in one call; the batch's id."""
        requests = [{"custom_id": id, "params": self._api.outgoing(body)[1]} for id, body in bodies.items()]
        return str((await self._api.json("POST", "/messages/batches", json={"requests": requests}))["id"])

    async def status(self, batch: str) -> BatchStatus:
        """How far a batch is, as Anthropic tells it."""
        found = await self._api.json("GET", f"/messages/batches/{batch}")
        counts = found.get("request_counts") or {}
        failed = sum(counts.get(name) or 0 for name in ("errored", "canceled", "expired"))
        done = counts.get("succeeded") or 0
        state: State = "done" if found.get("processing_status") == "ended" else "running"
        return BatchStatus(state, done, failed, done + failed + (counts.get("processing") or 0))

    async def results(self, batch: str) -> AsyncIterator[BatchResult]:
        """The answers, a line of JSON each, in no order."""
        found = await self._api.json("GET", f"/messages/batches/{batch}")
        where = found.get("results_url") or f"/messages/batches/{batch}/results"
        for line in (await self._api.ask("GET", where)).splitlines():
            if line.strip():
                yield self._result(orjson.loads(line))

    async def cancel(self, batch: str) -> None:
        """Cancels a batch."""
        await self._api.json("POST", f"/messages/batches/{batch}/cancel")

    async def aclose(self) -> None:
        """Closes connections."""
        await self._api.aclose()

    def _result(self, row: JsonObject) -> BatchResult:
        id, result = str(row.get("custom_id")), row.get("result") or {}
        if result.get("type") != "succeeded":
            return BatchResult(
                id,
                None,
                error=error_text(result.get("error") or {}) if result.get("error") else str(result.get("type")),
            )
        return self._api.result(id, result.get("message"))
