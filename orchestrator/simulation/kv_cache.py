"""The keys and values that an engine holds: those in use, and those kept for prompts that begin alike.

As vLLM's (block pool, version 0.19): what nobody uses stays until its room is needed, the oldest goes first, and of one
request the end goes before the beginning.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

Key = int | tuple[str, int]


class KvCache:
    """`capacity` in tokens. What is held is `in_use` (by running requests) and `kept` (by nobody, oldest first)."""

    def __init__(self, capacity: int, chunk_tokens: int, *, keeps: bool = True) -> None:
        self.capacity = capacity
        self.chunk_tokens = chunk_tokens
        self.in_use = 0
        self._keeps = keeps
        self._kept: OrderedDict[Key, int] = OrderedDict()
        self._kept_tokens = 0
        self._users: dict[int, int] = {}  # of a shared chunk

    @property
    def free(self) -> int:
        """Tokens that may be taken."""
        return self.capacity - self.in_use

    @property
    def use(self) -> float:
        """Share of the memory in use, in [0, 1]."""
        return self.in_use / self.capacity

    def cached_chunks(self, chunks: Sequence[int]) -> int:
        """How many chunks from the beginning are held."""
        if not self._keeps:
            return 0
        users, kept = self._users, self._kept
        for count, chunk in enumerate(chunks):
            if chunk not in users and chunk not in kept:
                return count
        return len(chunks)

    def need(self, chunks: Sequence[int]) -> int:
        """Tokens that using these held chunks takes from `free`: those that nobody uses yet."""
        return sum(self.chunk_tokens for chunk in chunks if chunk not in self._users)

    def share(self, chunks: Sequence[int]) -> None:
        """One more request uses these chunks."""
        users = self._users
        for chunk in chunks:
            if chunk in users:
                users[chunk] += 1
                continue
            users[chunk] = 1
            self._kept_tokens -= self._kept.pop(chunk, 0)
            self.in_use += self.chunk_tokens
        self._evict()

    def take_back(self, owner: int) -> int:
        """What is left of what a request had when it was thrown out; it is no longer kept, and the room is taken."""
        tokens = self._kept.pop(("again", owner), 0)
        self._kept_tokens -= tokens
        return tokens

    def give(self, tokens: int) -> None:
        """So many tokens are used no longer, and not worth keeping."""
        self.in_use -= tokens

    def take(self, tokens: int) -> None:
        """So many more tokens are in use; who takes looks at `free` before."""
        self.in_use += tokens
        if self.in_use + self._kept_tokens > self.capacity:
            self._evict()

    def release(self, chunks: Sequence[int], private: int, owner: Key) -> None:
        """A request uses its chunks and its `private` tokens no longer."""
        self.in_use -= private
        if self._keeps:
            self._keep(owner, private)
        for chunk in reversed(chunks):  # the beginning, which others share, goes last
            left = self._users[chunk] - 1
            if left:
                self._users[chunk] = left
                continue
            del self._users[chunk]
            self.in_use -= self.chunk_tokens
            if self._keeps:
                self._keep(chunk, self.chunk_tokens)

    def _keep(self, key: Key, tokens: int) -> None:
        if tokens:
            self._kept[key] = self._kept.pop(key, 0) + tokens
            self._kept_tokens += tokens

    def _evict(self) -> None:
        over = self.in_use + self._kept_tokens - self.capacity
        while over > 0 and self._kept:
            key, tokens = next(iter(self._kept.items()))
            if isinstance(key, tuple) and tokens > over:
                self._kept[key] = tokens - over
                self._kept_tokens -= over
                return
            del self._kept[key]
            self._kept_tokens -= tokens
            over -= tokens
