"""The file of the shipped word vectors: a quarter of their bytes, by product quantization (Jegou, Douze & Schmid 2011).

Each vector is cut into pieces of `PIECE` dimensions, and of each piece the file holds which of 256 prototypes comes
closest. The most frequent words, which make up most of every text, are kept as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

WORD_VECTORS = Path(__file__).parent / "words-256.npz"
PIECE, PROTOTYPES = 4, 256


@dataclass(frozen=True)
class WordVectors:
    """Pieces of words, joined by line breaks, as UTF-8; their vectors are `rows` times `scales`.

    `rows` has shape (words, dimensions), `scales` (dimensions,).
    """

    vocabulary: bytes
    rows: NDArray[np.int8]
    scales: NDArray[np.float32]


def load_word_vectors(path: str | Path = WORD_VECTORS) -> WordVectors:
    """Reads a file that `save_word_vectors` wrote. Raises `ValueError` on one whose parts do not fit together."""
    with np.load(path, allow_pickle=False) as stored:
        vocabulary, codes, prototypes = bytes(stored["vocabulary"]), stored["codes"], stored["prototypes"]
        exact, scales = stored["exact"], stored["scales"]
    words = vocabulary.count(b"\n") + 1
    if codes.shape[1] != words:
        raise ValueError(f"{path}: {words} words but {codes.shape[1]} vectors; reinstall the package")
    # The bytes of a piece move as one number of 32 bits.
    pieces = np.empty((words, len(codes)), dtype=np.uint32)
    for at, (code, of_piece) in enumerate(zip(codes, prototypes.view(np.uint32)[..., 0], strict=True)):
        pieces[:, at] = of_piece.take(code)
    rows = pieces.view(np.int8).reshape(words, -1)
    rows[: len(exact)] = exact
    return WordVectors(vocabulary, rows, scales)


def save_word_vectors(path: Path, vocabulary: list[str], vectors: NDArray[np.float32], *, exact: int = 600) -> None:
    """Writes vectors of shape (words, dimensions), the most frequent first; `exact` of them in 8 bits a number."""
    import faiss  # heavy, and not needed to read

    quantizer = faiss.ProductQuantizer(vectors.shape[1], vectors.shape[1] // PIECE, 8)
    quantizer.train(vectors)
    prototypes = faiss.vector_to_array(quantizer.centroids).reshape(-1, PROTOTYPES, PIECE)
    codes = quantizer.compute_codes(vectors)
    # One scale for each dimension: of its largest value, be it a prototype's or a frequent word's.
    largest = np.maximum(np.abs(prototypes).max(axis=1).reshape(-1), np.abs(vectors[:exact]).max(axis=0))
    scales = (largest / 127).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path,
        vocabulary=np.frombuffer("\n".join(vocabulary).encode(), dtype=np.uint8),
        codes=np.ascontiguousarray(codes.T),
        prototypes=np.rint(prototypes / scales.reshape(-1, 1, PIECE)).astype(np.int8),
        exact=np.rint(vectors[:exact] / scales).astype(np.int8),
        scales=scales,
    )
