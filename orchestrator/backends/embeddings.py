"""Embeddings of any provider that has OpenAI's /embeddings.

POST {base_url}/embeddings (openai 3.54, types.embedding_create_params).
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from orchestrator.backends.http.retry import DEFAULT_DEADLINE_S, with_retries
from orchestrator.backends.provider_errors import too_slow
from orchestrator.backends.remote import RemoteBackend
from orchestrator.errors import BadResponse
from orchestrator.jsontypes import JsonObject
from orchestrator.types import Usage

MAX_INPUTS = 2_048
MAX_CHARS = 600_000  # of one call: well below the 300,000 tokens that OpenAI takes


@dataclass(frozen=True, slots=True)
class Embedded:
    """`vectors`: float32, one row a text."""

    vectors: NDArray[np.float32]
    usage: Usage


async def embed(
    backend: RemoteBackend,
    texts: Sequence[str],
    *,
    dimensions: int | None = None,
    deadline_s: float = DEFAULT_DEADLINE_S,
) -> Embedded:
    """Embeds texts in as few calls as the API allows, one after the other. Raises `BackendError`."""
    rows: list[NDArray[np.float32]] = []
    usage = Usage()
    for part in _parts(texts):
        body: dict[str, Any] = {"input": part, "encoding_format": "base64"} | (
            {"dimensions": dimensions} if dimensions else {}
        )
        content = await with_retries(
            partial(_posted, backend, body), deadline_s=deadline_s, budget=backend.upstream.retries
        )
        found, used = _read(content, len(part), backend.upstream.where)
        rows += found
        usage += used
    vectors = np.stack(rows) if rows else np.zeros((0, dimensions or 0), dtype=np.float32)
    return Embedded(vectors, usage)


async def _posted(backend: RemoteBackend, body: JsonObject, left_s: float) -> bytes:
    try:
        async with asyncio.timeout(left_s):
            return await (await backend.upstream.post("/embeddings", body, timeout_s=left_s)).read()
    except TimeoutError:
        raise too_slow(backend.upstream.where) from None


def _parts(texts: Sequence[str]) -> list[list[str]]:
    """Texts in lists that one call may hold."""
    found: list[list[str]] = []
    size = 0
    for text in texts:
        if not found or len(found[-1]) >= MAX_INPUTS or size + len(text) > MAX_CHARS:
            found.append([])
            size = 0
        found[-1].append(text)
        size += len(text)
    return found


def _read(content: bytes, count: int, where: str) -> tuple[list[NDArray[np.float32]], Usage]:
    """Vectors as base64 or, from servers that know no encodings, as lists of numbers.

    In the order of the texts, whatever the order of the answer.
    """
    try:
        payload = orjson.loads(content)
        rows: list[Any] = [None] * count
        for row in payload["data"]:
            told = row["embedding"]
            is_packed = isinstance(told, str)
            rows[int(row["index"])] = (
                np.frombuffer(base64.b64decode(told), "<f4") if is_packed else np.array(told, dtype=np.float32)
            )
        tokens = int(payload["usage"]["prompt_tokens"])
        if tokens < 0 or any(row is None or row.ndim != 1 or len(row) != len(rows[0]) for row in rows):
            raise ValueError("vectors are missing or of different lengths")
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise BadResponse(
            f"{where}: the answer holds no embeddings with their usage: {error}", remedy="Check the server"
        ) from None
    return [row.astype(np.float32) for row in rows], Usage(tokens)
