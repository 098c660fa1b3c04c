"""What an engine tells of its prefix cache as it changes: vLLM's and SGLang's events, messages of msgpack over ZeroMQ.

A message is (topic, sequence number, batch); a batch is `[time, events, ...]`, and an event is an array that begins
with its kind, or a map with `type` (both stand in engines of 2026). Block hashes depend on the tokenizer and on seeds,
so they are counted and not compared: how much an engine holds, and that it holds nothing any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MAX_BLOCKS = 4_000_000


@dataclass(slots=True)
class CacheState:
    """What one engine holds, as its events tell.

    Attributes:
        tokens: How many tokens its blocks hold.
        clears: How often all of them were cleared.
        missed: Messages that did not arrive: what is known since then is too little.
        max_blocks: How many blocks are remembered at most.
    """

    tokens: int = 0
    clears: int = 0
    missed: int = 0
    max_blocks: int = MAX_BLOCKS
    _blocks: dict[Any, int] = field(default_factory=dict)
    _next: int | None = None

    def take(self, sequence: int, batch: object) -> None:
        """One message. What cannot be read is left out; a gap in the sequence is counted."""
        if self._next is not None and sequence > self._next:
            self.missed += sequence - self._next
        elif self._next is not None and sequence < self._next:  # the engine was started anew
            self._clear()
        self._next = sequence + 1
        for kind, event in _events(batch):
            if kind == "BlockStored":
                self._store(event)
            elif kind == "BlockRemoved":
                for block in _list(event.get("block_hashes")):
                    self.tokens -= self._blocks.pop(_key(block), 0)
            elif kind == "AllBlocksCleared":
                self._clear()

    def _store(self, event: Mapping[str, Any]) -> None:
        size = event.get("block_size")
        if not isinstance(size, int) or not 0 < size <= 65_536:
            return
        for block in _list(event.get("block_hashes")):
            key = _key(block)
            if key not in self._blocks and len(self._blocks) < self.max_blocks:
                self._blocks[key] = size
                self.tokens += size

    def _clear(self) -> None:
        self._blocks.clear()
        self.tokens = 0
        self.clears += 1


STORED = ("block_hashes", "parent_block_hash", "token_ids", "block_size", "lora_id", "medium")
REMOVED = ("block_hashes", "medium")


def _events(batch: object) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(kind, fields) of each event that can be read."""
    if isinstance(batch, Mapping):
        events = batch.get("events")
    else:
        events = batch[1] if isinstance(batch, Sequence) and len(batch) > 1 else None
    for event in _list(events):
        if isinstance(event, Mapping):
            kind = event.get("type")
            if isinstance(kind, str):
                yield kind, event
        elif isinstance(event, list | tuple) and event and isinstance(event[0], str):
            names = STORED if event[0] == "BlockStored" else REMOVED
            yield event[0], dict(zip(names, event[1:], strict=False))


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _key(block: object) -> object:
    return block if isinstance(block, int) else hash(block) if isinstance(block, bytes | str) else 0
