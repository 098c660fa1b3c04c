"""Words as they are compared: folded, cut where a script has no spaces, content words only, stemmed, hashed.

Every word has the stem that English would give it (Porter 1980, frozen since), or its script's own; a text in another
language of Latin letters has that language's stems as well, so that a query whose language cannot be told still finds
it. What is stored rests on these functions, so they must not change without a new schema version of the store.
"""

from __future__ import annotations

import re
import threading
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.memory.text.languages import EMPTY_WORDS, language_of
from orchestrator.text.scripts import WORD, normalised, pieces_of, without_marks

_ASCII_WORD = re.compile(r"[a-z0-9]+")
_COMPOUND = re.compile(r"\b[A-Za-z](?:\+\+|#)|\b[A-Za-z]+(?<=[a-z])[A-Z][A-Za-z]*\b", re.ASCII)
_HUMP = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
MAX_CACHED_WORDS = 200_000
MAX_WORDS = 4_000
BEGINNING = 5
MAX_WORDS_OF_ANY_LANGUAGE = 1
STOP_WORDS = frozenset(
    "a about after all also an and any are as at be because been before being but by can could did do does "
    "doing done "
    "for from get got had has "
    "have having he her hers him his how i if in into is it its just like me my no nor not of off on or our out over "
    "own she should so some "
    "such than that the their them then there these they this those to too under until up us very was we were what "
    "when where which while "
    "who whom whose why will with would you your yours s t d ll m re ve tell please let know".split()
)
# Of scripts that have one language in use: empty words, or pairs of characters.
_EMPTY = frozenset(
    "的 了 是 在 我 你 他 她 们 吗 呢 吧 什 么 谁 哪 什么 哪里 怎么 时候 么时 这个 那个 一个 我们 你们 他们 "
    "哪儿 为什 多少 是谁 的是 "
    "です ます まし した でし いる ある する して から まで どこ いつ なに なん だれ ので のは には では とは "
    "とこ こと もの すか んで はど はい つで こで "
    "이다 니다 습니 합니 입니 니까 습니 세요 어디 언제 누구 무엇 에서 있는 있습 어요 "
    "и в во не на я ты он она мы вы они с со что как к по из у за от о это для где когда кто почему какой какая "
    "какие "
    "мой моя мои твой его ее их был была было есть ли же бы но а то "
    "και το η ο τα τη την του της οι στο στη στον στην με για που τι ποιος πως ποτε ειναι δεν εγω μου σου "
    "في من على الى إلى هو هي انا أنا ما هل اين أين متى كيف لماذا كم مع عن هذا هذه ذلك التي الذي كان لا "
    "של את אני הוא היא אנחנו מה מי איפה מתי איך למה עם על זה זאת לא כן "
    "है हैं का की के को में से मैं मेरा मेरी हम क्या कौन कहाँ कब कैसे क्यों और यह वह था थी "
    "คือ ที่ ของ และ เป็ ป็น".split()
)
_STEMMER_OF = (
    ("\u0370", "\u03ff", "greek"),
    ("\u0400", "\u052f", "russian"),
    ("\u0531", "\u058f", "armenian"),
    ("\u0600", "\u06ff", "arabic"),
    ("\u0900", "\u097f", "hindi"),
    ("\u0b80", "\u0bff", "tamil"),
)
_HEBREW_PREFIX = re.compile("[ובהלכמש](?=[א-ת]{3})")
_QUESTION_START = re.compile(
    r"^\s*(?:(?:what|which|who|whom|whose|when|where|why|how(?:\s+(?:many|much|long|often|old))?|is|are|was|were|do"
    r"|does|did|has|have|had|can|could|"
    r"would|will|should)\b(?:\s+(?:is|are|was|were|do|does|did|has|have|had|kinds?|types?|of|the|a|an)\b)*)",
    re.IGNORECASE,
)
_QUESTION_PARTS = re.compile(
    r"[？؟¿]|什么时候|什麼時候|什么|什麼|哪里|哪儿|哪裡|怎么|怎麼|为什么|為什麼|多少|是谁|是誰|谁|誰|吗|嗎|呢"
    r"|はいつですか|はどこですか|は誰ですか|は何ですか|ですか|ますか|いつ|どこ|だれ|언제|어디|누구|무엇|인가요|입니까"
    r"|^[\s¿]*(?:wo|wer|wann|warum|wie|welche[rsnm]?|où|qui|quand|comment|pourquoi|quel(?:le)?s?|dónde|quién"
    r"|cuándo|cómo"
    r"|cuál(?:es)?|onde|quem|quando|qual|quais|dove|chi|где|кто|когда|почему|как(?:ой|ая|ие|ое)?)\b"
    r"(?:\s+(?:ist|sind|war|hat|est|sont|es|está|están|são|è|sono)\b)?",
    re.IGNORECASE,
)
Hashes = NDArray[np.uint32]


