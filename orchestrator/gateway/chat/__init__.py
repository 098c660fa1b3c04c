"""How a chat completion comes about: asked, routed, passed through or searched."""

from orchestrator._deprecated import old_names

__getattr__ = old_names(__name__)
