"""Clients that are not ours, as their users run them, against the gateway (`make clients` installs them.

Where they are not, nothing is tested).
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.storage.account_types import AccountLimits
from tests.clients.model import play
from tests.support.gateway import Provider, Running, Send, begin_stream, chunk, reply, running_gateway, served

HERE, BUILD = Path(__file__).parents[1] / "clients", Path(__file__).parents[2] / "build" / "clients"
HELLO = "You said: hello ✓"
CITY = {"city": "Paris", "people": 42}
SHOWN = "You said: what? and showed 1 picture ✓"
SUNNY = "The tool said: sunny in Paris"
SPENT = [402, False]  # no client asks again
PEOPLE = {"city": "Paris", "people": 4.5}  # where a form says number
PYTHON: dict[str, dict[str, dict[str, Any]]] = {
    "current": {
        "openai_sdk": {
            "chat": HELLO,
            "parsed": CITY,
            "stream": [HELLO, 30, True],
            "stream of calls": [[0, "Paris"], [1, "Paris"]],
            "responses.stream": [HELLO, HELLO, "completed"],
            "responses.parse": CITY,
            "previous_response_id": "The tool said: sunny",
            "history": "The tool said: sunny",
            "embedding": 2,
            "completion": HELLO,
            "models": True,
            "azure": HELLO,
            "spent": [402, "insufficient_quota", "0"],
        },
        "anthropic_sdk": {
            "message": HELLO,
            "stream": [HELLO, HELLO, "end_turn", 10],
            "tool_runner": ["tool_use", "text"],
            "tool_runner, streamed": ["tool_use", "end_turn"],
            "picture": SHOWN,
            "parse": CITY,
            "count_tokens": [True, True],
            "models": True,
            "spent": [402, "billing_error", "0"],
        },
        "langchain": {
            **{f"{name}: chat": HELLO for name in ("openai", "responses", "anthropic")},
            **{f"{name}: stream": HELLO for name in ("openai", "responses", "anthropic")},
            **{f"{name}: tools": SUNNY for name in ("openai", "responses", "anthropic")},
            **{f"{name}: form": CITY for name in ("openai", "responses", "anthropic")},
            "embeddings": 2,
            "completion": HELLO,
        },
        "pydantic_ai_client": {
            **{f"{name}: agent": [SUNNY, 2] for name in ("chat", "responses", "anthropic")},
            **{f"{name}: typed": CITY for name in ("chat", "responses", "anthropic")},
            **{f"{name}: stream": SUNNY for name in ("chat", "responses", "anthropic")},
        },
        "openai_agents": {
            "chat: run": SUNNY,
            "chat: streamed": [SUNNY, True],
            "responses: run": SUNNY,
            "responses: streamed": [SUNNY, True],
            "responses: on by id": SUNNY,
        },
        "llm_command": {
            "stream": HELLO,
            "whole": HELLO,
            "schema": '{"city": "Paris", "people": 42}',
            "tools": True,
            "completion": HELLO,
        },
        "prometheus": {"families": True, "prefix": True},
    },
    "frameworks": {
        "llama_index_client": {
            "chat": HELLO,
            "stream": HELLO,
            "tools": "sunny in Paris",
            "form": CITY,
            "complete": HELLO,
            "stream_complete": HELLO,
            "embedding": 2,
        },
        "instructor_client": {"TOOLS": CITY, "partial": CITY, "JSON": CITY, "JSON_SCHEMA": CITY},
        "dspy_client": {"lm": HELLO, "predict": CITY, "responses": HELLO},
        "litellm_client": {
            "chat": HELLO,
            "stream": HELLO,
            "tools": ["weather", '{"city": "Paris"}'],
            "anthropic": HELLO,
            "responses": HELLO,
            "embedding": 2,
            "text": HELLO,
            "rerank": [1, 0],
        },
        "mini_swe_agent": {"action": True},
    },
}
AI_SDK = ("responses", "chat", "anthropic", "compatible")
NODE: dict[str, dict[str, Any]] = {
    "ai_sdk": {
        **{f"{name}: chat": [HELLO, 10, "stop"] for name in AI_SDK},
        **{f"{name}: stream": [HELLO, 10, "stop"] for name in AI_SDK},
        **{f"{name}: tools": [SUNNY, 2] for name in AI_SDK},
        **{f"{name}: streamed tools": [SUNNY, 2] for name in AI_SDK},
        **{f"{name}: object": PEOPLE for name in AI_SDK},
        **{f"{name}: streamed object": PEOPLE for name in AI_SDK},
        **{f"{name}: picture": SHOWN for name in AI_SDK},
        **{f"{name}: spent": SPENT for name in AI_SDK},
        "embedding": 2,
    },
    "sdks": {
        "openai: runTools": SUNNY,
        "openai: runTools, streamed": SUNNY,
        "openai: parse": PEOPLE,
        "openai: stream": HELLO,
        "openai: responses.stream": HELLO,
        "anthropic: stream": HELLO,
        "anthropic: toolRunner": SUNNY,
        "anthropic: streamed call": {"city": "Paris"},
    },
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("clients")

    async def ranks(body: dict[str, Any], send: Send) -> None:
        if "documents" not in body:
            return await play(body, send)
        results = [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}]
        return await reply(send, 200, {"id": "r", "results": results, "meta": {"billed_units": {"search_units": 1}}})

    with running_gateway(folder, ranks) as first:
        upstream = {"provider": "compatible", "base_url": f"{first.provider.url}/v1", "input_usd_per_mtok": 1.0}
        models = {"model": {**upstream, "output_usd_per_mtok": 2.0}}
        others = {
            "embeddings": {"embedder": {**upstream, "model": "e"}},
            "rerankers": {"ranker": {**upstream, "model": "r"}},
        }
        (folder / "second").mkdir()
        with running_gateway(folder / "second", play, models=models, **others) as running:
            yield running


def python(group: str, name: str) -> list[str]:
    """How a script is run by the Python that has its client."""
    found = BUILD / group / "bin" / "python"
    if not found.exists():
        pytest.skip("the clients are not installed: make clients")
    return [str(found), str(HERE / "python" / "client.py"), name]


def told(gateway: Running, command: list[str], folder: Path, **more: str) -> Any:
    """What a client reported: the last line of its output."""
    environment = {
        **{
            name: value
            for name, value in os.environ.items()
            if "_proxy" not in name.lower() and not name.endswith("_API_KEY")
        },
        "GATEWAY": gateway.url,
        "KEY": gateway.key,
        "ADMIN": gateway.admin,
        "POOR": gateway.new_key(limits=AccountLimits(usd=0.0)),
        "HOME": str(folder),
        "NO_COLOR": "1",
        **more,
    }
    ran = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
    )
    lines = [line for line in ran.stdout.splitlines() if line.startswith("{")]
    assert lines, ran.stdout[-3_000:] + ran.stderr[-3_000:]
    return json.loads(lines[-1])


@pytest.mark.parametrize(("group", "name"), [(group, name) for group, names in PYTHON.items() for name in names])
def test_a_python_client(gateway: Running, tmp_path: Path, group: str, name: str) -> None:
    command = python(group, name)
    found = told(gateway, command, tmp_path, PATH=f"{BUILD / group / 'bin'}:{os.environ['PATH']}")
    assert "failed" not in found, found["failed"]
    assert found == PYTHON[group][name]


@pytest.mark.parametrize("name", NODE)
def test_a_node_client(gateway: Running, tmp_path: Path, name: str) -> None:
    node, script = node_program("ai"), tmp_path / f"{name}.mjs"
    script.write_text((HERE / "node" / script.name).read_text())
    os.symlink(BUILD / "npm" / "node_modules", tmp_path / "node_modules")
    assert told(gateway, [node, str(script)], tmp_path) == NODE[name]


def node_program(package: str) -> str:
    node = shutil.which("node")
    if node is None or not (BUILD / "npm" / "node_modules" / package).exists():
        pytest.skip(f"node or its package {package} is not installed: make clients")
    return node


def test_claude_code_runs_a_command_and_tells_of_it(gateway: Running, tmp_path: Path) -> None:
    node_program("@anthropic-ai/claude-code")
    command = [
        str(BUILD / "npm/node_modules/.bin/claude"),
        "-p",
        "hello",
        "--model",
        "model",
        "--output-format",
        "json",
    ]
    settings = {
        "ANTHROPIC_BASE_URL": gateway.url,
        "ANTHROPIC_API_KEY": gateway.key,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }
    found = told(
        gateway,
        [*command, "--allowedTools", "Bash(echo:*)"],
        tmp_path,
        **settings,
        DISABLE_TELEMETRY="1",
        IS_SANDBOX="1",
    )
    assert (found["result"].strip(), found["is_error"], found["num_turns"]) == (SUNNY, False, 2)
    assert found["usage"]["output_tokens"] == 20


def test_codex_runs_a_command_and_tells_of_it(gateway: Running, tmp_path: Path) -> None:
    node_program("@openai/codex")
    (tmp_path / "config.toml").write_text(
        'model = "model"\nmodel_provider = "gateway"\n[model_providers.gateway]\nname = "gateway"\nbase_url = '
        f'"{gateway.url}/v1"\n'
        'env_key = "KEY"\nwire_api = "responses"\n'
    )
    command = [str(BUILD / "npm/node_modules/.bin/codex"), "exec", "--skip-git-repo-check", "--json"]
    found = told(
        gateway, [*command, "--dangerously-bypass-approvals-and-sandbox", "hello"], tmp_path, CODEX_HOME=str(tmp_path)
    )
    assert (found["type"], found["usage"]["output_tokens"]) == ("turn.completed", 20)


def curl(*arguments: str) -> tuple[int, str]:
    """(status, body) of a request that curl makes."""
    program = shutil.which("curl")
    if program is None:
        pytest.skip("curl is not installed")
    ran = subprocess.run(
        [
            program,
            "--silent",
            "--show-error",
            "--max-time",
            "20",
            "--noproxy",
            "*",
            "--write-out",
            "\n%{http_code}",
            *arguments,
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    body, _, status = ran.stdout.rpartition("\n")
    assert status.isdigit(), ran.stderr
    return int(status), body


KIND = ["-H", "content-type: application/json"]
BODY = '{"model": "model", "messages": [{"role": "user", "content": "hello"}]}'
ODD = {
    "chunked": ["-H", "transfer-encoding: chunked"],
    "waits for 100": ["-H", "expect: 100-continue"],
    "of 1.0": ["--http1.0"],
    "wants to go on in HTTP/2": ["--http2"],
    "compressed answers welcome": ["-H", "accept-encoding: gzip, br"],
    "no kind of body": ["-H", "content-type:"],  # curl leaves it out then
    "a charset": ["-H", "content-type: application/json; charset=utf-8"],
    "a range": ["-H", "range: bytes=0-10"],
    "large header": ["-H", f"x-large: {'a' * 20_000}"],
    "trace": ["-H", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
}


@pytest.mark.parametrize("name", ODD)
def test_curl_with_legal_but_odd_http(gateway: Running, name: str) -> None:
    url = f"{gateway.url}/v1/chat/completions"
    kind = [] if any("content-type" in argument for argument in ODD[name]) else KIND
    status, body = curl("-H", f"authorization: Bearer {gateway.key}", *kind, "--data", BODY, *ODD[name], url)
    assert status == 200, body
    assert HELLO in json.loads(body)["choices"][0]["message"]["content"]


def test_curl_at_other_addresses_with_other_keys_and_bodies(gateway: Running, tmp_path: Path) -> None:
    url, key = f"{gateway.url}/v1/chat/completions", gateway.key
    json_body = [*KIND, "--data", BODY]
    packed = tmp_path / "body.gz"
    packed.write_bytes(gzip.compress(BODY.encode()))
    marked = tmp_path / "marked.json"
    marked.write_bytes(b"\xef\xbb\xbf" + BODY.encode())
    for arguments in (
        ["-H", f"x-api-key: {key}", *json_body, url],
        ["-H", f"api-key: {key}", *json_body, url],
        ["-H", f"authorization: bearer {key}", *json_body, url],
        ["-H", f"authorization: Bearer {key}", *json_body, f"{url}/"],
        ["-H", f"authorization: Bearer {key}", *json_body, f"{url}?api-version=2024-10-21&x=1"],
        ["-H", f"authorization: Bearer {key}", *json_body, "--path-as-is", f"{gateway.url}//v1/chat/completions"],
        [
            "-H",
            f"authorization: Bearer {key}",
            *KIND,
            "-H",
            "content-encoding: gzip",
            "--data-binary",
            f"@{packed}",
            url,
        ],
        ["-H", f"authorization: Bearer {key}", *KIND, "--data-binary", f"@{marked}", url],
    ):
        assert curl(*arguments)[0] == 200, arguments
    assert curl("--head", "-H", f"authorization: Bearer {key}", f"{gateway.url}/v1/models")[0] == 200
    status, body = curl("-H", f"authorization: Bearer {key}", url)
    assert (status, json.loads(body)["error"]["code"]) == (405, "method_not_allowed")


class Google:
    """A server that plays one of Google's models, and keeps what it was sent."""

    def __init__(self) -> None:
        self.provider = Provider(self.play)

    async def play(self, body: dict[str, Any], send: Send) -> None:
        config = body.get("generationConfig") or {}
        last = body["contents"][-1]["parts"][0]
        part: dict[str, Any] = {"text": "It is sunny."}
        if config.get("responseMimeType") == "application/json":
            part = {"text": '{"a": "b"}'}
        elif body.get("tools") and "functionResponse" not in last:
            part = {"functionCall": {"name": "weather", "args": {"city": "Paris"}}, "thoughtSignature": "c2lnbmVk"}
        usage = {"promptTokenCount": 20, "candidatesTokenCount": 5, "totalTokenCount": 25}
        candidate = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}
        answer = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-2.5-flash"}
        if not self.provider.paths[-1].endswith(":streamGenerateContent"):
            return await reply(send, 200, answer)
        await begin_stream(send)
        await chunk(send, answer, more=False)
        return None


