"""`orchestrator orgs`: the organisations that share a gateway, and what each may use."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.accounts import (
    account_options,
    accounts_database,
    existing_accounts,
    limit_options,
    limits_of,
    note_command,
    print_table,
    spending,
    written_limits,
)
from orchestrator.cli.options import as_json, reports_errors
from orchestrator.jsontypes import JsonObject

if TYPE_CHECKING:
    from orchestrator.storage.account_types import Org, Team


@click.group("orgs")
def command() -> None:
    """Add and list the organisations of the gateway, and limit them. ORG is a name or an id."""


@command.command("add")
@click.argument("name")
@limit_options
@account_options
@as_json
@reports_errors
def add(name: str, config: Path | None, database: str | None, as_json: bool, **limits: Any) -> None:
    """Add the organisation NAME."""
    from orchestrator.storage.accounts import Accounts

    found = accounts_database(config, database, makes_one=True)
    assert found is not None
    accounts = Accounts(found)
    org = accounts.add_org(name, limits_of(limits))
    note_command(accounts, "orchestrator orgs add", org.id, org.id, {"name": name, "limits": asdict(org.limits)})
    show(org, as_json=as_json)


@command.command("list")
@account_options
@as_json
@reports_errors
def list_(config: Path | None, database: str | None, as_json: bool) -> None:
    """List organisations, with their limits and what they spent."""
    from orchestrator.storage.accounts import Accounts

    found = accounts_database(config, database, makes_one=False)
    orgs = [] if found is None else Accounts(found).orgs()
    show_all(orgs, {} if found is None else spending(found, "org"), "orgs add NAME", as_json=as_json)


@command.command("limit")
@click.argument("org")
@limit_options
@account_options
@as_json
@reports_errors
def limit(org: str, config: Path | None, database: str | None, as_json: bool, **limits: Any) -> None:
    """Limit ORG. Limits that are not named stay as they are."""
    accounts = existing_accounts(config, database)
    found = accounts.org_called(org)
    changed = limits_of(limits, found.limits)
    accounts.change("orgs", found.id, {"limits": changed})
    note_command(accounts, "orchestrator orgs limit", found.id, found.id, {"limits": asdict(changed)})
    show(accounts.org(found.id), as_json=as_json)


def show(account: Org | Team, *, as_json: bool) -> None:
    """Prints one account."""
    told = (
        json.dumps(asdict(account), indent=2)
        if as_json
        else f"{account.id}: {account.name}, {written_limits(account.limits) or 'no limits'}"
    )
    click.echo(told)


def show_all(found: Sequence[Org | Team], spent: dict[str, JsonObject], to_add: str, *, as_json: bool) -> None:
    """Prints accounts as a table or as JSON, with what each has spent."""
    usd = {account.id: spent[account.id]["cost_usd"] if account.id in spent else 0.0 for account in found}
    if as_json:
        click.echo(json.dumps([{**asdict(account), "spent_usd": usd[account.id]} for account in found], indent=2))
    elif not found:
        click.echo(f"none yet. Add one: orchestrator {to_add}")
    else:
        rows = [
            (account.name, account.id, written_limits(account.limits), f"{usd[account.id]:.4f}") for account in found
        ]
        print_table(("NAME", "ID", "LIMITS", "SPENT USD"), rows)
