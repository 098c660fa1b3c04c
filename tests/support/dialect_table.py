"""What of a request reaches a model, for each API in front of the gateway and each dialect behind it.

Docs/providers.md prints the table.

A cell is found by sending a request that holds a marker, and looking for the marker in what the model's server was
sent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.gateway import Provider, Running, Send, completion, reply, running_gateway, served

FACES = ("chat", "messages", "responses")
UPSTREAMS = {"chat": "compatible", "responses": "openai-responses", "anthropic": "anthropic", "gemini": "gemini"}
MARK = "Zq7Mark"
PIXEL = "iVBORw0KGgo" + MARK  # a picture's data, as far as nobody opens it
PDF = "JVBERi0x" + MARK
CALL = "call_Zq7Mark"


@dataclass(frozen=True)
class Feature:
    """`bodies` are what each API is sent: fields beside the model.

    `wanted` is what must be found in the request to the server.
    """

    name: str
    bodies: dict[str, dict[str, Any]]
    wanted: str = MARK


def chat(*content: Any, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(content) if content else "hi"}], **fields}


def messages(*content: Any, **fields: Any) -> dict[str, Any]:
    return {
        "max_tokens": 2_000,
        "messages": [{"role": "user", "content": list(content) if content else "hi"}],
        **fields,
    }


def responses(*content: Any, **fields: Any) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": list(content)}] if content else "hi", **fields}


def _turns(results: Any, arguments: str = '{"p": "Zq7Mark"}') -> dict[str, dict[str, Any]]:
    """A call in an earlier turn, and what it gave, in each API's words: `results` for (chat, messages, responses)."""
    call = {"id": CALL, "type": "function", "function": {"name": "look", "arguments": arguments}}
    used = {"type": "tool_use", "id": CALL, "name": "look", "input": json.loads(arguments or "{}")}
    return {
        "chat": {
            "messages": [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": CALL, "content": results[0]},
            ]
        },
        "messages": {
            "max_tokens": 2_000,
            "messages": [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": [used]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": CALL, "content": results[1]}]},
            ],
        },
        "responses": {
            "input": [
                {"role": "user", "content": "hi"},
                {"type": "function_call", "call_id": CALL, "name": "look", "arguments": arguments},
                {"type": "function_call_output", "call_id": CALL, "output": results[2]},
            ]
        },
    }


