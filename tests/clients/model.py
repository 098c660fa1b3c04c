"""A scripted model that does what clients expect.

It calls the tools that it is offered, fills in forms, and else repeats what it was told.
"""

from __future__ import annotations

import json
from typing import Any

from tests.support.gateway import Send, begin_stream, chunk, completion, delta, reply

SHELLS = ("Bash", "exec_command", "shell_command", "shell")  # what a coding agent offers beside thirty other tools
COMMAND = "echo sunny in Paris"


async def play(body: dict[str, Any], send: Send) -> None:
    """One answer.

    The last message decides: a user's makes it call the first tool (twice where it says "twice"), a tool's result makes
    it say so.
    """
    if "input" in body:
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        data = [{"object": "embedding", "index": index, "embedding": [0.5, 0.25]} for index in range(len(texts))]
        return await reply(
            send, 200, {"object": "list", "data": data, "model": "e", "usage": {"prompt_tokens": 3, "total_tokens": 3}}
        )
    if "prompt" in body:
        return await reply(send, 404, {"error": {"message": "Not Found"}})
    text, calls = _answer(body)
    usage = {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30}
    if not body.get("stream"):
        return await reply(send, 200, completion(text, **({"tool_calls": calls} if calls else {})) | {"usage": usage})
    await begin_stream(send)
    await chunk(send, delta({"role": "assistant", "content": None if calls else ""}))
    for index, call in enumerate(calls):
        function = call["function"]
        await chunk(
            send,
            delta({"tool_calls": [{"index": index, **call, "function": {"name": function["name"], "arguments": ""}}]}),
        )
        for start in range(0, len(function["arguments"]), 7):
            piece = function["arguments"][start : start + 7]
            await chunk(send, delta({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}))
    for word in text.split(" ") if text else ():
        await chunk(send, delta({"content": f"{word} "}))
    await chunk(send, delta({}, "tool_calls" if calls else "stop"))
    if (body.get("stream_options") or {}).get("include_usage"):
        await chunk(send, {**delta({}), "choices": [], "usage": usage})
    await chunk(send, b"data: [DONE]\n\n", more=False)
    return None


def _answer(body: dict[str, Any]) -> tuple[str | None, list[dict[str, Any]]]:
    messages = body["messages"]
    form = (body.get("response_format") or {}).get("json_schema", {}).get("schema")
    tools = {tool["function"]["name"]: tool["function"].get("parameters") or {} for tool in body.get("tools") or ()}
    choice = body.get("tool_choice")
    if messages[-1]["role"] == "tool":
        ending = next(
            (name for name in tools if name.startswith("final_result")), None
        )  # how some frameworks take an answer
        if ending:
            return None, [_call(ending, filled(tools[ending]))]
        results = [_text(message) for message in messages if message["role"] == "tool"]
        return json.dumps(filled(form)) if form else "The tool said: " + "; ".join(results), []
    if tools and choice != "none":
        shells = [name for name in SHELLS if name in tools]
        wanted = [choice["function"]["name"]] if isinstance(choice, dict) else (shells or list(tools))[:1]
        times = 2 if "twice" in _text(messages[-1]) else 1
        return None, [_call(name, filled(tools[name]), number) for name in wanted for number in range(times)]
    if form:
        return json.dumps(filled(form)), []
    if (body.get("response_format") or {}).get("type") == "json_object" or "Respond with a JSON object" in _text(
        messages[-1]
    ):
        return '{"city": "Paris", "people": 42}', []
    pictures = (
        sum(part.get("type") == "image_url" for part in messages[-1]["content"])
        if isinstance(messages[-1]["content"], list)
        else 0
    )
    return "You said: " + _text(messages[-1]) + (f" and showed {pictures} picture" if pictures else "") + " ✓", []


def _call(name: str, arguments: Any, number: int = 0) -> dict[str, Any]:
    return {
        "id": f"call_{name[:20]}_{number}",
        "type": "function",
        "function": {"name": name, "arguments": json.dumps(arguments)},
    }


def _text(message: dict[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content or ())


def filled(schema: dict[str, Any], root: dict[str, Any] | None = None) -> Any:
    """A value that satisfies a JSON Schema of what clients make of their types: the required properties, a word, 42."""
    root = schema if root is None else root
    if "$ref" in schema:
        found: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return filled(found, root)
    if "anyOf" in schema:
        return filled(schema["anyOf"][0], root)
    for fixed in ("const", "default"):
        if fixed in schema:
            return schema[fixed]
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "object" or "properties" in schema:
        properties = schema.get("properties", {})
        needed = [name for name in schema.get("required", list(properties)) if name in properties]
        return {
            name: _command(properties[name]) if name in ("command", "cmd") else filled(properties[name], root)
            for name in needed
        }
    if kind == "array":
        return [filled(schema.get("items", {"type": "string"}), root)]
    return {"integer": 42, "number": 4.5, "boolean": True, "null": None}.get(str(kind), "Paris")


def _command(schema: dict[str, Any]) -> Any:
    """What a shell may run without harm."""
    return COMMAND.split() if schema.get("type") == "array" else COMMAND
