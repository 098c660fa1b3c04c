"""POST /v1/messages: Anthropic's dialect, translated to and from chat completions.

Wire format: https://docs.anthropic.com/en/api/messages and its streaming events, as the `anthropic` package reads them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from orchestrator.gateway.api.anthropic_reply import reply_message, translate_stream
from orchestrator.gateway.api.anthropic_request import chat_body
from orchestrator.gateway.api.chat import CompletionSession
from orchestrator.gateway.api.endpoint import Endpoint
from orchestrator.gateway.chat.client_request import ClientRequest
from orchestrator.jsontypes import JsonObject
from orchestrator.tokens.estimate import family_of, request_estimate

if TYPE_CHECKING:
    from orchestrator.gateway.api.services import Services


async def messages(services: Services, call: ClientRequest, body: JsonObject) -> None:
    """Anthropic's messages: translated to a chat completion, and its answer back."""
    asked = chat_body(body)
    if betas := call.header(b"anthropic-beta"):
        asked.setdefault("anthropic", {})["betas"] = [beta.strip() for beta in betas.split(",") if beta.strip()]
    async with CompletionSession(services, call, "messages", asked) as order, call.watched(services.stalled_s):
        if body.get("stream"):
            await order.send(translate_stream(order, await order.stream()))
            return
        completion = orjson.loads(await order.whole())
        reply = reply_message(order, completion)
        details = order.details()
        if details is not None:
            reply["orchestrator"] = details
        await call.reply_json(reply, headers=[*order.closing_headers(), (b"request-id", call.id.encode())])


async def count_tokens(services: Services, call: ClientRequest, body: JsonObject) -> None:
    """An estimate, as good as one without the model's own tokenizer can be; no model is asked."""
    asked = chat_body({**body, "max_tokens": 1})
    await call.reply_json({"input_tokens": request_estimate(asked, family_of(body["model"]))})


ENDPOINTS = (
    Endpoint(
        "POST",
        "/v1/messages",
        messages,
        "Answer a conversation (Anthropic's dialect)",
        "inference",
        body="MessagesRequest",
        answer="AnthropicReply",
        streams=True,
        dialect="anthropic",
    ),
    Endpoint(
        "POST",
        "/v1/messages/count_tokens",
        count_tokens,
        "Estimate the tokens of a prompt",
        "inference",
        body="CountRequest",
        answer="TokenCount",
        dialect="anthropic",
    ),
)
