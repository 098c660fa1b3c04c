"""The files of deploy/: as real tools read them (`make deploy`), and held against what the gateway has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.cli.serve import command as serve
from orchestrator.config.models import load_config, parse_config

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
TOOLS = ROOT / "build/deploy/bin"
PROMTOOL = ROOT / "build/promtool"
CHART = DEPLOY / "helm/orchestrator"
needs_tools = pytest.mark.skipif(not TOOLS.exists(), reason="the tools are not installed: make deploy")
RENDER = "import go_template, sys; go_template.render_template(*sys.argv[1:])"


def run(*command: str | Path) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_tools
def test_the_dockerfile_passes_hadolint() -> None:
    run(TOOLS / "hadolint", DEPLOY / "Dockerfile")


@needs_tools
def test_compose_is_valid_by_the_specification() -> None:
    run(TOOLS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose/compose.yaml")


def rendered(tmp_path: Path, **changes: Any) -> Path:
    """The chart as a template engine of Go renders it; Helm itself is not at hand here."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for name, change in changes.items():
        values[name] = {**values[name], **change} if isinstance(change, dict) else change
    (tmp_path / "values.yml").write_text(yaml.safe_dump({"Values": values, "Release": {"Name": "demo"}}))
    out = tmp_path / "out.yaml"
    run(TOOLS / "python", "-c", RENDER, CHART / "templates/orchestrator.yaml", tmp_path / "values.yml", out)
    return out


@needs_tools
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"autoscaling": {"enabled": False}},
        {"ingress": {"enabled": True, "className": "nginx"}, "podAnnotations": {"prometheus.io/scrape": "true"}},
    ],
)
def test_the_chart_renders_valid_manifests(tmp_path: Path, changes: dict[str, Any]) -> None:
    out = rendered(tmp_path, **changes)
    run(TOOLS / "kubernetes-validate", "--strict", out)
    documents = list(yaml.safe_load_all(out.read_text()))
    (deployment,) = [each for each in documents if each["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
    assert ("replicas" in deployment["spec"]) == (changes.get("autoscaling") == {"enabled": False})
    _check_arguments(pod["containers"][0]["args"])


def test_commands_of_containers_and_services_are_ours() -> None:
    compose = yaml.safe_load((DEPLOY / "compose/compose.yaml").read_text())
    _check_arguments(compose["services"]["gateway"]["command"])
    last = (DEPLOY / "Dockerfile").read_text().strip().splitlines()[-1]
    _check_arguments(json.loads(last.removeprefix("CMD ")))
    unit = (DEPLOY / "systemd/orchestrator.service").read_text()
    for line in re.findall(r"^ExecStart(?:Pre)?=\S+ (.+)$", unit, re.MULTILINE):
        _check_arguments(line.split())


def _check_arguments(arguments: list[str]) -> None:
    assert arguments[0] == "serve"
    known = {name for parameter in serve.params for name in parameter.opts}
    assert {argument for argument in arguments if argument.startswith("--")} <= known


def test_their_configurations_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://orchestrator:pw@postgres/orchestrator")
    config = load_config(DEPLOY / "compose/orchestrator.yaml")
    assert config.gateway.database == "postgresql://orchestrator:pw@postgres/orchestrator"
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert parse_config(values["config"]).gateway.log_format == "json"


def test_boards_and_alerts_ask_for_metrics_that_there_are() -> None:
    from orchestrator.gateway.observability.metrics import Metrics

    metrics = Metrics(lambda: 0.0, lambda: 0.0)
    text = metrics.text().decode()
    there = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
    there |= {f"{name}_{ending}" for name in there for ending in ("bucket", "sum", "count", "total")}
    boards = (DEPLOY / "compose/grafana/dashboards/orchestrator.json").read_text()
    for asked in re.findall(r"\borchestrator_\w+", boards + (DEPLOY / "compose/alerts.yaml").read_text()):
        assert asked in there, asked


@pytest.mark.skipif(not PROMTOOL.exists(), reason="promtool is not at hand")
def test_prometheus_reads_its_files(tmp_path: Path) -> None:
    run(PROMTOOL, "check", "rules", DEPLOY / "compose/alerts.yaml")
    config = (DEPLOY / "compose/prometheus.yaml").read_text()
    config = config.replace("/etc/prometheus/alerts.yaml", str(DEPLOY / "compose/alerts.yaml"))
    config = config.replace("/run/secrets/admin_key", str(tmp_path / "key"))
    (tmp_path / "key").write_text("k")
    (tmp_path / "prometheus.yaml").write_text(config)
    run(PROMTOOL, "check", "config", tmp_path / "prometheus.yaml")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not at hand")
def test_systemd_reads_the_unit() -> None:
    told = subprocess.run(
        ["systemd-analyze", "verify", str(DEPLOY / "systemd/orchestrator.service")], capture_output=True, text=True
    )
    complaints = [line for line in told.stderr.splitlines() if "is not executable" not in line]
    assert not [line for line in complaints if "orchestrator.service" in line]


def test_secrets_are_made_once_and_for_their_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "compose"
    shutil.copytree(DEPLOY / "compose", folder)
    run(folder / "make-secrets")
    key = (folder / "secrets/admin_key").read_text()
    run(folder / "make-secrets")
    assert (folder / "secrets/admin_key").read_text() == key
    assert f"ORCHESTRATOR_ADMIN_KEY={key.strip()}" in (folder / "gateway.env").read_text()
    assert (folder / "secrets").stat().st_mode & 0o077 == 0
    assert (folder / "gateway.env").stat().st_mode & 0o077 == 0
