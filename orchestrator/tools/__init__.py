"""Tools: what a model may have done outside of it, each with stated effects, limits and a schema."""

from orchestrator.tools.function import tool
from orchestrator.tools.tool import CallContext, Effects, Tool, ToolFailed
from orchestrator.tools.toolset import Catalog, ToolLike, ToolSet

__all__ = ["CallContext", "Catalog", "Effects", "Tool", "ToolFailed", "ToolLike", "ToolSet", "tool"]
