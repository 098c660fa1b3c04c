"""Declarative pipelines: a workflow in one readable YAML file, checked before it runs, resumed where it stopped.

Names are loaded when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.pipeline.errors import InvalidInputs, ToolFailed
    from orchestrator.pipeline.execution.result import RunCancelled, RunFailed, RunResult, StepResult, UnknownRun
    from orchestrator.pipeline.execution.runtime import Runtime
    from orchestrator.pipeline.language.diagnostics import Diagnostic, InvalidPipeline
    from orchestrator.pipeline.language.step import Inner, Step
    from orchestrator.pipeline.pipeline import Pipeline

_HOME = {
    **dict.fromkeys(("InvalidInputs", "ToolFailed"), "errors"),
    **dict.fromkeys(("Diagnostic", "InvalidPipeline"), "language.diagnostics"),
    **dict.fromkeys(("Runtime",), "execution.runtime"),
    **dict.fromkeys(("Pipeline",), "pipeline"),
    **dict.fromkeys(("RunCancelled", "RunFailed", "RunResult", "StepResult", "UnknownRun"), "execution.result"),
    **dict.fromkeys(("Inner", "Step"), "language.step"),
}
__all__ = [
    "Diagnostic",
    "Inner",
    "InvalidInputs",
    "InvalidPipeline",
    "Pipeline",
    "RunCancelled",
    "RunFailed",
    "RunResult",
    "Runtime",
    "Step",
    "StepResult",
    "ToolFailed",
    "UnknownRun",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'orchestrator.pipeline' has no attribute {name!r}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(f"orchestrator.pipeline.{_HOME[name]}"), name)
    return found
