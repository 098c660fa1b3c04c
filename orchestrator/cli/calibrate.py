"""`orchestrator calibrate MODEL EXAMPLES`: how far a model's stated probabilities can be believed."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.options import as_json, config_option, reports_errors, run_with, stated_config

if TYPE_CHECKING:
    from orchestrator.decisions import Decision, Question
    from orchestrator.engine.orchestrator import Orchestrator

FOLDS = 5


@click.command("calibrate")
@click.argument("model")
@click.argument("examples", type=click.Path(path_type=Path))
@click.option("--usd", type=float, default=0.10, show_default=True, help="What it may cost at most.")
@config_option
@as_json
@reports_errors
def command(model: str, examples: Path, usd: float, config: Path | None, as_json: bool) -> None:
    """Ask MODEL questions whose answers are known, and keep how its stated probabilities become believable.

    EXAMPLES is a file of JSON lines: {"state": "...", "ask": "Is it spam?", "answer": "yes"}, and for a choice or a
    score also "kind" and "options" (a list, or a mapping of each to what it means). Twenty of a kind are needed before
    decisions of that kind count as calibrated.
    """
    stated_file = stated_config(config)

    async def job(orchestrator: Orchestrator) -> None:
        from orchestrator.budget import Budget, Ledger
        from orchestrator.config.models import Config
        from orchestrator.decisions.calibration import fit_calibration, save_calibration
        from orchestrator.decisions.service import Deciders
        from orchestrator.trace import Trace

        rows = _read(examples)
        plain, ledger = Deciders(orchestrator.router, orchestrator.backends, as_stated=True), Ledger(Budget(usd=usd))
        stated: list[Decision] = []
        for state, question, _ in rows:
            found = await plain.decide(state, {"q": question}, ledger=ledger, trace=Trace(), models=[model])
            stated.append(found.answers["q"])
        truths = [truth for _, _, truth in rows]
        calibration = fit_calibration(stated, truths)
        path = stated_file.calibration if stated_file is not None else str(Config.model_fields["calibration"].default)
        save_calibration(path, model, calibration)
        before, after = _log_loss(stated, truths), _held_out(stated, truths)
        told = {
            "model": model,
            "examples": len(rows),
            "log_loss_stated": before,
            "log_loss_calibrated": after,
            **asdict(calibration),
        }
        if as_json:
            click.echo(json.dumps({**told, "cost_usd": ledger.spent_usd, "saved": path}, indent=2))
            return
        click.echo(f"{model}: {len(rows)} examples, {ledger.spent_usd:.6f} USD")
        click.echo(f"log-loss as stated {before:.3f}, calibrated {after:.3f} (each fifth by the others)")
        click.echo(
            f"its log-odds count {calibration.scale:.2f} times for yes or no, {calibration.choice_scale:.2f} times for "
            "several options"
        )
        click.echo(f"saved in {path}")

    run_with(config, None, job, memory=None)


def _read(path: Path) -> list[tuple[str, Question, str]]:
    """Raises `ConfigError` with the line of the first mistake."""
    from orchestrator.decisions import Question
    from orchestrator.errors import ConfigError, InvalidQuery

    rows: list[tuple[str, Question, str]] = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}", remedy="Name a file of JSON lines in UTF-8") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row: dict[str, Any] = json.loads(line)
            options = row.get("options") or {}
            labels = dict.fromkeys(options, "") if isinstance(options, list) else dict(options)
            question = Question(str(row["ask"]), row.get("kind") or ("choice" if labels else "predicate"), labels)
            truth = str(row["answer"])
            if truth not in question.labels:
                raise ValueError(f"the answer {truth!r} is no option: {', '.join(question.labels)}")
            rows.append((str(row["state"]), question, truth))
        except (ValueError, KeyError, TypeError, AttributeError, InvalidQuery) as error:
            problem = f"the field {error} is missing" if isinstance(error, KeyError) else str(error)
            remedy = 'Write {"state": "...", "ask": "...", "answer": "yes"}'
            raise ConfigError(f"{path}:{number}: {problem}", remedy=remedy) from None
    if not rows:
        message = f"{path}: no examples"
        raise ConfigError(message, remedy='Write lines like {"state": "...", "ask": "...", "answer": "yes"}')
    return rows


def _held_out(stated: Sequence[Decision], truths: Sequence[str]) -> float:
    """The log-loss of each fifth of the examples, calibrated by the others."""
    from orchestrator.decisions import fit_calibration

    total = 0.0
    for fold in range(FOLDS):
        left = [i for i in range(len(stated)) if i % FOLDS != fold]
        fitted = fit_calibration([stated[i] for i in left], [truths[i] for i in left])
        held = [i for i in range(len(stated)) if i % FOLDS == fold]
        total += sum(_loss(fitted.apply(stated[i]), truths[i]) for i in held)
    return total / len(stated)


def _log_loss(stated: Sequence[Decision], truths: Sequence[str]) -> float:
    return sum(map(_loss, stated, truths)) / len(stated)


def _loss(told: Decision, truth: str) -> float:
    return -math.log(max(told.probabilities[truth], 1e-6))
