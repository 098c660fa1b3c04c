"""`tools:` of a configuration: real HTTP, a real database, an OpenAPI document, Python, an MCP server."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator import ConfigError, Orchestrator
from orchestrator.config.models import parse_config
from orchestrator.testing import ScriptedBackend
from orchestrator.tools import CallContext, Tool, ToolFailed
from orchestrator.tools.catalog import ToolCatalog
from orchestrator.types import Completion, ToolCall, Usage
from tests.pipeline.test_tools import Server, document

MODELS = "models: {m: {provider: calculator}}\n"
CONTEXT = CallContext("key-1", "run-1", 10.0)


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.http.shutdown()
    found.http.server_close()


def catalog(text: str, folder: Path | None = None) -> ToolCatalog:
    return ToolCatalog(parse_config(f"{MODELS}tools:\n{text}").tools, folder)


def call(of: ToolCatalog, name: str, arguments: dict[str, Any], which: int = 0) -> Any:
    async def run() -> Any:
        try:
            made = await of.find([name])
            return await made[which].call(arguments, CONTEXT)
        finally:
            await of.aclose()

    return asyncio.run(run())


def tools_of(of: ToolCatalog, name: str) -> dict[str, Tool]:
    async def run() -> dict[str, Tool]:
        try:
            return {each.name: each for each in await of.find([name])}
        finally:
            await of.aclose()

    return asyncio.run(run())


def test_http(server: Server) -> None:
    made = catalog(
        f"""
  find: {{http: "{server.url}/orders/{{id}}", private: true, description: Finds an order.,
         parameters: {{id: {{type: text, description: Its number}}, deep: {{type: boolean, default: false}}}}}}
  cancel: {{http: "{server.url}/orders/{{id}}/cancel", method: POST, private: true, needs: approval, max_calls: 1,
           parameters: {{id: text, why: text}}}}
  replace: {{http: "{server.url}/orders", method: PUT, private: true}}"""
    )
    find, cancel = tools_of(made, "find")["find"], tools_of(made, "cancel")["cancel"]
    assert find.parameters["properties"]["id"] == {"type": "string", "description": "Its number"}
    assert (find.parameters["required"], find.effects, find.description) == (["id"], "none", "Finds an order.")
    assert (cancel.effects, cancel.needs_approval, cancel.max_calls) == ("once", True, 1)
    assert tools_of(made, "replace")["replace"].effects == "idempotent"
    assert call(made, "find", {"id": "a/b", "deep": True})["path"] == "/orders/a%2Fb"
    assert call(made, "cancel", {"id": "7", "why": "late"})["body"] == {"why": "late"}
    assert server.done == {"key-1": 1}


def test_secrets_go_out_and_do_not_come_back(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PASS", "abcdef123456")
    made = catalog(
        f'\n  echo: {{http: "{server.url}/echo", private: true, headers: {{Authorization: "Bearer ${{SHOP_PASS}}"}}}}'
    )
    assert call(made, "echo", {}) == {"said": "[secret]"}
    assert server.asked[-1][2]["authorization"] == "Bearer abcdef123456"


def test_the_own_network_is_out_of_reach_unless_allowed(server: Server) -> None:
    with pytest.raises(ToolFailed, match="address of the own network"):
        call(catalog(f'\n  find: {{http: "{server.url}/x"}}'), "find", {})


def test_openapi_from_a_file_and_from_an_address(server: Server, tmp_path: Path) -> None:
    (tmp_path / "api.json").write_text(json.dumps(document(server.url)))
    local = catalog("\n  shop: {openapi: api.json, private: true}", tmp_path)
    remote = catalog(f'\n  shop: {{openapi: "{server.url}/openapi.json", private: true, only: [find]}}')
    found = tools_of(local, "shop")
    assert set(found) == {"shop_find", "shop_change"}
    assert found["shop_change"].parameters["required"] == ["id", "state"]
    assert (found["shop_find"].effects, found["shop_change"].effects) == ("none", "once")
    assert call(local, "shop", {"id": "7"})["path"] == "/tickets/7"
    assert set(tools_of(remote, "shop")) == {"shop_find"}
    with pytest.raises(ConfigError, match="no operation 'fnd'"):
        call(catalog("\n  shop: {openapi: api.json, only: [fnd]}", tmp_path), "shop", {})


def test_schemas_that_refer_to_themselves_end(tmp_path: Path) -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/components/schemas/Node"}}}
    body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Node"}}}}
    paths = {"/n": {"post": {"operationId": "put", "requestBody": body}}}
    api = {"paths": paths, "servers": [{"url": "http://x.test"}], "components": {"schemas": {"Node": node}}}
    (tmp_path / "api.json").write_text(json.dumps(api))
    schema = tools_of(catalog("\n  n: {openapi: api.json}", tmp_path), "n")["n_put"].parameters
    assert "$ref" not in json.dumps(schema)
    assert schema["properties"]["next"]["type"] == "object"


def test_sql(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "shop.db") as db:
        db.execute("CREATE TABLE orders (id INTEGER, state TEXT)")
        db.execute("INSERT INTO orders VALUES (7, 'paid')")
    made = catalog(
        """
  state: {sql: "sqlite:shop.db", query: "SELECT state FROM orders WHERE id = :id", parameters: {id: integer}}
  ship: {sql: "sqlite:shop.db", query: "UPDATE orders SET state = 'sent' WHERE id = :id", writes: true}""",
        tmp_path,
    )
    assert tools_of(made, "state")["state"].parameters["properties"] == {"id": {"type": "integer"}}
    assert call(made, "state", {"id": 7}) == [{"state": "paid"}]
    assert call(made, "ship", {"id": 7}) == call(made, "ship", {"id": 7}) == {"changed": 1}  # one key, done once
    assert tools_of(made, "ship")["ship"].effects == "idempotent"


def test_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop_tools.py").write_text("def double(n: int) -> int:\n    '''Doubles.'''\n    return 2 * n\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    made = catalog("\n  double: {python: shop_tools:double, changes: false}\n  lost: {python: shop_tools:lost}")
    assert call(made, "double", {"n": 21}) == 42
    assert tools_of(made, "double")["double"].description == "Doubles."
    with pytest.raises(ConfigError, match="shop_tools:lost cannot be imported"):
        call(made, "lost", {})


def test_mcp_is_connected_when_it_is_used(tmp_path: Path) -> None:
    pytest.importorskip("mcp")
    script = tmp_path / "server.py"
    script.write_text(
        "from mcp.server import MCPServer\nserver = MCPServer('s')\n"
        "@server.tool()\ndef add(a: int, b: int) -> int:\n    return a + b\n"
        "@server.tool()\ndef drop() -> int:\n    return 0\nserver.run()\n"
    )
    made = catalog(f"\n  sums: {{mcp: {{command: [{sys.executable}, {script}]}}, only: [add], effects: none}}")
    assert made._servers == {}
    assert set(tools_of(made, "sums")) == {"sums_add"}
    assert call(made, "sums", {"a": 2, "b": 3}) == "5"
    lost = catalog("\n  lost: {mcp: {command: [no-such-program]}}")
    with pytest.raises(ConfigError, match="the MCP server lost cannot be used"):
        call(lost, "lost", {})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\n  x: {sql: 'sqlite:a.db', query: 'DELETE FROM t'}", "says? writes: true"),
        ("\n  x: {sql: 'mysql://a', query: 'SELECT 1'}", "a database is sqlite:FILE or postgresql"),
        ("\n  x: {sql: 'sqlite:a.db', query: 'SELECT 1', parameters: {a: text}}", "no parameter :a"),
        ("\n  x: {python: os.system}", "module:function"),
        ("\n  x: {htp: 'http://a'}", "a tool says what it is by one of"),
        ("\n  x: {mcp: {}}", "either a command or a url"),
        ("\n  x: {http: 'http://a', metod: GET}", "metod"),
        ("\n  x: {http: 'http://a', effects: twice}", "effects"),
    ],
)
def test_mistakes_are_told_when_the_configuration_is_read(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        catalog(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\n  x: {http: 'ftp://a/b'}", "begins with https://"),
        ("\n  x: {http: 'https://{host}/b'}", "host that is fixed"),
        ("\n  x: {http: 'https://a/${NO_SUCH_VARIABLE}'}", "NO_SUCH_VARIABLE is not set"),
        ("\n  x: {http: 'https://a', headers: {k: 'env:NO_SUCH_VARIABLE'}}", "NO_SUCH_VARIABLE is not set"),
        ("\n  x: {openapi: missing.yaml}", "missing.yaml"),
    ],
)
def test_mistakes_are_told_when_a_tool_is_used(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=told):
        call(catalog(text, tmp_path), "x", {})


def test_a_query_names_tools_of_the_configuration(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "shop.db") as db:
        db.execute("CREATE TABLE orders (id INTEGER, state TEXT)")
        db.execute("INSERT INTO orders VALUES (7, 'paid')")
    made = catalog(
        "\n  state: {sql: 'sqlite:shop.db', query: 'SELECT state FROM orders WHERE id = :id', "
        "parameters: {id: integer}}",
        tmp_path,
    )
    asked = Completion("m", "", Usage(1, 1), calls=(ToolCall("state", {"id": 7}, "c1"),))
    model = ScriptedBackend("m", asked, "It is paid.")
    with Orchestrator({"m": model}, catalog=made, strategy="single") as fleet:
        answer = fleet.answer_sync("Order 7?", tools=["state"])
        assert answer.text == "It is paid."
        assert "paid" in answer.steps[0].called[0].result
        with pytest.raises(ConfigError, match=r"no tool 'stat'.*Did you mean 'state'"):
            fleet.answer_sync("q", tools=["stat"])
    with Orchestrator({"m": model}) as fleet, pytest.raises(ConfigError, match="not made from a configuration"):
        fleet.answer_sync("q", tools=["state"])
