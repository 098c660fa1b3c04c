"""Is it an answer at all? Models return nothing, refuse, or say that they do not know; none of that is evidence for another answer like it.

The plainest kinds: an empty text, and one that as a whole says that it does not know. What is said beside an answer ("I am not sure, but 42") is none
of them.
"""

from __future__ import annotations

import re
from typing import Literal

NotAnAnswer = Literal["empty", "does_not_know"]
MAX_CHARS = 200
_UNKNOWING = re.compile(
    r"(?:i(?: am|['’]m) (?:sorry|afraid)[,.]?\s*(?:but\s+)?)?(?:unfortunately,?\s*)?"
    r"(?:i (?:really )?(?:do not|don['’]t|cannot|can['’]t) (?:know|say|tell|answer(?: (?:that|this|the question|it))?)|i have no idea|no idea|unknown"
    r"|(?:there is )?not enough (?:information|context|data)(?: (?:to answer|is given|given|provided).{0,40})?|n/?a"
    r"|none of the (?:notes|sources) say.{0,30}|i (?:do not|don['’]t) have (?:that|this|any|enough|the) information.{0,60})(?: that| this| it)?[.!]*",
    re.IGNORECASE | re.DOTALL,
)


def why_no_answer(text: str) -> NotAnAnswer | None:
    """Of which kind a text is that is no answer; `None` for an answer."""
    said = text.strip()
    if not said:
        return "empty"
    return "does_not_know" if len(said) <= MAX_CHARS and _UNKNOWING.fullmatch(said) else None
