"""The OpenAI chat-completions dialect over HTTP, streaming and not, for any compatible server.

Wire format: POST {base_url}/chat/completions; server-sent events with `data: [DONE]` at the end when streaming. Errors are read in both the nested
(`{"error": {...}}`) and the flat form. Usage is accepted on the last chunk with a choice as well as on a chunk of its own.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import httpx

from orchestrator.backends.base import Delta, Request, estimate_prompt_tokens
from orchestrator.backends.resilience import DEFAULT_DEADLINE_S, with_retries
from orchestrator.backends.sse import EventParser
from orchestrator.errors import BackendError, BackendRejected, BackendUnavailable, BadResponse, RateLimited
from orchestrator.types import Completion, Usage
from router import ModelProfile

if TYPE_CHECKING:
    from orchestrator.backends.relay import Relay

MAX_BODY_BYTES = 32_000_000
CONNECT_TIMEOUT_S = 5.0


class OpenAIBackend:
    """Asks `model` at `base_url` (the address that ends in `/v1`). `key` is sent as a bearer token and appears nowhere else.

    `transport` replaces the network, for tests; `token_field` is `max_completion_tokens` for OpenAI's own newer models.
    """

    def __init__(
        self,
        profile: ModelProfile,
        *,
        base_url: str,
        model: str,
        key: str | None = None,
        token_field: str = "max_tokens",
        transport: httpx.AsyncBaseTransport | None = None,
        attempts: int = 3,
    ) -> None:
        self._profile = profile
        self._model = model
        self._base_url = base_url.rstrip("/")
        self._token_field = token_field
        self._attempts = attempts
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._transport = transport
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()

    @property
    def profile(self) -> ModelProfile:
        return self._profile

    def __repr__(self) -> str:
        return f"OpenAIBackend({self._profile.name!r}, {self._base_url!r}, model={self._model!r})"

    def estimate(self, request: Request) -> float | None:
        return None

    async def complete(self, request: Request) -> Completion:
        return await with_retries(lambda left: self._complete_once(request, left), deadline_s=request.deadline_s, attempts=self._attempts)

    async def stream(self, request: Request) -> AsyncIterator[Delta | Completion]:
        """Yields deltas, then the completion. A stream that ends early raises `BadResponse`; what was read stays read."""
        start = time.perf_counter()
        body = self._body(request) | {"stream": True, "stream_options": {"include_usage": True}}
        reader = _StreamReader()
        ttft_s: float | None = None
        try:
            async with self._client.stream("POST", self._url, json=body, timeout=self._timeout(request.deadline_s)) as response:
                if response.status_code != 200:
                    raise error_of(self._where, response.status_code, response.headers, await self._read(response))
                parser = EventParser()
                async for chunk in response.aiter_bytes():
                    for event in self._events(parser, chunk):
                        for text in reader.read(event):
                            ttft_s = time.perf_counter() - start if ttft_s is None else ttft_s
                            yield Delta(text)
                    if reader.done:
                        break
        except httpx.HTTPError as error:
            raise self._broken(error) from error
        if not reader.done and reader.finish_reason is None:
            raise BadResponse(f"{self._where}: the stream ended in the middle of the answer", remedy="Ask again")
        usage = reader.usage or self._estimated_usage(request, reader.text)
        yield Completion(
            self._profile.name,
            reader.text,
            usage,
            latency_s=time.perf_counter() - start,
            ttft_s=ttft_s,
            finish_reason=reader.finish_reason or "stop",
            simulated=reader.simulated or self._profile.simulated,
        )

    def relay(self) -> Relay:
        """Another way to the same model: requests of this dialect passed on as they are (needs the extra `gateway`)."""
        from orchestrator.backends.relay import Relay

        return Relay(self._where, self._base_url, self._model, self._headers, self._token_field)

    async def aclose(self) -> None:
        """Closes the connections of the running event loop."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    @property
    def _client(self) -> httpx.AsyncClient:
        """One connection pool an event loop: a connection cannot move to another loop, and a script may run several, one after the other."""
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            timeout = httpx.Timeout(DEFAULT_DEADLINE_S, connect=CONNECT_TIMEOUT_S)
            limits = httpx.Limits(max_connections=256, max_keepalive_connections=64)
            self._clients[loop] = httpx.AsyncClient(
                headers=self._headers, timeout=timeout, limits=limits, transport=self._transport, trust_env=False
            )
        return self._clients[loop]

    async def _complete_once(self, request: Request, left_s: float) -> Completion:
        start = time.perf_counter()
        try:
            async with (
                asyncio.timeout(left_s),
                self._client.stream("POST", self._url, json=self._body(request), timeout=self._timeout(left_s)) as response,
            ):
                content = await self._read(response)
        except httpx.HTTPError as error:
            raise self._broken(error) from error
        except TimeoutError:
            raise self._too_slow() from None
        if response.status_code != 200:
            raise error_of(self._where, response.status_code, response.headers, content)
        payload = self._payload(content)
        choice = _first_choice(payload)
        if choice is None:
            raise BadResponse(f"{self._where}: the answer holds no choices: {_excerpt(content)}", remedy="Check the server")
        text = _answer_of(choice)
        if text is None:
            raise BadResponse(f"{self._where}: the answer holds no text: {_excerpt(content)}", remedy="Check the server")
        others = tuple(other for further in payload["choices"][1:] if (other := _answer_of(further)) is not None)
        return Completion(
            self._profile.name,
            text,
            usage_of(payload.get("usage")) or self._estimated_usage(request, "".join((text, *others))),
            latency_s=time.perf_counter() - start,
            finish_reason=str(choice.get("finish_reason") or "stop"),
            simulated=bool(payload.get("simulated")) or self._profile.simulated,
            others=others,
        )

    @property
    def _url(self) -> str:
        return f"{self._base_url}/chat/completions"

    @property
    def _where(self) -> str:
        return f"{self._profile.name} at {self._base_url}"

    def _body(self, request: Request) -> dict[str, Any]:
        messages = [{"role": message.role, "content": message.content} for message in request.messages]
        body: dict[str, Any] = {"model": self._model, "messages": messages, self._token_field: request.max_tokens}
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if request.seed is not None:
            body["seed"] = request.seed
        if request.several > 1:
            body["n"] = request.several
        if request.schema is not None and "json" in self._profile.capabilities:
            body["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": request.schema}}
        return body

    def _timeout(self, left_s: float | None) -> httpx.Timeout:
        return httpx.Timeout(DEFAULT_DEADLINE_S if left_s is None else max(left_s, 0.001), connect=CONNECT_TIMEOUT_S)

    def _estimated_usage(self, request: Request, text: str) -> Usage:
        return Usage(estimate_prompt_tokens(request.messages), len(text) // 4 + 1, estimated=True)

    async def _read(self, response: httpx.Response) -> bytes:
        """The whole body; a server that never stops sending is cut off."""
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise BadResponse(f"{self._where}: an answer of over {MAX_BODY_BYTES:,} bytes", remedy="Check the server")
        return bytes(body)

    def _payload(self, content: bytes) -> dict[str, Any]:
        try:
            payload = json.loads(content)
        except (ValueError, RecursionError):
            problem = "an empty answer" if not content.strip() else f"the answer is not JSON: {_excerpt(content)}"
            raise BadResponse(f"{self._where}: {problem}", remedy="Check that base_url points to an OpenAI-compatible server") from None
        if not isinstance(payload, dict):
            raise BadResponse(f"{self._where}: the answer is not a JSON object: {_excerpt(content)}", remedy="Check the server")
        if "error" in payload and "choices" not in payload:
            raise BadResponse(f"{self._where}: {_error_text(payload)}", remedy="Check the server's log")
        return payload

    def _events(self, parser: EventParser, chunk: bytes) -> Iterator[dict[str, Any] | None]:
        """Parsed events of a chunk, one by one: those before a broken one count; `None` stands for the end mark."""
        try:
            for data in parser.feed(chunk):
                if data.strip() == "[DONE]":
                    yield None
                    continue
                event = json.loads(data)
                if not isinstance(event, dict):
                    raise ValueError("an event is not an object")
                if "error" in event:
                    raise BadResponse(f"{self._where}: {_error_text(event)}", remedy="Ask again")
                yield event
        except (ValueError, RecursionError) as error:
            raise BadResponse(f"{self._where}: the stream holds something that is not an event: {error}", remedy="Ask again") from None

    def _broken(self, error: httpx.HTTPError) -> BackendError:
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return BackendUnavailable(
                f"{self._where}: cannot connect", remedy="Check the address and that the server runs: orchestrator doctor"
            )
        if isinstance(error, httpx.TimeoutException):
            return self._too_slow()
        if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError | httpx.DecodingError):
            return BadResponse(f"{self._where}: the connection broke off: {error}", remedy="Ask again")
        return BackendUnavailable(f"{self._where}: {type(error).__name__}: {error}", remedy="Check the server: orchestrator doctor")

    def _too_slow(self) -> BackendError:
        # Connected and sent: the model may be at work, and its provider may charge for that.
        return BackendUnavailable(
            f"{self._where}: no answer in time", remedy="Allow more seconds, or choose a faster model", may_be_billed=True
        )


