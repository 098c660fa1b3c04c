"""How many tokens a text or a request has, without a tokenizer."""

from orchestrator._deprecated import old_names

__getattr__ = old_names(__name__)
