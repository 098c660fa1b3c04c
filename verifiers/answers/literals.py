"""Python and JSON literals in canonical spelling."""

from __future__ import annotations

import ast
import warnings

MAX_CHARS = 10_000


def literal_key(text: str) -> str | None:
    """`[1,2]` = `[1, 2]`, `'a'` = `"a"`; `None` if the text is no literal."""
    source = text.strip().strip("`").strip()
    if not source or len(source) > MAX_CHARS:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # `123and` is somebody's answer, not our source code
            value = ast.literal_eval(source)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None
    return value if isinstance(value, str) else repr(value)
