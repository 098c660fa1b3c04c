"""How a chat completion comes about: asked, routed, passed through or searched."""
