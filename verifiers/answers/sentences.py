"""Where a value ends in its sentence, and what stands around it."""

from __future__ import annotations

import re

from orchestrator.verifiers.answers.pattern import Pattern
from orchestrator.verifiers.answers.value_types import SENTENCE_FINAL

APPROXIMATELY = Pattern(
    r"(?:(?:about|approximately|approx\.?|around|roughly|nearly|almost|exactly|only|just|precisely|circa|ca\.|etwa"
    r"|ungefähr|rund|circa|genau|aproximadamente|cerca de|alrededor de|unos|environ|"
    r"à peu près|exactement|exactamente|около|примерно|ровно|大约|大約|约|約|लगभग|حوالي|تقريبا)\s?|[~≈≃∼]\s?)",
    re.IGNORECASE,
)


_LEAD = Pattern(
    r"(?:(?:it|that|this|[a-zA-Z]|there|they|he|she|we|which|so|thus|therefore|the (?:total|number|amount|cost|price"
    r"|value|sum|result|answer|difference|distance|area))\s+)?"
    r"(?:(?:is|are|was|were|has|have|had|equals?|costs?|takes?|makes?|will be|would be|comes to|amounts to|="
    r"|:)\s+)(?:a total of\s+|equal to\s+)?",
    re.IGNORECASE,
)


_ENDS = Pattern(
    r"\s{0,3}(?:\Z|[.!?。！？।]+(?:\s|\Z|[\"'”*`)\][])|[,;:，；：、](?:\s|\Z|(?=\D))|[)\]}\"'”*`»」|]|[–—-]{1,2}\s|\s?\(|\s?\["
    r"|\s→|\n|$)"
)


_CLAUSE = Pattern(
    r"\s+(?:because|since|as|not|rather|which|where|when|in|on|at|for|with|by|from|of|to|rounded|after|before|each"
    r"|per|total|altogether|overall|more|less|left|so|and|or|if|but|is|are|was|were|und|weil|da|nicht|porque|no|car"
    r"|parce|pas|não|потому|а|не|is|respectively|according|due|based|given|assuming|than)\b|(?:个|個|名|本|只|人|件|頭|匹|冊|枚"
    r"|つ)"
)


_NOUN = Pattern(r"\s+(?P<noun>[^\W\d_][^\W\d_'’-]+(?:[\s-]+[^\W\d_][^\W\d_'’-]+){0,5})")


_CONTINUES = Pattern(
    r"\s*(?:[*×·÷^²³√!+<>≤≥≠=±|_≡≈]|\s(?:in|out of)\s\d|\s?:\s?\d|\s?(?:sqrt|root|binom|sin|cos|tan|log|ln|exp)\(|\*\*"
    r"|(?<=\d)[A-Za-z(π]"
    r"|/\s*[A-Za-z(\d]|\s-\s?[\dA-Za-z(]|-(?=[A-Za-z(]\b)|\s(?:pi|π"
    r"|i|e|[xyznkabct])(?:\b|(?=[\^²³]))(?!\s[a-z]{2,}))"
)


SENTENCE_END = Pattern(
    r"(?<![\d.])\.(?=\s|\Z)|(?<=\d)\.(?=\s+[^\W\d]|\Z)|(?<![\d)])(?<!\b[a-zA-Z])!(?=\s|\Z)|\?(?=\s|\Z)|[;。！？।\n]"
    r"|\s[–—]\s|,?\s(?:because|since|which"
    r"|where|whereas|so that|weil|porque|parce que|car|потому что|ponieważ)\s|,\s?(?:not|nicht|no|pas|não|не|as|so"
    r"|but|and not)\s|\s(?:not|instead of|rather than)\s(?=[\d$(])|\s\((?=[a-z])"
)


def is_continued(text: str, end: int) -> bool:
    """Whether what stands behind a number makes something else of it: an operator, a letter, a power."""
    return bool(_CONTINUES.match(text, end))


def without_lead(text: str) -> str:
    """`it is 5`, `x costs $5` without the words in front of the value."""
    found = _LEAD.match(text)
    return text[found.end() :] if found and found.end() else text


def ends_at(text: str, end: int) -> bool:
    """Whether a value may end here: a sentence or clause ends, or plain words follow."""
    if end >= len(text):
        return True
    if _CONTINUES.match(text, end):
        return False
    return (
        any(pattern.match(text, end) for pattern in (_ENDS, _CLAUSE, _NOUN, SENTENCE_FINAL))
        or text[end : end + 1] in "个個名只人本件"
    )


def is_alone(text: str, end: int) -> bool:
    """Whether nothing but punctuation follows."""
    return not text[end:].strip(" .,;:!?*\"'`")


def noun_behind(text: str, end: int) -> str:
    """The words that a number at whose `end` this is counts ("duck eggs"), in small letters; "" for none."""
    clause = _CLAUSE.match(text, end)
    found = None if clause else _NOUN.match(text, end)
    return found["noun"].lower() if found else ""


def end_of_sentence(text: str, start: int) -> int:
    """Where the sentence or clause around `start` ends."""
    found = SENTENCE_END.search(text, start)
    return found.start() if found else len(text)