_SCHEMA = {"type": "object", "properties": {MARK: {"type": "string"}}}
_DATA = f"data:image/png;base64,{PIXEL}"
_SOURCE = {"type": "base64", "media_type": "image/png", "data": PIXEL}
FEATURES = (
    Feature("text in parts", {
        "chat": chat({"type": "text", "text": MARK}), "messages": messages({"type": "text", "text": MARK}),
        "responses": responses({"type": "input_text", "text": MARK}),
    }),
    Feature("rules", {
        "chat": {"messages": [{"role": "developer", "content": MARK}, {"role": "user", "content": "hi"}]},
        "messages": messages(system=[{"type": "text", "text": MARK}]), "responses": responses(instructions=MARK),
    }),
    Feature("picture by data", {
        "chat": chat({"type": "image_url", "image_url": {"url": _DATA}}),
        "messages": messages({"type": "image", "source": _SOURCE}),
        "responses": responses({"type": "input_image", "image_url": _DATA}),
    }),
    Feature("picture by address", {
        "chat": chat({"type": "image_url", "image_url": {"url": f"https://example.com/{MARK}.png"}}),
        "messages": messages({"type": "image", "source": {"type": "url", "url": f"https://example.com/{MARK}.png"}}),
        "responses": responses({"type": "input_image", "image_url": f"https://example.com/{MARK}.png"}),
    }),
    Feature("file by data", {
        "chat": chat({"type": "file", "file": {"filename": "a.pdf",
        "file_data": f"data:application/pdf;base64,{PDF}"}}),
        "messages": messages({"type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}}),
        "responses": responses({"type": "input_file", "filename": "a.pdf",
        "file_data": f"data:application/pdf;base64,{PDF}"}),
    }),
    Feature("file by address", {
        "messages": messages({"type": "document", "source": {"type": "url", "url": f"https://example.com/{MARK}.pdf"}}),
        "responses": responses({"type": "input_file", "file_url": f"https://example.com/{MARK}.pdf"}),
    }),
    Feature("sound", {"chat": chat({"type": "input_audio", "input_audio": {"data": MARK, "format": "wav"}})}),
    Feature("tools", {
        "chat": chat(tools=[{"type": "function", "function": {"name": "look", "parameters": _SCHEMA}}]),
        "messages": messages(tools=[{"name": "look", "input_schema": _SCHEMA}]),
        "responses": responses(tools=[{"type": "function", "name": "look", "parameters": _SCHEMA}]),
    }),
    Feature("custom tools, namespaces", {
        "responses": responses(tools=[{"type": "namespace", "name": "crm", "description": "",
        "tools": [{"type": "custom", "name": MARK}]}]),
    }),
    Feature("tools that OpenAI runs",
    {"responses": responses(tools=[{"type": "web_search", "filters": {"allowed_domains": [MARK]}}])}),
    Feature("tools that Anthropic runs", {
        "messages": messages(tools=[{"type": "web_search_20250305", "name": "web_search", "allowed_domains": [MARK]}]),
    }),
    Feature("calls of earlier turns", _turns(("ok", "ok", "ok"))),
    Feature("results as text", _turns((MARK, MARK, MARK), "{}")),
    Feature("results with pictures", _turns((
        [{"type": "text", "text": "ok"}, {"type": "image_url", "image_url": {"url": _DATA}}],
        [{"type": "text", "text": "ok"}, {"type": "image", "source": _SOURCE}],
        [{"type": "input_text", "text": "ok"}, {"type": "input_image", "image_url": _DATA}],
    ), "{}")),
    Feature("results with documents", {
        name: body for name, body in _turns((
            "ok", [{"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}}],
            [{"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}],
        ), "{}").items() if name != "chat"
    }),
    Feature("calls without arguments", _turns(("ok", "ok", "ok"), "{}"), "look"),
    Feature("stop sequences", {"chat": chat(stop=[MARK]), "messages": messages(stop_sequences=[MARK])}),
    Feature("structured output", {
        "chat": chat(response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": _SCHEMA}}),
        "messages": messages(output_config={"format": {"type": "json_schema", "schema": _SCHEMA}}),
        "responses": responses(text={"format": {"type": "json_schema", "name": "a", "schema": _SCHEMA}}),
    }),
    Feature("log-probabilities", {
        "chat": chat(logprobs=True, top_logprobs=3),
        "responses": responses(include=["message.output_text.logprobs"], top_logprobs=3),
    }, "ogprobs"),
    Feature("n", {"chat": chat(n=2)}, "2"),
    Feature("effort", {
        "chat": chat(reasoning_effort="high"), "messages": messages(output_config={"effort": "high"}),
        "responses": responses(reasoning={"effort": "high"}),
    }, "high"),
    Feature("cache marks", {
        "chat": chat({"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}),
        "messages": messages({"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}),
    }, "ephemeral"),
    Feature("top_k", {"messages": messages(top_k=37)}, "37"),
    Feature("who asks", {"chat": chat(user=MARK), "messages": messages(metadata={"user_id": MARK}),
    "responses": responses(user=MARK)}),
    Feature("Anthropic's words about tools", {
        "messages": messages(tools=[{"name": "look", "input_schema": {"type": "object"},
        "input_examples": [{"a": MARK}]}]),
    }),
    Feature("OpenAI's own settings",
    {"responses": responses(metadata={"a": MARK}, truncation="auto", reasoning={"summary": "auto"})}),
    Feature("remote tools (MCP)", {
        "messages": messages(mcp_servers=[{"type": "url", "url": f"https://example.com/{MARK}", "name": "a"}]),
        "responses": responses(tools=[{"type": "mcp", "server_label": "a",
        "server_url": f"https://example.com/{MARK}"}]),
    }),
)  # fmt: skip


async def _answer(body: dict[str, Any], send: Send) -> None:
    """Any of the four dialects, by what was asked."""
    usage = {"input_tokens": 9, "output_tokens": 1}
    if "contents" in body:
        candidate = {"content": {"role": "model", "parts": [{"text": "ok"}]}, "finishReason": "STOP", "index": 0}
        await reply(
            send, 200, {"candidates": [candidate], "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 1}}
        )
    elif "input" in body:
        message = {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "ok", "annotations": []}],
        }
        await reply(
            send,
            200,
            {
                "id": "r",
                "status": "completed",
                "model": "m",
                "output": [message],
                "usage": {**usage, "total_tokens": 10},
            },
        )
    elif str(body.get("model", "")).startswith("claude"):
        content = [{"type": "text", "text": "ok"}]
        whole = {
            "id": "a",
            "type": "message",
            "role": "assistant",
            "model": "c",
            "content": content,
            "stop_reason": "end_turn",
            "usage": usage,
        }
        await reply(send, 200, whole)
    else:
        await reply(send, 200, completion("ok"))


MODELS = {"chat": "m-1", "responses": "gpt-5.1", "anthropic": "claude-opus-4-6", "gemini": "gemini-3-pro"}


def models_at(url: str) -> dict[str, Any]:
    """A model behind each dialect, at one server that speaks all of them."""
    return {
        name: {
            "provider": provider, "base_url": f"{url}/v1", "model": MODELS[name], "key": "env:TABLE_KEY",
            "input_usd_per_mtok": 1.0, "output_usd_per_mtok": 2.0, "cache": "off",
        }
        for name, provider in UPSTREAMS.items()
    }  # fmt: skip


@contextmanager
def gateways(folder: Path) -> Iterator[tuple[Running, Provider]]:
    """One gateway with a model behind each dialect."""
    upstream = Provider(_answer)
    with served(upstream) as url:
        upstream.url = url
        with running_gateway(folder, models=models_at(url)) as gateway:
            yield gateway, upstream


_PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}


def cell(gateway: Running, upstream: Provider, feature: Feature, face: str, model: str) -> str:
    """`carried`, `refused` (with a reason), `left out`, or `-` where the API has no word for it."""
    if face not in feature.bodies:
        return "-"
    upstream.bodies.clear()
    answer = gateway.post(_PATHS[face], {"model": model, **feature.bodies[face]})
    if answer.status_code != 200:
        assert answer.json()["error"]["message"], answer.text
        assert answer.status_code in (400, 422), answer.text
        return "refused"
    assert len(upstream.bodies) == 1
    sent = {name: value for name, value in upstream.bodies[0].items() if name != "model"}
    return "carried" if feature.wanted in json.dumps(sent) else "left out"


def table(folder: Path) -> dict[str, dict[tuple[str, str], str]]:
    with gateways(folder) as (gateway, upstream):
        return {
            feature.name: {
                (face, model): cell(gateway, upstream, feature, face, model) for face in FACES for model in UPSTREAMS
            }
            for feature in FEATURES
        }


def printed(found: dict[str, dict[tuple[str, str], str]]) -> str:
    """As docs/providers.md shows it: for each API in front, what becomes of a feature with models of each dialect."""
    lines = []
    for face in FACES:
        lines += ["", f"| `{_PATHS[face]}` | " + " | ".join(UPSTREAMS) + " |", "|---" * (len(UPSTREAMS) + 1) + "|"]
        for name, cells in found.items():
            row = [cells[face, model] for model in UPSTREAMS]
            if set(row) != {"-"}:
                lines.append(f"| {name} | " + " | ".join(row) + " |")
    return "\n".join(lines[1:])
