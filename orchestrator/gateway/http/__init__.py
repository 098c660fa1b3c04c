"""Requests and responses on plain ASGI, errors in each dialect, server-sent events, OpenAPI."""
