"""Conversations: what was said is kept, and each prompt holds what this turn needs of it, within a token budget."""

from orchestrator.conversation.context import ContextPolicy, Window, choose_window
from orchestrator.conversation.exports import as_anthropic, as_openai
from orchestrator.conversation.store import ConversationStore, StoredConversation, Turn

__all__ = [
    "ContextPolicy",
    "ConversationStore",
    "StoredConversation",
    "Turn",
    "Window",
    "as_anthropic",
    "as_openai",
    "choose_window",
]
