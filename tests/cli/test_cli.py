"""The command line as a user runs it: in a process of its own, in an empty folder, without any key."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.cli import COMMANDS
from tests.support.faulty_server import completion, faulty_server, reply

CLEAN = {name: value for name, value in os.environ.items() if not name.endswith(("_API_KEY", "_TOKEN"))}


@pytest.fixture
def run(tmp_path: Path) -> Any:
    def run(*arguments: str, stdin: bytes = b"", status: int = 0) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "orchestrator", *arguments]
        done = subprocess.run(
            command, input=stdin, capture_output=True, cwd=tmp_path, env=CLEAN, timeout=120, check=False
        )
        assert done.returncode == status, done.stderr.decode()
        assert b"Traceback" not in done.stderr
        return done

    return run


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_every_command_explains_itself(run: Any, command: list[str]) -> None:
    said = run(*command, "--help").stdout.decode()
    assert "Usage:" in said
    assert len(said.splitlines()) > 6


def test_ask_answers_and_says_what_it_uses(run: Any) -> None:
    done = run("ask", "What is 17 * 23?")
    assert done.stdout.decode().strip() == "391"
    assert "no key and no model server found" in done.stderr.decode()
    assert "P(correct) 0.99" in done.stderr.decode() or "P(correct) 1.00" in done.stderr.decode()


def test_ask_in_json_from_standard_input(run: Any) -> None:
    answer = json.loads(run("ask", "--json", stdin=b"half of 90").stdout)
    assert (answer["answer"], answer["model"], answer["cost_usd"], answer["partial"]) == (
        "45",
        "calculator",
        0.0,
        False,
    )
    assert answer["trace"]["name"] == "answer"
    assert "calculator" in answer["using"]


def test_remember_recall_and_ask_share_one_memory(run: Any, tmp_path: Path) -> None:
    (tmp_path / "note.md").write_text(
        "date: 2024-05-18\n\n# Moves\n\nWe moved the workshop to 14 Harbour Street.\n\nThe cat is called Bosun.\n"
    )
    assert "remembered 2 records" in run("remember", "note.md").stdout.decode()
    assert json.loads(run("remember", "--json", "Opening hours are 9 to 5.").stdout)["remembered"] == ["m:3"]
    found = json.loads(run("recall", "--json", "What is the cat called?").stdout)
    assert found["items"][0]["text"] == "The cat is called Bosun."
    assert found["searched"] == 3
    assert "Bosun" in run("recall", "the cat").stdout.decode()
    asked = run("ask", "Where is the workshop?")
    assert "14 Harbour Street" in asked.stdout.decode()
    explained = " ".join(run("ask", "--explain", "Where is the workshop?").stdout.decode().split())
    assert "grounding passed" not in explained  # a quotation is no proof of itself
    assert "extractive" in explained


def test_scopes_are_apart(run: Any) -> None:
    run("remember", "--scope", "ann", "The safe code is 4711.")
    assert json.loads(run("recall", "--json", "--scope", "bob", "safe code").stdout)["items"] == []


def test_a_scope_is_exported_read_back_and_forgotten(run: Any, tmp_path: Path) -> None:
    run(
        "remember",
        "--scope",
        "ann",
        "--speaker",
        "Ann",
        "--time",
        "2025-03-04",
        "The safe code is 4711.",
        "Lunch is at noon.",
    )
    lines = run("export", "--scope", "ann").stdout.decode().splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["The safe code is 4711.", "Lunch is at noon."]
    (tmp_path / "ann.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert "remembered 2 records" in run("remember", "--scope", "copy", "ann.jsonl").stdout.decode()
    copied = [
        json.loads(line) | {"id": "", "scope": ""}
        for line in run("export", "--scope", "copy").stdout.decode().splitlines()
    ]
    assert copied == [json.loads(line) | {"id": "", "scope": ""} for line in lines]
    assert json.loads(run("forget", "--scope", "ann", "m:1", "--json").stdout) == {
        "scope": "ann",
        "forgotten": ["m:1"],
        "remaining": 1,
    }
    assert "forgotten: 1 of scope ann; 0 remain" in run("forget", "--scope", "ann", "--all").stdout.decode()
    assert run("export", "--scope", "ann").stdout == b""
    for arguments, why in (((), b"say which"), (("m:1", "--all"), b"say which"), (("everything",), b"is no record")):
        assert why in run("forget", *arguments, status=2).stderr
    (tmp_path / "bad.jsonl").write_text('{"text": "fine"}\n{"speaker": "x"}\n', encoding="utf-8")
    assert b"bad.jsonl:2: no record" in run("remember", "--scope", "bad", "bad.jsonl", status=2).stderr
    assert run("export", "--scope", "bad").stdout == b""


def test_route_shows_the_decision_without_asking(run: Any) -> None:
    route = json.loads(run("route", "--json", "What is 2 + 2?").stdout)
    assert route["chosen"] == "calculator"
    assert "calculator" in run("route", "What is 2 + 2?").stdout.decode()


def test_doctor_finds_the_machine_and_never_prints_a_key(tmp_path: Path) -> None:
    env = CLEAN | {"OPENAI_API_KEY": "sk-very-secret"}
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", "doctor", "--json"],
        capture_output=True,
        cwd=tmp_path,
        env=env,
        check=True,
    )
    checks = {check["what"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["key openai"]["ok"] is True
    assert checks["sqlite"]["ok"] is True
    assert b"sk-very-secret" not in done.stdout


def test_doctor_ends_with_a_verdict_and_lists_what_is_missing_once(run: Any, tmp_path: Path) -> None:
    lines = run("doctor").stdout.decode().splitlines()
    assert sum(line.startswith("none") for line in lines) <= 6
    assert all(len(line) <= 80 for line in lines)
    assert "verdict" in "".join(lines[-3:])
    missing = {"models": {"a": {"provider": "openai", "model": "m", "key": "env:NOT_SET_HERE"}}}
    (tmp_path / "orchestrator.yaml").write_text(yaml.safe_dump(missing))
    assert "NOT_SET_HERE" in run("doctor", status=1).stdout.decode()
    pooled = {
        "models": {"sums": {"provider": "calculator"}},
        "memory": {"path": "postgresql://ann:secret@db.example:5432/memory"},
    }
    (tmp_path / "orchestrator.yaml").write_text(yaml.safe_dump(pooled))
    told = run("doctor").stdout.decode()
    assert "PostgreSQL at db.example:5432/memory" in told
    assert "ready" in told.splitlines()[-2]
    assert "secret" not in told


def test_doctor_reports_a_broken_configuration(run: Any, tmp_path: Path) -> None:
    (tmp_path / "orchestrator.yaml").write_text("models: {a: {provider: gorq}}\n")
    told = json.loads(run("doctor", "--json", status=1).stdout)
    checks = {check["what"]: check for check in told["checks"]}
    assert told["verdict"] == "mend configuration first"
    assert checks["configuration"]["ok"] is False
    assert "Did you mean 'groq'?" in checks["configuration"]["detail"]


@pytest.mark.parametrize(
    ("arguments", "stdin", "status", "code", "says"),
    [
        (["ask", ""], b"", 2, "invalid_query", "empty"),
        (["ask"], b"\xff\xfe\x00", 2, "invalid_query", "UTF-8"),
        (["ask"], b"x" * 10_000_000, 2, "invalid_query", "2,000,000"),
        (["ask", "2 + 2", "--budget", "nan"], b"", 2, "invalid_budget", "usd"),
        (["ask", "2 + 2", "--budget", "-1"], b"", 2, "invalid_budget", "usd"),
        (["ask", "2 + 2", "--seconds", "inf"], b"", 2, "invalid_budget", "seconds"),
        (["ask", "2 + 2", "--quality", "7"], b"", 2, "invalid_query", "quality"),
        (["ask", "2 + 2", "-m", "gpt-9"], b"", 2, "unknown_model", '"provider/model"'),
        (["ask", "2 + 2", "-m", "gpt-5-mini"], b"", 2, "unknown_model", "Did you mean 'openai/gpt-5-mini'?"),
        (["ask", "2 + 2", "-m", "openai:gpt-5-mini"], b"", 2, "unknown_model", "Did you mean 'openai/gpt-5-mini'?"),
        (["ask", "2 + 2", "-m", "calculater"], b"", 2, "unknown_model", "Did you mean 'calculator'?"),
        (["ask", "2 + 2", "-m", "http://localhost:1/v1"], b"", 2, "unknown_model", "provider: compatible"),
        (["ask", "2 + 2", *["-m", "openai/gpt-5-mini"] * 2], b"", 2, "config", "OPENAI_API_KEY"),
        (["ask", "2 + 2", "--tool", "look"], b"", 2, "config", "under `tools:` of the configuration"),
        (["ask", "2 + 2", "--config", "none.yaml"], b"", 2, "config", "no such file"),
        (["ask", "2 + 2", "--schema", "note.txt"], b"", 2, "invalid_query", "JSON"),
        (["ask", "2 + 2", "--scope", "../etc"], b"", 2, "invalid_scope", "scope"),
        (["ask", "Who will win the next election?"], b"", 1, "no_adequate_model", "OPENAI_API_KEY"),
        (["remember", "--time", "soon", "text"], b"", 2, "invalid_query", "not a date"),
        (["recall", "x", "--memory", "note.txt"], b"", 2, "memory_store", "cannot open"),
        (["serve-fleet", "--host", "0.0.0.0"], b"", 2, "config", "loopback"),
        (["serve-fleet", "--recorded", "nowhere"], b"", 2, "config", "not found"),
    ],
)
def test_mistakes_end_in_a_clear_error_and_exit_code(
    run: Any, tmp_path: Path, arguments: list[str], stdin: bytes, status: int, code: str, says: str
) -> None:
    (tmp_path / "note.txt").write_text("this is neither JSON nor a database " * 50)
    plain = run(*arguments, stdin=stdin, status=status)
    assert plain.stderr.decode().startswith(("error: ", "using "))
    assert says in plain.stderr.decode()
    error = json.loads(run(*arguments, "--json", stdin=stdin, status=status).stdout)["error"]
    assert error["code"] == code
    assert says in error["message"] + error["remedy"]


def test_an_unknown_command_gets_a_suggestion(run: Any) -> None:
    assert "Did you mean 'recall'?" in run("recal", "x", status=2).stderr.decode()
    assert "orchestrator ask" in run("What is 2 + 2?", status=2).stderr.decode()


def test_a_configured_server_is_used_and_its_failure_is_told(run: Any, tmp_path: Path) -> None:
    template = (
        "models:\n  m: {{provider: compatible, base_url: '{url}', model: m, skill: 0.9}}\nmemory: {{path: m.db}}\n"
    )
    with faulty_server(reply(200, completion("The answer is Paris"))) as server:
        (tmp_path / "orchestrator.yaml").write_text(template.format(url=server.url))
        answer = json.loads(run("ask", "--json", "What is the capital of France?").stdout)
    assert (answer["model"], answer["cost_usd"]) == ("m", None)  # no price was stated: never a silent zero
    assert answer["using"].startswith("the configuration")
    with faulty_server(reply(401, {"error": {"message": "bad key"}})) as server:
        (tmp_path / "orchestrator.yaml").write_text(template.format(url=server.url))
        assert "bad key" in run("ask", "What is the capital of France?", status=1).stderr.decode()
