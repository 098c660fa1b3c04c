"""A fleet of language models that acts as one: routed, remembered, verified, budgeted.

Names are loaded when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator import _deprecated

if TYPE_CHECKING:
    from orchestrator.budget import Budget, Ledger
    from orchestrator.config.models import Config, OnlineConfig, load_config
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.errors import (
        BackendError,
        BudgetExceeded,
        ConfigError,
        InvalidBudget,
        InvalidQuery,
        NoAdequateModel,
        OrchestratorError,
        StorageError,
        UnknownAnswer,
        UnknownModel,
    )
    from orchestrator.pipeline import InvalidPipeline, Pipeline, RunFailed, RunResult
    from orchestrator.trace import Event, Trace
    from orchestrator.types import Answer, Candidate, Completion, Message, Query, Receipt, Usage

_deprecated.install()

__version__ = "0.1.0"
_HOME = {
    **dict.fromkeys(("Budget", "Ledger"), "budget"),
    **dict.fromkeys(("Config", "OnlineConfig", "load_config"), "config.models"),
    "Orchestrator": "engine.orchestrator",
    **dict.fromkeys(
        (
            "BackendError",
            "BudgetExceeded",
            "ConfigError",
            "InvalidBudget",
            "InvalidQuery",
            "NoAdequateModel",
            "OrchestratorError",
            "StorageError",
            "UnknownAnswer",
            "UnknownModel",
        ),
        "errors",
    ),
    **dict.fromkeys(("InvalidPipeline", "Pipeline", "RunFailed", "RunResult"), "pipeline"),
    **dict.fromkeys(("Event", "Trace"), "trace"),
    **dict.fromkeys(("Answer", "Candidate", "Completion", "Message", "Query", "Receipt", "Usage"), "types"),
}
__all__ = [
    "Answer",
    "BackendError",
    "Budget",
    "BudgetExceeded",
    "Candidate",
    "Completion",
    "Config",
    "ConfigError",
    "Event",
    "InvalidBudget",
    "InvalidPipeline",
    "InvalidQuery",
    "Ledger",
    "Message",
    "NoAdequateModel",
    "OnlineConfig",
    "Orchestrator",
    "OrchestratorError",
    "Pipeline",
    "Query",
    "Receipt",
    "RunFailed",
    "RunResult",
    "StorageError",
    "Trace",
    "UnknownAnswer",
    "UnknownModel",
    "Usage",
    "load_config",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'orchestrator' has no attribute {name!r}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(f"orchestrator.{_HOME[name]}"), name)
    return found
