"""What a query looks like: hashed word 1-2-grams and surface features, from its text alone and in bounded time.

Casing is ignored and opening pleasantries are cut, so that neither changes a decision.
"""

from __future__ import annotations

import math
import re
import threading
import zlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
MAX_CHARS = 1_600
MAX_CACHED_WORDS = 65_536
_WORD = re.compile(r"[^\W\d_]+|\d+(?:\.\d+)?|[^\w\s]")
_ASCII_WORD = re.compile(r"[a-z]+|\d+(?:\.\d+)?|[^\w\s]", re.ASCII)  # the same of lower-case ASCII, twice as fast
_OPTION = re.compile(r"^\s*\(?([a-j])[).:]\s*(.*)$", re.MULTILINE)
_NUMERIC_OPTION = re.compile(r"[\s$]*[-+]?[\d.,/^()%e*× ]+\s*[a-z°%]{0,6}\.?")
_GREETING = re.compile(
    r"^\s*(?:(?:hi|hello|hey|greetings|good (?:morning|afternoon|evening)|dear \w+|thanks(?: a lot)?|thank you(?: so "
    r"much)?)\b"
    r"[^.!?\n]{0,60}[.!?,\n]\s*"
    r"|i hope (?:you|this)\b[^.!?\n]{0,80}[.!?\n]\s*|(?:quick|one more) question[:,.]\s*)+",
    re.IGNORECASE,
)
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_REPEATED = re.compile(r"([^\w\s])\1{3,}|(\n)(?:[ \t\r]*\n){2,}")  # rules of dashes, filled lines, empty ones
_RUN = re.compile(r"[^\w\s]{4}")
_CUES: dict[str, frozenset[str]] = {
    "negation": frozenset("not except never false incorrect least cannot".split()),
    "what": frozenset(("what",)),
    "which": frozenset(("which",)),
    "why": frozenset(("why",)),
    "how": frozenset(("how",)),
    "person": frozenset("who whom whose".split()),
    "when_where": frozenset("when where".split()),
    "condition": frozenset("if suppose assume let given unless".split()),
    "compute": frozenset("calculate compute find solve evaluate determine simplify integrate derive".split()),
    "prove": frozenset("prove proof theorem lemma equation integral derivative modulo".split()),
    "reason": frozenset("explain compare analyze analyse design argue critique discuss justify".split()),
    "write": frozenset("write draft compose translate summarize summarise rewrite list".split()),
    "statement": frozenset("statement statements".split()),
    "superlative": frozenset("most best primarily main likely".split()),
    "following": frozenset(("following",)),
    "first_person": frozenset("i my we our me".split()),
    "third_person": frozenset("he she his her they their".split()),
    "percent": frozenset(("percent", "%")),
    "equals": frozenset(("=",)),
    "bracket": frozenset(("(",)),
    "quote": frozenset(('"', "“", "'")),
    "maths": frozenset("\\ ^ $ + * / < > ± × ÷ √ ∑ ∫ π ≤ ≥".split()),
    "each_per": frozenset("each every per times twice half".split()),
}
_CODE = frozenset(
    "` { } ; def class return import lambda elif struct void const select #include printf println".split()
)
SURFACE = (
    "log_characters", "log_words", "digit_share", "log_numbers", "log_largest_number", "long_word_share",
    "mean_word_length", "distinct_words",
    "non_ascii", "questions", "sentences", "lines", "blank", "ends_with_colon", "ends_with_question", "code", "options",
    "log_option_length", "option_spread", "numeric_options", *_CUES,
)  # fmt: skip


_LONG = 9
_FIRST, _SECOND, _SHIFT = np.uint64(0x9E3779B1), np.uint64(0x85EBCA77), np.uint64(7)
_CUE_BITS = [1 << position for position in range(len(_CUES))]
_BITS_OF = {word: 1 << len(_CUES) + position for position, word in enumerate(sorted(_CODE))}
_ANY_CODE = sum(_BITS_OF.values())
for _bit, _cue in zip(_CUE_BITS, _CUES.values(), strict=True):
    _BITS_OF |= {word: _BITS_OF.get(word, 0) | _bit for word in _cue}


class WordCodes(NamedTuple):
    """A text's words, numbers and punctuation marks, and the places in the lexicon that say what each is."""

    plain: list[str]
    codes: Integers
    lexicon: Lexicon


