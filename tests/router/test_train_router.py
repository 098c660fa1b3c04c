"""`orchestrator train-router` from a log to a router that the engine uses."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestrator import ConfigError, Orchestrator
from orchestrator.cli import main
from orchestrator.config.models import parse_config
from tests.router.test_router import synthetic_outcomes

pytest.importorskip("scipy")
CONFIG = (
    "models:\n  good: {provider: simulated, skill: 0.8}\n  bad: {provider: simulated, skill: 0.8}\nrouter: "
    "%s\nmemory: null\n"
)


def write_log(path: Path, n: int) -> Path:
    lines = (json.dumps({"query": o.query, "model": o.model, "score": o.score}) for o in synthetic_outcomes(n))
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_from_log_to_routed_query(tmp_path: Path) -> None:
    log, out, page = write_log(tmp_path / "log.jsonl", 240), tmp_path / "router", tmp_path / "report.html"
    done = CliRunner().invoke(main, ["train-router", str(log), "--out", str(out), "--report", str(page), "--json"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result["outcomes"] == 480
    assert {row["model"] for row in result["held_out"]} == {"good", "bad"}
    html = page.read_text(encoding="utf-8")
    svgs = html.split("<svg")[1:]
    assert len(svgs) >= 3  # two reliability diagrams and a deferral curve
    for svg in svgs:
        ET.fromstring("<svg" + svg.split("</svg>")[0] + "</svg>")
    with Orchestrator.from_config(parse_config(CONFIG % out)) as orchestrator:
        assert orchestrator.route("Add 31 to 44 and give the total.", quality=0.75).chosen == "good"
        assert orchestrator.route("Write a poem about the wind and night 12.", quality=0.75).chosen == "bad"


@pytest.mark.parametrize(
    ("lines", "options", "says"),
    [
        ("{broken", [], "log.jsonl:1"),
        ('{"query": "only asked"}', [], "no graded outcomes"),
        ('{"query": "q", "model": "m", "score": 1}', ["--report", "r.html"], "too few for a report"),
    ],
)
def test_logs_that_will_not_do(tmp_path: Path, lines: str, options: list[str], says: str) -> None:
    (tmp_path / "log.jsonl").write_text(lines, encoding="utf-8")
    done = CliRunner().invoke(
        main, ["train-router", str(tmp_path / "log.jsonl"), "--out", str(tmp_path / "r"), *options]
    )
    assert done.exit_code == 2
    assert says in done.stderr
    assert not (tmp_path / "r").exists()


def test_ten_rows_are_enough_to_train_on(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.jsonl", 5)
    done = CliRunner().invoke(main, ["train-router", str(log), "--out", str(tmp_path / "r"), "--encoder", "none"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "r" / "router.json").exists()


def test_a_router_that_cannot_be_loaded_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="orchestrator train-router"):
        Orchestrator.from_config(parse_config(CONFIG % (tmp_path / "nowhere")))


def test_a_router_remembers_its_encoder_and_refuses_another(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.jsonl", 60)
    for name, expected in (("static", "static:"), ("none", None)):
        out = tmp_path / name
        assert CliRunner().invoke(main, ["train-router", str(log), "--out", str(out), "--encoder", name]).exit_code == 0
        stored = json.loads((out / "router.json").read_text())["encoder"]
        assert stored is None if expected is None else stored.startswith(expected)
        with Orchestrator.from_config(parse_config(CONFIG % out)) as orchestrator:
            assert orchestrator.route("Add 3 to 4.").chosen
    described = json.loads((tmp_path / "static" / "router.json").read_text())
    (tmp_path / "static" / "router.json").write_text(json.dumps(described | {"encoder": "static:other:256"}))
    with pytest.raises(ConfigError, match="made with the encoder 'static:other:256'"):
        Orchestrator.from_config(parse_config(CONFIG % (tmp_path / "static")))


def test_route_explains_what_it_rests_on(tmp_path: Path) -> None:
    log, out = write_log(tmp_path / "log.jsonl", 120), tmp_path / "r"
    CliRunner().invoke(main, ["train-router", str(log), "--out", str(out), "--encoder", "none"])
    (tmp_path / "c.yaml").write_text(CONFIG % out + "  # end\n", encoding="utf-8")
    shown = CliRunner().invoke(main, ["route", "Add 3 to 4.", "--explain", "--config", str(tmp_path / "c.yaml")])
    assert "good: P(correct) from its own outcomes, with a head; about 250 tokens expected" in shown.stdout
    found = json.loads(
        CliRunner()
        .invoke(main, ["route", "Add 3.", "--explain", "--json", "--config", str(tmp_path / "c.yaml")])
        .stdout
    )
    assert 0 < found["explanation"]["familiarity"] <= 1
