"""Which text of a conversation a decision should look at: the ask, without boilerplate, and what a short ask refers to. Bounded in size.

"Yes, do it" after a hard plan is a hard query; ten thousand characters of tool descriptions around "hi" are still "hi".
"""

from __future__ import annotations

import re
from collections.abc import Sequence

SHORT_WORDS = 8
MOST_CONTEXT_CHARS = 800
_WRAPPER = re.compile(
    r"<(system[-_]reminder|tools?|tool[-_]list|available[-_]tools|functions|environment(?:[-_]details)?|instructions|rules|context)\b[^>]*>.*?</\1>",
    re.IGNORECASE | re.DOTALL,
)
_REFERS_BACK = re.compile(
    r"\b(?:it|this|that|those|these|them|yes|yeah|ok|okay|sure|continue|go (?:on|ahead)|do so|proceed|again|same|instead|both|above|next)\b",
    re.IGNORECASE,
)


def judged_text(ask: str, history: Sequence[tuple[str, str]] = ()) -> str:
    """What a router should judge. `history` holds (role, text) of the earlier turns, oldest first.

    A self-contained ask stands for itself. One of at most 8 words that refers back, or of at most 2 words, is judged together with the
    last earlier ask and the end of the last answer. System and tool messages do not count: they are the same for every query of an application.
    """
    own = _WRAPPER.sub(" ", ask).strip() or ask
    words = own.split()
    if len(words) > SHORT_WORDS or not (len(words) <= 2 or _REFERS_BACK.search(own)):
        return own
    earlier_ask = next((text for role, text in reversed(history) if role == "user"), "")
    answer = next((text for role, text in reversed(history) if role == "assistant"), "")
    context = [_WRAPPER.sub(" ", earlier_ask).strip()[:MOST_CONTEXT_CHARS], answer.strip()[-MOST_CONTEXT_CHARS:]]
    return "\n".join([*(part for part in context if part), own])
