"""`orchestrator mcp`, with the official SDK's client."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Orchestrator
from orchestrator.budget import Budget
from orchestrator.memory import Memory
from orchestrator.testing import ScriptedBackend

pytest.importorskip("mcp")


def text(result: Any) -> str:
    return "\n".join(block.text for block in result.content)


def test_over_stdio_as_clients_start_it(tmp_path: Path) -> None:
    from mcp import Client, StdioServerParameters

    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    command = ["-m", "orchestrator", "mcp", "--scope", "acme/ann"]
    started = StdioServerParameters(command=sys.executable, args=command, cwd=str(tmp_path), env=environment)

    async def talk() -> None:
        async with Client(started) as client:
            listed = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert set(listed) == {"answer", "recall", "remember", "forget", "route"}
            assert listed["recall"].annotations.read_only_hint
            found = await client.call_tool("answer", {"question": "What is 17 * 23?"})
            assert found.structured_content["answer"] == "391"
            assert found.structured_content["confidence"] > 0.9
            assert text(await client.call_tool("remember", {"text": "The vault code is 4711."})) == "m:1"
            assert "[m:1]" in text(await client.call_tool("recall", {"query": "vault code"}))
            (resource,) = (await client.list_resources()).resources
            assert str(resource.uri) == "memory://acme/ann"
            assert "4711" in (await client.read_resource(str(resource.uri))).contents[0].text
            assert text(await client.call_tool("forget", {"ids": [1]})) == "forgotten: 1; left: 0"
            routed = await client.call_tool("route", {"question": "What is 2 + 2?"})
            assert routed.structured_content["model"] == "calculator"

    asyncio.run(talk())


def test_errors_are_told_and_scopes_are_walls(tmp_path: Path) -> None:
    from mcp import Client

    from orchestrator.mcp import LocalHost, build_server

    memory = Memory(tmp_path / "memory.db")
    memory.remember("The secret of Eve is heron.", "acme/eve")

    async def talk() -> None:
        async with Orchestrator({"m": ScriptedBackend("m", "x", price=1e6)}, memory=memory) as fleet:
            server = build_server(LocalHost(fleet, scope="acme/ann", budget=Budget(usd=0.0001)))
            async with Client(server) as client:
                poor = await client.call_tool("answer", {"question": "Write a poem"})
                assert poor.is_error
                assert "Raise budget.usd" in text(poor)
                assert "heron" not in text(await client.call_tool("recall", {"query": "secret of Eve"}))
                assert (await client.call_tool("recall", {"query": "x", "tokens": -1})).is_error
                assert (await client.call_tool("remember", {"text": ""})).is_error

    asyncio.run(talk())


def test_pipelines_are_tools(tmp_path: Path) -> None:
    from mcp import Client

    from orchestrator.mcp import LocalHost, build_server
    from orchestrator.pipeline import Pipeline, Runtime

    path = tmp_path / "greet.yaml"
    path.write_text(
        "version: 1\nname: greet\ndescription: Greets.\ninputs: {name: text}\n"
        'steps: {s: {say: "Hello ${inputs.name}"}}\n'
    )

    async def talk() -> None:
        async with Orchestrator({"m": ScriptedBackend("m", "x")}) as fleet:
            host = LocalHost(fleet, pipelines={"greet": Pipeline.load(path)}, runtime=Runtime(fleet))
            async with Client(build_server(host)) as client:
                (made,) = [each for each in (await client.list_tools()).tools if each.name == "pipeline_greet"]
                assert (made.description, made.input_schema["required"]) == ("Greets.", ["name"])
                assert text(await client.call_tool("pipeline_greet", {"name": "Ann"})) == "Hello Ann"
                assert (await client.call_tool("pipeline_greet", {})).is_error
                assert (await client.call_tool("pipeline_other", {})).is_error

    asyncio.run(talk())
