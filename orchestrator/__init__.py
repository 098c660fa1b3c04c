"""A fleet of language models that acts as one: routed, remembered, verified, budgeted.

Names are loaded when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator import _deprecated

if TYPE_CHECKING:
    from orchestrator.agent.approval import ApprovalRequest
    from orchestrator.backends.base import Backend, LocalBackend, Request
    from orchestrator.backends.local.calculator import CalculatorBackend
    from orchestrator.backends.local.extractive import ExtractiveBackend
    from orchestrator.backends.local.student import StudentBackend
    from orchestrator.backends.remote import RemoteBackend
    from orchestrator.budget import Budget, Ledger
    from orchestrator.config.models import Config, OnlineConfig, load_config
    from orchestrator.engine.batch import AnswerBatch, BatchProgress, QueryResult
    from orchestrator.engine.conversation import Conversation
    from orchestrator.engine.fleet_settings import FleetSettings
    from orchestrator.engine.orchestrator import Orchestrator
    from orchestrator.engine.settings import QuerySettings
    from orchestrator.engine.streaming import AnswerStream
    from orchestrator.errors import (
        BackendError,
        BackendRejected,
        BackendUnavailable,
        BadResponse,
        BlockingCall,
        BudgetExceeded,
        ConfigError,
        InvalidAnswer,
        InvalidArgument,
        InvalidBudget,
        InvalidQuery,
        NoAdequateModel,
        NotAwaited,
        OrchestratorError,
        RateLimited,
        StorageError,
        UnknownAnswer,
        UnknownModel,
    )
    from orchestrator.fleet.named import Model
    from orchestrator.memory import Memory, NewRecord
    from orchestrator.pipeline import InvalidPipeline, Pipeline, RunFailed, RunResult
    from orchestrator.router import Constraints, ModelProfile, Outcome, Preference, Router
    from orchestrator.storage.database import open_database
    from orchestrator.storage.runs import Runs
    from orchestrator.tools import CallContext, Tool, ToolFailed, tool
    from orchestrator.trace import Event, Trace
    from orchestrator.types import (
        AgentStep,
        Answer,
        CalledTool,
        Candidate,
        Completion,
        Message,
        Query,
        Receipt,
        TextDelta,
        TextRevised,
        ToolCall,
        Usage,
    )
    from orchestrator.verifiers import Verdict, Verifier

_deprecated.install()

__version__ = "0.1.0"
_HOME = {
    **dict.fromkeys(("Backend", "LocalBackend", "Request"), "backends.base"),
    "CalculatorBackend": "backends.local.calculator",
    "ExtractiveBackend": "backends.local.extractive",
    "StudentBackend": "backends.local.student",
    "RemoteBackend": "backends.remote",
    **dict.fromkeys(("Memory", "NewRecord"), "memory"),
    **dict.fromkeys(("Constraints", "ModelProfile", "Outcome", "Preference", "Router"), "router"),
    "open_database": "storage.database",
    "Runs": "storage.runs",
    **dict.fromkeys(("Verdict", "Verifier"), "verifiers"),
    **dict.fromkeys(("Budget", "Ledger"), "budget"),
    **dict.fromkeys(("Config", "OnlineConfig", "load_config"), "config.models"),
    **dict.fromkeys(("AnswerBatch", "BatchProgress", "QueryResult"), "engine.batch"),
    "ApprovalRequest": "agent.approval",
    "Conversation": "engine.conversation",
    "FleetSettings": "engine.fleet_settings",
    "Orchestrator": "engine.orchestrator",
    "QuerySettings": "engine.settings",
    "AnswerStream": "engine.streaming",
    **dict.fromkeys(
        (
            "BackendError",
            "BackendRejected",
            "BackendUnavailable",
            "BadResponse",
            "BlockingCall",
            "BudgetExceeded",
            "ConfigError",
            "InvalidAnswer",
            "InvalidArgument",
            "InvalidBudget",
            "InvalidQuery",
            "NoAdequateModel",
            "NotAwaited",
            "OrchestratorError",
            "RateLimited",
            "StorageError",
            "UnknownAnswer",
            "UnknownModel",
        ),
        "errors",
    ),
    "Model": "fleet.named",
    **dict.fromkeys(("InvalidPipeline", "Pipeline", "RunFailed", "RunResult"), "pipeline"),
    **dict.fromkeys(("Event", "Trace"), "trace"),
    **dict.fromkeys(("CallContext", "Tool", "ToolFailed", "tool"), "tools"),
    **dict.fromkeys(("AgentStep", "Answer", "CalledTool", "Candidate", "Completion", "Message", "Query"), "types"),
    **dict.fromkeys(("Receipt", "TextDelta", "TextRevised", "ToolCall", "Usage"), "types"),
}
__all__ = [
    "AgentStep",
    "Answer",
    "AnswerBatch",
    "AnswerStream",
    "ApprovalRequest",
    "Backend",
    "BackendError",
    "BackendRejected",
    "BackendUnavailable",
    "BadResponse",
    "BatchProgress",
    "BlockingCall",
    "Budget",
    "BudgetExceeded",
    "CalculatorBackend",
    "CallContext",
    "CalledTool",
    "Candidate",
    "Completion",
    "Config",
    "ConfigError",
    "Constraints",
    "Conversation",
    "Event",
    "ExtractiveBackend",
    "FleetSettings",
    "InvalidAnswer",
    "InvalidArgument",
    "InvalidBudget",
    "InvalidPipeline",
    "InvalidQuery",
    "Ledger",
    "LocalBackend",
    "Memory",
    "Message",
    "Model",
    "ModelProfile",
    "NewRecord",
    "NoAdequateModel",
    "NotAwaited",
    "OnlineConfig",
    "Orchestrator",
    "OrchestratorError",
    "Outcome",
    "Pipeline",
    "Preference",
    "Query",
    "QueryResult",
    "QuerySettings",
    "RateLimited",
    "Receipt",
    "RemoteBackend",
    "Request",
    "Router",
    "RunFailed",
    "RunResult",
    "Runs",
    "StorageError",
    "StudentBackend",
    "TextDelta",
    "TextRevised",
    "Tool",
    "ToolCall",
    "ToolFailed",
    "Trace",
    "UnknownAnswer",
    "UnknownModel",
    "Usage",
    "Verdict",
    "Verifier",
    "load_config",
    "open_database",
    "tool",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'orchestrator' has no attribute {name!r}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(f"orchestrator.{_HOME[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
