"""The dashboard over a store of this machine's own, without a gateway."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from orchestrator import Orchestrator
from orchestrator.cli import main
from orchestrator.cli.ui import local_host
from orchestrator.dashboard.app import Dashboard
from orchestrator.dashboard.local import LocalDashboardHost
from orchestrator.storage.database import open_database
from orchestrator.testing import ScriptedBackend
from tests.support.gateway import served


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def asked(path: Path, *questions: str) -> list[str]:
    with Orchestrator(ScriptedBackend("only", "Paris"), traces=path) as fleet:
        return [fleet.answer_sync(question).id for question in questions]


def test_a_first_visit_teaches_the_next_step(folder: Path) -> None:
    with (
        served(Dashboard(local_host(None, None, "none.db"))) as url,
        httpx.Client(base_url=url, trust_env=False) as page,
    ):
        assert "traces=" in page.get("/ui/").text
        assert "No request matches" in page.get("/ui/traces").text
        assert "orchestrator init" in page.get("/ui/models").text
        assert page.get("/ui/memory").status_code == 404
        assert page.get("/ui/keys").status_code == 404
        assert page.get("/ui/live").status_code == 404
        assert page.get("/docs").status_code == 404
        assert page.get("/ui/sign-in").status_code == 303


def test_what_a_program_asked_is_shown(folder: Path) -> None:
    ids = asked(folder / ".orchestrator/traces.db", "Where is the Louvre?", "And the Tate?")
    with (
        served(Dashboard(local_host(None, None, "none.db"))) as url,
        httpx.Client(base_url=url, trust_env=False) as page,
    ):
        listed = page.get("/ui/traces.json").json()["traces"]
        assert {row["id"] for row in listed} == set(ids)
        assert page.get(f"/ui/traces/{ids[0]}.json").json()["model"] == "only"
        assert "Texts are not kept" in page.get(f"/ui/traces/{ids[0]}").text
        assert page.get("/ui/index.json").json()["total"]["requests"] == 2


def test_the_configuration_says_where_things_are(folder: Path) -> None:
    (folder / "orchestrator.yaml").write_text(
        f"models: {{calculator: {{provider: calculator}}}}\nmemory: {{path: {folder}/m.db}}\n"
        f"online: {{path: {folder}/d.db}}\ntraces: {{path: {folder}/t.db, content: true}}\n"
    )
    with Orchestrator.from_config(folder / "orchestrator.yaml") as fleet:
        answer = fleet.answer_sync("17 * 23")
        fleet.remember_sync("The keeper is Silas.", "ann")
        fleet.feedback_sync(answer.id, 1.0)
    host = local_host(None, None, "none.db")
    with served(Dashboard(host)) as url, httpx.Client(base_url=url, trust_env=False) as page:
        assert page.get(f"/ui/traces/{answer.id}.json").json()["question"] == "17 * 23"
        assert page.get("/ui/quality.json").json()["judged"] == 1
        found = page.get("/ui/memory.json", params={"scope": "ann", "q": "Who keeps the lighthouse?"}).json()["found"]
        assert "Silas" in found["items"][0]["text"]
        same = {"sec-fetch-site": "same-origin"}
        receipt = page.post(
            "/ui/memory/forget", data={"scope": "ann", "id": str(found["items"][0]["id"])}, headers=same
        )
        assert "Receipt" in receipt.text
        assert page.get("/ui/memory.json", params={"scope": "ann"}).json()["records"] == []


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
def test_another_site_changes_nothing(folder: Path, site: str) -> None:
    (folder / "orchestrator.yaml").write_text(
        f"models: {{calculator: {{provider: calculator}}}}\nmemory: {{path: {folder}/m.db}}\n"
    )
    with Orchestrator.from_config(folder / "orchestrator.yaml") as fleet:
        fleet.remember_sync("The keeper is Silas.", "ann")
    with served(Dashboard(local_host(None, None, "none.db"))) as url:
        answer = httpx.post(
            url + "/ui/memory/forget", data={"scope": "ann"}, headers={"sec-fetch-site": site}, trust_env=False
        )
        assert answer.status_code == 403
        assert len(httpx.get(url + "/ui/memory.json?scope=ann", trust_env=False).json()["records"]) == 1


def test_a_name_of_another_machine_shows_nothing(folder: Path) -> None:
    asked(folder / ".orchestrator/traces.db", "Where is the Louvre?")
    with served(Dashboard(local_host(None, None, "none.db"))) as url:
        for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", ""):
            answer = httpx.get(url + "/ui/traces", headers={"host": host}, trust_env=False)
            assert answer.status_code == 421
            assert "Louvre" not in answer.text


def test_a_database_that_is_being_migrated_is_told(folder: Path) -> None:
    asked(folder / "t.db", "Where is the Louvre?")
    database = open_database(folder / "t.db")
    host = LocalDashboardHost(database)
    with database.writing() as run:
        run("ALTER TABLE requests RENAME TO away")
    with served(Dashboard(host)) as url:
        answer = httpx.get(url + "/ui/traces", trust_env=False)
    assert answer.status_code == 503
    assert "may be migrated" in answer.text


def test_a_store_of_a_later_version_is_told(folder: Path) -> None:
    asked(folder / ".orchestrator/traces.db", "Where is the Louvre?")
    with sqlite3.connect(folder / ".orchestrator/traces.db") as plain:
        plain.execute("UPDATE parts SET version = 99 WHERE name = 'requests'")
    plain.close()
    result = CliRunner().invoke(main, ["ui", "--port", "8996"])
    assert result.exit_code != 0
    assert "schema 99" in result.output
