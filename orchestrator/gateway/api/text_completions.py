"""POST /v1/completions: OpenAI's legacy dialect, which completes a text with no conversation around it.

A model whose server has that address itself is asked there, so that chat templates of one's own, `suffix`, `echo`,
log-probabilities and token ids work as they do at the server. Every other model, and `auto`, is asked the prompt as a
message of the user; what a chat cannot give is refused. Wire format: openai 3.54, `types.completion_create_params` and
`types.completion`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING

import orjson

from orchestrator.backends.dialects.dialect import RAW_FIELDS, TextPrompt
from orchestrator.gateway.api.anthropic_reply import readable_chunk
from orchestrator.gateway.api.chat import CompletionSession
from orchestrator.gateway.api.endpoint import Endpoint
from orchestrator.gateway.chat.client_request import ClientRequest
from orchestrator.gateway.errors import GatewayError, broke_off
from orchestrator.gateway.http import sse
from orchestrator.gateway.http.request import JSON
from orchestrator.jsontypes import JsonObject

if TYPE_CHECKING:
    from orchestrator.gateway.api.services import Services

OBJECT = "text_completion"


async def complete(services: Services, call: ClientRequest, body: JsonObject) -> None:
    """OpenAI's legacy completions."""
    prompt = TextPrompt(body["prompt"], {name: body[name] for name in RAW_FIELDS if body.get(name) is not None})
    async with (
        CompletionSession(services, call, "completions", _chat_body(services, body, prompt)) as order,
        call.watched(services.stalled_s),
    ):
        if "completion" not in order.job.asked.body and (beyond := prompt.beyond_chat()):
            told = f"{body['model']} answers conversations, and cannot do this: {beyond}"
            raise GatewayError(400, told, code="unsupported_by_model", should_retry=False)
        if order.job.asked.wants_stream:
            await order.send(_streamed(await order.stream()))
            return
        whole = as_text_completion(orjson.loads(await order.whole()))
        details = order.details()
        content = orjson.dumps(whole if details is None else {**whole, "orchestrator": details})
        await call.reply(200, content, [JSON, *order.closing_headers()])


def _chat_body(services: Services, body: JsonObject, prompt: TextPrompt) -> JsonObject:
    """The request as a chat completion, with `completion` beside it where the model's server can complete texts."""
    chat = {name: value for name, value in body.items() if name not in RAW_FIELDS and name != "prompt"}
    chat["messages"] = [{"role": "user", "content": text} for text in prompt.texts] or [{"role": "user", "content": ""}]
    upstream = getattr(services.engine.backends.get(body["model"]), "upstream", None)
    return {**chat, "completion": prompt} if upstream is not None and upstream.takes_text else chat


def as_text_completion(payload: JsonObject) -> JsonObject:
    """A chat completion, or a chunk of one, in the words of this dialect. What is in them already stays as it is."""
    return {**payload, "object": OBJECT, "choices": [_as_text(choice) for choice in payload.get("choices") or ()]}


def _as_text(choice: JsonObject) -> JsonObject:
    if "text" in choice:
        return choice
    message = choice.get("message") or choice.get("delta") or {}
    text = message.get("content") or message.get("refusal") or ""
    return {
        "text": text,
        "index": choice.get("index") or 0,
        "logprobs": None,
        "finish_reason": choice.get("finish_reason"),
    }


async def _streamed(events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async with aclosing(events):  # type: ignore[type-var]
        async for piece in events:
            for part, content in sse.events_in(piece):
                if content is None or content == b"[DONE]" or part.startswith(b"event:"):
                    yield part + b"\n\n"
                    continue
                chunk = readable_chunk(content)
                if chunk is None:
                    yield sse.event(broke_off().as_openai())
                    return
                if "choices" not in chunk:
                    yield sse.event(chunk)  # it tells of a failure
                    continue
                told = as_text_completion(chunk)
                said = [
                    choice
                    for choice in told["choices"]
                    if choice["text"] or choice.get("finish_reason") or choice.get("logprobs")
                ]
                if said or not told["choices"]:
                    yield sse.event({**told, "choices": said})


ENDPOINTS = (
    Endpoint(
        "POST",
        "/v1/completions",
        complete,
        "Complete a text (OpenAI's legacy dialect)",
        "inference",
        body="TextRequest",
        answer="TextCompletion",
        streams=True,
    ),
)
