"""What can go wrong in a run beside what the engine raises.

Mistakes in a file are told by `orchestrator.pipeline.language.diagnostics`.
"""

from __future__ import annotations

from orchestrator.errors import InvalidQuery
from orchestrator.tools.tool import ToolFailed

__all__ = ["InvalidInputs", "ToolFailed"]


class InvalidInputs(InvalidQuery):
    """What a run was given does not fit what the pipeline takes."""

    code = "invalid_inputs"
