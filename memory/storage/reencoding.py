"""Gives a memory another encoder while it is in use.

A second set of vectors is filled beside the first, then both change places in one transaction.

Recalls and writes go on with the old vectors meanwhile. What was begun and interrupted goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.memory.encoders.encoder import Encoder
from orchestrator.memory.storage.store import RecordStore

BATCH = 512
LAST = 256  # records that may be encoded inside the transaction that switches, while writers wait


def reencode(store: RecordStore, encoder: Encoder, on_progress: Callable[[int], None] | None = None) -> int:
    """Returns how many records were encoded. `on_progress` is told after each batch how many so far."""
    store.start_reencoding(encoder.fingerprint)
    done = 0
    while True:
        batch = store.not_reencoded(BATCH)
        if len(batch) <= LAST and store.finish_reencoding(encoder, LAST):
            return done + len(batch)
        if batch:
            vectors = encoder.encode([key for _, key in batch])
            store.put_vectors(dict(zip((record_id for record_id, _ in batch), vectors, strict=True)))
            done += len(batch)
            if on_progress is not None:
                on_progress(done)
