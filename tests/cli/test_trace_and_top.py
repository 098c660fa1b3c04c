"""`orchestrator trace`, `top` and `ui bundle` over a store of traces."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from orchestrator import Orchestrator
from orchestrator.cli import main
from orchestrator.storage.database import open_database
from orchestrator.storage.requests import Requests
from orchestrator.testing import ScriptedBackend
from tests.support.gateway import running_gateway

HOSTILE = "<script>alert(1)</script></form><form action=/ui/traces>"


@pytest.fixture
def ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "orchestrator.yaml").write_text(
        "models: {calculator: {provider: calculator}}\nmemory: null\n"
        f"traces: {{path: {tmp_path}/t.db, content: true}}\n"
    )
    from orchestrator.config.models import load_config
    from orchestrator.engine.trace_log import TraceLog

    log = TraceLog.of_config(load_config(tmp_path / "orchestrator.yaml"))
    models = {"fast": ScriptedBackend("fast", HOSTILE, "391"), "strong": ScriptedBackend("strong", "391")}
    with Orchestrator(models, traces=log, strategy="self_consistency") as fleet:
        return [fleet.answer_sync(question).id for question in (HOSTILE, "What is 17 * 23?")]


def ran(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_a_trace_is_shown_by_the_beginning_of_its_id(ids: list[str]) -> None:
    shown = ran("trace", ids[1][:10])
    assert shown.exit_code == 0, shown.output
    assert ids[1] in shown.output
    assert "draft" in shown.output
    assert max(len(line) for line in shown.output.splitlines()) <= 120
    told = json.loads(ran("trace", ids[1], "--json").output)
    assert told["id"] == ids[1]
    assert told["rounds"][0]["asked"]


def test_a_trace_that_is_not_there_is_told(ids: list[str]) -> None:
    shown = ran("trace", "f" * 32)
    assert shown.exit_code == 2
    assert "there is no trace" in shown.output
    assert "orchestrator top" in shown.output


def test_top_fits_a_terminal(ids: list[str]) -> None:
    shown = ran("top")
    assert shown.exit_code == 0, shown.output
    assert "fast" in shown.output or "strong" in shown.output
    assert max(len(line) for line in shown.output.splitlines()) <= 80
    told = json.loads(ran("top", "--json").output)
    assert sum(row["requests"] for row in told["models"]) == 2
    assert "nothing was asked" in ran("top", "--store", "t.db", "--minutes", "1").output or ids


def test_without_a_store_the_way_to_one_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (("top",), ("trace", "abc")):
        shown = ran(*command)
        assert shown.exit_code == 2
        assert "traces=" in shown.output


def test_a_gateways_database_is_found_by_its_configuration(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway:
        id = gateway.chat().headers["x-orchestrator-trace-id"]
        gateway.get("/v1/usage")
        shown = ran("trace", id, "--config", str(gateway.config))
    assert shown.exit_code == 0, shown.output
    assert "small" in shown.output


def test_a_bundle_is_complete_without_a_server(ids: list[str], tmp_path: Path) -> None:
    out = tmp_path / "site"
    shown = ran("ui", "bundle", "--trace", ids[0][:12], "--newest", "5", "--out", str(out))
    assert shown.exit_code == 0, shown.output
    pages = {path.relative_to(out).as_posix(): path.read_text() for path in out.rglob("*.html")}
    assert {f"traces/{id}.html" for id in ids} <= pages.keys()
    assert {"index.html", "overview.html", "quality.html", "router.html", "models.html"} <= pages.keys()
    for name, page in pages.items():
        assert "<form" not in page
        assert "<script>alert" not in page
        for target in re.findall(r'(?:href|src)="([^"#]+)"', page):
            if not target.startswith("data:"):
                assert not target.startswith(("/", "http")), (name, target)
                assert ((out / name).parent / target.partition("?")[0]).exists(), (name, target)
    assert json.loads((out / f"traces/{ids[1]}.json").read_text())["question"] == "What is 17 * 23?"


def test_a_bundle_overwrites_nothing(ids: list[str], tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/precious.txt").write_text("x")
    shown = ran("ui", "bundle", "--newest", "1", "--out", str(tmp_path / "site"))
    assert shown.exit_code != 0
    assert "not empty" in shown.output
    assert ran("ui", "bundle", "--out", str(tmp_path / "other")).exit_code == 2
    missing = ran("ui", "bundle", "--trace", "f" * 32, "--out", str(tmp_path / "third"))
    assert missing.exit_code != 0
    assert "there is no trace" in missing.output


def test_the_store_of_a_gateway_in_use_is_only_read(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway:
        gateway.chat()
        gateway.get("/v1/usage")
        before = gateway.get("/v1/usage").json()["data"]
        ran("top", "--config", str(gateway.config))
        assert gateway.get("/v1/usage").json()["data"] == before
    database = open_database(tmp_path / "gateway.db")
    assert len(Requests(database).newest(10, since=0)) == 1
    database.close()
