"""What a mistyped name probably means."""

from __future__ import annotations

import difflib

from orchestrator.config.names import DEFAULT_NAME as DEFAULT_NAME
from orchestrator.errors import closest

MAX_NAMED = 6  # of the names that a mistake might have meant


MAX_CHOICES = 12  # of the values of one field


def suggest(word: str, known: list[str], most: int = MAX_NAMED, *, page: str = "docs/configuration.md") -> str:
    """The end of a message about an unknown name: what was probably meant, or what there is.

    `page` names all, where they are too many.
    """
    close = closest(word, known)
    if close is not None:
        return f". Did you mean {close!r}?"
    beginnings = sorted(known, key=lambda name: (-difflib.SequenceMatcher(None, word, name).ratio(), name))
    if len(known) <= most:
        return f". Known: {', '.join(known)}" if known else ""
    return f". Known are {', '.join(beginnings[:most])} and {len(known) - most} more: {page}"
