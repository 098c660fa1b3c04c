"""What tenants may know.

Addresses of providers are the operator's business, wherever a message, an event or a trace names them.
"""

from __future__ import annotations

import re

from orchestrator.jsontypes import JsonValue

_ADDRESS = re.compile(r"(?:\s+at)?\s*\bhttps?://[^\s;,)\"'>\]]*[^\s;,:.)\"'>\]]", re.IGNORECASE)
_PEER = re.compile(r"\b(cannot connect to|no connection to) \S+?(?=:? |$)")


def without_addresses(value: JsonValue) -> JsonValue:
    """The same text, or the same JSON value with its texts, without addresses."""
    if isinstance(value, str):
        return _PEER.sub(r"\1 its server", _ADDRESS.sub("", value)) if "://" in value or "connect" in value else value
    if isinstance(value, dict):
        return {name: without_addresses(each) for name, each in value.items()}
    if isinstance(value, list):
        return [without_addresses(each) for each in value]
    return value
