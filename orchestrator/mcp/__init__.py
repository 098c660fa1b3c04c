"""The engine as a server of the Model Context Protocol."""

from orchestrator.mcp.host import HostError, LocalHost, McpHost
from orchestrator.mcp.server import build_server

__all__ = ["HostError", "LocalHost", "McpHost", "build_server"]
