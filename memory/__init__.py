"""Memory that needs no model call: remember text durably, recall the few facts a query needs inside a token budget, with citations."""

from memory.encoder import Encoder, HashingEncoder, SentenceTransformerEncoder, StaticEncoder, default_encoder, encoder_for
from memory.endpoint import EndpointEncoder
from memory.errors import EncoderError, EncoderMismatch, InvalidRecord, MemoryFailure, QuotaExceeded, ScopeError, StoreError
from memory.memory import Memory
from memory.packing import Recall, RecalledRecord
from memory.ranking import CrossEncoderReranker, Reranker
from memory.record import Forgotten, Limits, Mention, NewRecord, Record, Scope, Summary
from memory.sealing import AesGcmCipher, Cipher
from memory.thresholds import Thresholds

__all__ = [
    "AesGcmCipher",
    "Cipher",
    "CrossEncoderReranker",
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
    "Mention",
    "NewRecord",
    "QuotaExceeded",
    "Recall",
    "RecalledRecord",
    "Record",
    "Reranker",
    "Scope",
    "ScopeError",
    "SentenceTransformerEncoder",
    "StaticEncoder",
    "StoreError",
    "Summary",
    "Thresholds",
    "default_encoder",
    "encoder_for",
]
