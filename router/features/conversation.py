"""Which text of a conversation a decision should look at: the ask, without boilerplate, and what a short ask refers to.

Bounded in size.

"Yes, do it" after a hard plan is a hard query; ten thousand characters of tool descriptions around "hi" are still "hi".
"""

from __future__ import annotations

import re
from collections.abc import Sequence

SHORT_WORDS = 10
MAX_CONTEXT_CHARS = 800
MAX_SYSTEM_CHARS = 400
LONG_CHARS, MAX_ASK_CHARS = 2_000, 600
_BLANK_LINE = re.compile(r"\n[ \t\r]*\n")
_SAYS_WHAT_TO_DO = re.compile(
    r"[?？؟]|\b(?:what|which|who|whom|whose|why|how|when|where|is|are|can|could|please|write|draft|list|give|explain"
    r"|describe|compare|analy[sz]e|summari[sz]e"
    r"|translate|rewrite|calculate|compute|find|solve|prove|derive|show|determine|evaluate|design|implement|fix|tell"
    r"|make|name|choose|complete)\b",
    re.IGNORECASE,
)
_ASKS = re.compile(
    r"[?？؟]|^\W*(?:please|can|could|what|which|who|whom|whose|why|how|when|where|write|draft|list|give|explain|describe"
    r"|compare|analy[sz]e|summari[sz]e|translate|rewrite|calculate|compute|find|solve|prove|derive|show|determine"
    r"|evaluate|design|implement|fix|tell|make|name|choose|complete|review|extract|answer)\b",
    re.IGNORECASE,
)
_OPENING = re.compile(
    r"<(system[-_]reminder|tools?|tool[-_]list|available[-_]tools|functions|environment(?:[-_]details)?|instructions"
    r"|rules|context)\b[^<>]{0,200}>",
    re.IGNORECASE,
)
_REFERS_BACK = re.compile(
    r"\b(?:it|its|this|that|those|these|them|they|yes|yeah|ok|okay|sure|continue|go (?:on|ahead)|do "
    r"so|proceed|again|same|instead|both|above|next|former|latter|rest|other|others|previous|earlier|last|full"
    r"|short(?:er)?"
    r"|longer|simpler|slow(?:er|ly)|in (?:more )?detail|steps?|parts?|points?|items?|lines?|equations?|lemmas?"
    r"|cases?|options?"
    r"|first|second|third|fourth|more|else|too|also|likewise|ones?)\b"
    r"|^\W*(?:and|but|or|so|then|what about|how about|what if|why(?: not)?\W*$|how so|use)\b",
    re.IGNORECASE,
)
# The same of German, French, Spanish, Portuguese, Italian, Russian, Chinese, Japanese, Korean and Arabic.
_REFERS_BACK_ABROAD = re.compile(
    r"^\W*(?:und|aber|oder|dann|was ist mit|warum|et|mais|ou|alors|y|e|pero|mas|o|entonces|então|ma|allora|а|и|но|или"
    r"|тогда|почему|ومع|و|لكن|ماذا عن|ثم)\b"
    r"|\b(?:das|dies\w*|es|beide\w*|nochmal|weiter|genauer|schritt|teil|erste\w*|zweite\w*|cela|ça|ceci|celui"
    r"|encore|continue"
    r"|étape|partie|première?|deuxième|eso|esto|otra vez|sigue|continúa|paso|parte|primer[oa]?|segund[oa]|isso"
    r"|isto|continua"
    r"|passo|primeir[oa]|questo|quello|ancora|это|этот|эта|ещё|снова|дальше|продолж\w+|шаг|часть|перв\w+"
    r"|втор\w+|هذا|ذلك"
    r"|تابع|خطوة)\b"
    r"|^(?:那|那么|继续|繼續|再|为什么|為什麼)|呢[？?]?$|这个|這個|第[一二三四五\d]|それ|その|続け|もっと"
    r"|もう一度|なぜ|では|그럼|그것|계속|다시|그리고",
    re.IGNORECASE,
)
_UNSPACED = re.compile("[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]")
CHARS_PER_WORD = 2  # in scripts without spaces


def judged_text(ask: str, history: Sequence[tuple[str, str]] = ()) -> str:
    """What a router should judge. `history` holds (role, text) of the earlier turns, oldest first.

    A self-contained ask stands for itself. One of at most 10 words that refers back ("And without unity?", "Explain
    step 2"; in eleven languages), or of at most 2 words, is judged together with the last earlier ask and the end of
    the last answer. A system message counts where the ask does not say what to do ("Translate to French", then a bare
    sentence) and it is at most 400 characters long; longer ones and tool messages are the same for every query of an
    application.
    """
    own = asked_of(without_wrappers(ask).strip() or ask)
    words = own.split()
    if not any(role in ("user", "assistant") for role, _ in history) and not _SAYS_WHAT_TO_DO.search(
        own[:MAX_CONTEXT_CHARS]
    ):
        task = next((without_wrappers(text).strip() for role, text in history if role in ("system", "developer")), "")
        return f"{task}\n{own}" if 0 < len(task) <= MAX_SYSTEM_CHARS else own
    n_words = len(words) + len(_UNSPACED.findall(own[:MAX_CONTEXT_CHARS])) // CHARS_PER_WORD
    refers_back = _REFERS_BACK.search(own) or _REFERS_BACK_ABROAD.search(own)
    if n_words > SHORT_WORDS or not (n_words <= 2 or refers_back):
        return own
    earlier_ask = next((text for role, text in reversed(history) if role == "user"), "")
    answer = next((text for role, text in reversed(history) if role == "assistant"), "")
    context = [without_wrappers(earlier_ask).strip()[:MAX_CONTEXT_CHARS], answer.strip()[-MAX_CONTEXT_CHARS:]]
    return "\n".join([*(part for part in context if part), own])


def asked_of(text: str) -> str:
    """What a long text asks: its last paragraph or its first one, if that is short and says what to do.

    What was pasted around a question is to be read, and says little about how hard the question is.
    """
    if len(text) < LONG_CHARS:
        return text
    paragraphs = _BLANK_LINE.split(text.strip())
    for paragraph in (paragraphs[-1].strip(), paragraphs[0].strip()):
        if 0 < len(paragraph) <= MAX_ASK_CHARS and _ASKS.search(paragraph):
            return paragraph
    return text


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
