"""What outlives a process."""

from orchestrator.storage.decision_log import DecisionLog, LoggedDecision, LoggedDraft

__all__ = ["DecisionLog", "LoggedDecision", "LoggedDraft"]
