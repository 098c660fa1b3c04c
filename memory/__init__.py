"""Memory that needs no model call: remember text durably, recall the few facts a query needs inside a token budget, with citations."""

from memory.encoder import Encoder, HashingEncoder, SentenceTransformerEncoder, StaticEncoder, default_encoder, encoder_for
from memory.endpoint import EndpointEncoder
from memory.errors import EncoderError, EncoderMismatch, InvalidRecord, MemoryFailure, QuotaExceeded, ScopeError, StoreError
from memory.memory import Memory
from memory.packing import Recall, RecalledRecord
from memory.record import Forgotten, Limits, NewRecord, Record, Scope

__all__ = [
    "Encoder",
    "EncoderError",
    "EncoderMismatch",
    "EndpointEncoder",
    "Forgotten",
    "HashingEncoder",
    "InvalidRecord",
    "Limits",
    "Memory",
    "MemoryFailure",
    "NewRecord",
    "QuotaExceeded",
    "Recall",
    "RecalledRecord",
    "Record",
    "Scope",
    "ScopeError",
    "SentenceTransformerEncoder",
    "StaticEncoder",
    "StoreError",
    "default_encoder",
    "encoder_for",
]
