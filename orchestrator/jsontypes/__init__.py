"""Names for values of JSON in signatures: what a client, a model or a file may have written, before it is checked.

They say what is meant, and are not checked further: a recursive type would have to be narrowed at every step of every
body.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

JsonValue: TypeAlias = Any
"""Any value of JSON: None, bool, int, float, str, list or dict."""

JsonObject: TypeAlias = dict[str, Any]
"""An object of JSON."""

JsonMapping: TypeAlias = Mapping[str, Any]
"""An object of JSON that is only read."""
