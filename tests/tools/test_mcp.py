"""MCP servers as tools: real ones by the official SDK, that fail, die, hang, flood and lie."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Orchestrator
from orchestrator.errors import ConfigError, InvalidArgument
from orchestrator.testing import ScriptedBackend
from orchestrator.tools.mcp import McpServer
from orchestrator.tools.untrusted import HIDDEN, safe_name, safe_schema
from tests.agent.test_loop import calls

pytest.importorskip("mcp")
ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "tests.support.mcp_server"]


@pytest.fixture(scope="module")
def server() -> Iterator[McpServer]:
    with McpServer("odd", command=COMMAND, cwd=ROOT, timeout=5) as opened:
        yield opened


def run(server: McpServer, *replies: Any) -> Any:
    with Orchestrator({"m": ScriptedBackend("m", *replies)}, strategy="single") as fleet:
        return fleet.answer_sync("Do it", tools=server.tools)


def test_its_tools_are_called(server: McpServer) -> None:
    answer = run(server, calls(("odd_add", {"a": 2, "b": 3})), "5")
    assert answer.steps[0].called[0].result == "5"
    assert not answer.steps[0].called[0].failed


def test_its_tools_say_what_they_change(server: McpServer) -> None:
    effects = {tool.name: tool.effects for tool in server.tools}
    assert effects["odd_add"] == "none"
    assert effects["odd_fail"] == "once"


def test_what_it_says_of_itself_is_not_trusted(server: McpServer) -> None:
    by_name = {tool.name: tool for tool in server.tools}
    assert by_name["odd_liar"].description == HIDDEN
    assert "odd_na_ve_name_" in by_name
    assert run(server, calls(("odd_na_ve_name_", {})), "ok").steps[0].called[0].result == "fine"


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [("odd_fail", {"why": "no luck"}, "Error executing tool fail"), ("odd_flood", {}, "characters left out")],
)
def test_failures_and_floods_are_told(server: McpServer, name: str, arguments: Any, told: str) -> None:
    called = run(server, calls((name, arguments)), "ok").steps[0].called[0]
    assert told in called.result
    assert len(called.result) < 30_000


def test_a_server_that_dies_is_told_and_started_again() -> None:
    with McpServer("odd", command=COMMAND, cwd=ROOT, timeout=5) as mortal:
        answer = run(mortal, calls(("odd_die", {})), calls(("odd_add", {"a": 1, "b": 1})), "2")
    assert answer.steps[0].called[0].failed
    assert "ended during the call" in answer.steps[0].called[0].result
    assert answer.steps[1].called[0].result == "2"


def test_a_server_that_never_answers_is_left_in_time() -> None:
    with McpServer("odd", command=COMMAND, cwd=ROOT, timeout=1) as slow:
        start = time.monotonic()
        answer = run(slow, calls(("odd_hang", {})), "ok")
        assert time.monotonic() - start < 30
    assert answer.steps[0].called[0].failed


def test_any_event_loop_may_call(server: McpServer) -> None:
    async def ask() -> Any:
        async with Orchestrator({"m": ScriptedBackend("m", calls(("odd_add", {"a": 2, "b": 2})), "4")}) as fleet:
            return await fleet.answer("Do it", tools=server.tools, strategy="single")

    assert asyncio.run(ask()).steps[0].called[0].result == "4"


def test_over_streamable_http() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    child = subprocess.Popen([*COMMAND, "--http", str(port)], cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        with McpServer("far", url=f"http://127.0.0.1:{port}/mcp") as far:
            assert run(far, calls(("far_add", {"a": 4, "b": 5})), "9").steps[0].called[0].result == "9"
    finally:
        child.kill()
        child.wait()


def test_a_closed_server_is_told(server: McpServer) -> None:
    with McpServer("odd", command=COMMAND, cwd=ROOT) as opened:
        tools = opened.tools
    with Orchestrator({"m": ScriptedBackend("m", calls(("odd_add", {"a": 1, "b": 1})), "ok")}) as fleet:
        answer = fleet.answer_sync("Do it", tools=tools, strategy="single")
    assert "is closed" in answer.steps[0].called[0].result


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "needs a command or an address"),
        ({"command": ["x"], "url": "http://x"}, "needs a command or an address"),
        ({"command": "npx x"}, "must be a list"),
        ({"command": []}, "must be a list"),
        ({"url": "ftp://x"}, "the address of the MCP server"),
    ],
)
def test_what_is_no_server_is_told(settings: Any, told: str) -> None:
    with pytest.raises(InvalidArgument, match=told):
        McpServer("x", **settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"command": ["/nonexistent/program"]},
        {"command": [sys.executable, "-c", "print('no protocol')"]},
        {"command": [sys.executable, "-c", "import sys; sys.exit(3)"]},
        {"url": "http://127.0.0.1:9/mcp"},
    ],
)
def test_a_server_that_cannot_be_used_is_told(settings: Any) -> None:
    with pytest.raises(ConfigError, match="the MCP server x cannot be used"):
        McpServer("x", connect_timeout=5, **settings).open()


def test_names_and_schemas_of_strangers() -> None:
    assert safe_name("files_read", set()) == "files_read"
    assert safe_name("files_read", {"files_read"}) != "files_read"
    assert len(safe_name("é" * 200, set())) <= 64
    assert safe_schema({"type": "array"}) == {"type": "object"}
    assert safe_schema({"properties": {"a": {"$ref": "http://elsewhere"}}}) == {"type": "object"}
