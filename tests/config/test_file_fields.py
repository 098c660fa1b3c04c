"""What may stand where, read off the model of a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.config.distill_job import DistillJob
from orchestrator.config.models import Config
from orchestrator.config.problems import fields_at
from orchestrator.errors import ConfigError
from orchestrator.evaluation.suite import Suite
from orchestrator.simulation.fleet_file import FleetFile, load_fleet


@pytest.mark.parametrize(
    ("model", "path", "field"),
    [
        (Config, (), "models"),
        (Config, ("models", "fast"), "base_url"),
        (Config, ("models", "fast", "tls"), "ca"),
        (Config, ("models", "fast", "replicas", 0), "base_url"),
        (Config, ("quality",), "max_loss"),
        (Config, ("checks", "judge"), "rubric"),
        (Config, ("gateway", "autos", "cheap"), "strategy"),
        (Config, ("gateway", "cache"), "seconds"),
        (Config, ("tools", "orders"), "openapi"),
        (Suite, ("data", 0), "file"),
        (Suite, ("configurations", "strong"), "models"),
        (FleetFile, ("engine",), "step_s"),
        (DistillJob, ("task",), "labels"),
        (DistillJob, ("collect", 0), "prompts"),
    ],
)
def test_fields_are_those_of_the_section(model: type, path: tuple[object, ...], field: str) -> None:
    assert field in fields_at(model, path)
    assert not path or "version" not in fields_at(model, path)


def test_mistakes_of_a_fleet_are_told_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text("engine: {steps_s: 0.1}\npolicies:\n- least_loaded\n- cache_awar\n")
    with pytest.raises(ConfigError) as told:
        load_fleet(path)
    assert "f.yaml:1:10: unknown field 'steps_s'. Did you mean 'step_s'?" in told.value.message
    assert "f.yaml:4:3: policies: unknown value 'cache_awar'. Did you mean 'cache_aware'?" in told.value.message
    path.write_text("engine: {step_s: 0.1}\nreplicas: 2\ntargets: {ttft_p96_s: 1.0}\n")
    with pytest.raises(ConfigError, match=r"f\.yaml:3:10: there is no target"):
        load_fleet(path)