def clean(text: str) -> str:
    """The text that counts: lower case, without opening pleasantries, invisible characters and long repeats of a mark.

    Of very long texts the first and last 800 characters.
    """
    text = text.strip()
    if not text.isascii():
        text = _INVISIBLE.sub("", text).replace("\u00a0", " ")
    if len(text) > MAX_CHARS:
        text = text[: MAX_CHARS // 2] + "\n" + text[-MAX_CHARS // 2 :]
    if "\n\n\n" in text or _RUN.search(text):  # most texts hold neither, and to look for them takes less time
        text = _REPEATED.sub(r"\1\1\1\2\2", text)
    stripped = _GREETING.sub("", text, count=1)
    return (stripped if stripped.strip() else text).lower()


def words_of(cleaned: str) -> WordCodes:
    """WordCodes, numbers and punctuation marks."""
    global _lexicon
    plain = (_ASCII_WORD if cleaned.isascii() else _WORD).findall(cleaned)
    if len(_lexicon) + len(plain) > MAX_CACHED_WORDS:
        _lexicon = Lexicon()
    lexicon = _lexicon
    return WordCodes(plain, np.fromiter(map(lexicon.__getitem__, plain), dtype=np.int64, count=len(plain)), lexicon)


def grams(words: WordCodes, buckets: int) -> Integers:
    """Hashed 1-2-grams (int64, below `buckets`) in order, each as often as it occurs."""
    if not words.plain:
        return np.zeros(0, dtype=np.int64)
    single = words.lexicon.hashes.take(words.codes)
    pairs = single[:-1] * _FIRST
    pairs += single[1:] * _SECOND
    pairs ^= pairs >> _SHIFT
    hashed = np.concatenate((single, pairs))
    hashed %= np.uint64(buckets)
    return hashed.view(np.int64)


def surface(cleaned: str, words: WordCodes) -> list[float]:
    """The features named in `SURFACE`, unscaled."""
    matches = list(_OPTION.finditer(cleaned)) if "\n" in cleaned else []
    options = [match[2] for match in matches]
    stem = cleaned[: matches[0].start()] if matches else cleaned
    n_letters, n_long, n_plain, n_digits, n_numbers, largest, cues = words.lexicon.counted(words.codes)
    n_chars, per_word = max(len(cleaned), 1), 1.0 / max(n_plain, 1.0)
    option_lengths = list(map(len, options)) or [0]
    ending = stem.rstrip()[-1:]
    return [
        math.log1p(len(stem)),
        math.log1p(n_plain),
        n_digits / n_chars,
        math.log1p(n_numbers),
        math.log1p(min(largest, 1e9)),
        n_long * per_word,
        n_letters * per_word,
        len(set(words.plain)) / max(len(words.plain), 1),
        0.0 if cleaned.isascii() else (len(cleaned) - len(cleaned.encode("ascii", "ignore"))) / n_chars,
        float(stem.count("?")),
        math.log1p(stem.count(". ")),
        math.log1p(stem.count("\n")),
        float("__" in stem),
        float(ending == ":"),
        float(ending == "?"),
        float((cues & _ANY_CODE).bit_count()),
        len(options) / 4,
        math.log1p(sum(option_lengths) / len(option_lengths)),
        math.log1p(max(option_lengths)) - math.log1p(min(option_lengths)),
        sum(_NUMERIC_OPTION.fullmatch(option) is not None for option in options) / max(len(options), 1),
        *[1.0 if cues & bit else 0.0 for bit in _CUE_BITS],
    ]


class Lexicon(dict[str, int]):
    """What each word is, worked out when it first turns up: its hash, and what it counts for in the surface features.

    Threads may share it; a full one is left to whoever still uses it, and another begun.
    """

    def __init__(self) -> None:
        self.hashes = np.zeros(MAX_CACHED_WORDS, dtype=np.uint64)
        self._counts = np.zeros((MAX_CACHED_WORDS, 5))  # letters, long, plain; digits, number
        self._values = np.zeros(MAX_CACHED_WORDS)
        self._cues = np.zeros(MAX_CACHED_WORDS, dtype=np.int64)
        self._adding = threading.Lock()

    def __missing__(self, word: str) -> int:
        with self._adding:
            if word in self:
                return self[word]
            code = len(self)
            # Numbers are told apart by their length only: 17 and 23 say the same about difficulty, 17 and 170,000 not.
            hashed = f"<{len(word)}>" if word[0].isdigit() else word
            self.hashes[code] = zlib.crc32(hashed.encode("utf-8", "replace"))
            if word.isalpha():
                self._counts[code, :3] = (len(word), len(word) >= _LONG, 1.0)
            elif word[0].isdecimal():
                self._counts[code, 3:] = (len(word), 1.0)
                self._values[code] = float(word)
            self._cues[code] = _BITS_OF.get(word, 0)
            self[word] = code  # last: whoever finds the word finds all of it
            return code

    def counted(self, codes: Integers) -> tuple[float, float, float, float, float, float, int]:
        """Letters of plain words, long ones, plain ones, digits, numbers, the largest number, and the cues as bits."""
        letters, long, plain, digits, numbers = self._counts.take(codes, axis=0).sum(axis=0).tolist()
        largest = float(self._values.take(codes).max()) if numbers else 0.0
        return letters, long, plain, digits, numbers, largest, int(np.bitwise_or.reduce(self._cues.take(codes)))


_lexicon = Lexicon()
