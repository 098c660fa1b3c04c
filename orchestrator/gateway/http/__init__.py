"""Requests and responses on plain ASGI, errors in each dialect, server-sent events, OpenAPI."""

from orchestrator._deprecated import old_names

__getattr__ = old_names(__name__)
