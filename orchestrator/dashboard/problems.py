"""What a page says of an error."""

from __future__ import annotations

import logging

from orchestrator.dashboard.host import DashboardError
from orchestrator.errors import OrchestratorError, StorageError

log = logging.getLogger(__name__)


def to_problem(error: Exception) -> DashboardError:
    """What a page says of an error; those of the package have a message for people."""
    if isinstance(error, DashboardError):
        return error
    if isinstance(error, StorageError):
        told = "the database cannot be read at the moment; it may be migrated or away"
        return DashboardError(503, told, remedy="Look again in a moment", kind="storage")
    if isinstance(error, OrchestratorError):
        return DashboardError(400, error.message, remedy=error.remedy, kind=error.code)
    log.exception("a page failed")
    return DashboardError(500, "an error of the dashboard; the log of the gateway has it", kind="internal")
