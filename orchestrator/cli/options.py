"""Options that several commands share, and how they end: output, errors, exit codes.

Exit codes: 0 answered, 1 no answer (no adequate model, budget, backend), 2 wrong use (options, configuration, query).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import sys
import textwrap
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, Unpack

import click

if TYPE_CHECKING:
    from orchestrator.config.models import Config, MemoryConfig
    from orchestrator.engine.fleet_settings import FleetSettings
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.errors import OrchestratorError

P = ParamSpec("P")
MEMORY_PATH = ".orchestrator/memory.db"

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
MAX_ERROR_LINES = 3


class DefaultGroup(click.Group):
    """Commands, of which `run` is meant where none is named: `orchestrator distill news.yaml`."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Names `run` where the first argument is no command."""
        options = ("-h", "--help")
        if args and args[0] not in self.commands and args[0] not in options:
            args = ["run", *args]
        return super().parse_args(context, args)

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Says where the options are that stand without a command."""
        with formatter.section("Options where no command is named"):
            formatter.write_text(f"{context.command_path} run --help")
        super().format_epilog(context, formatter)


def _set_quiet(context: click.Context, option: click.Parameter, is_quiet: bool) -> None:
    if is_quiet:
        be_quiet()


quiet_option = click.option(
    "-q", "--quiet", is_flag=True, expose_value=False, callback=_set_quiet, help="Print the result only."
)
SHIPPED_ENCODERS = ("static", "minilm", "multilingual")
encoder_option = click.option(
    "--encoder",
    type=click.Choice(SHIPPED_ENCODERS),
    help="What turns texts into vectors [default: the configured one].",
)
usd_option = click.option(
    "--usd",
    "--budget",
    "usd",
    type=float,
    help="Spend at most this many USD; the budget of the configuration holds as well.",
)
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


_CONTROLS = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]"
)
_QUIET: list[bool] = []  # what `--quiet` says, for the whole process


def be_quiet() -> None:
    """Prints results and errors only, from now on."""
    _QUIET.append(True)


def hint(text: str) -> None:
    """Prints something beside the result, on standard error; nothing with `--quiet`."""
    if not _QUIET:
        click.echo(click.style(text, dim=True), err=True)


def is_quiet() -> bool:
    """Whether only results are printed."""
    return bool(_QUIET)


def printable(text: str) -> str:
    """Text for a terminal: without the control characters with which a model, or a note, could take it over."""
    return _CONTROLS.sub("", text)


def error_lines(message: str, remedy: str, width: int) -> list[str]:
    """An error in at most three lines of `width` characters: what happened, and one remedy.

    A message of several lines (mistakes in a file, each with its place) stays as it is.
    """
    if "\n" in message:
        return [*message.splitlines(), *([remedy] if remedy else [])]
    helps = textwrap.wrap(remedy, width, max_lines=MAX_ERROR_LINES - 1, placeholder=" ...")
    first = f"error: {message}{'' if message.endswith(('.', '?', '!')) else '.'}"
    told = textwrap.wrap(first, width, max_lines=MAX_ERROR_LINES - len(helps), placeholder=" ...")
    return [*told, *helps]


def show_error(error: OrchestratorError) -> None:
    """Prints an error for people, on standard error."""
    if hasattr(error, "diagnostics"):
        click.echo(str(error), err=True)
        return
    if not sys.stderr.isatty():  # a log, or a program that looks for words
        click.echo(f"error: {error}", err=True)
        return
    lines = error_lines(printable(error.message), printable(error.remedy), max(shutil.get_terminal_size().columns, 40))
    if lines[0].startswith("error:"):
        lines[0] = click.style("error", fg="red", bold=True) + lines[0].removeprefix("error")
    click.echo("\n".join(lines), err=True)


def reports_errors(function: Callable[P, None]) -> Callable[P, None]:
    """Turns our errors into a clear line (or, with --json, an object) and an exit code."""

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        from orchestrator.errors import (
            ConfigError,
            InvalidArgument,
            InvalidBudget,
            InvalidQuery,
            OrchestratorError,
            UnknownModel,
        )
        from orchestrator.memory.errors import MemoryFailure

        try:
            function(*args, **kwargs)
        except OrchestratorError as error:
            if kwargs.get("as_json"):
                click.echo(json.dumps({"error": error.as_dict()}, indent=2))
            else:
                show_error(error)
            mistakes = (ConfigError, InvalidArgument, InvalidQuery, InvalidBudget, UnknownModel, MemoryFailure)
            raise SystemExit(2 if isinstance(error, mistakes) else 1) from None
        except KeyboardInterrupt:
            raise SystemExit(130) from None

    return wrapper


def engine_options(function: Callable[P, None]) -> Callable[P, None]:
    """The options of every command that works with an orchestrator: scope, memory, configuration, JSON.

    Errors reported.
    """
    for option in (reports_errors, quiet_option, as_json, config_option, memory_option, scope_option):
        function = option(function)
    return function


def run_with(
    config: Path | None,
    memory_path: Path | None,
    job: Callable[[Orchestrator], Awaitable[None]],
    *,
    models: Sequence[str] = (),
    **settings: Unpack[FleetSettings],
) -> None:
    """Builds the orchestrator that the options describe (see `connect`), runs `job` with it, and closes it."""
    import asyncio

    asyncio.run(_run_with(config, memory_path, job, models, settings))


def run_with_memory(
    config: Path | None, memory_path: Path | None, job: Callable[[Orchestrator], Awaitable[None]]
) -> None:
    """`run_with` for commands that only look at what is remembered: they make no new file of a mistyped name."""
    from orchestrator.errors import ConfigError

    if memory_path is not None and "://" not in str(memory_path) and not memory_path.exists():
        raise ConfigError(
            f"there is no memory at {memory_path}", remedy="Check the path; `orchestrator remember` makes one"
        )
    run_with(config, memory_path, job)


async def _run_with(
    config: Path | None,
    memory_path: Path | None,
    job: Callable[[Orchestrator], Awaitable[None]],
    models: Sequence[str],
    settings: FleetSettings,
) -> None:
    async with await connect(config, memory_path, models=models, **settings) as orchestrator:
        await job(orchestrator)


async def connect(
    config: Path | None, memory_path: Path | None, *, models: Sequence[str] = (), **settings: Unpack[FleetSettings]
) -> Orchestrator:
    """The orchestrator that the options describe: by the configuration, else by what is at hand.

    Without a configuration, `models` may be any that `Orchestrator` takes by name (`openai/gpt-5-mini`).
    """
    from orchestrator.config.models import DEFAULT_NAME, load_config
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.fleet.build import fleet_at_hand

    chosen = config or _default_config(DEFAULT_NAME)
    if chosen is not None:
        parsed = load_config(chosen)
        if memory_path is not None:
            parsed = parsed.model_copy(update={"memory": memory_config(chosen, memory_path)})
        return Orchestrator.from_config(parsed, **settings)
    found = await fleet_at_hand()
    without_provider = {name.rpartition("/")[2] for name in found.backends}  # told by the fleet: did you mean ...
    are_found = without_provider.union(found.backends).issuperset(models)
    origin = found.origin if are_found else "the models that were named"
    settings = {"memory": memory_path or MEMORY_PATH, "origin": origin, **settings}
    if are_found:
        return Orchestrator(found.backends, **settings)
    return Orchestrator(*(found.backends.get(name, name) for name in dict.fromkeys(models)), **settings)


def kept_config(config: Path | None, *, otherwise: Path | None = None) -> Config:
    """The configuration that says where things are kept: the options', `otherwise` a file, else the usual places."""
    from orchestrator.config.models import load_config, parse_config

    found = stated_config(config)
    if found is not None:
        return found
    if otherwise is not None:
        return load_config(otherwise)
    return parse_config("models: {calculator: {provider: calculator}}")


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


