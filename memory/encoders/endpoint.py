"""Vectors from any server that speaks OpenAI's `POST /embeddings` (OpenAI, Ollama, llama.cpp, vLLM, TEI, ...)."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from orchestrator.memory.arrays import Vectors
from orchestrator.memory.coalescing import EncodedTogether
from orchestrator.memory.errors import EncoderError

BATCH = 64
MAX_CHARS = 20_000
ATTEMPTS = 4
TIMEOUT_S = 60.0
RETRIED = frozenset((408, 409, 425, 429, 500, 502, 503, 504))


class EndpointEncoder:
    """Asks `base_url`/embeddings for the vectors of `model`, in batches of 64.

    Busy or failing servers are asked again, at most three times.

    The first call happens on construction: it learns how long the vectors are. Raises `EncoderError` that says what the
    server answered.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        key: str | None = None,
        transport: Any = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        import httpx  # heavy: 60 ms

        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(headers=headers, timeout=TIMEOUT_S, transport=transport)
        self._url = f"{base_url.rstrip('/')}/embeddings"
        self._model = model
        self._sleep = sleep
        self._together = EncodedTogether(self._encoded)
        self.dimensions = len(self._ask(["dimensions"])[0])
        self.fingerprint = f"endpoint:{model}:{self.dimensions}"

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Shape (len(texts), dimensions), rows of length 1; a text without anything to encode gets zeros.

        Concurrent calls share requests.
        """
        return self._together(texts)

    def _encoded(self, texts: list[str]) -> Vectors:
        out = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        wanted = [index for index, text in enumerate(texts) if text.strip()]
        for at in range(0, len(wanted), BATCH):
            rows = wanted[at : at + BATCH]
            found = self._ask([texts[row][:MAX_CHARS] for row in rows])
            for row, vector in zip(rows, found, strict=True):
                if len(vector) != self.dimensions:
                    raise EncoderError(
                        f"{self._url}: a vector of {len(vector)} numbers, others had {self.dimensions}: is it still "
                        f"{self._model!r}?"
                    )
                out[row] = vector
        lengths = np.sqrt(np.einsum("ij,ij->i", out, out))
        out /= np.maximum(lengths, 1e-12)[:, None]
        return out

    def close(self) -> None:
        """Closes connections."""
        self._client.close()

    def _ask(self, texts: Sequence[str]) -> list[Vectors]:
        """One batch, in order whatever the order of the answer; what may pass is asked again.

        Floats and base64 are both understood.
        """
        import tenacity  # needed after a failure only

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_MayPass),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=tenacity.wait_exponential(multiplier=0.5),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            response = retrying(self._post, texts)
        except _NoEmbeddings as error:
            told = f"{self._url}: no embeddings from {self._model!r}: {error}. Check the address, the model and the key"
            raise EncoderError(told) from None
        return self._vectors(response, len(texts))

    def _post(self, texts: Sequence[str]) -> Any:
        import httpx  # heavy: 60 ms

        try:
            response = self._client.post(
                self._url, json={"model": self._model, "input": list(texts), "encoding_format": "float"}
            )
        except httpx.HTTPError as error:
            raise _MayPass(f"{type(error).__name__}: {error}") from error
        if response.status_code != 200:
            kind = _MayPass if response.status_code in RETRIED else _NoEmbeddings
            raise kind(f"HTTP {response.status_code}: {response.text[:200]}")
        return response

    def _vectors(self, response: Any, expected: int) -> list[Vectors]:
        try:
            rows = sorted(response.json()["data"], key=lambda row: row["index"])
            vectors = [_vector(row["embedding"]) for row in rows]
        except (ValueError, KeyError, TypeError) as error:
            raise EncoderError(f"{self._url}: an answer that is no list of embeddings ({error!r})") from None
        if len(vectors) != expected or not all(len(vector) and np.isfinite(vector).all() for vector in vectors):
            raise EncoderError(f"{self._url}: {len(vectors)} usable embeddings for {expected} texts")
        return vectors


class _NoEmbeddings(Exception):
    """The server gave no embeddings."""


class _MayPass(_NoEmbeddings):
    """It may give them when it is asked again."""


def _vector(embedding: Any) -> Vectors:
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding), dtype="<f4").astype(np.float32)
    return np.asarray(embedding, dtype=np.float32)
