"""Encryption of what a memory file holds: a hook for a cipher of your own, and AES-GCM with a key for each scope.

Sealed are texts, speakers, sessions, sources, vectors, word hashes and summaries. Plain stay scope paths, times,
lengths, counts, and digests, which are keyed. Whoever destroys the key of a scope has destroyed the scope, backups
included.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from functools import lru_cache
from typing import Any, Protocol

from orchestrator.memory.errors import StoreError

KEY_BYTES, NONCE_BYTES = 32, 12


class Cipher(Protocol):
    """Seals bytes for one scope. `fingerprint` tells keys apart without telling the key: a memory refuses another."""

    @property
    def fingerprint(self) -> str:
        """Names the key without telling it: a memory is opened only with the same one."""

    def seal(self, plain: bytes, scope: str) -> bytes:
        """Encrypts, bound to a scope: it can be read back in that scope alone."""

    def unseal(self, sealed: bytes, scope: str) -> bytes:
        """Raises `StoreError` on what was not sealed with this key for this scope."""
        ...

    def digest(self, content: bytes, scope: str) -> bytes:
        """At least 8 bytes that are the same for the same content and scope, and tell nothing about it without the
        key.
        """
        ...


class AesGcmCipher:
    """AES-256-GCM (NIST SP 800-38D), a key for each scope derived by HKDF-SHA256 (RFC 5869) from `key`, 32 random bytes
    (extra `encryption`).

    A row that is moved to another scope cannot be unsealed there.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(
                f"the key must have {KEY_BYTES} bytes, not {len(key)}; make one with secrets.token_bytes({KEY_BYTES})"
            )
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # optional: extra `encryption`
        except ImportError:
            raise ImportError("AES-GCM needs cryptography: pip install 'compound-orchestrator[encryption]'") from None
        self._aead = AESGCM
        self._key = key
        self.fingerprint = f"aes-256-gcm:{hmac.digest(key, b'fingerprint', 'sha256')[:8].hex()}"
        self._of = lru_cache(maxsize=10_000)(self._derived)

    def seal(self, plain: bytes, scope: str) -> bytes:
        """Encrypts with AES-GCM; the scope is authenticated with it."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + bytes(self._of(scope)[0].encrypt(nonce, plain, scope.encode()))

    def unseal(self, sealed: bytes, scope: str) -> bytes:
        """Decrypts. Raises `StoreError` where key or scope are others."""
        from cryptography.exceptions import InvalidTag  # optional: extra `encryption`

        try:
            return bytes(self._of(scope)[0].decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], scope.encode()))
        except (InvalidTag, ValueError):
            raise StoreError(
                f"a record of scope {scope} cannot be decrypted: it is damaged, or was sealed for another scope"
            ) from None

    def digest(self, content: bytes, scope: str) -> bytes:
        """The first eight bytes of a keyed hash."""
        return hmac.digest(self._of(scope)[1], content, "sha256")[:8]

    def _derived(self, scope: str) -> tuple[Any, bytes]:
        seed = hmac.digest(b"orchestrator memory", self._key, "sha256")
        first = hmac.digest(seed, scope.encode() + b"\x01", "sha256")
        return self._aead(first), hmac.digest(seed, first + scope.encode() + b"\x02", "sha256")


def digest_of(content: str, scope: str, cipher: Cipher | None) -> int:
    """64 bits, signed, as databases keep them."""
    raw = content.encode("utf-8", "replace")
    found = hashlib.blake2b(raw, digest_size=8).digest() if cipher is None else cipher.digest(raw, scope)
    return int.from_bytes(found[:8], "big", signed=True)
