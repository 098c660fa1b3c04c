"""Tools that steps call.

Over HTTP, from an OpenAPI document, as SQL with bound parameters, or as a Python function (only if that is allowed).
"""

from orchestrator.pipeline.tools.tool import Parameter, PipelineTool, read_tools

__all__ = ["Parameter", "PipelineTool", "read_tools"]
