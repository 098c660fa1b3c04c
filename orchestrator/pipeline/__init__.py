"""Declarative pipelines: a workflow in one readable YAML file, checked before it runs, resumed where it stopped.

Names are loaded when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.pipeline.errors import InvalidInputs, ToolFailed
    from orchestrator.pipeline.execution.result import RunCancelled, RunFailed, RunResult, StepResult, UnknownRun
    from orchestrator.pipeline.execution.runtime import Runtime
    from orchestrator.pipeline.expressions.types import ANY, BOOL, LIST, NUMBER, OBJECT, TEXT, ValueType
    from orchestrator.pipeline.language.contracts import CheckContext, StepContext
    from orchestrator.pipeline.language.diagnostics import Diagnostic, InvalidPipeline
    from orchestrator.pipeline.language.fields import (
        ConditionField,
        ListField,
        NumberField,
        ObjectField,
        TextField,
        ValueField,
    )
    from orchestrator.pipeline.language.step import Inner, Step
    from orchestrator.pipeline.pipeline import Pipeline

_HOME = {
    **dict.fromkeys(("InvalidInputs", "ToolFailed"), "errors"),
    **dict.fromkeys(("Diagnostic", "InvalidPipeline"), "language.diagnostics"),
    **dict.fromkeys(("Runtime",), "execution.runtime"),
    **dict.fromkeys(("Pipeline",), "pipeline"),
    **dict.fromkeys(("RunCancelled", "RunFailed", "RunResult", "StepResult", "UnknownRun"), "execution.result"),
    **dict.fromkeys(("Inner", "Step"), "language.step"),
    **dict.fromkeys(("CheckContext", "StepContext"), "language.contracts"),
    **dict.fromkeys(
        ("ConditionField", "ListField", "NumberField", "ObjectField", "TextField", "ValueField"), "language.fields"
    ),
    **dict.fromkeys(("ANY", "BOOL", "LIST", "NUMBER", "OBJECT", "TEXT", "ValueType"), "expressions.types"),
}
__all__ = [
    "ANY",
    "BOOL",
    "LIST",
    "NUMBER",
    "OBJECT",
    "TEXT",
    "CheckContext",
    "ConditionField",
    "Diagnostic",
    "Inner",
    "InvalidInputs",
    "InvalidPipeline",
    "ListField",
    "NumberField",
    "ObjectField",
    "Pipeline",
    "RunCancelled",
    "RunFailed",
    "RunResult",
    "Runtime",
    "Step",
    "StepContext",
    "StepResult",
    "TextField",
    "ToolFailed",
    "UnknownRun",
    "ValueField",
    "ValueType",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'orchestrator.pipeline' has no attribute {name!r}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(f"orchestrator.pipeline.{_HOME[name]}"), name)
    return found
