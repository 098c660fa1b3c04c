"""`orchestrator calibrate-search EXAMPLES`: whom to ask, in which order, and when to stop, for a price."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import as_json, config_option, reports_errors, run_with
from orchestrator.jsontypes import JsonObject

if TYPE_CHECKING:
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.offline.grading import Graded
    from orchestrator.search.calibration.calibration import Calibration

FEWEST = 30  # questions
FEWEST_RIGHT, MAX_FAILED = 0.05, 0.3  # of them
DEFAULT_FILE = Path(".orchestrator/search.json")


@click.command("calibrate-search")
@click.argument("examples", type=click.Path(path_type=Path))
@click.option("--price", type=float, required=True, help="What a question may cost in the mean, in USD.")
@click.option("--usd", type=float, default=1.0, show_default=True, help="What the calibration itself may cost at most.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=DEFAULT_FILE,
    show_default=True,
    help="Where to keep it.",
)
@config_option
@as_json
@reports_errors
def command(examples: Path, price: float, usd: float, out: Path, config: Path | None, as_json: bool) -> None:
    """Ask every model of the fleet questions whose answers are known, and keep the policy that is right most often for
    a mean price.

    EXAMPLES is a file of JSON lines: {"question": "What is 6 * 7?", "answer": "42"}, with answers that can be compared:
    a number, a choice, a date, a name. Thirty are needed, three hundred are good. Every model is asked every question
    once; what is kept counts for questions of the same kind. Name the file under `search:` in orchestrator.yaml to use
    it. Needs the extra `train`.
    """

    async def job(orchestrator: Orchestrator) -> None:
        from orchestrator.errors import ConfigError
        from orchestrator.offline.grading import grade_fleet, models_to_grade, read_examples
        from orchestrator.packages import need_packages
        from orchestrator.search import calibrate

        need_packages("calibrating a search", "train", ["scipy"])
        if not (0 < price < math.inf and 0 < usd < math.inf):
            message = f"prices must be numbers of USD above 0, not --price {price:g} --usd {usd:g}"
            raise ConfigError(message, remedy="--price 0.001 --usd 2")
        rows = read_examples(examples)
        if len(rows) < FEWEST:
            message = f"{examples} has {len(rows)} examples, {FEWEST} are needed"
            raise ConfigError(message, remedy="Add questions whose answers are known")
        _make_room(out)
        if not as_json:
            click.echo(
                f"asking {len(models_to_grade(orchestrator))} models {len(rows)} questions for at most {usd:g} USD",
                err=True,
            )
        graded = await grade_fleet(
            orchestrator, rows, usd=usd, on_graded=lambda done: _progress(done, len(rows), as_json)
        )
        check_graded(graded)
        found = calibrate(graded.questions, max_usd_per_query=price)
        found.save(out)
        click.echo(
            json.dumps(_as_json(found, graded, out), indent=2) if as_json else _as_text(found, graded, price, out)
        )

    # With a strategy of its own, so that a calibration that is missing or no longer fits does not keep a new one from
    # being made.
    run_with(config, None, job, memory=None, strategy="adaptive")


def _make_room(out: Path) -> None:
    """Raises `ConfigError` where the result could not be written: that is found out before anything is paid."""
    from orchestrator.errors import ConfigError

    new = out.with_name(out.name + ".new")
    try:
        new.parent.mkdir(parents=True, exist_ok=True)
        new.touch()
        new.unlink()
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error}", remedy="Name another file with --out") from None


def check_graded(graded: Graded) -> None:
    """Raises `ConfigError` where nothing could be learned.

    Too little was graded, a model fails, or hardly an answer is right.
    """
    from orchestrator.errors import ConfigError

    n = len(graded.questions)
    if n < FEWEST:
        why = "; ".join(f"{model}: {reason}" for model, reason in graded.why.items())
        raise ConfigError(
            f"{n} questions were graded for {graded.usd:.4f} USD, {FEWEST} are needed" + (f" ({why})" if why else ""),
            remedy="Allow more with --usd, state the models' prices, or mend what failed",
        )
    for model, failed in graded.failures.items():
        if failed > MAX_FAILED * n:
            why = graded.why.get(model, "it said nothing")
            message = f"{model} failed on {failed} of {n} questions, for {graded.usd:.4f} USD in all: {why}"
            raise ConfigError(message, remedy="Mend it, or leave it out of the configuration")
    right = observed_right(graded)
    best = max(right, key=lambda model: right[model])
    if right[best] < FEWEST_RIGHT * n:
        raise ConfigError(
            f"hardly an answer is right: of {n}, the best model, {best}, has {right[best]}",
            remedy="Give answers that can be compared: a number, a choice, a date, a name or another short text, and "
            "no essay",
        )


def observed_right(graded: Graded) -> dict[str, int]:
    """How many questions each model had right."""
    return {model: sum(question.right[model] for question in graded.questions) for model in graded.failures}


def _progress(done: int, of: int, as_json: bool) -> None:
    if not as_json and (done % 10 == 0 or done == of):
        click.echo(f"{done} of {of} questions graded", err=True)


def _as_json(found: Calibration, graded: Graded, out: Path) -> JsonObject:
    return {
        "questions": len(graded.questions),
        "left": graded.left,
        "cost_usd": graded.usd,
        "failures": graded.failures,
        "right": observed_right(graded),
        "model_cost_usd": dict(found.cost_usd),
        "policy": found.policy.in_words,
        "expected_accuracy": found.expected_accuracy,
        "expected_usd": found.expected_usd,
        "saved": str(out),
    }


def _as_text(found: Calibration, graded: Graded, price: float, out: Path) -> str:
    lines = [f"{len(graded.questions)} questions, {graded.usd:.6f} USD"]
    if graded.left:
        lines.append(f"{graded.left} more could not be afforded: allow more with --usd")
    width, n = max(map(len, found.p_success)), len(graded.questions)
    for model, right in sorted(observed_right(graded).items(), key=lambda pair: -pair[1]):
        failed = f", {graded.failures[model]} calls failed" if graded.failures[model] else ""
        lines.append(f"  {model:<{width}}  right {right:4} ({right / n:6.1%})  {found.cost_usd[model]:.6f} USD{failed}")
    if found.expected_usd > price:
        lines.append(f"no policy costs {price:g} USD or less: the cheapest is kept")
    lines.append(f"policy: {found.policy.in_words}")
    lines.append(f"expected: right {found.expected_accuracy:.1%} for {found.expected_usd:.6f} USD a question")
    lines.append(f"saved in {out}; use it with  search: {out}  in orchestrator.yaml")
    return "\n".join(lines)