def default_config() -> Path | None:
    """The configuration in this folder; `None` if there is none."""
    from orchestrator.config.names import DEFAULT_NAME

    return _default_config(DEFAULT_NAME)


def time_option(text: str) -> datetime:
    """A date, or a date and time of ISO 8601, given as an option."""
    from orchestrator.errors import InvalidQuery
    from orchestrator.memory import InvalidRecord
    from orchestrator.memory.ingest.documents import read_time

    try:
        return read_time(text)
    except InvalidRecord as error:
        raise InvalidQuery(str(error)) from None


def piped_in() -> str:
    """The text that is piped or redirected into the command; "" where nothing is.

    Raises `InvalidQuery` on what is no UTF-8.
    """
    from orchestrator.errors import InvalidQuery

    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError, AttributeError):  # closed, or not a file at all
        return ""
    if not (stat.S_ISFIFO(mode) or stat.S_ISREG(mode)):
        return ""
    content = sys.stdin.buffer.read()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidQuery(
            f"what is piped in is not UTF-8 (byte {error.start})", remedy="Attach it as a file: -a FILE"
        ) from None


def read_text(argument: str | None, *, what: str) -> str | bytes:
    """The argument, or standard input when it is `-` or missing and something is piped in."""
    if argument is not None and argument != "-":
        return argument
    if sys.stdin.isatty() and argument is None:
        raise click.UsageError(f"give {what} as an argument, or pipe it in")
    return sys.stdin.buffer.read()
