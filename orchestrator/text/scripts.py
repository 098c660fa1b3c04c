"""Which letters count as the same, and where words begin and end in scripts that write them without spaces.

Case, width and composition never count (Unicode's NFKC and case folding). Marks on Latin, Greek, Hebrew and Arabic
letters may be left out by whoever asks; those of Indian scripts, Thai and Cyrillic are letters. Chinese, Japanese,
Korean, Thai, Lao, Khmer and Burmese are cut into pairs of neighbouring characters, as Lucene's CJK analyser does: no
dictionary, and no word that it does not know.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise

# Marks that belong to the letter before them: those that composition leaves, and the vowels of Indian scripts.
_MARKS = (
    "\u0300-\u036f\u0483-\u0487\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed"
    "\u0900-\u0903\u093a-\u094f\u0951-\u0957\u0962\u0963\u0981-\u0983\u09bc-\u09cd\u0a01-\u0a03\u0a3c-\u0a4d"
    "\u0a81-\u0a83\u0abc-\u0acd\u0b01-\u0b03\u0b3c-\u0b4d\u0b82\u0bbe-\u0bcd\u0c00-\u0c04\u0c3e-\u0c4d"
    "\u0c81-\u0c83\u0cbc-\u0ccd\u0d00-\u0d03\u0d3b-\u0d4d\u0d82\u0d83\u0dca-\u0ddf\u0e31\u0e34-\u0e3a\u0e47-\u0e4e"
    "\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ecd\u102b-\u103e\u1056-\u1059\u17b4-\u17d3\u3099\u309a"
)
UNSPACED = (
    "\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\uac00-\ud7a3\u1100-\u11ff\u0e01-\u0e4e\u0e81-\u0edf\u1000-\u103f\u1780-\u17d3\U00020000-\U000323af"
)
MARKED = re.compile(f"[{_MARKS}{UNSPACED}]")  # letters with marks of their own, or written without spaces
_EMOJI = "\u2600-\u27bf\U0001f000-\U0001faff"
_JOINERS = re.compile("[\u00ad\u0640\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufe00-\ufe0f\ufeff]")
WORD = re.compile(rf"[^\W_](?:[^\W_]|[{_MARKS}])*|[{_EMOJI}]")
_RUN = re.compile(rf"[{UNSPACED}](?:[{UNSPACED}]|[{_MARKS}])*")
_CLUSTER = re.compile(rf".[{_MARKS}]*", re.DOTALL)
_HAN = re.compile("[\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]")
_ALIKE = {
    **dict(
        zip("łøđħŧıŀəðßœæþŋ", ("l", "o", "d", "h", "t", "i", "l", "e", "d", "ss", "oe", "ae", "th", "n"), strict=True)
    ),
    **dict.fromkeys("أإآٱ", "ا"),
    **{"ى": "ي", "ی": "ي", "ة": "ه", "ک": "ك", "ؤ": "و", "ئ": "ي", "ё": "е", "’": "'"},
}
_MARKED_SCRIPTS = ("LATIN", "GREEK", "HEBREW", "ARABIC")


class _Bare(dict[int, str | int | None]):
    """A translation table from letters to what is left of them without marks, filled as characters turn up."""

    def __missing__(self, code: int) -> str | int | None:
        character = chr(code)
        bare: str | int | None = code
        if character in _ALIKE:
            bare = _ALIKE[character]
        elif unicodedata.name(character, "").split(" ", 1)[0] in (*_MARKED_SCRIPTS, "COMBINING"):
            decomposed = unicodedata.normalize("NFKD", character)
            bare = "".join(_ALIKE.get(c, c) for c in decomposed if unicodedata.category(c) != "Mn")
        self[code] = bare
        return bare


_BARE = _Bare()


def normalised(text: str) -> str:
    """The text in one composition, width and case, without characters that only join, part or turn others."""
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFKC", _JOINERS.sub("", text)).casefold()
    return unicodedata.normalize("NFC", folded)


def without_marks(word: str) -> str:
    """A word of `normalised` text with the marks left out that people leave out: "søren" as "soren"."""
    return word if word.isascii() else word.translate(_BARE)


def pieces_of(word: str) -> Iterator[str]:
    """What a word is found by: itself, or the pairs of characters of the stretches that are written without spaces.

    A Chinese character stands for itself, too, and so does a lone character of any script.
    """
    start = 0
    for run in _RUN.finditer(word):
        if run.start() > start:
            yield word[start : run.start()]
        start = run.end()
        clusters = _CLUSTER.findall(run[0])
        if len(clusters) == 1:
            yield clusters[0]
            continue
        yield from (one + other for one, other in pairwise(clusters))
        yield from (one for one in clusters if _HAN.match(one))
    if start < len(word):
        yield word[start:]
