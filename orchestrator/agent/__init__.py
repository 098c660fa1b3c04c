"""Runs that use tools: a model proposes calls, they are executed within a budget, until there is an answer."""

from orchestrator.agent.approval import ApprovalRequest, Approve
from orchestrator.agent.journal import RunStore
from orchestrator.agent.loop import AgentLoop, RunLimits

__all__ = ["AgentLoop", "ApprovalRequest", "Approve", "RunLimits", "RunStore"]
