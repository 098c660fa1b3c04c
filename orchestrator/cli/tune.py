"""`orchestrator tune`: a cheaper configuration that is shown to lose nothing that counts."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.logs import read_outcomes
from orchestrator.cli.options import as_json, hint, quiet_option, reports_errors
from orchestrator.cli.values import FiniteRange
from orchestrator.jsontypes import JsonObject

if TYPE_CHECKING:
    from orchestrator.config.models import Config
    from orchestrator.tuning import GradedAnswers, TestedRecipe, Tuned

MAX_WORKERS = 4
NOT_SHOWN = {"saves nothing": "not shown to save", "does not differ": "not shown to differ"}
WORTH_A_CACHE = 0.01  # of the queries, that repeat an earlier one


@click.command("tune")
@click.argument("examples", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("orchestrator.yaml"),
    show_default=True,
    help="The present configuration.",
)
@click.option(
    "--max-loss",
    type=FiniteRange(0.0, 0.5, min_open=True),
    default=0.03,
    show_default=True,
    help="What of the mean score may be lost, of 1.",
)
@click.option(
    "--confidence",
    type=FiniteRange(0.5, 1.0, max_open=True),
    default=0.9,
    show_default=True,
    help="How sure it must be that no more is lost.",
)
@click.option(
    "--usd",
    type=FiniteRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="What asking the models may cost, where EXAMPLES are questions.",
)
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    help="Of the parts of EXAMPLES that make a change, and try it.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("tuned"),
    show_default=True,
    help="The folder where what is promoted is written.",
)
@quiet_option
@as_json
@reports_errors
def command(
    examples: tuple[Path, ...],
    config: Path,
    max_loss: float,
    confidence: float,
    usd: float,
    seed: int,
    out: Path,
    as_json: bool,
) -> None:
    """Search the whole configuration on EXAMPLES, and write a cheaper one if it is shown to lose at most --max-loss.

    EXAMPLES are answers that every model gave, graded: {"query", "outcomes": {MODEL: {"score", "answer"}}} a line; no
    model is asked then. Or questions with right answers, {"question", "answer"}: every model is asked each of them
    once, for at most --usd. Three hundred are good. The router, the policy of the search, thresholds and the models
    offered are tried, each made from some of the questions and tested on the others. Needs the extra `train`. Exit
    code 1 where nothing is promoted.
    """
    from orchestrator.config.models import load_config
    from orchestrator.packages import need_packages
    from orchestrator.tuning.tune import check_config, tune
    from orchestrator.tuning.write import write_tuned

    need_packages("tuning", "train", ["scipy"])
    present = load_config(config)
    check_config(present)
    answers = _answers(present, examples, usd)
    for remark in answers.remarks:
        hint(remark)
    found = tune(
        present,
        answers,
        max_loss=max_loss,
        confidence=confidence,
        seed=seed,
        workers=min(MAX_WORKERS, os.cpu_count() or 1),
        tell=lambda text: None if as_json else hint(text),
    )
    written = None
    if found.promoted is not None:
        written = write_tuned(config, present, answers, found, out)
    if as_json:
        click.echo(json.dumps(_as_json(found, written) | _of_log(answers), indent=2))
    else:
        click.echo(_as_text(found, max_loss, written))
        if present.gateway.cache is None and answers.repeated_share >= WORTH_A_CACHE:
            told = "of the log repeats an earlier query: gateway.cache would answer those again for nothing"
            click.echo(f"{answers.repeated_share:.0%} {told}")
    raise SystemExit(0 if written is not None else 1)


def _answers(config: Config, examples: tuple[Path, ...], usd: float) -> GradedAnswers:
    """Graded answers from logs, or from asking the fleet what is known."""
    import asyncio

    from orchestrator.cli.calibrate_search import check_graded
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.errors import ConfigError
    from orchestrator.evaluation.dataset import holds_examples, read_cases
    from orchestrator.fleet.build import profiles_from_config
    from orchestrator.learning.certificates import TELL_THEMSELVES, graded_profiles
    from orchestrator.offline.grading import GradingExample, grade_fleet
    from orchestrator.tuning.graded_answers import answers_of_fleet, answers_of_log
    from orchestrator.tuning.tune import check_count

    if not all(holds_examples(path) for path in examples):
        return answers_of_log(read_outcomes(examples).outcomes, graded_profiles(config, profiles_from_config(config)))
    cases = [case for path in examples for case in read_cases(path)]
    without = next((case for case in cases if not case.targets), None)
    if without is not None:
        message = f"the question {without.question[:60]!r} has no right answer, only assertions"
        raise ConfigError(message, remedy="Add its `answer`, or leave it out")
    rows = list({case.question: GradingExample(case.question, case.targets[0]) for case in cases}.values())
    check_count(len(rows))
    told = {name: entry for name, entry in config.models.items() if entry.provider not in TELL_THEMSELVES}
    hint(f"asking {len(told)} models {len(rows)} questions for at most {usd:g} USD")

    async def ask() -> GradedAnswers:
        asked = config.model_copy(update={"models": told})
        async with Orchestrator.from_config(asked, memory=None, online=None, traces=None) as fleet:
            graded = await grade_fleet(fleet, rows, usd=usd)
            if graded.left:
                hint(f"{graded.left} more could not be afforded: allow more with --usd")
            check_graded(graded)
            return answers_of_fleet(graded, {name: backend.profile for name, backend in fleet.backends.items()})

    return asyncio.run(ask())


def _of_log(answers: GradedAnswers) -> JsonObject:
    return {"repeated_share": answers.repeated_share, "remarks": list(answers.remarks)}


def _as_json(found: Tuned, written: Path | None) -> JsonObject:
    from orchestrator.evaluation.paired import INTERVAL_CONFIDENCE

    return {
        "questions": found.questions,
        "interval_confidence": INTERVAL_CONFIDENCE,
        "present": {"score": found.present_score, "usd_per_1k": 1_000 * found.present_usd},
        "recipes": [
            {
                "name": each.trial.proposal.name,
                "outcome": each.outcome,
                "score_difference": asdict(each.quality),
                "cost_ratio": asdict(each.cost),
                "p_loses": each.p_loses,
                "p_no_cheaper": each.p_no_cheaper,
                "p_same": each.p_same,
            }
            for each in found.tested
        ],
        "promoted": None if found.made is None else found.made.name,
        "written": None if written is None else str(written),
        "seconds": found.seconds,
    }


def _as_text(found: Tuned, max_loss: float, written: Path | None) -> str:
    from orchestrator.evaluation.paired import INTERVAL_CONFIDENCE

    lines = [
        f"{found.questions} graded questions, {len(found.tested)} changes tried",
        f"present configuration: score {found.present_score:.3f}, {1_000 * found.present_usd:.4g} USD for 1,000",
    ]
    lines += [f"  {_tested(each)}" for each in found.tested]
    best = found.promoted
    if best is None:
        lines.append(f"nothing is promoted: no cheaper change is shown to lose at most {max_loss:g}")
        lines.append("more graded questions, or a larger --max-loss, show more")
    else:
        saved = 1 - best.cost.value
        lines.append(f"promoted: {best.trial.proposal.name}")
        between = f"{1 - best.cost.high:.0%} to {1 - best.cost.low:.0%} with {INTERVAL_CONFIDENCE:.0%} confidence"
        lines.append(f"saves {saved:.0%} ({between})")
        lines.append(f"written to {written}; use it with --config {written}")
    return "\n".join(lines)


def _tested(each: TestedRecipe) -> str:
    told = NOT_SHOWN.get(each.outcome, each.outcome)
    return f"{told:19} score {each.quality.value:+.3f}, cost x {each.cost.value:.2f}: {each.trial.proposal.name}"
