"""`orchestrator keys`: the gateway's keys from the command line, for whoever may read its database."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import config_option, reports_errors

if TYPE_CHECKING:
    from orchestrator.storage.accounts import Accounts, Period

DAY_S = 86_400
database_option = click.option("--database", help="A file, or postgresql://... [default: gateway.database of the configuration].")
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("keys")
def command() -> None:
    """Add, list, rotate and revoke the keys of the gateway."""


@command.command("add")
@click.argument("name")
@click.option("--org", default="default", show_default=True, help="Organisation, by name; added if there is none.")
@click.option("--team", help="Team, by name; added if there is none.")
@click.option("--models", help="Names or beginnings with *, separated by commas [default: all].")
@click.option("--scopes", help="Memory scopes, or beginnings with *, separated by commas [default: all of the organisation].")
@click.option("--permissions", help="Separated by commas [default: all but admin].")
@click.option("--usd", type=click.FloatRange(min=0), help="Budget of the key.")
@click.option("--period", type=click.Choice(["total", "month", "day"]), default="total", show_default=True, help="What the budget is for.")
@click.option("--rpm", type=click.IntRange(min=0), help="Requests a minute.")
@click.option("--tpm", type=click.IntRange(min=0), help="Tokens a minute.")
@click.option("--concurrency", type=click.IntRange(min=0), help="Requests at once.")
@click.option("--days", type=click.FloatRange(min=0, min_open=True), help="Days until it expires.")
@config_option
@database_option
@as_json
@reports_errors
def add(
    name: str,
    org: str,
    team: str | None,
    models: str | None,
    scopes: str | None,
    permissions: str | None,
    usd: float | None,
    period: Period,
    rpm: int | None,
    tpm: int | None,
    concurrency: int | None,
    days: float | None,
    config: Path | None,
    database: str | None,
    as_json: bool,
) -> None:
    """Add the key NAME and show it, this once."""
    from orchestrator.errors import InvalidQuery
    from orchestrator.storage.accounts import DEFAULT_PERMISSIONS, PERMISSIONS, AccountLimits, NewKey

    accounts = _accounts(config, database)
    allowed = _split(permissions) or DEFAULT_PERMISSIONS
    unknown = set(allowed) - set(PERMISSIONS)
    if unknown:
        raise InvalidQuery(f"unknown permission {sorted(unknown)[0]!r}", remedy=f"Known: {', '.join(PERMISSIONS)}")
    org_id = next((found.id for found in accounts.orgs() if found.name == org), None) or accounts.add_org(org).id
    team_id = None
    if team is not None:
        team_id = next((found.id for found in accounts.teams(org_id) if found.name == team), None) or accounts.add_team(org_id, team).id
    limits = AccountLimits(usd, period, rpm, tpm, concurrency)
    expires_at = None if days is None else time.time() + DAY_S * days
    key, secret = accounts.add_key(NewKey(name, org_id, team_id, allowed, _split(models), _split(scopes), limits, expires_at))
    click.echo(json.dumps({**asdict(key), "key": secret}, indent=2) if as_json else secret)


@command.command("list")
@config_option
@database_option
@as_json
@reports_errors
def list_(config: Path | None, database: str | None, as_json: bool) -> None:
    """List keys, without what they are."""
    accounts = _accounts(config, database)
    keys = accounts.keys()
    if as_json:
        click.echo(json.dumps([asdict(key) for key in keys], indent=2))
        return
    names = {org.id: org.name for org in accounts.orgs()}
    for key in keys:
        state = "revoked" if key.revoked_at else "expired" if key.expires_at and key.expires_at <= time.time() else "valid"
        click.echo(f"{key.id}  {key.hint}...  {state:8} {names.get(key.org or '', 'operator')}/{key.name}")


@command.command("rotate")
@click.argument("key")
@click.option("--grace", type=click.FloatRange(min=0), default=0.0, show_default=True, help="Seconds that the old secret stays good.")
@config_option
@database_option
@reports_errors
def rotate(key: str, grace: float, config: Path | None, database: str | None) -> None:
    """Give KEY (its id) a new secret and show it, this once."""
    click.echo(_accounts(config, database).rotate_key(key, grace_s=grace)[1])


@command.command("revoke")
@click.argument("key")
@config_option
@database_option
@reports_errors
def revoke(key: str, config: Path | None, database: str | None) -> None:
    """End KEY (its id) for good."""
    _accounts(config, database).revoke_key(key)
    click.echo("revoked")


def _accounts(config: Path | None, database: str | None) -> Accounts:
    from orchestrator.config import DEFAULT_NAME, GatewayConfig, load_config
    from orchestrator.storage.accounts import Accounts
    from orchestrator.storage.database import open_database

    if database is None:
        chosen = config or (Path(DEFAULT_NAME) if Path(DEFAULT_NAME).exists() else None)
        database = (load_config(chosen).gateway if chosen is not None else GatewayConfig()).database
    return Accounts(open_database(database))


def _split(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())
