"""`orchestrator train-router`: a router from graded outcomes of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.logs import read_outcomes
from orchestrator.cli.options import SHIPPED_ENCODERS, as_json, hint, reports_errors

if TYPE_CHECKING:
    from orchestrator.memory import Encoder

HELD_OUT = 5  # one query in five is left out for the report


@click.command("train-router")
@click.argument("logs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("router-model"),
    show_default=True,
    help="Folder for the router.",
)
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write an HTML report with reliability and deferral curves.",
)
@click.option(
    "--encoder",
    "encoder_name",
    type=click.Choice([*SHIPPED_ENCODERS, "none"]),
    default="static",
    show_default=True,
    help="Embedding beside words and surface features: the shipped one; all-MiniLM-L6-v2 (extra embeddings, "
    "milliseconds a query); or none.",
)
@click.option("--seed", type=int, default=0, show_default=True)
@as_json
@reports_errors
def command(
    logs: tuple[Path, ...], out: Path, report: Path | None, encoder_name: str, seed: int, as_json: bool
) -> None:
    """Train a router from LOGS.

    Graded answers of your models to your queries (.jsonl, .csv, .parquet, .json, or a decision log .db; see
    docs/router.md).

    A few hundred queries are enough. No key, no GPU, no download. The figures are from a fifth of the queries that a
    first training left out; the router that is saved is trained on all. Use it with `router: FOLDER` in
    orchestrator.yaml.
    """
    from orchestrator.errors import ConfigError
    from orchestrator.packages import need_packages
    from orchestrator.router.learning.report import html_report, judge
    from orchestrator.router.learning.train import train

    need_packages("training", "train", ["scipy"])
    found = read_outcomes(logs)
    outcomes, unlabelled = found.outcomes, found.unlabelled
    if not outcomes:
        raise ConfigError("the logs hold no graded outcomes", remedy="Each line needs a model and a score in [0, 1]")
    encoder = _encoder(encoder_name)
    queries = list(dict.fromkeys(outcome.query for outcome in outcomes))
    left_out = set(queries[seed % HELD_OUT :: HELD_OUT]) if len(queries) >= 2 * HELD_OUT else set()
    tested = [outcome for outcome in outcomes if outcome.query in left_out]
    trial = (
        train([o for o in outcomes if o.query not in left_out], encoder=encoder, unlabelled=unlabelled, seed=seed)
        if left_out
        else None
    )
    judged = judge(trial, tested) if trial else []
    if report is not None:
        if trial is None or not judged:
            raise ConfigError(
                f"{len(queries)} queries are too few for a report",
                remedy="Leave out --report, or give at least 50 graded queries",
            )
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(
            html_report(trial, tested, title=f"Router trained on {len(queries) - len(left_out)} queries"),
            encoding="utf-8",
        )
    had_certificate = (out / "certificate.json").exists()
    train(outcomes, encoder=encoder, unlabelled=unlabelled, seed=seed).save(out)
    if had_certificate:
        hint(f"the certificate in {out} is of the router before: make it anew with orchestrator certify")
    rows = [
        {"model": j.model, "left_out": len(j.observed), "right": round(float(j.observed.mean()), 4),
        "log_loss": round(j.log_loss, 4),
         "calibration_error": round(j.calibration_error, 4)}
        for j in judged
    ]  # fmt: skip
    if as_json:
        click.echo(
            json.dumps(
                {"saved": str(out), "queries": len(queries), "outcomes": len(outcomes), "held_out": rows}, indent=2
            )
        )
        return
    click.echo(f"{len(outcomes)} outcomes of {len({o.model for o in outcomes})} models on {len(queries)} queries")
    for row in rows:
        click.echo(
            f"  {row['model']:32} right {row['right']:.3f}  log-loss {row['log_loss']:.3f}  calibration error "
            f"{row['calibration_error']:.3f}"
        )
    click.echo(f"saved to {out}" + (f", report {report}" if report else ""))


def _encoder(name: str) -> Encoder | None:
    from orchestrator.errors import ConfigError
    from orchestrator.memory import MultilingualEncoder, SentenceTransformerEncoder, default_encoder

    if name == "none":
        return None
    try:
        made = {"minilm": SentenceTransformerEncoder, "multilingual": MultilingualEncoder}
        return made[name]() if name in made else default_encoder()
    except ImportError as error:
        raise ConfigError(str(error), remedy="Or train with --encoder static") from None
