"""Which text of a conversation a decision should look at: the ask, without boilerplate, and what a short ask refers to.

Bounded in size.

"Yes, do it" after a hard plan is a hard query; ten thousand characters of tool descriptions around "hi" are still "hi".
"""

from __future__ import annotations

import re
from collections.abc import Sequence

SHORT_WORDS = 8
MAX_CONTEXT_CHARS = 800
MAX_SYSTEM_CHARS = 400
_SAYS_WHAT_TO_DO = re.compile(
    r"\?|\b(?:what|which|who|whom|whose|why|how|when|where|is|are|can|could|please|write|draft|list|give|explain"
    r"|describe|compare|analy[sz]e|summari[sz]e"
    r"|translate|rewrite|calculate|compute|find|solve|prove|derive|show|determine|evaluate|design|implement|fix|tell"
    r"|make|name|choose|complete)\b",
    re.IGNORECASE,
)
_OPENING = re.compile(
    r"<(system[-_]reminder|tools?|tool[-_]list|available[-_]tools|functions|environment(?:[-_]details)?|instructions"
    r"|rules|context)\b[^<>]{0,200}>",
    re.IGNORECASE,
)
_REFERS_BACK = re.compile(
    r"\b(?:it|this|that|those|these|them|yes|yeah|ok|okay|sure|continue|go (?:on|ahead)|do "
    r"so|proceed|again|same|instead|both|above|next)\b",
    re.IGNORECASE,
)


def judged_text(ask: str, history: Sequence[tuple[str, str]] = ()) -> str:
    """What a router should judge. `history` holds (role, text) of the earlier turns, oldest first.

    A self-contained ask stands for itself. One of at most 8 words that refers back, or of at most 2 words, is judged
    together with the last earlier ask and the end of the last answer. A system message counts where the ask does not
    say what to do ("Translate to French", then a bare sentence) and it is at most 400 characters long; longer ones and
    tool messages are the same for every query of an application.
    """
    own = without_wrappers(ask).strip() or ask
    words = own.split()
    if not any(role in ("user", "assistant") for role, _ in history) and not _SAYS_WHAT_TO_DO.search(
        own[:MAX_CONTEXT_CHARS]
    ):
        task = next((without_wrappers(text).strip() for role, text in history if role in ("system", "developer")), "")
        return f"{task}\n{own}" if 0 < len(task) <= MAX_SYSTEM_CHARS else own
    if len(words) > SHORT_WORDS or not (len(words) <= 2 or _REFERS_BACK.search(own)):
        return own
    earlier_ask = next((text for role, text in reversed(history) if role == "user"), "")
    answer = next((text for role, text in reversed(history) if role == "assistant"), "")
    context = [without_wrappers(earlier_ask).strip()[:MAX_CONTEXT_CHARS], answer.strip()[-MAX_CONTEXT_CHARS:]]
    return "\n".join([*(part for part in context if part), own])


def without_wrappers(text: str) -> str:
    """The text without `<tools>...</tools>` and the like.

    In linear time, whatever the text: a tag that never closes is searched for once.
    """
    if "<" not in text:
        return text
    lowered = text.lower()
    if len(lowered) != len(text):  # a few letters have longer small forms: positions would shift
        lowered = text
    kept, position, unclosed = [], 0, set()
    for opening in _OPENING.finditer(lowered):
        tag = opening[1]
        if opening.start() < position or tag in unclosed:
            continue
        closing = lowered.find(f"</{tag}>", opening.end())
        if closing < 0:
            unclosed.add(tag)
            continue
        kept.append(text[position : opening.start()])
        position = closing + len(tag) + 3
    return " ".join([*kept, text[position:]])
