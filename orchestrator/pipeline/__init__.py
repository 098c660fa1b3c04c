"""Declarative pipelines: a workflow in one readable YAML file, checked before it runs, resumed where it stopped. Names are loaded when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.pipeline.diagnostics import Diagnostic, InvalidPipeline
    from orchestrator.pipeline.host import Host, ToolFailed
    from orchestrator.pipeline.pipeline import InvalidInputs, Pipeline
    from orchestrator.pipeline.result import RunCancelled, RunFailed, RunResult, StepResult, UnknownRun
    from orchestrator.pipeline.step import Inner, Step

_HOME = {
    **dict.fromkeys(("Diagnostic", "InvalidPipeline"), "diagnostics"),
    **dict.fromkeys(("Host", "ToolFailed"), "host"),
    **dict.fromkeys(("InvalidInputs", "Pipeline"), "pipeline"),
    **dict.fromkeys(("RunCancelled", "RunFailed", "RunResult", "StepResult", "UnknownRun"), "result"),
    **dict.fromkeys(("Inner", "Step"), "step"),
}
__all__ = [
    "Diagnostic",
    "Host",
    "Inner",
    "InvalidInputs",
    "InvalidPipeline",
    "Pipeline",
    "RunCancelled",
    "RunFailed",
    "RunResult",
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
