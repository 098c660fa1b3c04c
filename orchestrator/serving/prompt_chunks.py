"""A prompt as a chain of chunks: each is named by a hash of itself and of all that stands before it.

The names need no tokenizer, and none is loaded: a chunk is so many characters. What may not be shared (another user's
salt) begins another chain.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

CHUNK_CHARS = 1_024
CHARS_OF_TOKEN = 4.0
CHUNK_TOKENS = CHUNK_CHARS / CHARS_OF_TOKEN
MAX_CHUNKS = 512  # half a million characters: what stands behind them makes no difference to the choice


def prompt_chunks(texts: Iterable[str], salt: str = "") -> list[int]:
    """Names of the whole chunks of a prompt, from its beginning."""
    chain = blake2b(salt.encode("utf-8", "replace"), digest_size=8)
    found: list[int] = []
    rest = ""
    for text in texts:
        rest += text + "\x00"
        at = 0
        while len(rest) - at >= CHUNK_CHARS:
            chain.update(rest[at : at + CHUNK_CHARS].encode("utf-8", "replace"))
            found.append(int.from_bytes(chain.digest()))
            at += CHUNK_CHARS
            if len(found) == MAX_CHUNKS:
                return found
        rest = rest[at:]
    return found