def camel(value: Any) -> Any:
    """With names as JSON has them: Google's API takes those of its protocol buffers, too, and its client mixes them."""
    if isinstance(value, list):
        return [camel(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {re.sub(r"_([a-z])", lambda found: found[1].upper(), name): camel(each) for name, each in value.items()}


PICTURE = "data:image/png;base64,iVBORw0KGgo="
GOOGLE_TOOL = {
    "name": "weather",
    "description": "w",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
GOOGLE_ASK = {
    "model": "gemini",
    "temperature": 0.5,
    "max_tokens": 99,
    "stop": ["x"],
    "tools": [{"type": "function", "function": GOOGLE_TOOL}],
}
GOOGLE_TURN = [
    {"role": "system", "content": "Be short."},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "weather?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
        ],
    },
]


def test_what_is_sent_to_google_is_what_its_own_client_sends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "k")
    ours, theirs = Google(), Google()
    with served(ours.provider) as our_url, served(theirs.provider) as their_url:
        models = {"gemini": {"provider": "gemini", "model": "gemini-2.5-flash", "base_url": f"{our_url}/v1beta"}}
        with running_gateway(tmp_path, models=models) as gateway:
            found = told(gateway, python("current", "google_genai_types"), tmp_path, UPSTREAM=their_url)
            first = gateway.post("/v1/chat/completions", {**GOOGLE_ASK, "messages": GOOGLE_TURN}).json()["choices"][0][
                "message"
            ]
            result = {"role": "tool", "tool_call_id": first["tool_calls"][0]["id"], "content": "sunny"}
            turns = [*GOOGLE_TURN, first, result]
            streamed = gateway.post("/v1/chat/completions", {**GOOGLE_ASK, "messages": turns, "stream": True})
            form = {
                "type": "json_schema",
                "json_schema": {"name": "f", "schema": {"type": "object", "properties": {"a": {"type": "string"}}}},
            }
            assert gateway.chat("hello", model="gemini", response_format=form).status_code == 200
    assert "It is sunny." in streamed.text
    assert found == {"call": ["weather", {"city": "Paris"}, 20], "stream": ["It is sunny.", 5], "form": {"a": "b"}}
    assert [path.split("/models/")[1] for path in ours.provider.paths] == [
        path.split("/models/")[1] for path in theirs.provider.paths
    ]
    for sent, wanted in zip(ours.provider.bodies, theirs.provider.bodies, strict=True):
        wanted.get("systemInstruction", {}).pop("role", None)  # it says "user" there, which nobody reads
        assert camel(sent) == camel(wanted)
