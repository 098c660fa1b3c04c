"""Options that several commands share, and how they end: output, errors, exit codes.

Exit codes: 0 answered, 1 no answer (no adequate model, budget, backend), 2 wrong use (options, configuration, query).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import click

from orchestrator.jsontypes import JsonObject

if TYPE_CHECKING:
    from orchestrator.config.models import Config, MemoryConfig
    from orchestrator.engine.orchestrator import Orchestrator

P = ParamSpec("P")
MEMORY_PATH = ".orchestrator/memory.db"

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
config_option = click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Configuration file [default: orchestrator.yaml if there].",
)
scope_option = click.option("--scope", default="default", show_default=True, help="Whose memory: tenant/user/session.")
memory_option = click.option(
    "--memory",
    "memory_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"Memory file [default: {MEMORY_PATH}].",
)


def reports_errors(function: Callable[P, None]) -> Callable[P, None]:
    """Turns our errors into a clear line (or, with --json, an object) and an exit code."""

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        from orchestrator.errors import ConfigError, InvalidBudget, InvalidQuery, OrchestratorError, UnknownModel
        from orchestrator.memory.errors import MemoryFailure

        try:
            function(*args, **kwargs)
        except (OrchestratorError, MemoryFailure) as error:
            if kwargs.get("as_json"):
                plain = {"code": "memory", "message": str(error), "remedy": ""}
                detail = error.as_dict() if isinstance(error, OrchestratorError) else plain
                click.echo(json.dumps({"error": detail}, indent=2))
            else:
                told = "" if hasattr(error, "diagnostics") else f"{click.style('error', fg='red', bold=True)}: "
                click.echo(f"{told}{error}", err=True)
            is_mistake = isinstance(error, ConfigError | InvalidQuery | InvalidBudget | UnknownModel | MemoryFailure)
            raise SystemExit(2 if is_mistake else 1) from None
        except KeyboardInterrupt:
            raise SystemExit(130) from None

    return wrapper


def engine_options(function: Callable[P, None]) -> Callable[P, None]:
    """The options of every command that works with an orchestrator: scope, memory, configuration, JSON.

    Errors reported.
    """
    for option in (reports_errors, as_json, config_option, memory_option, scope_option):
        function = option(function)
    return function


def run_with(
    config: Path | None, memory_path: Path | None, job: Callable[[Orchestrator], Awaitable[None]], **settings: Any
) -> None:
    """Builds the orchestrator that the options describe, runs `job` with it, and closes it."""
    import asyncio

    asyncio.run(_run_with(config, memory_path, job, settings))


async def _run_with(
    config: Path | None,
    memory_path: Path | None,
    job: Callable[[Orchestrator], Awaitable[None]],
    settings: JsonObject,
) -> None:
    from orchestrator.config.models import DEFAULT_NAME, load_config
    from orchestrator.engine.orchestrator import Orchestrator

    chosen = config or _default_config(DEFAULT_NAME)
    if chosen is not None:
        parsed = load_config(chosen)
        if memory_path is not None:
            parsed = parsed.model_copy(update={"memory": memory_config(chosen, memory_path)})
        orchestrator = Orchestrator.from_config(parsed, **settings)
    else:
        orchestrator = await Orchestrator.at_hand(memory_path=memory_path or MEMORY_PATH, **settings)
    async with orchestrator:
        await job(orchestrator)


def memory_config(config: Path | None, memory_path: Path | None) -> MemoryConfig:
    """The memory that the options describe."""
    from orchestrator.config.models import DEFAULT_NAME, MemoryConfig, load_config

    chosen = config or _default_config(DEFAULT_NAME)
    found = (load_config(chosen).memory if chosen is not None else None) or MemoryConfig()
    return found if memory_path is None else found.model_copy(update={"path": str(memory_path)})


def stated_config(config: Path | None) -> Config | None:
    """The configuration that the options describe; `None` if there is none."""
    from orchestrator.config.models import DEFAULT_NAME, load_config

    chosen = config or _default_config(DEFAULT_NAME)
    return load_config(chosen) if chosen is not None else None


def _default_config(name: str) -> Path | None:
    return Path(name) if Path(name).exists() else None


def time_option(text: str) -> datetime:
    """A date, or a date and time of ISO 8601, given as an option."""
    from orchestrator.errors import InvalidQuery
    from orchestrator.memory import InvalidRecord
    from orchestrator.memory.ingest.documents import read_time

    try:
        return read_time(text)
    except InvalidRecord as error:
        raise InvalidQuery(str(error)) from None


def read_text(argument: str | None, *, what: str) -> str | bytes:
    """The argument, or standard input when it is `-` or missing and something is piped in."""
    if argument is not None and argument != "-":
        return argument
    if sys.stdin.isatty() and argument is None:
        raise click.UsageError(f"give {what} as an argument, or pipe it in")
    return sys.stdin.buffer.read()
