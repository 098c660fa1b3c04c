"""The values that pass between the parts: messages, queries, completions, candidates and answers. Immutable."""

from orchestrator.types.agent_step import AgentStep, CalledTool
from orchestrator.types.answer import Answer, Detail
from orchestrator.types.candidate import Candidate, Receipt, Way
from orchestrator.types.completion import Completion, Usage
from orchestrator.types.message import Message, Role
from orchestrator.types.query import MAX_QUERY_CHARS, Query
from orchestrator.types.stream import TextDelta, TextRevised
from orchestrator.types.tool_call import ToolCall

__all__ = [
    "MAX_QUERY_CHARS",
    "AgentStep",
    "Answer",
    "CalledTool",
    "Candidate",
    "Completion",
    "Detail",
    "Message",
    "Query",
    "Receipt",
    "Role",
    "TextDelta",
    "TextRevised",
    "ToolCall",
    "Usage",
    "Way",
]
