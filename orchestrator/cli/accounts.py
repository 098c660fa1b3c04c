"""What the commands for keys, organisations and teams share.

The accounts of a gateway, and how limits and moments are written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from orchestrator.cli.options import config_option
from orchestrator.cli.values import FiniteRange
from orchestrator.jsontypes import JsonObject

if TYPE_CHECKING:
    from orchestrator.storage.account_types import AccountLimits
    from orchestrator.storage.accounts import Accounts
    from orchestrator.storage.database import Database

F = TypeVar("F", bound=Callable[..., None])
DAY_S = 86_400
_LIMITS = (
    ("usd", "USD"),
    ("requests_per_minute", "requests a minute"),
    ("tokens_per_minute", "tokens a minute"),
    ("concurrency", "at once"),
)
_OPTIONS = {
    "usd": "usd",
    "period": "period",
    "requests_per_minute": "rpm",
    "tokens_per_minute": "tpm",
    "concurrency": "concurrency",
}
database_option = click.option(
    "--database", help="A file, or postgresql://... [default: gateway.database of the configuration]."
)


def account_options(function: F) -> F:
    """Where the accounts are: a configuration, or a database."""
    return config_option(database_option(function))


def limit_options(function: F) -> F:
    """The limits of an organisation, a team or a key."""
    for option in (
        click.option("--concurrency", type=click.IntRange(min=0), help="Requests at once."),
        click.option("--tpm", type=click.IntRange(min=0), help="Tokens a minute."),
        click.option("--rpm", type=click.IntRange(min=0), help="Requests a minute."),
        click.option(
            "--period", type=click.Choice(["total", "month", "day"]), help="What the budget is for [default: total]."
        ),
        click.option("--usd", type=FiniteRange(min=0), help="Budget."),
    ):
        function = option(function)
    return function


def limits_of(options: JsonObject, before: AccountLimits | None = None) -> AccountLimits:
    """The limits that `limit_options` state; what they do not state stays as it was before.

    Raises `InvalidQuery` on the period of no budget.
    """
    from orchestrator.errors import InvalidQuery
    from orchestrator.storage.account_types import AccountLimits

    stated = {name: options[option] for name, option in _OPTIONS.items() if options[option] is not None}
    limits = replace(before or AccountLimits(), **stated)
    if "period" in stated and limits.usd is None:
        raise InvalidQuery("a period is that of a budget, and there is none", remedy="Add --usd 5, say")
    return limits


def note_command(accounts: Accounts, action: str, org: str | None, subject: str, detail: JsonObject) -> None:
    """Notes in the audit log what was changed from a terminal by whoever may write the database."""
    from orchestrator.storage.audit_log import AuditEntry, AuditLog

    entry = AuditEntry(time.time(), org or "operator", "command line", "command line", action, subject, 200, detail)
    AuditLog(accounts.database).add(entry)


def accounts_database(config: Path | None, database: str | None, *, makes_one: bool) -> Database | None:
    """The gateway's database. One that is not there is made, or is `None`: looking makes nothing."""
    from orchestrator.config.models import DEFAULT_NAME, GatewayConfig, load_config
    from orchestrator.storage.database import open_database

    if database is None:
        chosen = config or (Path(DEFAULT_NAME) if Path(DEFAULT_NAME).exists() else None)
        database = (load_config(chosen).gateway if chosen is not None else GatewayConfig()).database
    is_file = not database.startswith(("postgres://", "postgresql://"))
    return None if is_file and not makes_one and not Path(database).exists() else open_database(database)


def existing_accounts(config: Path | None, database: str | None) -> Accounts:
    """Raises `NoAccount` where there is no database."""
    from orchestrator.storage.account_types import NoAccount
    from orchestrator.storage.accounts import Accounts

    found = accounts_database(config, database, makes_one=False)
    if found is None:
        raise NoAccount(
            "there is no database of a gateway here",
            remedy="Give --database or --config, or make it: orchestrator keys add NAME",
        )
    return Accounts(found)


def written_limits(limits: AccountLimits) -> str:
    """In words: 5 USD a month, 60 requests a minute."""
    told = []
    for name, unit in _LIMITS:
        value = getattr(limits, name)
        if value is not None:
            period = "" if name != "usd" or limits.period == "total" else f" a {limits.period}"
            told.append(f"{value:,g} {unit}{period}")
    return ", ".join(told)


def written_moment(moment: float | None) -> str:
    """A moment (seconds since 1970) as people write it, in UTC; empty for `None`."""
    return "" if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M")


def spending(database: Database, by: str) -> dict[str, JsonObject]:
    """What was spent and when it was last asked, by key, team or organisation, as far as requests are kept
    (`gateway.keep_days`).
    """
    from orchestrator.storage.requests import Requests

    return {row[by]: row for row in Requests(database).usage(None, since=0.0, until=time.time() + DAY_S, by=by)}


def print_table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Columns as wide as they must be; in a terminal as wide as it, elsewhere without wrapping."""
    from rich.console import Console
    from rich.table import Table

    from orchestrator.cli.show import cell

    console = Console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=column == "ID", overflow="fold")
    for row in rows:
        table.add_row(*map(cell, row))
    Console(highlight=False, width=console.width if console.is_terminal else 400).print(table)
