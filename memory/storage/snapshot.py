"""Snapshots of large scopes' indexes beside the memory file.

They only make opening fast, and anything odd about one means that it is not used.

One line of JSON (what it is, and the CRC-32 of the rest), then an uncompressed .npz. Written to a new file, synced and
renamed; never unpickled.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.jsontypes import JsonMapping, JsonObject
from orchestrator.memory.errors import StoreError
from orchestrator.memory.record import Scope
from orchestrator.memory.storage.encryption import Cipher

FORMAT = 2
SEALED = ("sessions", "speakers")
log = logging.getLogger(__name__)


class Snapshots:
    """Those of one memory file, in the folder `FILE.indexes`."""

    def __init__(self, memory_file: str | Path, cipher: Cipher | None = None) -> None:
        self._folder = Path(f"{memory_file}.indexes")
        self._cipher = cipher

    def save(self, scope: Scope, described: JsonMapping, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replaces the scope's snapshot in one step. A snapshot that cannot be written is logged and done without."""
        content, plain = io.BytesIO(), dict[str, Any](arrays)
        np.savez(content, **plain)
        body: bytes | memoryview = content.getbuffer()
        if self._cipher is not None:  # names of speakers and sessions are sealed with the arrays
            names = json.dumps({name: described[name] for name in SEALED}).encode()
            body = self._cipher.seal(len(names).to_bytes(8, "big") + names + body, scope.path)
            described = {name: value for name, value in described.items() if name not in SEALED}
        header = {**described, "format": FORMAT, "scope": scope.path, "crc32": zlib.crc32(body)}
        path = self._path(scope)
        try:
            self._folder.mkdir(exist_ok=True)
            with path.with_suffix(".new").open("wb") as file:
                file.write(json.dumps(header).encode() + b"\n")
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            path.with_suffix(".new").replace(path)
        except OSError as error:
            log.warning("no snapshot was written", extra={"path": str(path), "reason": str(error)})
            self.drop(scope)

    def load(self, scope: Scope) -> tuple[JsonObject, dict[str, NDArray[Any]]] | None:
        """What was saved, or `None` if there is no sound snapshot."""
        path = self._path(scope)
        try:
            with path.open("rb") as file:
                header = json.loads(file.readline())
                content = file.read()
            if header["format"] != FORMAT or header["scope"] != scope.path or header["crc32"] != zlib.crc32(content):
                raise ValueError("its checksum, scope or format does not match")
            if self._cipher is not None:
                content = self._cipher.unseal(content, scope.path)
                size = int.from_bytes(content[:8], "big")
                header, content = {**header, **json.loads(content[8 : 8 + size])}, content[8 + size :]
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                return header, {name: arrays[name] for name in arrays.files}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, StoreError) as error:
            log.warning("a snapshot is damaged and is made again", extra={"path": str(path), "reason": str(error)})
            self.drop(scope)
            return None

    def drop(self, scope: Scope) -> None:
        """Deletes the scope's snapshot, finished or not: what was forgotten must not live on in it."""
        path = self._path(scope)
        for file in (path, path.with_suffix(".new")):
            file.unlink(missing_ok=True)

    def _path(self, scope: Scope) -> Path:
        return self._folder / f"{hashlib.sha256(scope.path.encode()).hexdigest()[:32]}.index"
