"""The demo: real answers from the bundled notes, and a simulation that says what it is."""

from __future__ import annotations

import asyncio
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestrator.cli import main
from orchestrator.demo.notes import QUESTIONS, bundled_folder, run_notes
from orchestrator.demo.problems import generate_problems
from orchestrator.demo.simulated_fleet import simulated_fleet
from orchestrator.demo.simulation import run_simulation
from orchestrator.errors import BackendUnavailable

EXPECTED = {
    "Who founded Moth & Marlow?": "Petra Moth and Silas Marlow",
    "What is the workshop cat called?": "Bosun",
    "Where is the workshop now?": "14 Harbour Street",
    "How much does the Gale lantern cost?": "79 euros",
    "Who looks after the glass furnace?": "Odalys Brandt",
    "When is the summer party?": "26 July",
    "How long is the warranty on a lantern?": "twelve years",
    "What is 15% of 4,740?": "711",
    "12 * (19 + 4) - 7^2": "227",
    "How many days are between 2025-03-17 and 2025-06-30?": "105",
    "How many litres are in 3 gallons?": "11.35",
}


def test_the_bundled_notes_are_about_thirty_dated_documents() -> None:
    notes = list(bundled_folder().glob("[0-9]*.md"))
    chat = (bundled_folder() / "chat.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(notes) + len(chat) >= 30
    assert all("date:" in note.read_text(encoding="utf-8") for note in notes)
    assert all({"time", "speaker", "text", "session"} <= set(json.loads(line)) for line in chat)


def test_eleven_questions_are_answered_rightly_and_the_twelfth_honestly_not() -> None:
    answers = {row["question"]: row for row in asyncio.run(run_notes(quiet=True))}
    assert set(answers) == set(QUESTIONS)
    for question, quote in EXPECTED.items():
        assert quote in answers[question]["answer"], question
        assert answers[question]["cost_usd"] == 0.0
    (unanswered,) = set(QUESTIONS) - set(EXPECTED)
    assert answers[unanswered]["error"]["code"] == "no_adequate_model"
    assert "OPENAI_API_KEY" in answers[unanswered]["error"]["remedy"]


def test_the_readme_shows_what_the_demo_prints() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    answers = {row["question"]: row for row in asyncio.run(run_notes(quiet=True))}
    shown = re.findall(
        r"^    \? (.+)\n      (.+)\n(?:      recalled .+\n)?(?:      result    P\(correct\) ([\d.]+))?", readme, re.M
    )
    assert len(shown) == 2
    for question, text, p in shown:
        row = answers[question]
        assert text == (row["answer"] or "no adequate model")
        assert p == (f"{row['confidence']:.2f}" if row["answer"] else "")


def test_the_simulation_compares_four_policies_and_says_that_it_is_one(tmp_path: Path) -> None:
    result = run_simulation(60, tmp_path / "chart.svg", quiet=True)
    assert result["simulated"] is True
    policies = {row["policy"]: row for row in result["policies"]}
    assert list(policies) == ["always small", "always large", "router only", "router + search"]
    assert (
        policies["always small"]["usd_per_1k"]
        < policies["router + search"]["usd_per_1k"]
        < policies["always large"]["usd_per_1k"]
    )
    assert policies["router + search"]["accuracy"] > policies["always small"]["accuracy"]
    root = ET.parse(tmp_path / "chart.svg").getroot()
    assert "simulat" in "".join(root.itertext()).lower()


def test_generated_problems_are_all_different_and_the_same_for_one_seed() -> None:
    problems = generate_problems(300, seed=3)
    assert len({problem.question for problem in problems}) == 300
    assert problems == generate_problems(300, seed=3)
    assert problems != generate_problems(300, seed=4)


def test_simulated_skill_shows_in_the_share_of_right_answers() -> None:
    problems = generate_problems(400, seed=1)
    shares = []
    for model in simulated_fleet(problems):
        replies = [model.reply(p.question, 10).text for p in problems]
        assert all("[simulated]" in text for text in replies)
        shares.append(sum(text.endswith(f"is {p.answer}") for text, p in zip(replies, problems, strict=True)) / 400)
    assert shares == sorted(shares)
    assert shares[0] < 0.8 < 0.9 < shares[-1]


def test_the_local_model_is_offered_where_its_engine_is_and_else_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestrator.demo import local_model

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(local_model.VARIABLE, raising=False)
    assert local_model.find_weights() is None
    if not local_model.has_engine():
        ran = CliRunner().invoke(main, ["demo", "--local-model"])
        assert ran.exit_code == 2
        assert "compound-orchestrator[local-model]" in ran.output
    stated = tmp_path / "mine.gguf"
    stated.write_bytes(b"GGUF")
    monkeypatch.setenv(local_model.VARIABLE, str(stated))
    assert local_model.find_weights() == stated


def test_a_server_that_does_not_start_is_told(tmp_path: Path) -> None:
    from orchestrator.demo.local_model import running_server

    with (
        pytest.raises(BackendUnavailable, match="did not start"),
        running_server(tmp_path / "nothing.gguf", "/bin/false"),
    ):
        raise AssertionError("it has not started")
