"""When two texts certainly say the same.

They are equal but for spaces, composition of letters, the form of quotation marks and apostrophes, a full stop or
exclamation mark at the end, and the capital of an empty first word ("the" and "The"). Everything else can matter: "US"
and "us", "f(x)" and "f x", "I just ate" and "I ate", commas and digits, and the day on which "today" was said. Where in
doubt, both stay: "the office opens at nine" and "... at ten" have almost the same vector.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from orchestrator.memory.record import NewRecord
from orchestrator.memory.text.times import speaks_of_its_day
from orchestrator.memory.text.words import STOP_WORDS, hashed

_SAME_SIGNS = str.maketrans("’‘“”„«»", '\'\'"""""')
MIN_WORDS_IN_SESSION = 3


def canonical(record: NewRecord, words: Sequence[str]) -> str | None:
    """What two records have in common that say the same, or `None` for a record that stands for itself.

    `words` are those of its text.

    A short reply ("Yes, I did.") means something else after each question: within a session, only texts of three
    content words or more can repeat another. A line of a document is no reply.
    """
    is_of_document = bool(record.source) and not record.speaker
    if record.session and not is_of_document and len(set(hashed(words[:100]))) < MIN_WORDS_IN_SESSION:
        return None
    text = " ".join(unicodedata.normalize("NFC", record.text).translate(_SAME_SIGNS).split())
    text = text.rstrip(".!…。！ ") or text
    first, _, rest = text.partition(" ")
    if first.lower() in STOP_WORDS:
        first = first.lower()
    day = record.time.date() if record.time is not None and speaks_of_its_day(record.text) else ""
    return f"{record.speaker}\n{record.heading}\n{day}\n{first} {rest}"
