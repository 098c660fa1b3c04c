"""A/B tests on live traffic: callers stay in their arm, and bounds hold at every look."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import ConfigError
from orchestrator.cli import main
from orchestrator.config.models import ExperimentConfig, read_config
from orchestrator.evaluation.experiment import Observed, analyse
from tests.support.gateway import running_gateway

CONFIG = ExperimentConfig(against="auto:cheap", share=0.3)


@given(st.text(max_size=20), st.text(max_size=20))
def test_a_caller_stays_in_its_arm_and_experiments_draw_apart(name: str, unit: str) -> None:
    assert CONFIG.arm_of(name, unit) == CONFIG.arm_of(name, unit)


def test_the_share_of_callers_is_in_the_variant() -> None:
    arms = [CONFIG.arm_of("x", f"key-{n}") for n in range(4_000)]
    assert 0.27 < arms.count("variant") / 4_000 < 0.33
    other = [CONFIG.arm_of("y", f"key-{n}") for n in range(4_000)]
    both = sum(a == b == "variant" for a, b in zip(arms, other, strict=True)) / 4_000
    assert both == pytest.approx(0.09, abs=0.02)


def observed(rng: np.random.Generator, units: int, right: dict[str, float]) -> list[Observed]:
    found = []
    for unit in range(units):
        arm = ExperimentConfig(against="auto:cheap").arm_of("x", f"u{unit}")
        found += [
            Observed(f"u{unit}", arm, unit + n / 10, 0.01, 1.0, float(rng.random() < right[arm])) for n in range(3)
        ]
    return found


def test_a_variant_that_loses_much_is_found_and_equal_ones_are_hardly_ever_called_worse() -> None:
    rng = np.random.default_rng(0)
    assert analyse(observed(rng, 600, {"control": 0.9, "variant": 0.5}), max_loss=0.03).verdict == "variant is worse"
    alarms = 0
    for _ in range(60):
        rows = observed(rng, 300, {"control": 0.8, "variant": 0.8})
        alarms += any(analyse(rows[: 3 * n], max_loss=0.0).verdict == "variant is worse" for n in range(20, 301, 40))
    assert alarms <= 4  # looked at eight times each, at 95 %


def test_a_caller_counts_once_however_often_it_grades() -> None:
    row = Observed("u", "control", 1.0, 0.01, 1.0, 1.0)
    found = analyse([row] * 500, max_loss=0.03)
    assert (found.control.graded_units, found.control.requests) == (1, 500)
    assert found.verdict == "not decided"


@pytest.mark.parametrize(
    ("experiments", "told"),
    [
        ({"x": {"against": "auto:chaep"}}, "there is no 'auto:chaep'. Did you mean 'auto:cheap'?"),
        ({"x": {"against": "auto"}}, "both arms are auto"),
        ({"x": {"against": "auto:cheap"}, "y": {"against": "auto:best"}}, "two of them are about the same"),
    ],
)
def test_experiments_that_cannot_be_are_refused(experiments: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        read_config({"models": {"a": {"provider": "calculator"}}, "gateway": {"experiments": experiments}})


def test_requests_take_part_are_graded_and_counted(tmp_path: Path) -> None:
    settings = {
        "gateway": {"experiments": {"cheaper": {"against": "auto:cheap", "by": "scope", "keys": ["app"]}}},
        "online": {"path": str(tmp_path / "decisions.db")},
    }
    with running_gateway(tmp_path, **settings) as run:
        key = run.new_key(name="app")
        other = run.new_key(name="other")
        arms = set()
        for n in range(12):
            body = {
                "model": "auto",
                "messages": [{"role": "user", "content": f"What is the capital of country {n}?"}],
                "orchestrator": {"scope": f"user{n}"},
            }
            done = run.post("/v1/chat/completions", body, key=key)
            assert done.status_code == 200, done.text
            arms.add(done.headers["x-orchestrator-experiment"])
            again = run.post("/v1/chat/completions", body, key=key)
            assert again.headers["x-orchestrator-experiment"] == done.headers["x-orchestrator-experiment"]
            trace = done.headers["x-orchestrator-trace-id"]
            assert run.post("/v1/feedback", {"trace_id": trace, "score": 1}, key=key).status_code == 200
        assert arms == {"cheaper=control", "cheaper=variant"}
        done = run.post("/v1/chat/completions", {**body, "orchestrator": {}}, key=other)
        assert "x-orchestrator-experiment" not in done.headers
    config = tmp_path / "orchestrator.yaml"
    done = CliRunner().invoke(main, ["eval", "ab", "cheaper", "--config", str(config), "--json"])
    found = json.loads(done.stdout)
    assert found["control"]["requests"] + found["variant"]["requests"] == 24
    assert found["control"]["graded_units"] + found["variant"]["graded_units"] == 12
    assert found["verdict"] == "not decided"
    assert "unknown" not in CliRunner().invoke(main, ["eval", "ab", "cheaper", "--config", str(config)]).stdout
    stated = yaml.safe_load(config.read_text())
    assert CliRunner().invoke(main, ["eval", "ab", "none", "--config", str(config)]).exit_code == 2, stated
