"""When two texts say the same: equal but for case, punctuation, spacing and empty words.

Never because they are merely near in meaning.

"The office opens at nine" and "... at ten" have almost the same vector; merging such texts would lose one of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.memory.record import NewRecord
from orchestrator.memory.text.words import hashed

_DROPPED = str.maketrans({**dict.fromkeys(".,;:!'’\"“”()[]", " "), "?": " ? "})
_EMPTY = frozenset("a an the just really very oh um uh hmm please".split())
MIN_WORDS_IN_SESSION = 3


def canonical(record: NewRecord, words: Sequence[str]) -> str | None:
    """What two records have in common that say the same, or `None` for a record that stands for itself.

    `words` are those of its text.

    A short reply ("Yes, I did.") means something else after each question: within a session, only texts of three
    content words or more can repeat another.
    """
    if record.session and len(set(hashed(words[:100]))) < MIN_WORDS_IN_SESSION:
        return None
    tokens = [token for token in record.text.casefold().translate(_DROPPED).split() if token not in _EMPTY]
    return f"{record.speaker.casefold()}\n{record.heading.casefold()}\n{' '.join(tokens)}" if tokens else None
