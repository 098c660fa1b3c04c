"""What outlives a process."""

from orchestrator.storage.decisions import DecisionLog, LoggedDecision, LoggedDraft

__all__ = ["DecisionLog", "LoggedDecision", "LoggedDraft"]
