"""Writes a promoted change: the configuration with it, the files that it names, and what was measured."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.config.edit import edit_yaml
from orchestrator.config.models import Config, parse_config
from orchestrator.jsontypes import JsonValue
from orchestrator.tuning.graded_answers import GradedAnswers
from orchestrator.tuning.stage import Stage
from orchestrator.tuning.tune import Tuned


def write_tuned(config_file: Path, present: Config, answers: GradedAnswers, tuned: Tuned, folder: Path) -> Path:
    """The path of the new configuration in `folder`, beside which the files that it names are written.

    Comments and order of the present one stay. Raises `ConfigError` where it is written in a way that cannot be edited.
    """
    best, proposal = tuned.promoted, tuned.made
    assert best is not None, "nothing was promoted"
    assert proposal is not None, "nothing was promoted"
    folder.mkdir(parents=True, exist_ok=True)
    changes: dict[str, JsonValue] = dict(proposal.changes)
    if proposal.calibration is not None:
        search = folder / "search.json"
        replace(
            proposal.calibration,
            expected_accuracy=float(best.trial.score.mean()),
            expected_usd=float(best.trial.usd.mean()),
        ).save(search)
        changes["search"] = search.name
    if proposal.taught_by:
        router = folder / "router"
        Stage(present, answers).taught_router(proposal.taught_by).success.save(router)
        changes["router"] = router.name
    text = edit_yaml(config_file.read_text(encoding="utf-8-sig"), changes)
    path = folder / "orchestrator.yaml"
    parse_config(text, str(path))
    stamp = datetime.now(UTC).strftime("%Y-%m-%d")
    note = f"# Tuned {stamp} from {config_file.name}: {proposal.name}. What was measured is in measured.json.\n"
    path.write_text(note + text, encoding="utf-8")
    measured_file = folder / "measured.json"
    measured_file.write_text(
        json.dumps(
            {
                "change": proposal.name,
                "questions": tuned.questions,
                "score_difference": asdict(best.quality),
                "cost_ratio": asdict(best.cost),
                "p_loses": best.p_loses,
                "date": stamp,
            },
            indent=1,
        )
        + "\n",
        encoding="utf-8",
    )
    return path
