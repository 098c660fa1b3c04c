"""The file of word vectors: what is written comes back, and a file whose parts do not fit is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from orchestrator.text.word_vectors import WORD_VECTORS, load_word_vectors, save_word_vectors

WORDS = [f"word{n}" for n in range(2_000)]


@pytest.fixture
def vectors() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.normal(size=(len(WORDS), 32)) * np.geomspace(3.0, 0.1, 32)).astype(np.float32)


def test_frequent_words_come_back_as_they_were_and_others_nearly(tmp_path: Path, vectors: np.ndarray) -> None:
    save_word_vectors(tmp_path / "words.npz", WORDS, vectors, exact=50)
    found = load_word_vectors(tmp_path / "words.npz")
    back = found.rows * found.scales
    assert found.vocabulary.decode().split("\n") == WORDS
    assert np.abs(back[:50] - vectors[:50]).max() < 0.05
    cosines = (back * vectors).sum(axis=1) / np.linalg.norm(back, axis=1) / np.linalg.norm(vectors, axis=1)
    assert cosines.mean() > 0.95
    assert (tmp_path / "words.npz").stat().st_size < vectors.nbytes / 4


def test_a_file_whose_parts_do_not_fit_is_refused(tmp_path: Path, vectors: np.ndarray) -> None:
    save_word_vectors(tmp_path / "words.npz", WORDS, vectors)
    with np.load(tmp_path / "words.npz") as stored:
        parts = dict(stored)
    np.savez(tmp_path / "broken.npz", **{**parts, "codes": parts["codes"][:, :-1]})
    with pytest.raises(ValueError, match="2000 words but 1999 vectors; reinstall"):
        load_word_vectors(tmp_path / "broken.npz")


def test_the_shipped_file_is_small() -> None:
    assert WORD_VECTORS.stat().st_size < 5_000_000
