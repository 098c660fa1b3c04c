"""The engine as a server of the Model Context Protocol."""

from orchestrator.mcp.server import build_server

__all__ = ["build_server"]
