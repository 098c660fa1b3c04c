"""`orchestrator replay`: what another configuration would have cost and achieved on logged decisions."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.logs import read_decisions
from orchestrator.cli.options import as_json, hint, reports_errors

if TYPE_CHECKING:
    from orchestrator.router.learning.replay import Estimate


@click.command("replay")
@click.argument("logs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--policy",
    "config",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The configuration to judge: fleet, router, quality.",
)
@as_json
@reports_errors
def command(logs: tuple[Path, ...], config: Path, as_json: bool) -> None:
    """Estimate quality and price of the routing in --policy from LOGS that another policy made. No model is asked.

    LOGS are decision logs (.db), or .jsonl with one decision a line: {"query", "model", "propensity", "score",
    "cost_usd"}. The estimate is doubly robust; its intervals widen where the log hardly explored what the policy would
    do.
    """
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.errors import ConfigError
    from orchestrator.router import ModelProfile
    from orchestrator.router.learning.replay import replay
    from orchestrator.tokens.estimate import estimate_tokens

    decisions = read_decisions(logs)
    with Orchestrator.from_config(config) as orchestrator:
        profiles = {name: backend.profile for name, backend in orchestrator.backends.items()}
        known = lru_cache(maxsize=None)(
            lambda query, model: orchestrator.router.success.predict(query, [profiles.get(model, ModelProfile(model))])[
                model
            ]
        )
        route = lru_cache(maxsize=None)(lambda query: orchestrator.route(query))

        def policy(query: str) -> str:
            chosen = route(query).chosen
            if chosen is None:
                raise ConfigError(
                    f"{config}: no model may answer {query[:60]!r}: {route(query).reason}", remedy="Relax a constraint"
                )
            return str(chosen)

        def price(query: str, model: str) -> float:
            return profiles[model].cost_usd(estimate_tokens(query)) or 0.0 if model in profiles else 0.0

        try:
            found = replay(decisions, policy, known, price)
        except ValueError as error:
            raise ConfigError(str(error), remedy="Log with every decision the probability of its choice") from None
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2))
        return
    click.echo(f"{'':11} {'logged':>10} {'replayed':>10}   95 % interval")
    click.echo(f"{'quality':11} {found.logged_quality:10.4f} {_estimate(found.quality, 4)}")
    click.echo(f"{'USD a query':11} {found.logged_cost_usd:10.6f} {_estimate(found.cost_usd, 6)}")
    click.echo(
        f"{found.agreeing} of {found.decisions} decisions agree; the correction rests on "
        f"{found.effective_decisions:.0f}"
    )
    if found.quality.low is None:
        hint("too few decisions agree: what is replayed is the router's prediction, which the log cannot correct")


def _estimate(found: Estimate, digits: int) -> str:
    interval = "unknown" if found.low is None else f"{found.low:.{digits}f} to {found.high:.{digits}f}"
    return f"{found.value:10.{digits}f}   {interval}"
