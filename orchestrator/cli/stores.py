"""Where the commands that look at requests find them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import stated_config

if TYPE_CHECKING:
    from orchestrator.storage.requests import Requests

TRACES_PATH = ".orchestrator/traces.db"
store_option = click.option(
    "--store",
    help="Where requests are: a file, or postgresql://... [default: traces.path of the configuration, else the "
    f"gateway's database, else {TRACES_PATH}].",
)


def open_requests(config: Path | None, store: str | None) -> Requests:
    """The requests at a path, or where the configuration says. Raises `ConfigError`, `StorageError`."""
    from orchestrator.errors import ConfigError
    from orchestrator.storage.database import open_database
    from orchestrator.storage.requests import Requests

    where = store or find_store(config)
    if not where.startswith("postgres") and not Path(where).exists():
        raise ConfigError(
            f"no requests are kept at {where}",
            remedy='Keep them: Orchestrator(..., traces="traces.db"), or traces: {path: ...} in the configuration',
        )
    return Requests(open_database(where))


def find_store(config: Path | None) -> str:
    """Where a configuration keeps requests: its traces, else its gateway's database where there is one."""
    stated = stated_config(config)
    if stated is not None:
        if stated.traces.path is not None:
            return stated.traces.path
        database = stated.gateway.database
        if database.startswith("postgres") or Path(database).exists():
            return database
    return TRACES_PATH


def whole_id(requests: Requests, beginning: str) -> str:
    """The only id that begins so. Raises `InvalidArgument`."""
    from orchestrator.errors import InvalidArgument

    found = requests.beginning_with(beginning)
    if len(found) > 1:
        raise InvalidArgument(f"several traces begin with {beginning!r}", remedy="Give more of the id")
    if not found:
        told = f"there is no trace {beginning!r} in {requests.database.where}"
        raise InvalidArgument(told, remedy="orchestrator top lists the newest")
    return found[0]
