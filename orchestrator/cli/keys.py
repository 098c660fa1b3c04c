"""`orchestrator keys`: the gateway's keys from the command line, for whoever may read its database."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.accounts import (
    DAY_S,
    account_options,
    accounts_database,
    existing_accounts,
    limit_options,
    limits_of,
    note_command,
    print_table,
    spending,
    written_limits,
    written_moment,
)
from orchestrator.cli.options import as_json, hint, reports_errors, stated_config
from orchestrator.cli.values import FiniteRange
from orchestrator.jsontypes import JsonObject, JsonValue

if TYPE_CHECKING:
    from orchestrator.storage.account_types import Key, Org, Team


@click.group("keys")
def command() -> None:
    """Add, list, rotate and revoke the keys of the gateway.

    KEY is an id, a name that one key alone has, or the key itself.
    """


@command.command("add")
@click.argument("name")
@click.option("--org", default="default", show_default=True, help="Organisation; added if there is none.")
@click.option("--team", help="Team; added if there is none.")
@click.option("--models", help="Names or beginnings with *, separated by commas [default: all].")
@click.option(
    "--scopes", help="Memory scopes, or beginnings with *, separated by commas [default: all of the organisation]."
)
@click.option(
    "--permissions",
    help="Of inference, memory, feedback, usage, traces, files, team (see what the team's keys did), admin (manage the "
    "organisation), separated by commas [default: all but the last two].",
)
@click.option("--days", type=FiniteRange(0, 36_500, min_open=True), help="Days until it expires.")
@limit_options
@account_options
@as_json
@reports_errors
def add(
    name: str,
    org: str,
    team: str | None,
    models: str | None,
    scopes: str | None,
    permissions: str | None,
    days: float | None,
    config: Path | None,
    database: str | None,
    as_json: bool,
    **limits: Any,
) -> None:
    """Add the key NAME and show it, this once: on standard output the key alone, its id beside it."""
    from orchestrator.errors import InvalidQuery
    from orchestrator.storage.account_types import DEFAULT_PERMISSIONS, PERMISSIONS, NewKey, check_name
    from orchestrator.storage.accounts import Accounts

    check_name(name, "a key")
    for option, text in (("--models", models), ("--scopes", scopes), ("--permissions", permissions)):
        _check_list(option, text)
    allowed = _split(permissions) or DEFAULT_PERMISSIONS
    unknown = set(allowed) - set(PERMISSIONS)
    if unknown:
        raise InvalidQuery(f"unknown permission {sorted(unknown)[0]!r}", remedy=f"Known: {', '.join(PERMISSIONS)}")
    _check_models(config, _split(models) or ())
    held_to = limits_of(limits)
    found = accounts_database(config, database, makes_one=True)
    assert found is not None
    accounts = Accounts(found)
    org_id = _found_or_added(org, accounts.orgs(), "organisation", lambda new: accounts.add_org(new).id)
    team_id = None
    if team is not None:
        teams = accounts.teams(org_id)
        team_id = _found_or_added(team, teams, "team", lambda new: accounts.add_team(org_id, new).id)
    expires_at = None if days is None else time.time() + DAY_S * days
    key, secret = accounts.add_key(
        NewKey(name, org_id, team_id, allowed, _split(models), _split(scopes), held_to, expires_at)
    )
    told = {"name": name, "permissions": list(allowed), "limits": asdict(key.limits)}
    note_command(accounts, "orchestrator keys add", org_id, key.id, told)
    if as_json:
        click.echo(json.dumps({**asdict(key), "key": secret}, indent=2))
        return
    click.echo(secret)
    click.echo(f"{key.id}: {name} of {org}{f'/{team}' if team else ''}. The key is shown this once.", err=True)


def _check_list(option: str, text: str | None) -> None:
    """Raises `InvalidQuery` on a list of nothing (a variable of the shell that is unset), and on a * within a name."""
    from orchestrator.errors import InvalidQuery

    names = _split(text)
    if names == ():
        raise InvalidQuery(f"{option} names nothing", remedy=f"Leave {option} out, or say which")
    within = next((name for name in names or () if "*" in name[:-1]), None)
    if within is not None:
        raise InvalidQuery(f"{option}: a * ends a name, and {within!r} has one before its end", remedy="Write acme-*")


def _found_or_added(name: str, known: Sequence[Org | Team], what: str, add: Callable[[str], str]) -> str:
    """The id of what is called so.

    Raises `NoAccount` where one slip away something is there: a mistyped name would leave the budget of the one that
    was meant. Else it is added, without limits, and that is told.
    """
    from orchestrator.storage.account_types import NoAccount

    found = next((each.id for each in known if name in (each.name, each.id)), None)
    if found is not None:
        return found
    near = next((each.name for each in known if _is_slip(name, each.name)), None)
    if near is not None:
        raise NoAccount(
            f"there is no {what} {name!r}. Did you mean {near!r}?",
            remedy=f"If it is a new one: orchestrator {'orgs' if what == 'organisation' else 'teams'} add {name}",
        )
    made = add(name)
    if known:
        hint(f"{what} {name!r} is new, and has no limits")
    return made


def _is_slip(name: str, meant: str) -> bool:
    """Whether a name is one letter or case away from another, or has two letters swapped; `team-2` is none of `team-1`.

    That is a distance of Damerau (1964) of one, but for digits.
    """
    a, b = sorted((name.casefold(), meant.casefold()), key=len)
    if len(b) - len(a) == 1:
        return any(b[:n] + b[n + 1 :] == a and not b[n].isdigit() for n in range(len(b)))
    if len(a) != len(b):
        return False
    differ = [n for n in range(len(a)) if a[n] != b[n]]
    if len(differ) == 2:
        first, second = differ
        return second == first + 1 and a[first] == b[second] and a[second] == b[first]
    return len(differ) < 2 and not any(a[n].isdigit() or b[n].isdigit() for n in differ)


def _check_models(config: Path | None, models: Iterable[str]) -> None:
    """A name that no model has is kept, because one may get it; that it has none now is told.

    Raises `UnknownModel` where one slip away there is a model: such a key could ask nothing.
    """
    from orchestrator.errors import UnknownModel, did_you_mean

    if (stated := stated_config(config)) is None:
        return
    for name in models:
        if name not in (*stated.models, "auto") and not any(c in name for c in ":*"):
            near = next((model for model in stated.models if _is_slip(name, model)), None)
            if near is not None:
                raise UnknownModel(f"the configuration has no model {name!r}", remedy=f"Did you mean {near!r}?")
            hint(f"the configuration has no model {name!r}. {did_you_mean(name, stated.models)}")


@command.command("list")
@account_options
@as_json
@reports_errors
def list_(config: Path | None, database: str | None, as_json: bool) -> None:
    """List keys, without what they are: state, limits, what they spent and when they were last used."""
    from orchestrator.storage.accounts import Accounts

    found = accounts_database(config, database, makes_one=False)
    accounts = None if found is None else Accounts(found)
    keys = [] if accounts is None else accounts.keys()
    spent = {} if found is None else spending(found, "key")
    if as_json:
        told = [
            {**asdict(key), "spent_usd": _of(spent, key, "cost_usd") or 0.0, "last_used_at": _of(spent, key, "last_at")}
            for key in keys
        ]
        click.echo(json.dumps(told, indent=2))
        return
    if accounts is None or not keys:
        click.echo("no keys yet. Add one: orchestrator keys add NAME --usd 5 --period month")
        return
    owners = {org.id: org.name for org in accounts.orgs()} | {team.id: team.name for team in accounts.teams()}
    rows = []
    for key in keys:
        owner = "/".join(owners[id] for id in (key.org, key.team) if id is not None) or "operator"
        usd = _of(spent, key, "cost_usd") or 0.0
        last = written_moment(_of(spent, key, "last_at")) or "never"
        rows.append((key.name, owner, key.id, _state(key), _written(key), f"{usd:.4f}", last))
    print_table(("NAME", "OF", "ID", "STATE", "LIMITS", "SPENT USD", "LAST USED"), rows)


@command.command("rotate")
@click.argument("key")
@click.option(
    "--grace",
    type=FiniteRange(0, 2_592_000),
    default=0.0,
    show_default=True,
    help="Seconds that the old secret stays good.",
)
@account_options
@as_json
@reports_errors
def rotate(key: str, grace: float, config: Path | None, database: str | None, as_json: bool) -> None:
    """Give KEY a new secret and show it, this once: on standard output the secret alone."""
    accounts = existing_accounts(config, database)
    rotated, secret = accounts.rotate_key(accounts.key_called(key).id, grace_s=grace)
    note_command(accounts, "orchestrator keys rotate", rotated.org, rotated.id, {"grace_seconds": grace})
    if as_json:
        click.echo(json.dumps({**asdict(rotated), "key": secret}, indent=2))
        return
    click.echo(secret)
    old = f"the old one stays good for {grace:g} seconds" if grace else "the old one has ended"
    click.echo(f"{rotated.id}: {rotated.name}. The key is shown this once; {old}.", err=True)


@command.command("revoke")
@click.argument("key")
@account_options
@as_json
@reports_errors
def revoke(key: str, config: Path | None, database: str | None, as_json: bool) -> None:
    """End KEY for good."""
    accounts = existing_accounts(config, database)
    revoked = accounts.revoke_key(accounts.key_called(key).id)
    note_command(accounts, "orchestrator keys revoke", revoked.org, revoked.id, {})
    click.echo(json.dumps(asdict(revoked), indent=2) if as_json else f"revoked {revoked.name} ({revoked.id})")


def _written(key: Key) -> str:
    """What a key is held to, in words: its limits, then its models, scopes and permissions where they are not all."""
    from orchestrator.storage.account_types import DEFAULT_PERMISSIONS

    held = {"models": key.models, "scopes": key.scopes}
    if set(key.permissions) != set(DEFAULT_PERMISSIONS):
        held["may"] = key.permissions
    told = [f"{what} {', '.join(names)}" for what, names in held.items() if names is not None]
    return "; ".join(filter(None, [written_limits(key.limits), *told]))


def _state(key: Key) -> str:
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is None:
        return "valid"
    return f"{'expired' if key.expires_at <= time.time() else 'valid until'} {written_moment(key.expires_at)}"


def _of(spent: dict[str, JsonObject], key: Key, what: str) -> JsonValue:
    return spent[key.id][what] if key.id in spent else None


def _split(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())
