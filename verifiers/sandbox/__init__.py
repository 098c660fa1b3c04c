"""A place for code that nobody has read.

No network, no files but a private folder, no other processes, limited time, memory and output.
"""

from orchestrator.verifiers.sandbox.limits import Limits, Ran
from orchestrator.verifiers.sandbox.pool import Sandbox, SandboxUnavailable, level_at_hand

__all__ = ["Limits", "Ran", "Sandbox", "SandboxUnavailable", "level_at_hand"]
