"""WordPiece tokenisation as BERT's uncased models do it (Wu et al. 2016; greedy longest match), with a cache per word.

The core install has no tokenizer library; a word is split once and then looked up, which is what makes this fast in
plain Python. A vocabulary of many scripts is read with the letters folded as memory folds them, and what is written
without spaces is cut into the longest pieces that are known.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from itertools import chain

from orchestrator.text.scripts import UNSPACED, WORD, normalised, without_marks

_WORD = re.compile(r"[^\W_]+|[^\w\s]|_", re.UNICODE)
_FOLDED_WORD = re.compile(rf"{WORD.pattern}|[^\w\s]|_")
_UNSPACED = re.compile(f"[{UNSPACED}]")
MAX_WORD_CHARS = 100
MAX_CACHED_WORDS = 100_000
MANY_SCRIPTS = 0.1  # share of pieces with other letters than English has


class _Marks(dict[int, int | None]):
    """A translation table that drops combining marks, filled as characters turn up."""

    def __missing__(self, code: int) -> int | None:
        kept = None if unicodedata.category(chr(code)) == "Mn" else code
        self[code] = kept
        return kept


class _Pieces(dict[str, tuple[int, ...]]):
    """The pieces of each word, split when it turns up."""

    def __init__(self, split: Callable[[str], tuple[int, ...]]) -> None:
        self._split = split

    def __missing__(self, word: str) -> tuple[int, ...]:
        if len(self) >= MAX_CACHED_WORDS:
            self.clear()
        pieces = self[word] = self._split(word)
        return pieces


_MARKS = _Marks()


class WordPiece:
    """Maps text to ids of `vocabulary` (its index is the id; continuation pieces start with `##`).

    Unknown words are left out; of what is written without spaces, unknown characters. A vocabulary of English alone, as
    earlier versions shipped it, is read as they read it: students carry theirs in their files, and what was proven of
    them must hold.
    """

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self._id = {piece: index for index, piece in enumerate(vocabulary)}
        self._pieces = _Pieces(self._split)
        self._whole = _Pieces(lambda word: tuple(self.ids(word)))
        self._longest = max((len(piece) for piece in vocabulary if _UNSPACED.match(piece)), default=0)
        self._has_many_scripts = sum(not piece.isascii() for piece in vocabulary) > MANY_SCRIPTS * len(vocabulary)

    def ids(self, text: str) -> list[int]:
        """Token ids of `text`, in order, whatever its case and accents."""
        if text.isascii():
            words = _WORD.findall(text.lower())
        elif self._has_many_scripts:
            words = [without_marks(word) for word in _FOLDED_WORD.findall(normalised(text))]
        else:
            words = _WORD.findall(unicodedata.normalize("NFD", text).translate(_MARKS).lower())
        return list(chain.from_iterable(map(self._pieces.__getitem__, words)))

    def ids_of(self, words: Iterable[str]) -> list[int]:
        """Token ids of a text that was cut into words before, which needs no reading anew (see `MARKED`)."""
        return list(chain.from_iterable(map(self._whole.__getitem__, words)))

    def _split(self, word: str) -> tuple[int, ...]:
        is_unspaced = self._has_many_scripts and _UNSPACED.search(word) is not None
        if len(word) > MAX_WORD_CHARS and not is_unspaced:
            return ()
        longest = max(self._longest, 1) if is_unspaced else MAX_WORD_CHARS
        pieces, start = [], 0
        while start < len(word):
            for end in range(min(len(word), start + longest), start, -1):
                piece = self._id.get(word[start:end] if start == 0 or is_unspaced else "##" + word[start:end])
                if piece is not None:
                    pieces.append(piece)
                    start = end
                    break
            else:
                if not is_unspaced:
                    return ()
                start += 1
        return tuple(pieces)
