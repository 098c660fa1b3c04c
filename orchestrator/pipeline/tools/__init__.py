"""Tools that steps call.

Over HTTP, from an OpenAPI document, as SQL with bound parameters, or as a Python function (only if that is allowed).
"""

from orchestrator.pipeline.tools.tool import PipelineTool, StepParameter, read_tools

__all__ = ["PipelineTool", "StepParameter", "read_tools"]
