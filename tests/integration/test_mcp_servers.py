"""The reference servers of the Model Context Protocol, from npm, as tools of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator import Orchestrator
from orchestrator.testing import ScriptedBackend
from orchestrator.tools.mcp import McpServer
from tests.agent.test_loop import calls

pytest.importorskip("mcp")
BIN = Path(__file__).parents[2] / "build" / "node" / "node_modules" / ".bin"
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not (BIN / "mcp-server-everything").exists(), reason="npm packages are not installed"),
]


def run(server: McpServer, *replies: Any) -> list[str]:
    with Orchestrator({"m": ScriptedBackend("m", *replies)}, strategy="single") as fleet:
        answer = fleet.answer_sync("Do it", tools=server.tools)
    return [each.result for step in answer.steps for each in step.called]


def test_everything() -> None:
    with McpServer("all", command=[str(BIN / "mcp-server-everything")]) as server:
        names = {tool.name for tool in server.tools}
        assert "all_echo" in names
        assert "Echo: hi" in run(server, calls(("all_echo", {"message": "hi"})), "ok")[0]


def test_the_file_system(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("The code is 4711.")
    command = [str(BIN / "mcp-server-filesystem"), str(tmp_path)]
    with McpServer("files", command=command, roots=[tmp_path]) as server:
        reading = next(tool for tool in server.tools if tool.name == "files_read_text_file")
        assert reading.effects == "none"
        path = str(tmp_path / "notes.txt")
        found = run(
            server,
            calls(("files_read_text_file", {"path": path})),
            calls(("files_read_text_file", {"path": "/etc/passwd"})),
            calls(("files_write_file", {"path": str(tmp_path / "new.txt"), "content": "written"})),
            "ok",
        )
    assert found[0] == "The code is 4711."
    assert "denied" in found[1]
    assert (tmp_path / "new.txt").read_text() == "written"


def test_a_memory(tmp_path: Path) -> None:
    entity = {"name": "Ann", "entityType": "person", "observations": ["likes tea"]}
    with McpServer(
        "graph", command=[str(BIN / "mcp-server-memory")], env={"MEMORY_FILE_PATH": str(tmp_path / "memory.json")}
    ) as server:
        found = run(
            server,
            calls(("graph_create_entities", {"entities": [entity]})),
            calls(("graph_search_nodes", {"query": "tea"})),
            "ok",
        )
    assert "Ann" in found[1]
