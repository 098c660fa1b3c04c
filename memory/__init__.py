"""Memory that needs no model call: remember text durably, recall the few facts a query needs inside a token budget, with citations."""

from memory.encoder import Encoder, HashingEncoder, SentenceTransformerEncoder, StaticEncoder, default_encoder
from memory.errors import EncoderMismatch, InvalidRecord, MemoryFailure, ScopeError, StoreError
from memory.memory import Memory
from memory.packing import Recall, RecalledRecord
from memory.record import NewRecord, Record, Scope

__all__ = [
    "Encoder",
    "EncoderMismatch",
    "HashingEncoder",
    "InvalidRecord",
    "Memory",
    "MemoryFailure",
    "NewRecord",
    "Recall",
    "RecalledRecord",
    "Record",
    "Scope",
    "ScopeError",
    "SentenceTransformerEncoder",
    "StaticEncoder",
    "StoreError",
    "default_encoder",
]
