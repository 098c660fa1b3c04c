"""Logs as arguments of a command.

Files of graded outcomes in any format that `orchestrator.router.learning.outcomes` reads, or this fleet's own decision
log (.db).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from orchestrator.router.learning.outcomes import Log
    from orchestrator.router.learning.replay import ReplayedDecision
    from orchestrator.storage import DecisionLog


MOST_TOLD = 8


def read_outcomes(paths: Sequence[Path]) -> Log:
    """Everything that the files hold. Raises `ConfigError` that says which file and row is wrong."""
    from orchestrator.router.learning.outcomes import Log, read_log

    found = Log()
    for path in paths:
        if path.suffix == ".db":
            with _decision_log(path) as log:
                found.outcomes += log.outcomes()
            continue
        with _explained():
            read = read_log(path)
        found.outcomes += read.outcomes
        found.unlabelled += read.unlabelled
        found.left_out.update(read.left_out)
    _tell_left_out(found)
    return found


def _tell_left_out(found: Log) -> None:
    """On standard error: what was passed over, most of all first, and queries without a score."""
    told = [f"{reason} ({count} times)" for reason, count in found.left_out.most_common(MOST_TOLD)]
    if len(found.left_out) > MOST_TOLD:
        told.append(f"{len(found.left_out) - MOST_TOLD} more")
    if found.unlabelled:
        told.append(f"{len(found.unlabelled)} queries have no score at all")
    for each in told:
        click.echo(f"left out: {each}", err=True)


def read_decisions(paths: Sequence[Path]) -> list[ReplayedDecision]:
    """Logged decisions with propensities. Raises `ConfigError`."""
    from orchestrator.router.learning import outcomes as files

    found: list[ReplayedDecision] = []
    for path in paths:
        if path.suffix == ".db":
            with _decision_log(path) as log:
                found += log.decisions()
            continue
        with _explained():
            found += files.read_decisions(path)
    return found


@contextmanager
def _decision_log(path: Path) -> Iterator[DecisionLog]:
    from orchestrator.errors import ConfigError
    from orchestrator.storage import DecisionLog

    if not path.exists():
        raise ConfigError(f"{path}: no such file", remedy="Keep a log first: online: {} in the configuration")
    log = DecisionLog(path)
    try:
        yield log
    finally:
        log.close()


@contextmanager
def _explained() -> Iterator[None]:
    from orchestrator.errors import ConfigError
    from orchestrator.router.learning.outcomes import LogError

    try:
        yield
    except LogError as error:
        form = 'a line is {"query": ..., "outcomes": {"small": {"score": 1}}} or {"query", "model", "score"}'
        raise ConfigError(error.message, remedy=error.remedy or f"Mend it: {form}") from None
