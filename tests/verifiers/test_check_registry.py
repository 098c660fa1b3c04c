"""Every verifier can be asked for by its name in both YAML languages, and a plugin like one of ours."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator import Orchestrator, Pipeline
from orchestrator.backends.local.calculator import CalculatorBackend
from orchestrator.config.checks import ChecksConfig
from orchestrator.config.models import Config, parse_config
from orchestrator.errors import ConfigError
from orchestrator.pipeline import InvalidPipeline
from orchestrator.verification.from_config import checks_from_config
from orchestrator.verification.registry import check_names, make_check
from orchestrator.verifiers.registry import VERIFIERS, verifier_names

SETTINGS: dict[str, Any] = {
    "arithmetic": True,
    "choice": "B",
    "cites": {"sources": [{"id": "s:1", "text": "The harbour opened in 1911."}]},
    "json": {"schema": {"type": "object"}},
    "language": "de",
    "length": {"max_words": 12},
    "mathematics": "x + 1",
    "number": {"at_least": 3},
    "numeric": 4,
    "personal_data": True,
    "quantity": "3 km",
    "regex": "^[0-9]+$",
    "safety": {"forbidden": ["a secret prompt"]},
    "sql": "create table t (a int)",
    "tests": ["add(1, 2) == 3"],
}


def configured(checks: dict[str, Any]) -> Config:
    stated = {"models": {"calculator": {"provider": "calculator"}}, "checks": checks}
    return parse_config(yaml.safe_dump(stated), "orchestrator.yaml")


def test_the_table_of_settings_is_complete() -> None:
    assert SETTINGS.keys() == VERIFIERS.keys()


@pytest.mark.parametrize("name", VERIFIERS)
def test_every_verifier_can_be_named_in_the_configuration(name: str) -> None:
    (made,) = checks_from_config(configured({name: SETTINGS[name]}).checks or ChecksConfig(), {})
    assert callable(made.verify)


@pytest.mark.parametrize("name", VERIFIERS)
def test_every_verifier_can_be_named_in_a_pipeline(name: str, tmp_path: Path) -> None:
    stated = SETTINGS[name]
    if name == "cites":
        stated = ["The harbour opened in 1911."]
    if name == "tests":
        stated = {"pass": SETTINGS[name]}
    step = {"verify": [name if stated is True else {name: stated}], "text": "${inputs.text}"}
    file = tmp_path / "checks.yaml"
    file.write_text(
        yaml.safe_dump({"version": 1, "name": "checks", "inputs": {"text": "text"}, "steps": {"look": step}})
    )
    pipeline = Pipeline.load(file)
    with Orchestrator({"calculator": CalculatorBackend()}) as engine:
        found = asyncio.run(pipeline.run({"text": "4"}, orchestrator=engine)).output
    assert found["verdicts"][0]["check"] == name


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ({"number": {"at_lest": 3}}, "number has no setting 'at_lest'. Did you mean 'at_least'?"),
        ({"mathematics": True}, "mathematics needs 'expected'"),
        ({"numeric": {"expected": [1]}}, "numeric.expected"),
        ({"plugins": {"polite": True}}, "no package registers a verifier 'polite'"),
        ({"plugins": {"regex": "1"}}, "'regex' is a check of ours"),
    ],
)
def test_wrong_settings_are_told_with_their_place(stated: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        configured(stated)
    assert told in str(raised.value)


def test_unknown_checks_are_told_in_a_pipeline(tmp_path: Path) -> None:
    file = tmp_path / "checks.yaml"
    file.write_text("version: 1\nname: checks\nsteps:\n  look: {verify: [mathematic], text: hello}\n")
    with pytest.raises(InvalidPipeline) as raised:
        Pipeline.load(file)
    assert "mathematics" in str(raised.value)


POLITE = """
from orchestrator.verifiers import Verdict


class Polite:
    name = "polite"

    def __init__(self, word: str = "please") -> None:
        self._word = word

    async def verify(self, query: str, candidate: str) -> Verdict:
        return Verdict(self.name, float(self._word in candidate), self._word in candidate)


number = 5
"""
ENTRIES = """
[orchestrator.verifiers]
polite = polite_package:Polite
number_five = polite_package:number
[orchestrator.steps]
wrong_verb = polite_package:Polite
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package as an installer leaves it."""
    info = tmp_path / "site" / "polite_package-1.0.dist-info"
    info.mkdir(parents=True)
    (info.parent / "polite_package.py").write_text(POLITE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: polite-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    monkeypatch.syspath_prepend(info.parent)


@pytest.mark.usefixtures("installed")
def test_a_verifier_of_another_package_is_one_like_ours() -> None:
    assert "polite" in verifier_names()
    assert "polite" in check_names()
    (made,) = checks_from_config(configured({"plugins": {"polite": "kindly"}}).checks or ChecksConfig(), {})
    assert asyncio.run(made.verify("?", "kindly do")).passed
    assert not asyncio.run(make_check("polite", {}, {}).verify("?", "do it")).passed


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("step", "told"),
    [
        ("{verify: [number_five], text: hello}", "is neither a class nor a function"),
        ("{verify: [{number_five: 3}], text: hello}", "is neither a class nor a function"),
        ("{wrong_verb: hello}", "is no Step"),
    ],
)
def test_a_plugin_that_cannot_be_used_is_told_with_its_place(step: str, told: str, tmp_path: Path) -> None:
    file = tmp_path / "plugin.yaml"
    file.write_text(f"version: 1\nname: plugin\nsteps:\n  look: {step}\n")
    with pytest.raises(InvalidPipeline) as raised:
        Pipeline.load(file)
    assert re.search(rf"plugin.yaml:4:\d+: .*{told}", str(raised.value))
