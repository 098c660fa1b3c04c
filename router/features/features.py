"""What a query looks like: hashed word 1-2-grams and surface features, from its text alone and in bounded time.

Casing is ignored and opening pleasantries are cut, so that neither changes a decision.
"""

from __future__ import annotations

import math
import re
import zlib

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
MAX_CHARS = 1_600
MAX_CACHED_WORDS = 65_536
_WORD = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+|[^\w\s]", re.UNICODE)
_OPTION = re.compile(r"^\s*\(?([a-j])[).:]\s*(.*)$", re.MULTILINE)
_NUMERIC_OPTION = re.compile(r"[\s$]*[-+]?[\d.,/^()%e*× ]+\s*[a-z°%]{0,6}\.?")
_GREETING = re.compile(
    r"^\s*(?:(?:hi|hello|hey|greetings|good (?:morning|afternoon|evening)|dear \w+|thanks(?: a lot)?|thank you(?: so "
    r"much)?)\b"
    r"[^.!?\n]{0,60}[.!?,\n]\s*"
    r"|i hope (?:you|this)\b[^.!?\n]{0,80}[.!?\n]\s*|(?:quick|one more) question[:,.]\s*)+",
    re.IGNORECASE,
)
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


_CUE_SETS = tuple(_CUES.values())
_LONG = 9
_FIRST, _SECOND, _SHIFT = np.uint64(0x9E3779B1), np.uint64(0x85EBCA77), np.uint64(7)


def clean(text: str) -> str:
    """The text that counts: lower case, without opening pleasantries.

    Of very long texts the first and last 800 characters.
    """
    if len(text) > MAX_CHARS:
        text = text[: MAX_CHARS // 2] + "\n" + text[-MAX_CHARS // 2 :]
    stripped = _GREETING.sub("", text, count=1)
    return (stripped if stripped.strip() else text).lower()


def words_of(cleaned: str) -> list[str]:
    """Words, numbers and punctuation marks."""
    return _WORD.findall(cleaned)


def grams(words: list[str], buckets: int) -> Integers:
    """Hashed 1-2-grams (int64, below `buckets`) in order, each as often as it occurs."""
    if not words:
        return np.zeros(0, dtype=np.int64)
    # Numbers are told apart by their length only: 17 and 23 say the same about difficulty, 17 and 170,000 do not.
    single = np.fromiter(map(_HASHES.__getitem__, words), dtype=np.uint64, count=len(words))
    pairs = single[:-1] * _FIRST + single[1:] * _SECOND
    return (np.concatenate((single, (pairs >> _SHIFT) ^ pairs)) % np.uint64(buckets)).astype(np.int64)


def surface(cleaned: str, words: list[str]) -> list[float]:
    """The features named in `SURFACE`, unscaled."""
    matches = list(_OPTION.finditer(cleaned)) if "\n" in cleaned else []
    options = [match[2] for match in matches]
    stem = cleaned[: matches[0].start()] if matches else cleaned
    plain = [word for word in words if word.isalpha()]
    lengths = list(map(len, plain))
    numbers = [word for word in words if word[0].isdecimal()]
    n_chars, n_words = max(len(cleaned), 1), max(len(plain), 1)
    option_lengths = list(map(len, options)) or [0]
    present = set(words)
    ending = stem.rstrip()[-1:]
    return [
        math.log1p(len(stem)),
        math.log1p(len(plain)),
        sum(map(len, numbers)) / n_chars,
        math.log1p(len(numbers)),
        math.log1p(min(max(map(float, numbers), default=0.0), 1e9)),
        sum(map(_LONG.__le__, lengths)) / n_words,
        sum(lengths) / n_words,
        len(present) / max(len(words), 1),
        0.0 if cleaned.isascii() else (len(cleaned) - len(cleaned.encode("ascii", "ignore"))) / n_chars,
        float(stem.count("?")),
        math.log1p(stem.count(". ")),
        math.log1p(stem.count("\n")),
        float("__" in stem),
        float(ending == ":"),
        float(ending == "?"),
        float(len(_CODE & present)),
        len(options) / 4,
        math.log1p(sum(option_lengths) / len(option_lengths)),
        math.log1p(max(option_lengths)) - math.log1p(min(option_lengths)),
        sum(_NUMERIC_OPTION.fullmatch(option) is not None for option in options) / max(len(options), 1),
        *[0.0 if cue.isdisjoint(present) else 1.0 for cue in _CUE_SETS],
    ]


class _Hashes(dict[str, int]):
    """The hash of each word, computed when it turns up."""

    def __missing__(self, word: str) -> int:
        if len(self) >= MAX_CACHED_WORDS:
            self.clear()
        plain = f"<{len(word)}>" if word[0].isdigit() else word
        code = self[word] = zlib.crc32(plain.encode("utf-8", "replace"))
        return code


_HASHES = _Hashes()
