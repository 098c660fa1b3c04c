"""What can go wrong in a memory. Each message says what happened, where, and what to do next."""

from __future__ import annotations


class MemoryError_(Exception):
    """Base of this package's errors (the underscore keeps Python's own `MemoryError` usable)."""


class InvalidRecord(MemoryError_, ValueError):
    """The text or a field of a record cannot be stored: empty, too large, or not text."""


class ScopeError(MemoryError_, ValueError):
    """A scope path is malformed."""


class StoreError(MemoryError_, RuntimeError):
    """The database cannot be opened, read or written."""


class EncoderMismatch(MemoryError_, RuntimeError):
    """The memory's vectors were made by another encoder than the one at hand."""
