"""`orchestrator certify`: a certificate for the promise in the configuration."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from orchestrator.cli.logs import read_outcomes
from orchestrator.cli.options import as_json, reports_errors


@click.command("certify")
@click.argument("logs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--config", type=click.Path(dir_okay=False, path_type=Path), default=Path("orchestrator.yaml"), show_default=True
)
@as_json
@reports_errors
def command(logs: tuple[Path, ...], config: Path, as_json: bool) -> None:
    """Prove from LOGS that the promise under `quality` in the configuration is kept, and save the certificate beside
    the router.

    LOGS hold graded answers of every model to queries that the router was not trained on. With `covers: search` they
    must hold the texts of the answers, too: the whole search is rehearsed on them. If they cannot support the promise,
    says how many more would (exit code 1).
    """
    from orchestrator.config.models import PromiseConfig, load_config
    from orchestrator.errors import ConfigError
    from orchestrator.fleet.build import profiles_from_config
    from orchestrator.learning.certificates import (
        FILE_NAME,
        certify_fleet,
        graded_profiles,
        model_versions,
        promised,
        trained_router,
    )
    from orchestrator.offline.rehearsal import certify_search
    from orchestrator.router.guarantee.certificate import Refusal

    parsed = load_config(config)
    if not isinstance(parsed.quality, PromiseConfig) or parsed.router is None:
        missing = "no promise under quality" if parsed.router else "no trained router"
        raise ConfigError(
            f"{config}: {missing}",
            remedy="Write quality: {max_loss: 0.03, confidence: 0.9, vs: MODEL} and router: FOLDER",
        )
    outcomes = read_outcomes(logs).outcomes
    profiles = graded_profiles(parsed, profiles_from_config(parsed))
    promise = promised(parsed.quality)
    router, versions = trained_router(parsed.router), model_versions(parsed)
    if promise.covers == "search":
        found, used = certify_search(parsed, router, profiles, promise, outcomes, versions)
    else:
        found, used = certify_fleet(router, profiles, promise, outcomes, versions)
    if isinstance(found, Refusal):
        more = (
            "no number of labels like these would do"
            if found.labels_needed is None
            else f"about {found.labels_needed} labels would do"
        )
        if not used:
            more = f"queries that this router was trained on, or that some model did not answer, do not count; {more}"
        if as_json:
            click.echo(json.dumps({"certified": False, **asdict(found)}, indent=2))
        else:
            click.echo(f"refused: {found.reason}; {more}", err=True)
        raise SystemExit(1)
    path = Path(parsed.router) / FILE_NAME
    path.write_text(found.as_json() + "\n", encoding="utf-8")
    if as_json:
        click.echo(json.dumps({"certified": True, "saved": str(path), "certificate": asdict(found)}, indent=2))
        return
    click.echo(
        f"certified from {used} queries: {found.cheap_share:.0%} of them need not go to {promise.vs}; the loss is at "
        f"most {found.bound:.4f} "
        f"({promise.max_loss} allowed) with {promise.confidence:.0%} confidence, until {found.expires[:10]}\nsaved to "
        f"{path}"
    )
    if found.labels_for_next_saving is not None:
        click.echo(f"about {found.labels_for_next_saving} labels like these would certify the next saving")
