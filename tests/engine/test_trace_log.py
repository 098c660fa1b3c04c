"""Traces of a program's own queries, kept for `orchestrator ui`."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator import Orchestrator
from orchestrator.engine.trace_log import LOCAL_ORG, TraceLog
from orchestrator.errors import ConfigError, InvalidArgument, OrchestratorError
from orchestrator.jsontypes import JsonObject
from orchestrator.storage.database import open_database
from orchestrator.storage.requests import Requests
from orchestrator.testing import ScriptedBackend


def kept(path: Path) -> list[JsonObject]:
    database = open_database(path)
    requests = Requests(database)
    found = [requests.find(LOCAL_ORG, row["id"]) for row in requests.recent(LOCAL_ORG, 100)]
    database.close()
    return [one for one in found if one is not None]


def test_every_query_leaves_a_trace(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    with Orchestrator(
        {"fast": ScriptedBackend("fast", "Paris"), "strong": ScriptedBackend("strong", "Paris")}, traces=path
    ) as fleet:
        answer = fleet.answer_sync("What is the capital of France?", scope="acme/ann")
    found = kept(path)
    assert [one["id"] for one in found] == [answer.id]
    assert found[0]["model"] == answer.model
    assert found[0]["scope"] == "acme/ann"
    assert found[0]["confidence"] == pytest.approx(answer.confidence)
    names = [span["name"] for span in found[0]["trace"]["search"]["children"]]
    assert "route" in names
    assert "draft" in names
    route = found[0]["trace"]["search"]["children"][names.index("route")]
    assert {option["model"] for option in route["attributes"]["options"]} == {"fast", "strong"}
    assert answer.trace is not None
    assert "options" not in str(answer.trace.as_dict())  # what the caller holds is not touched


def test_no_text_is_kept_unless_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    with Orchestrator(ScriptedBackend("one", "The codeword is xylograph"), traces=path) as fleet:
        fleet.answer_sync("What is the zanzibar codeword?")
    raw = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    database = open_database(path)
    requests = Requests(database)
    id = requests.recent(LOCAL_ORG, 1)[0]["id"]
    assert requests.content(id) is None
    assert b"zanzibar" not in raw
    assert "xylograph" not in str(requests.find(LOCAL_ORG, id))
    database.close()


def test_a_query_that_fails_leaves_one_too(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    with Orchestrator("calculator", traces=path) as fleet, pytest.raises(OrchestratorError):
        fleet.answer_sync("Who wrote Faust?")
    assert [one["error"] for one in kept(path)] == ["no_adequate_model"]


def test_the_configuration_says_what_is_kept(tmp_path: Path) -> None:
    (tmp_path / "hooks_of_this_test.py").write_text("def hide(text):\n    return text.replace('Faust', '[title]')\n")
    config = tmp_path / "orchestrator.yaml"
    config.write_text(
        "models: {calculator: {provider: calculator}}\nmemory: null\n"
        f"traces: {{path: {tmp_path}/t.db, content: true, redact: 'hooks_of_this_test:hide'}}\n"
    )
    with Orchestrator.from_config(config) as fleet:
        fleet.answer_sync("17 * 23")
        assert fleet.traces is not None
        fleet.traces.flush()
        requests = fleet.traces.requests
        content = requests.content(requests.recent(LOCAL_ORG, 1)[0]["id"])
    assert content is not None
    assert content["answer"] == "391"
    assert content["question"] == "17 * 23"


def test_a_hook_that_is_not_there_is_told(tmp_path: Path) -> None:
    config = tmp_path / "orchestrator.yaml"
    config.write_text(
        "models: {calculator: {provider: calculator}}\n"
        f"traces: {{path: {tmp_path}/t.db, redact: 'no_module:hide'}}\n"
    )
    with pytest.raises(ConfigError, match=r"traces\.redact.*no_module"):
        Orchestrator.from_config(config)


def test_what_is_no_path_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="traces must be"):
        Orchestrator("calculator", traces=3)  # type: ignore[arg-type]


def test_a_log_that_was_not_closed_is_written_at_the_end(tmp_path: Path) -> None:
    log = TraceLog(open_database(tmp_path / "t.db"))
    with Orchestrator("calculator", traces=log) as fleet:
        fleet.answer_sync("1 + 1")
        log.flush()
    assert len(kept(tmp_path / "t.db")) == 1
