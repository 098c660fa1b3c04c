"""/mcp of the gateway, with the official SDK's client: keys, scopes and budgets as everywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestrator.storage.account_types import AccountLimits
from tests.support.gateway import running_gateway, settled

pytest.importorskip("mcp")


def text(result: Any) -> str:
    return "\n".join(block.text for block in result.content)


@pytest.fixture
def gateway(tmp_path: Path) -> Any:
    path = tmp_path / "greet.yaml"
    path.write_text('version: 1\nname: greet\ninputs: {name: text}\nsteps: {s: {say: "Hello ${inputs.name}"}}\n')
    with running_gateway(tmp_path, pipelines={"greet": str(path)}) as running:
        yield running


def talk(gateway: Any, work: Callable[[Any], Awaitable[None]], key: str | None = None, **headers: str) -> None:
    import httpx2
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client

    async def go() -> None:
        shown = {
            "authorization": f"Bearer {key or gateway.key}",
            **{n.replace("_", "-"): v for n, v in headers.items()},
        }
        async with (
            httpx2.AsyncClient(headers=shown, timeout=30) as http,
            Client(streamable_http_client(f"{gateway.url}/mcp", http_client=http)) as client,
        ):
            await work(client)

    asyncio.run(go())


def test_everything_a_key_may(gateway: Any) -> None:
    async def work(client: Any) -> None:
        listed = {tool.name for tool in (await client.list_tools()).tools}
        assert listed == {"answer", "recall", "remember", "forget", "route", "pipeline_greet"}
        found = await client.call_tool("answer", {"question": "Where is the Louvre?"})
        assert found.structured_content["answer"] == "Paris"
        assert found.structured_content["cost_usd"] > 0
        assert text(await client.call_tool("remember", {"text": "The vault code is xebec."})) == "m:1"
        assert "[m:1]" in text(await client.call_tool("recall", {"query": "vault code"}))
        (resource,) = (await client.list_resources()).resources
        assert "xebec" in (await client.read_resource(str(resource.uri))).contents[0].text
        assert text(await client.call_tool("forget", {"ids": [1]})) == "forgotten: 1; left: 0"
        assert "holds nothing" in text(await client.call_tool("recall", {"query": "vault code"}))
        routed = await client.call_tool("route", {"question": "What is 2 + 2?"})
        assert routed.structured_content["model"] in ("small", "large", "calculator")
        assert text(await client.call_tool("pipeline_greet", {"name": "Ann"})) == "Hello Ann"

    talk(gateway, work)


def test_scopes_are_walls(gateway: Any) -> None:
    async def keep(client: Any) -> None:
        await client.call_tool("remember", {"text": "The vault code is xebec."})

    async def look(client: Any) -> None:
        assert "xebec" not in text(await client.call_tool("recall", {"query": "vault code"}))

    async def same(client: Any) -> None:
        assert "xebec" in text(await client.call_tool("recall", {"query": "vault code"}))

    talk(gateway, keep, x_orchestrator_scope="ann")
    talk(gateway, look)
    talk(gateway, same, x_orchestrator_scope="ann")
    other = gateway.accounts.add_org("other")
    talk(gateway, look, gateway.new_key(org=other.id), x_orchestrator_scope="ann")


def test_permissions_models_and_budgets_are_those_of_the_key(gateway: Any) -> None:
    async def work(client: Any) -> None:
        assert "pipeline_greet" not in {tool.name for tool in (await client.list_tools()).tools}
        refused = await client.call_tool("remember", {"text": "x"})
        assert refused.is_error
        assert "no permission 'memory'" in text(refused)
        assert (await client.call_tool("pipeline_greet", {"name": "Ann"})).is_error
        poor = await client.call_tool("answer", {"question": "Where is the Louvre?"})
        assert poor.is_error
        assert "budget" in text(poor).lower()

    limits = AccountLimits(usd=0.0)
    key = gateway.new_key(permissions=("inference",), models=("small",), limits=limits)
    talk(gateway, work, key)


def test_without_a_key_nobody_speaks(gateway: Any) -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    assert httpx.post(f"{gateway.url}/mcp", json=message, trust_env=False).status_code == 401
    headers = {"authorization": f"Bearer {gateway.key}", "accept": "application/json, text/event-stream"}
    broken = httpx.post(f"{gateway.url}/mcp", content=b"{", headers=headers, trust_env=False)
    assert broken.status_code == 400
    assert gateway.chat().status_code == 200


def test_a_client_that_leaves_cuts_its_model_off(tmp_path: Path) -> None:
    async def slow(body: dict[str, Any], send: Any) -> None:
        await asyncio.sleep(20)

    with running_gateway(tmp_path, slow) as gateway:
        ask = {"name": "answer", "arguments": {"question": "Where is the Louvre?"}}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": ask}
        gateway.leave_once_asked("/mcp", message, mcp_protocol_version="2025-06-18")
        assert settled(lambda: gateway.provider.cancelled == 1)
