"""Wire formats.

A request is a chat completion of OpenAI's on the way in, and so is the answer on the way out, whatever is spoken
between.
"""

from __future__ import annotations

from orchestrator.backends.dialects.dialect import Dialect, Outgoing, StreamReader
from orchestrator.providers.provider import DialectName

__all__ = ["Dialect", "Outgoing", "StreamReader", "dialect_named"]


def dialect_named(name: DialectName) -> Dialect:
    """The dialect of this name; its module is loaded when it is first needed."""
    if name == "chat":
        from orchestrator.backends.dialects.chat import ChatDialect  # one of four is needed

        return ChatDialect()
    if name == "anthropic":
        from orchestrator.backends.dialects.anthropic import AnthropicDialect  # one of four is needed

        return AnthropicDialect()
    if name == "gemini":
        from orchestrator.backends.dialects.gemini import GeminiDialect  # one of four is needed

        return GeminiDialect()
    from orchestrator.backends.dialects.responses import ResponsesDialect  # one of four is needed

    return ResponsesDialect()
