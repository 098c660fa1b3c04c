"""`orchestrator teams`: the teams of an organisation, and what each may use."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from orchestrator.cli.accounts import (
    account_options,
    accounts_database,
    existing_accounts,
    limit_options,
    limits_of,
    note_command,
    spending,
)
from orchestrator.cli.options import as_json, reports_errors
from orchestrator.cli.orgs import show, show_all

org_option = click.option("--org", default="default", show_default=True, help="Their organisation, by name or id.")


@click.group("teams")
def command() -> None:
    """Add and list the teams of an organisation, and limit them. TEAM is a name or an id."""


@command.command("add")
@click.argument("name")
@org_option
@limit_options
@account_options
@as_json
@reports_errors
def add(name: str, org: str, config: Path | None, database: str | None, as_json: bool, **limits: Any) -> None:
    """Add the team NAME."""
    accounts = existing_accounts(config, database)
    team = accounts.add_team(accounts.org_called(org).id, name, limits_of(limits))
    note_command(accounts, "orchestrator teams add", team.org, team.id, {"name": name, "limits": asdict(team.limits)})
    show(team, as_json=as_json)


@command.command("list")
@org_option
@account_options
@as_json
@reports_errors
def list_(org: str, config: Path | None, database: str | None, as_json: bool) -> None:
    """List teams, with their limits and what they spent."""
    from orchestrator.storage.accounts import Accounts

    found = accounts_database(config, database, makes_one=False)
    accounts = None if found is None else Accounts(found)
    teams = [] if accounts is None else accounts.teams(accounts.org_called(org).id)
    show_all(teams, {} if found is None else spending(found, "team"), "teams add NAME", as_json=as_json)


@command.command("limit")
@click.argument("team")
@org_option
@limit_options
@account_options
@as_json
@reports_errors
def limit(team: str, org: str, config: Path | None, database: str | None, as_json: bool, **limits: Any) -> None:
    """Limit TEAM. Limits that are not named stay as they are."""
    accounts = existing_accounts(config, database)
    found = accounts.team_called(accounts.org_called(org).id, team)
    changed = limits_of(limits, found.limits)
    accounts.change("teams", found.id, {"limits": changed})
    note_command(accounts, "orchestrator teams limit", found.org, found.id, {"limits": asdict(changed)})
    show(accounts.team(found.id), as_json=as_json)
