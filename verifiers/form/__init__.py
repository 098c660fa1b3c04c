"""Checks of an answer's form: schema, length, pattern, language, personal data, safety."""

from orchestrator._deprecated import old_names

__getattr__ = old_names(__name__)
