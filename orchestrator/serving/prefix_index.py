"""Which replica probably still holds the beginning of a prompt.

A prompt is a chain of chunks, each named by a hash of itself and of all before it. What was sent to a replica is
remembered in the order of use and forgotten oldest first, as an engine evicts it; an engine that reports more cached
tokens than foreseen has more memory than was thought, one that reports fewer has less, and the size follows.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

MAX_CHUNKS = 131_072
"""The most chunks that an index remembers over all replicas: about 16 MB."""
START_CHUNKS = 4_096
FEW = 20  # reports before the size follows them
SLOW = 0.9  # how much of the past a further report leaves
MISSED, LARGE = 0.5, 1.5


class PrefixIndex:
    """Chunks by replica. At most `max_chunks` are remembered, shared among the replicas."""

    def __init__(self, replicas: int, *, max_chunks: int = MAX_CHUNKS, start_chunks: int | None = None) -> None:
        self._most = max(max_chunks // max(replicas, 1), 16)
        size = self._most if start_chunks is None else min(max(start_chunks, 16), self._most)
        self._held: list[OrderedDict[int, None]] = [OrderedDict() for _ in range(replicas)]
        self._sizes = [size] * replicas

    def __len__(self) -> int:
        return sum(len(held) for held in self._held)

    def matched(self, replica: int, chunks: Sequence[int]) -> int:
        """How many chunks from the beginning the replica probably holds."""
        held = self._held[replica]
        for count, chunk in enumerate(chunks):
            if chunk not in held:
                return count
        return len(chunks)

    def record(self, replica: int, chunks: Sequence[int]) -> None:
        """These chunks were sent to a replica; the beginning, which others share, is forgotten last."""
        held, size = self._held[replica], self._sizes[replica]
        for chunk in reversed(chunks[:size]):
            held[chunk] = None
            held.move_to_end(chunk)
        while len(held) > size:
            held.popitem(last=False)

    def resize(self, replica: int, chunks: int) -> None:
        """The replica holds about so many chunks."""
        self._sizes[replica] = size = min(max(chunks, 16), self._most)
        held = self._held[replica]
        while len(held) > size:
            held.popitem(last=False)

    def size(self, replica: int) -> int:
        """How many chunks of a replica are remembered at most."""
        return self._sizes[replica]

    def clear(self, replica: int) -> None:
        """The replica holds nothing: it was started anew, or has said so."""
        self._held[replica].clear()