def error_of(where: str, status: int, headers: Mapping[str, str], content: bytes) -> BackendError:
    """What an answer with another status than 200 means; `headers` by names in small letters."""
    try:
        payload = json.loads(content)
        detail = _error_text(payload) if isinstance(payload, dict) else _excerpt(content)
    except (ValueError, RecursionError):
        detail = _excerpt(content) or "no details"
    message = f"{where}: HTTP {status}: {detail}"
    retry_after_s = _retry_after_s(headers)
    if status == 429:
        return RateLimited(message, remedy="Slow down, or add another model", status=status, retry_after_s=retry_after_s, detail=detail)
    if status >= 500 or status in (408, 409):
        remedy = "The server has a problem; ask again"
        return BackendUnavailable(message, remedy=remedy, status=status, retry_after_s=retry_after_s, detail=detail)
    remedies = {401: "Check the API key", 403: "The key may not use this model", 404: "Check base_url and the model's name"}
    return BackendRejected(message, remedy=remedies.get(status, "The server refuses this request"), status=status, detail=detail)


class _StreamReader:
    """Collects what the chunks of one streamed answer say."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self.usage: Usage | None = None
        self.finish_reason: str | None = None
        self.done = False
        self.simulated = False

    @property
    def text(self) -> str:
        return "".join(self._parts)

    def read(self, event: dict[str, Any] | None) -> list[str]:
        """The new text in one event."""
        if event is None:
            self.done = True
            return []
        self.usage = usage_of(event.get("usage")) or self.usage
        self.simulated = self.simulated or bool(event.get("simulated"))
        choice = _first_choice(event)
        if choice is None:
            return []
        if choice.get("finish_reason"):
            self.finish_reason = str(choice["finish_reason"])
        delta = choice.get("delta")
        text = _text_of(delta.get("content")) if isinstance(delta, dict) else None
        if not text:
            return []
        self._parts.append(text)
        return [text]


def _first_choice(payload: dict[str, Any]) -> dict[str, Any] | None:
    choices = payload.get("choices")
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else None


def _answer_of(choice: Any) -> str | None:
    """The text of a choice, or why the model refuses to give one."""
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        return None
    text = _text_of(message.get("content"))
    return message["refusal"] if text is None and isinstance(message.get("refusal"), str) else text


def _text_of(content: Any) -> str | None:
    """Message content is text, or a list of parts (Mistral and newer OpenAI models)."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))
    return None


def usage_of(usage: Any) -> Usage | None:
    """Reported usage, or `None` when it is missing or impossible (negative, not numbers): then it is estimated instead."""
    if not isinstance(usage, dict):
        return None
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    prompt, output = usage.get("prompt_tokens"), usage.get("completion_tokens")
    cached = cached if isinstance(cached, int) and not isinstance(cached, bool) else 0
    if not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in (prompt, output, cached)):
        return None
    assert isinstance(prompt, int)
    assert isinstance(output, int)
    return Usage(prompt, output, min(cached, prompt))


def _error_text(payload: dict[str, Any]) -> str:
    error = payload.get("error", payload)
    text = error.get("message") if isinstance(error, dict) else error
    return str(text or payload)[:300]


def _excerpt(content: bytes) -> str:
    text = content[:200].decode("utf-8", "replace").strip()
    return text if len(content) <= 200 else text + " ..."


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds from `retry-after-ms` or `retry-after` (its HTTP-date form is ignored)."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * scale
        except (KeyError, ValueError):
            continue
        if 0 <= seconds <= 3_600:
            return seconds
    return None
