"""What of an answer reaches its caller, for each dialect behind the gateway and each API in front of it.

Docs/providers.md prints the table.

A model's server is played that answers with one thing (a citation, a filtered text, two calls), whole and streamed; a
cell is found by reading the caller's answer as its API has that thing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.backends.base import Request
from orchestrator.backends.remote import RemoteBackend
from orchestrator.router import ModelProfile
from orchestrator.types import Completion, Message
from tests.support.dialect_table import FACES, MARK, MODELS, UPSTREAMS, models_at
from tests.support.gateway import Provider, Running, Send, begin_stream, chunk, reply, running_gateway, served

SDK = "SDK"
CALLERS = (*FACES, SDK)
URL = f"https://example.com/{MARK}"
TEXT = "The Louvre is in Paris."
Events = list[dict[str, Any]]


@dataclass(frozen=True)
class Told:
    """What a caller got, in whatever words: `answers` whole and `streamed` put together."""

    face: str
    body: Any


@dataclass(frozen=True)
class Answer:
    """`bodies` are whole answers by dialect; `streams` their events.

    `seen` says whether a caller's answer holds it; `asked` is what is asked beside the question, by API. `words` is
    what the cell says where it does.
    """

    name: str
    bodies: dict[str, dict[str, Any]]
    streams: dict[str, Events]
    seen: Callable[[Told], bool]
    asked: dict[str, dict[str, Any]]


# How each dialect says something


def chat_body(message: dict[str, Any], finish: str = "stop", **choice: Any) -> dict[str, Any]:
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 2,
        "total_tokens": 11,
        "prompt_tokens_details": {"cached_tokens": 7},
    }
    made = {"index": 0, "message": {"role": "assistant", "content": None, **message}, "finish_reason": finish, **choice}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [made], "usage": usage}


def chat_events(message: dict[str, Any], finish: str = "stop", **choice: Any) -> Events:
    made = chat_body(message, finish, **choice)
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    calls = message.get("tool_calls")
    deltas = [{"role": "assistant", "content": ""}]
    if calls:  # pieces of all of them in turns
        deltas += [
            {"tool_calls": [{"index": i, **call, "function": {"name": call["function"]["name"], "arguments": ""}}]}
            for i, call in enumerate(calls)
        ]
        longest = max(len(call["function"]["arguments"]) for call in calls)
        for start in range(0, longest, 4):
            for i, call in enumerate(calls):
                if piece := call["function"]["arguments"][start : start + 4]:
                    deltas.append({"tool_calls": [{"index": i, "function": {"arguments": piece}}]})
    deltas += [{name: value} for name, value in message.items() if name != "tool_calls"]
    chunks: Events = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks[-1]["choices"][0] |= {name: value for name, value in choice.items() if name == "logprobs"}
    ending = {name: value for name, value in choice.items() if name != "logprobs"}
    return [
        *chunks,
        {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish, **ending}]},
        {**head, "choices": [], "usage": made["usage"]},
    ]


def responses_body(items: list[dict[str, Any]], status: str = "completed", reason: str | None = None) -> dict[str, Any]:
    usage = {"input_tokens": 9, "output_tokens": 2, "total_tokens": 11, "input_tokens_details": {"cached_tokens": 7}}
    details = {"reason": reason} if reason else None
    return {
        "id": "r",
        "object": "response",
        "status": status,
        "model": "m",
        "output": items,
        "usage": usage,
        "incomplete_details": details,
    }


def responses_events(items: list[dict[str, Any]], status: str = "completed", reason: str | None = None) -> Events:
    whole = responses_body(items, status, reason)
    events: Events = [{"type": "response.created", "response": {**whole, "output": []}}]
    for place, item in enumerate(items):
        at = {"output_index": place, "item_id": item.get("id", "i")}
        begun = {**item, "arguments": ""} if item["type"] == "function_call" else {**item, "content": [], "summary": []}
        events.append({"type": "response.output_item.added", **at, "item": begun})
        if item["type"] == "function_call" and item["arguments"]:
            events.append({"type": "response.function_call_arguments.delta", **at, "delta": item["arguments"]})
        for part in item.get("summary") or ():
            events.append({"type": "response.reasoning_summary_text.delta", **at, "delta": part["text"]})
        for part in item.get("content") or ():
            if part["type"] == "refusal":
                events.append({"type": "response.refusal.delta", **at, "content_index": 0, "delta": part["refusal"]})
                continue
            told = {"logprobs": part.get("logprobs") or []}
            events.append(
                {"type": "response.output_text.delta", **at, "content_index": 0, "delta": part["text"], **told}
            )
            for number, each in enumerate(part.get("annotations") or ()):
                events.append(
                    {
                        "type": "response.output_text.annotation.added",
                        **at,
                        "annotation_index": number,
                        "annotation": each,
                    }
                )
        events.append({"type": "response.output_item.done", **at, "item": item})
    return [*events, {"type": f"response.{status}", "response": whole}]


def said(text: str, **part: Any) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": [], **part}]
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content}


def claude_body(blocks: list[dict[str, Any]], reason: str = "end_turn", sequence: str | None = None) -> dict[str, Any]:
    usage = {"input_tokens": 2, "output_tokens": 2, "cache_read_input_tokens": 7}
    head = {"id": "m", "type": "message", "role": "assistant", "model": "c"}
    return {**head, "content": blocks, "stop_reason": reason, "stop_sequence": sequence, "usage": usage}


def claude_events(blocks: list[dict[str, Any]], reason: str = "end_turn", sequence: str | None = None) -> Events:
    whole = claude_body(blocks, reason, sequence)
    events: Events = [{"type": "message_start", "message": {**whole, "content": [], "stop_reason": None}}]
    for place, block in enumerate(blocks):
        deltas: Events = []
        begun = dict(block)
        if block["type"] == "text":
            begun = {"type": "text", "text": ""}
            deltas = [{"type": "text_delta", "text": block["text"]}]
            deltas += [{"type": "citations_delta", "citation": each} for each in block.get("citations") or ()]
        elif block["type"] in ("tool_use", "server_tool_use"):
            begun["input"] = {}
            deltas = (
                [{"type": "input_json_delta", "partial_json": json.dumps(block["input"])}] if block["input"] else []
            )
        elif block["type"] == "thinking":
            begun = {"type": "thinking", "thinking": "", "signature": ""}
            deltas = [
                {"type": "thinking_delta", "thinking": block["thinking"]},
                {"type": "signature_delta", "signature": block["signature"]},
            ]
        events.append({"type": "content_block_start", "index": place, "content_block": begun})
        events += [{"type": "content_block_delta", "index": place, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": place})
    ended = {
        "type": "message_delta",
        "delta": {"stop_reason": reason, "stop_sequence": sequence},
        "usage": {"output_tokens": 2},
    }
    return [*events, ended, {"type": "message_stop"}]


def gemini_body(parts: list[dict[str, Any]], reason: str = "STOP", **candidate: Any) -> dict[str, Any]:
    usage = {"promptTokenCount": 9, "candidatesTokenCount": 2, "cachedContentTokenCount": 7}
    made = {"content": {"role": "model", "parts": parts}, "finishReason": reason, "index": 0, **candidate}
    return {"responseId": "g", "modelVersion": "m", "candidates": [made], "usageMetadata": usage}


def gemini_events(parts: list[dict[str, Any]], reason: str = "STOP", **candidate: Any) -> Events:
    whole = gemini_body(parts, reason, **candidate)
    begun = [
        {"candidates": [{"content": {"role": "model", "parts": [part]}, "index": 0}], "responseId": "g"}
        for part in parts
    ]
    ended = {"content": {"role": "model", "parts": []}, "finishReason": reason, "index": 0, **candidate}
    return [*begun, {**whole, "candidates": [ended]}]


MAKERS = {
    "chat": (chat_body, chat_events),
    "responses": (responses_body, responses_events),
    "anthropic": (claude_body, claude_events),
    "gemini": (gemini_body, gemini_events),
}


# How a caller reads it: a whole answer of each API, and what its stream adds up to


def text_of(told: Told) -> str:
    if told.face == "chat":
        return told.body["choices"][0]["message"].get("content") or ""
    if told.face == SDK:
        return told.body.text or ""
    if told.face == "messages":
        return "".join(block.get("text", "") for block in told.body["content"])
    return "".join(
        part.get("text", "") for item in told.body["output"] if item["type"] == "message" for part in item["content"]
    )


def ending_of(told: Told) -> Any:
    if told.face == "chat":
        return told.body["choices"][0]["finish_reason"]
    if told.face == SDK:
        return told.body.finish_reason
    if told.face == "messages":
        return told.body["stop_reason"]
    return (told.body.get("incomplete_details") or {}).get("reason") or told.body["status"]


def calls_of(told: Told) -> list[tuple[str, Any]]:
    if told.face == "chat":
        calls = told.body["choices"][0]["message"].get("tool_calls") or ()
        return [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls]
    if told.face == "messages":
        return [(block["name"], block["input"]) for block in told.body["content"] if block["type"] == "tool_use"]
    if told.face == "responses":
        return [
            (item["name"], json.loads(item["arguments"]))
            for item in told.body["output"]
            if item["type"] == "function_call"
        ]
    return []


def holds(*names: str) -> Callable[[Told], bool]:
    """Whether the mark stands in what an API calls so.

    A field of the message, or the items and blocks of these types.
    """

    def seen(told: Told) -> bool:
        if told.face == "chat":
            choice = told.body["choices"][0]
            return any(MARK in json.dumps(part.get(name)) for part in (choice["message"], choice) for name in names)
        if told.face == SDK:
            return any(MARK in str(getattr(told.body, name, "")) for name in names)
        rows = told.body["content"] if told.face == "messages" else told.body["output"]
        parts = [
            part
            for row in rows
            for part in (row, *(row.get("content") or () if isinstance(row.get("content"), list) else ()))
        ]
        return any(
            MARK in json.dumps(part) for part in parts if part["type"] in names or any(part.get(name) for name in names)
        )

    return seen


def cached_tokens(told: Told) -> bool:
    if told.face == SDK:
        return bool(told.body.usage.cached_tokens == 7)
    usage = told.body["usage"]
    named = usage.get("cache_read_input_tokens") or (
        usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    ).get("cached_tokens")
    return bool(named == 7)


def refused(told: Told) -> bool:
    if told.face == "messages":
        return told.body["stop_reason"] == "refusal"
    if told.face == "responses":
        return any(part["type"] == "refusal" for item in told.body["output"] for part in item.get("content") or ())
    if told.face == SDK:
        return bool(told.body.text == "No.")
    return bool(told.body["choices"][0]["message"].get("refusal"))


def call(name: str, arguments: str, id: str) -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


_TWO = [("look", {"p": "a"}), ("find", {"q": "b"})]
_TOOLS = {
    "chat": {"tools": [{"type": "function", "function": {"name": name}} for name in ("look", "find")]},
    "messages": {"tools": [{"name": name, "input_schema": {"type": "object"}} for name in ("look", "find")]},
    "responses": {
        "tools": [{"type": "function", "name": name, "parameters": {"type": "object"}} for name in ("look", "find")]
    },
}
_LOGPROBS = [{"token": MARK, "logprob": -0.5, "bytes": [1], "top_logprobs": []}]
_CITED = {"type": "web_search_result_location", "url": URL, "title": "T", "cited_text": TEXT, "encrypted_index": "e"}
_SEARCHED = [
    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": MARK}},
    {
        "type": "web_search_tool_result",
        "tool_use_id": "srvtoolu_1",
        "content": [{"type": "web_search_result", "url": URL}],
    },
]
_GROUNDED = {
    "groundingChunks": [{"web": {"uri": URL, "title": "T"}}],
    "groundingSupports": [{"segment": {"startIndex": 0, "endIndex": len(TEXT)}, "groundingChunkIndices": [0]}],
}
_ANNOTATION: dict[str, Any] = {
    "type": "url_citation",
    "url_citation": {"url": URL, "title": "T", "start_index": 0, "end_index": len(TEXT)},
}
_THINKS = {"messages": {"thinking": {"type": "adaptive"}}, "responses": {"reasoning": {"summary": "auto"}}}
_THOUGHT = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": MARK}],
    "encrypted_content": "e",
}


def _made(
    name: str,
    seen: Callable[[Told], bool],
    asked: dict[str, dict[str, Any]] | None = None,
    **said_by: tuple[Any, ...] | None,
) -> Answer:
    """A row of the table: for each dialect the arguments of its makers; `None` where it has no word for it."""
    bodies, streams = {}, {}
    for dialect, arguments in said_by.items():
        if arguments is None:
            continue
        *positional, named = (
            (*arguments, {})
            if not isinstance(arguments[-1], dict) or (dialect == "chat" and len(arguments) == 1)
            else arguments
        )
        body, events = MAKERS[dialect]
        bodies[dialect], streams[dialect] = body(*positional, **named), events(*positional, **named)
    return Answer(name, bodies, streams, seen, asked or {})


ANSWERS = (
    _made(
        "text", lambda told: text_of(told) == TEXT,
        chat=({"content": TEXT},), responses=([said(TEXT)],), anthropic=([{"type": "text", "text": TEXT}],),
        gemini=([{"text": TEXT}],),
    ),
    _made(
        "calls in parallel", lambda told: calls_of(told) == _TWO, _TOOLS,
        chat=({"tool_calls": [call(name, json.dumps(given), f"c{i}") for i, (name, given) in enumerate(_TWO)]},
        "tool_calls"),
        responses=([
            {"type": "function_call", "id": f"fc_{i}", "call_id": f"c{i}", "name": name, "arguments": json.dumps(given)}
            for i, (name, given) in enumerate(_TWO)
        ],),
        anthropic=([{"type": "tool_use", "id": f"t{i}", "name": name, "input": given} for i,
        (name, given) in enumerate(_TWO)], "tool_use"),
        gemini=([{"functionCall": {"name": name, "args": given}} for name, given in _TWO],),
    ),
    _made(
        "calls without arguments", lambda told: calls_of(told) == [("look", {})], _TOOLS,
        chat=({"tool_calls": [call("look", "", "c1")]}, "tool_calls"),
        responses=([{"type": "function_call", "id": "fc", "call_id": "c1", "name": "look", "arguments": ""}],),
        anthropic=([{"type": "tool_use", "id": "t1", "name": "look", "input": {}}], "tool_use"),
        gemini=([{"functionCall": {"name": "look"}}],),
    ),
    _made(
        "refusals", refused,
        chat=({"refusal": "No."},),
        responses=([{**said(""), "content": [{"type": "refusal", "refusal": "No."}]}],),
        anthropic=None,  # it tells them as its filters' work: the next row
        gemini=None,
    ),
    _made(
        "content filters", lambda told: ending_of(told) in ("content_filter", "refusal"),
        chat=({"content": "So f"}, "content_filter"), responses=([said("So f")], "incomplete", "content_filter"),
        anthropic=([{"type": "text", "text": "So f"}], "refusal"), gemini=([{"text": "So f"}], "SAFETY"),
    ),
    _made(
        "cut by its length", lambda told: ending_of(told) in ("length", "max_tokens", "max_output_tokens"),
        chat=({"content": "So f"}, "length"), responses=([said("So f")], "incomplete", "max_output_tokens"),
        anthropic=([{"type": "text", "text": "So f"}], "max_tokens"), gemini=([{"text": "So f"}], "MAX_TOKENS"),
    ),
    _made(
        "which stop sequence", lambda told: (told.face == "messages" and told.body.get("stop_sequence") == MARK)
        or (told.face == "chat" and told.body["choices"][0].get("stop_reason") == MARK),
        chat=({"content": "So f"}, "stop", {"stop_reason": MARK}), responses=None,
        anthropic=([{"type": "text", "text": "So f"}], "stop_sequence", MARK), gemini=None,
    ),
    _made(
        "thoughts", holds("reasoning_content", "thinking", "reasoning", "thoughts"), _THINKS,
        chat=({"reasoning_content": MARK, "content": TEXT},), responses=([_THOUGHT, said(TEXT)],),
        anthropic=([{"type": "thinking", "thinking": MARK, "signature": "s"}, {"type": "text", "text": TEXT}],),
        gemini=([{"text": MARK, "thought": True}, {"text": TEXT}],),
    ),
    _made(
        "citations", holds("annotations", "citations"),
        chat=({"content": TEXT, "annotations": [_ANNOTATION]},),
        responses=([said(TEXT, annotations=[{"type": "url_citation", **_ANNOTATION["url_citation"]}])],),
        anthropic=([{"type": "text", "text": TEXT, "citations": [_CITED]}],),
        gemini=([{"text": TEXT}], "STOP", {"groundingMetadata": _GROUNDED}),
    ),
    _made(
        "what its provider ran", holds("web_search_call", "server_tool_use", "response_items", "anthropic_blocks"),
        chat=None,
        responses=([{"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"query": MARK}},
        said(TEXT)],),
        anthropic=([*_SEARCHED, {"type": "text", "text": TEXT}],), gemini=None,
    ),
    _made(
        "pictures that it made", holds("images", "image_generation_call"),
        chat=({"content": TEXT, "images": [{"type": "image_url",
        "image_url": {"url": f"data:image/png;base64,{MARK}"}}]},),
        responses=([{"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": MARK},
        said(TEXT)],),
        anthropic=None, gemini=([{"text": TEXT}, {"inlineData": {"mimeType": "image/png", "data": MARK}}],),
    ),
    _made(
        "log-probabilities", holds("logprobs"),
        {"chat": {"logprobs": True}, "responses": {"include": ["message.output_text.logprobs"]}},
        chat=({"content": TEXT}, "stop", {"logprobs": {"content": _LOGPROBS}}),
        responses=([said(TEXT, logprobs=_LOGPROBS)],), anthropic=None,
        gemini=([{"text": TEXT}], "STOP",
        {"logprobsResult": {"chosenCandidates": [{"token": MARK, "logProbability": -0.5}]}}),
    ),
    _made(
        "tokens from a cache", cached_tokens,
        chat=({"content": TEXT},), responses=([said(TEXT)],), anthropic=([{"type": "text", "text": TEXT}],),
        gemini=([{"text": TEXT}],),
    ),
)  # fmt: skip


class Playing:
    """Servers of all dialects that give the answer of the row that is tried."""

    def __init__(self) -> None:
        self.row = ANSWERS[0]
        self.provider = Provider(self.play)

    async def play(self, body: dict[str, Any], send: Send) -> None:
        path = self.provider.paths[-1]
        dialect = (
            "gemini"
            if "contents" in body
            else "responses"
            if "input" in body
            else "anthropic"
            if path.endswith("/messages")
            else "chat"
        )
        if not (body.get("stream") or "stream" in path.rpartition(":")[2]):
            return await reply(send, 200, self.row.bodies[dialect])
        await begin_stream(send)
        for event in self.row.streams[dialect]:
            await chunk(send, event)
        await chunk(send, b"data: [DONE]\n\n" if dialect == "chat" else b"", more=False)
        return None


@contextmanager
def playing(folder: Path) -> Iterator[tuple[Running, Playing, str]]:
    servers = Playing()
    with served(servers.provider) as url, running_gateway(folder, models=models_at(url)) as gateway:
        yield gateway, servers, url


_ASK: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "q"}]}),
    "messages": ("/v1/messages", {"messages": [{"role": "user", "content": "q"}], "max_tokens": 3_000}),
    "responses": ("/v1/responses", {"input": "q"}),
}


def got(gateway: Running, face: str, model: str, row: Answer, url: str, *, stream: bool) -> Told | None:
    """What a caller of one API gets; `None` where the request was refused."""
    if face == SDK:
        return Told(face, _by_sdk(model, url, stream=stream))
    path, body = _ASK[face]
    options = {"stream_options": {"include_usage": True}} if stream and face == "chat" else {}
    answer = gateway.post(path, {"model": model, **body, **row.asked.get(face, {}), "stream": stream, **options})
    if answer.status_code == 400:
        assert answer.json()["error"]["message"]
        return None
    assert answer.status_code == 200, answer.text
    if not stream:
        return Told(face, answer.json())
    events = [
        json.loads(line[5:])
        for line in answer.text.splitlines()
        if line.startswith("data:") and line[5:].strip() != "[DONE]"
    ]
    return Told(
        face, {"chat": _chat, "messages": _message, "responses": lambda events: events[-1]["response"]}[face](events)
    )


def _by_sdk(model: str, url: str, *, stream: bool) -> Completion:
    async def go() -> Completion:
        backend = RemoteBackend(
            ModelProfile(model, 1.0, 2.0), provider=UPSTREAMS[model], model=MODELS[model], base_url=f"{url}/v1", key="k"
        )
        asked = Request((Message("user", "q"),), "q", max_tokens=100)
        try:
            if not stream:
                return await backend.complete(asked)
            done = [piece async for piece in backend.stream(asked)][-1]
            assert isinstance(done, Completion)
            return done
        finally:
            await backend.aclose()

    return asyncio.run(go())


def _chat(events: Events) -> dict[str, Any]:
    """As a client puts a stream together."""
    message: dict[str, Any] = {}
    choice: dict[str, Any] = {"message": message, "finish_reason": None}
    usage = None
    for event in events:
        usage = event.get("usage") or usage
        for piece in event.get("choices") or ():
            for name, value in piece["delta"].items():
                if name == "tool_calls":
                    _add_calls(message.setdefault(name, []), value)
                elif isinstance(value, str) and name != "role":
                    message[name] = (message.get(name) or "") + value
                elif isinstance(value, list):
                    message[name] = [*message.get(name, ()), *value]
            choice |= {name: value for name, value in piece.items() if name not in ("delta", "index") and value}
    return {"choices": [choice], "usage": usage}


def _add_calls(calls: list[dict[str, Any]], pieces: list[dict[str, Any]]) -> None:
    for piece in pieces:
        if piece["index"] == len(calls):
            calls.append({**piece, "function": dict(piece["function"])})
        else:
            calls[piece["index"]]["function"]["arguments"] += piece["function"]["arguments"]


def _message(events: Events) -> dict[str, Any]:
    blocks: list[dict[str, Any]] = []
    found: dict[str, Any] = {"content": blocks}
    for event in events:
        kind = event["type"]
        if kind == "message_start":
            found["usage"] = event["message"]["usage"]
        elif kind == "content_block_start":
            assert event["index"] == len(blocks)
            blocks.append(dict(event["content_block"]))
        elif kind == "content_block_delta":
            _add_delta(blocks[event["index"]], event["delta"])
        elif kind == "message_delta":
            found |= event["delta"]
            found["usage"] = {**found["usage"], **event["usage"]}
    for block in blocks:
        if "_written" in block:
            block["input"] = json.loads(block.pop("_written"))
    return found


def _add_delta(block: dict[str, Any], delta: dict[str, Any]) -> None:
    if delta["type"] == "input_json_delta":
        block["_written"] = block.get("_written", "") + delta["partial_json"]
    elif delta["type"] == "citations_delta":
        block.setdefault("citations", []).append(delta["citation"])
    else:
        name = delta["type"].removesuffix("_delta")
        block[name] = block.get(name, "") + delta[name]


def cell(gateway: Running, servers: Playing, url: str, row: Answer, face: str, model: str) -> str:
    """`carried`, `refused`, `left out`, or `-` where the dialect has no word for it; the same whole and streamed."""
    if model not in row.bodies or (row.name == "log-probabilities" and face not in row.asked):
        return "-"  # the dialect has no such thing, or the API no way to ask for it
    servers.row = row
    found = set()
    for stream in (False, True):
        if face == SDK and calls_row(row):
            return "-"  # a search asks for text
        told = got(gateway, face, model, row, url, stream=stream)
        found.add("refused" if told is None else "carried" if row.seen(told) else "left out")
    return found.pop() if len(found) == 1 else "whole alone"


def calls_row(row: Answer) -> bool:
    return row.asked is _TOOLS


def table(folder: Path) -> dict[str, dict[tuple[str, str], str]]:
    with playing(folder) as (gateway, servers, url):
        return {
            row.name: {
                (face, model): cell(gateway, servers, url, row, face, model) for face in CALLERS for model in UPSTREAMS
            }
            for row in ANSWERS
        }


def printed(found: dict[str, dict[tuple[str, str], str]]) -> str:
    """As docs/providers.md shows it: for each API in front, what becomes of a part of an answer from each dialect."""
    lines = []
    for face in CALLERS:
        name = "`Completion` of the SDK" if face == SDK else f"`{_ASK[face][0]}`"
        lines += ["", f"| {name} | " + " | ".join(UPSTREAMS) + " |", "|---" * (len(UPSTREAMS) + 1) + "|"]
        lines += [
            f"| {row} | " + " | ".join(cells[face, model] for model in UPSTREAMS) + " |" for row, cells in found.items()
        ]
    return "\n".join(lines[1:])
