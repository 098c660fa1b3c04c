"""WordPiece tokenisation as BERT's uncased models do it (Wu et al. 2016; greedy longest match), with a cache per word.

The core install has no tokenizer library; a word is split once and then looked up, which is what makes this fast in
plain Python.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from itertools import chain

_WORD = re.compile(r"[^\W_]+|[^\w\s]|_", re.UNICODE)
MAX_WORD_CHARS = 100
MAX_CACHED_WORDS = 100_000


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

    Unknown words are left out.
    """

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self._id = {piece: index for index, piece in enumerate(vocabulary)}
        self._pieces = _Pieces(self._split)

    def ids(self, text: str) -> list[int]:
        """Token ids of `text`, in order. Lower-cases and strips accents."""
        if not text.isascii():
            text = unicodedata.normalize("NFD", text).translate(_MARKS)
        return list(chain.from_iterable(map(self._pieces.__getitem__, _WORD.findall(text.lower()))))

    def _split(self, word: str) -> tuple[int, ...]:
        if len(word) > MAX_WORD_CHARS:
            return ()
        pieces, start = [], 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = self._id.get(word[start:end] if start == 0 else "##" + word[start:end])
                if piece is not None:
                    pieces.append(piece)
                    start = end
                    break
            else:
                return ()
        return tuple(pieces)
