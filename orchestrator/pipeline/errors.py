"""What can go wrong in a run beside what the engine raises.

Mistakes in a file are told by `orchestrator.pipeline.language.diagnostics`.
"""

from __future__ import annotations

from orchestrator.errors import InvalidQuery, OrchestratorError


class InvalidInputs(InvalidQuery):
    """What a run was given does not fit what the pipeline takes."""

    code = "invalid_inputs"


class ToolFailed(OrchestratorError):
    """A tool gave no result. `may_have_happened` says that what it changes may have been changed."""

    code = "tool"

    def __init__(
        self,
        message: str,
        *,
        remedy: str = "",
        retryable: bool = False,
        may_have_happened: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.retryable = retryable
        self.may_have_happened = may_have_happened
        self.retry_after_s = retry_after_s