class _Hashed(dict[str, int]):
    """The hash of each word's stem, computed when it turns up; 0 for a word that carries no content."""

    def __init__(self, language: str = "porter", empty: frozenset[str] = STOP_WORDS | _EMPTY) -> None:
        self._lock = threading.Lock()  # a stemmer holds the word that it works on
        self._language, self._empty = language, empty
        self._stemmers: dict[str, Any] = {}

    def __missing__(self, word: str) -> int:
        if word in self._empty:
            code = 0
        else:
            with self._lock:
                code = zlib.crc32(self._stem(word).encode("utf-8", "replace")) or 1
        if len(self) >= MAX_CACHED_WORDS:
            self.clear()
        self[word] = code
        return code

    def _stem(self, word: str) -> str:
        language = self._language
        if not word.isascii():
            language = next((name for first, last, name in _STEMMER_OF if first <= word[0] <= last), language)
        if language not in self._stemmers:
            import snowballstemmer  # heavy

            self._stemmers[language] = snowballstemmer.stemmer(language)
        return str(self._stemmers[language].stemWord(word))


_HASHED = _Hashed()
_HASHED_IN: dict[str, _Hashed] = {language: _Hashed(language, words) for language, words in EMPTY_WORDS.items()}


def words_in(text: str) -> list[str]:
    """All words, in order, folded, cut where a script has no spaces; at most 4,000.

    Behind a word that was written with marks stands the word as it was written; behind `parseConfig`, its parts.
    """
    head = text[: 16 * MAX_WORDS]
    words = _ASCII_WORD.findall(head.lower()) if head.isascii() else _folded_words(head)
    if (compounds := _COMPOUND.findall(head)) and len(words) < MAX_WORDS:
        words += [part for compound in compounds for part in _parts(compound)]
    return words[:MAX_WORDS]


def _parts(compound: str) -> list[str]:
    return [compound.lower()] if compound[-1] in "+#" else [part.lower() for part in _HUMP.findall(compound)]


def _folded_words(text: str) -> list[str]:
    found: list[str] = []
    for word in WORD.findall(normalised(text)):
        if word.isascii():
            found.append(word)
            continue
        for piece in pieces_of(word):
            bare = without_marks(piece)
            found.append(bare)
            if bare != piece and len(bare) == len(piece):
                found.append(piece)
            if _HEBREW_PREFIX.match(bare):
                found.append(bare[1:])
    return found


def hashed_words(text: str) -> list[int]:
    """Hashes of the stems of the content words, in order, with repeats; of at most 4,000 words."""
    return hashed(words_in(text))


def hashed(words: Iterable[str]) -> list[int]:
    """Hashes of words; those that carry no content are left out.

    Behind them, where the words are of another language than English, come the stems that it has for them, and the
    first five letters of longer words, which find what stemmers part ("chiave", "chiavi"; McNamee & Mayfield 2004).
    """
    listed: Sequence[str] = words if isinstance(words, list) else list(words)
    language = language_of(listed, STOP_WORDS)
    if language is None:
        return [code for code in map(_HASHED.__getitem__, listed) if code]
    own = _HASHED_IN[language]
    told = [word for word in listed if own[word]]
    found = [code for code in map(_HASHED.__getitem__, told) if code]
    return [*found, *(own[word] for word in told if own[word] != _HASHED[word]), *_beginnings(told)]


def _beginnings(words: Iterable[str]) -> list[int]:
    return [zlib.crc32(f"{word[:BEGINNING]}-".encode()) for word in words if len(word) > BEGINNING]


def alternatives_in(text: str) -> list[frozenset[int]]:
    """For each content word of a text the hashes that it may be found by, of which one is enough."""
    words = words_in(text)
    language = language_of(words, STOP_WORDS)
    found: list[frozenset[int]] = []
    for word in words:
        codes = {_HASHED[word]}
        if language is not None:
            own = _HASHED_IN[language][word]
            codes = codes | {own, *_beginnings([word])} if own else {0}
        if any(codes):
            found.append(frozenset(codes - {0}))
    return found


def counted(words: Iterable[str]) -> tuple[Hashes, NDArray[np.uint8]]:
    """Distinct hashes of words in ascending order, and how often each occurs (at most 255)."""
    counts = sorted(Counter(hashed(words)).items())
    return np.array([code for code, _ in counts], dtype=np.uint32), np.array(
        [min(n, 255) for _, n in counts], dtype=np.uint8
    )


def distinct(text: str) -> list[int]:
    """Hashes of the content words of a query, each once. A lone word may be of any language, and is of all."""
    words = words_in(text)
    codes = hashed(words)
    if len(words) <= MAX_WORDS_OF_ANY_LANGUAGE and language_of(words, STOP_WORDS) is None:
        codes += [code for word in words if word.isalpha() for own in _HASHED_IN.values() if (code := own[word])]
    return list(dict.fromkeys(codes))


def names_in(texts: Iterable[str]) -> frozenset[str]:
    """Words of speakers' names, folded."""
    return frozenset(word for text in texts for word in words_in(text))


def strip_question(query: str, names: frozenset[str] = frozenset()) -> str:
    """The query without its question words and the given names.

    What is left resembles a statement more (+18 points recall@10 for dense).
    """
    bare = _QUESTION_PARTS.sub(" ", _QUESTION_START.sub(" ", query)).rstrip(" ?？")
    kept = [
        word
        for word in bare.split()
        if without_marks(normalised(word.strip(".,!?'’\"").removesuffix("'s").removesuffix("’s"))) not in names
    ]
    return " ".join(kept) or query
