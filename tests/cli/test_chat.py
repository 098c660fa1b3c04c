"""`orchestrator chat`, as it is piped to and as it is typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.cli.chat import read_message


def chat(folder: Path, *arguments: str, said: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    return subprocess.run(
        [sys.executable, "-m", "orchestrator", "chat", *arguments],
        input=said,
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        timeout=120,
    )


def test_piped_messages_are_answered_and_kept(tmp_path: Path) -> None:
    first = chat(tmp_path, "--session", "s", "--json", said="What is 17 * 23?\n\nWhat is 2 + 2?\n")
    assert [json.loads(line)["answer"] for line in first.stdout.splitlines()] == ["391", "4"]
    cost = chat(tmp_path, "--continue", said="/cost\n/rewind\n/cost\n")
    assert cost.stdout.splitlines() == ["free for 2 answers", "free for 1 answer"]
    assert "taken back: 2 turns" in cost.stderr


def test_a_piped_chat_goes_on_after_a_command_and_prints_nothing_but_json(tmp_path: Path) -> None:
    said = "/cost\nWhat is 17 * 23?\n/why\n/model nosuch\n/nope\n/help\nWhat is 2 + 2?\n"
    done = chat(tmp_path, "--json", said=said)
    assert [json.loads(line)["answer"] for line in done.stdout.splitlines()] == ["391", "4"]
    assert done.returncode == 1
    for told in ("free for 0 answers", "no model 'nosuch'", "there is no command /nope", "/rewind"):
        assert told in done.stderr


def test_an_unanswerable_message_is_told_and_kept(tmp_path: Path) -> None:
    done = chat(tmp_path, "--session", "s", said="Who are you?\n")
    assert done.returncode == 1
    assert "no adequate model" in done.stderr
    saved = chat(tmp_path, "--session", "s", said="/save out.json\n")
    assert "saved in out.json" in saved.stderr
    assert json.loads((tmp_path / "out.json").read_text()) == [{"role": "user", "content": "Who are you?"}]


@pytest.mark.parametrize("said", ["/forget\n", "/forget x\n", "/model nosuch\n", "/save\n", "/save /nonexistent/x\n"])
def test_a_command_that_cannot_be_done_is_told(tmp_path: Path, said: str) -> None:
    done = chat(tmp_path, said=said)
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert "error" in done.stderr


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (["one"], "one"),
        (["one \\", "two\\", "three"], "one \ntwo\nthree"),
        (['"""', "a", "", "b", '"""'], "a\n\nb"),
    ],
)
def test_messages_of_several_lines(lines: list[str], text: str) -> None:
    waiting = iter(lines)
    assert read_message(lambda prompt: next(waiting)) == text
