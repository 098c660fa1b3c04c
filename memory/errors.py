"""What can go wrong in a memory. Each message says what happened, where, and what to do next."""

from __future__ import annotations

from orchestrator.errors import OrchestratorError


class MemoryFailure(OrchestratorError):
    """Base of this package's errors (Python already has a `MemoryError` of another meaning)."""

    code = "memory"


class InvalidRecord(MemoryFailure, ValueError):
    """The text or a field of a record cannot be stored: empty, too large, or not text."""

    code = "invalid_record"


class ScopeError(MemoryFailure, ValueError):
    """A scope path is malformed."""

    code = "invalid_scope"


class QuotaExceeded(MemoryFailure, ValueError):
    """The scope would hold more records than it may; nothing was stored."""

    code = "memory_full"


class StoreError(MemoryFailure, RuntimeError):
    """The database cannot be opened, read or written."""

    code = "memory_store"


class NotErased(StoreError):
    """Records were deleted and are recalled no more, but their text is still in the log of the file, because another
    process has it open for reading. Forget again when that has ended.
    """

    code = "not_erased"


class EncoderError(MemoryFailure, RuntimeError):
    """An encoder could not encode: nothing was stored or searched."""

    code = "encoder_failed"


class EncoderMismatch(MemoryFailure, RuntimeError):
    """The memory's vectors were made by another encoder than the one at hand."""

    code = "encoder_mismatch"
