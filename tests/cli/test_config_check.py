"""`config check` finds what would keep the first question from being answered, and opens nothing that is kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from orchestrator.cli import main

GOOD = {"version": 1, "models": {"fast": {"provider": "compatible", "base_url": "http://127.0.0.1:9/v1"}}}


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ({"router": "nope"}, "router: 'nope' cannot be loaded"),
        ({"search": "nope.json"}, "search: nope.json cannot be used"),
        ({"quality": {"max_loss": 0.05, "vs": "fast"}}, "quality: "),
        ({"checks": {"language": "english"}}, "a language is two letters"),
        ({"checks": {"judge": {"model": "fst", "rubric": "Is it polite?"}}}, "'fst' is not in this fleet"),
        ({"tools": {"t": {"sql": "mysql:shop.db", "query": "SELECT 1"}}}, "a database is sqlite:FILE"),
        ({"tools": {"t": {"sql": "sqlite:shop.db", "query": "DELETE FROM t"}}}, "this statement does not only read"),
        (
            {"tools": {"t": {"sql": "sqlite:a.db", "query": "SELECT :dy", "parameters": {"day": "text"}}}},
            "the query has no parameter :day",
        ),
    ],
)
def test_what_would_keep_questions_from_being_answered_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stated: dict[str, object], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text(yaml.safe_dump(GOOD | stated))
    done = CliRunner().invoke(main, ["config", "check", "c.yaml"])
    assert done.exit_code == 2
    assert told in done.stderr


def test_nothing_is_made_by_a_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    kept = {"memory": {"path": "m.db"}, "online": {"path": "d.db"}, "storage": "s.db", "traces": {"path": "t.db"}}
    Path("c.yaml").write_text(yaml.safe_dump(GOOD | kept | {"distill": {"path": "students.db"}}))
    done = CliRunner().invoke(main, ["config", "check", "c.yaml"])
    assert "is valid: 1 model (fast)" in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["c.yaml"]
