from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator import Orchestrator
from orchestrator.backends.base import Request
from orchestrator.backends.testing.scripted import ScriptedBackend
from orchestrator.config.distill_job import DistillJob, load_job
from orchestrator.distill.collect import Places
from orchestrator.storage import DecisionLog
from orchestrator.storage.student_log import StudentLog
from tests.support.tickets import LABELS, PROMPT, tickets

ANSWERS = {row.text: row.label for seed in (0, 1, 2, 7, 8) for row in tickets(500, seed=seed)}


def teacher(name: str = "strong", **settings: Any) -> ScriptedBackend:
    """Knows the desk of every invented message."""
    return ScriptedBackend(name, by_heart, **{"skill": 0.95, "price": 1.0, **settings})


def by_heart(request: Request) -> str:
    text = request.question.rpartition("\n")[2]
    return ANSWERS.get(text, "I cannot tell")


@pytest.fixture
def places(tmp_path: Path) -> Places:
    students, decisions = StudentLog(tmp_path / "students.db"), DecisionLog(tmp_path / "decisions.db")
    return Places(lambda: students, lambda: decisions)


@pytest.fixture
def make_job(tmp_path: Path) -> Callable[..., DistillJob]:
    """A job over a text file of messages; settings are laid over it."""

    def make(n: int = 200, seed: int = 0, **settings: Any) -> DistillJob:
        lines = [row.text for row in tickets(n, seed=seed)]
        (tmp_path / "messages.txt").write_text("\n".join(lines), encoding="utf-8")
        stated = {
            "name": "tickets",
            "task": {"prompt": PROMPT, "labels": list(LABELS)},
            "collect": [{"file": "messages.txt"}],
            "promise": {"agreement": 0.85},
            "out": "out",
            **settings,
        }
        path = tmp_path / "job.yaml"
        path.write_text(yaml.safe_dump(stated), encoding="utf-8")
        return load_job(path)

    return make


@pytest.fixture
def fleet() -> Orchestrator:
    return Orchestrator({"strong": teacher()}, strategy="single")
