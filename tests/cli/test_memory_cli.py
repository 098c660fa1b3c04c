"""The memory's commands as a user runs them: history, summaries, another encoder, an encrypted file."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from orchestrator import Orchestrator
from orchestrator.backends.base import LocalBackend, Request
from orchestrator.cli import main
from orchestrator.memory import HashingEncoder, Memory
from orchestrator.router import ModelProfile
from orchestrator.types import Completion, Usage

MODELS = "models:\n  notes: {provider: extractive}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, status: int = 0) -> Result:
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert done.exit_code == status, done.output
    return done


@pytest.mark.usefixtures("folder")
def test_history_is_shown_when_it_is_asked_for() -> None:
    run("remember", "I live in Porto.", "--speaker", "Ann", "--time", "2023-01-02")
    run("remember", "I moved to Lisbon in May.", "--speaker", "Ann", "--time", "2024-06-08")
    assert "Porto" not in run("recall", "Where does Ann live?").stdout
    assert (
        "[m:1] (2023-01-02, until 2024-05-01, see m:2) Ann: I live in Porto."
        in run("recall", "Where does Ann live?", "--history").stdout
    )
    then = run("recall", "Where does Ann live?", "--as-of", "2023-06-01").stdout
    assert "Porto" in then
    assert "Lisbon" not in then
    assert "'soon' is not a date" in run("recall", "x", "--as-of", "soon", status=2).stderr
    assert "1 of them said before" in run("remember", "I moved to Lisbon in May!", "--speaker", "Ann").stdout
    rows = [json.loads(line) for line in run("export").stdout.splitlines()]
    assert [(row["said"], row["superseded_by"]) for row in rows] == [(1, "m:2"), (2, None)]


def test_a_document_that_is_remembered_again_is_held_once(folder: Path) -> None:
    notes = folder / "notes"
    notes.mkdir()
    (notes / "hours.md").write_text("# Hours\nWe open at nine.\n\n# Lanterns\nThe Gale lantern costs 79 euros.\n")
    (notes / "empty.md").write_text("\n")
    assert "empty.md: there is no text in it" in run("remember", "notes/").stderr
    for text in ("notes/", "notes/hours.md", "notes/**/*.md"):
        assert "remembered 2 records (2 of them said before)" in run("remember", text).stdout
    assert [json.loads(line)["said"] for line in run("export").stdout.splitlines()] == [4, 4]


@pytest.mark.usefixtures("folder")
def test_a_scope_is_summed_up_with_citations() -> None:
    assert "nothing is remembered in scope default" in run("summarize").stdout
    run("remember", "The safe code is 7731.", "We had lunch.")
    assert "[m:1] The safe code is 7731." in run("summarize").stdout
    found = json.loads(run("summarize", "--json", "--tokens", "30").stdout)
    assert (found["text"], found["made_by"], found["sources"]) == (
        "[m:1] The safe code is 7731.\n[m:2] We had lunch.",
        "extract",
        [1, 2],
    )


def test_a_memory_gets_another_encoder(folder: Path) -> None:
    with Memory(folder / "m.db", encoder=HashingEncoder(16)) as memory:
        memory.remember("The safe is blue.")
    refused = run("recall", "safe", "--memory", "m.db", status=2).stderr
    assert "orchestrator reencode" in refused
    assert "1 records of m.db encoded by static:" in run("reencode", "--memory", "m.db").stdout
    assert "safe is blue" in run("recall", "What colour is the safe?", "--memory", "m.db").stdout
    assert json.loads(run("reencode", "--memory", "m.db", "--json").stdout)["reencoded"] == 1


def test_an_encrypted_memory_needs_its_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMORY_KEY", base64.b64encode(b"k" * 32).decode())
    (folder / "orchestrator.yaml").write_text(f"{MODELS}memory: {{path: m.db, encryption_key: env:MEMORY_KEY}}\n")
    run("remember", "The walrus sings.")
    assert "walrus" in run("recall", "Who sings?").stdout
    assert b"walrus" not in b"".join(path.read_bytes() for path in folder.glob("m.db*"))
    assert "1 records saved" in run("salvage", "m.db", "--into", "saved.db").stdout
    assert b"walrus" not in (folder / "saved.db").read_bytes()
    (folder / "plain.yaml").write_text(f"{MODELS}memory: {{path: m.db}}\n")
    assert "sealed with aes-256-gcm" in run("recall", "x", "--config", "plain.yaml", status=2).stderr
    monkeypatch.setenv("MEMORY_KEY", "short")
    assert "openssl rand -base64 32" in run("recall", "x", status=2).stderr


def test_a_path_that_is_not_there_is_not_remembered_as_words(folder: Path) -> None:
    assert "no such file: notes/a.pdf" in run("remember", "notes/a.pdf", status=2).stderr
    (folder / "a.rtf").write_text("{}")
    assert "documents end with" in run("remember", "a.rtf", status=2).stderr
    run("remember", "See report.pdf for details.", "https://example.org/")
    assert len(run("export").stdout.splitlines()) == 2


class Writer(LocalBackend):
    """Says what it is told to say, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(ModelProfile("writer", 0.0, 0.0, skill=0.9))
        self.asked: list[Request] = []

    async def complete(self, request: Request) -> Completion:
        self.asked.append(request)
        text = "The safe is blue [m:1]. The safe is made of gold [m:1]."
        return Completion("writer", text, Usage(10, 10), 0.0, 0.0)


async def summaries() -> None:
    memory, writer = Memory(encoder=HashingEncoder(16)), Writer()
    memory.remember("The safe behind the clock is blue.", "a")
    async with Orchestrator({"writer": writer}, memory=memory) as orchestrator:
        summary = await orchestrator.summarize("a", models=["writer"])
        assert (summary.text, summary.made_by) == ("The safe is blue [m:1].", "writer")
        assert "[m:1] The safe behind the clock" in writer.asked[0].question
        assert not writer.asked[0].recalled  # the notes are in the prompt: nothing else is recalled
        assert (await orchestrator.summarize("a")).made_by == "extract"


def test_a_model_writes_what_the_records_support() -> None:
    asyncio.run(summaries())
