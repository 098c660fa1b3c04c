"""When two texts say the same: equal but for case, punctuation, spacing and empty words. Never because they are merely near in meaning.

"The office opens at nine" and "... at ten" have almost the same vector; merging such texts would lose one of them.
"""

from __future__ import annotations

import re

from memory.record import NewRecord
from memory.words import hashed_words

_TOKEN = re.compile(r"\w+(?:['’.,:]\w+)*|[^\w\s.,;:!?'’\"“”()\[\]-]")
_EMPTY = frozenset("a an the just really very oh um uh hmm please".split())
MIN_WORDS_IN_SESSION = 3


def canonical(record: NewRecord) -> str | None:
    """What two records have in common that say the same, or `None` for a record that stands for itself.

    A short reply ("Yes, I did.") means something else after each question: within a session, only texts of three content words or more can repeat
    another.
    """
    if record.session and len(set(hashed_words(record.text[:1_000]))) < MIN_WORDS_IN_SESSION:
        return None
    tokens = [token for token in _TOKEN.findall(record.text.casefold()) if token not in _EMPTY]
    return f"{record.speaker.casefold()}\n{' '.join(tokens)}" if tokens else None
