"""Memory that needs no model call.

Remember text durably, recall the few facts a query needs inside a token budget, with citations.

Names are loaded when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.memory.encoders.encoder import (
        Encoder,
        HashingEncoder,
        MultilingualEncoder,
        SentenceTransformerEncoder,
        default_encoder,
        encoder_for,
    )
    from orchestrator.memory.encoders.endpoint import EndpointEncoder
    from orchestrator.memory.errors import (
        EncoderError,
        EncoderMismatch,
        InvalidRecord,
        MemoryFailure,
        NotErased,
        QuotaExceeded,
        ScopeError,
        StoreError,
    )
    from orchestrator.memory.ingest.jsonl import turns
    from orchestrator.memory.memory import Memory
    from orchestrator.memory.record import ExportedRecord, Forgotten, Limits, Mention, NewRecord, Record, Scope, Summary
    from orchestrator.memory.retrieval.packing import Recall, RecalledRecord
    from orchestrator.memory.retrieval.ranking import CrossEncoderReranker, Reranker
    from orchestrator.memory.storage.encryption import AesGcmCipher, Cipher
    from orchestrator.memory.thresholds import Thresholds
    from orchestrator.text.static_encoder import StaticEncoder

_HOME = {
    **dict.fromkeys(
        (
            "Encoder",
            "HashingEncoder",
            "MultilingualEncoder",
            "SentenceTransformerEncoder",
            "default_encoder",
            "encoder_for",
        ),
        "memory.encoders.encoder",
    ),
    **dict.fromkeys(("EndpointEncoder",), "memory.encoders.endpoint"),
    **dict.fromkeys(
        (
            "EncoderError",
            "EncoderMismatch",
            "InvalidRecord",
            "MemoryFailure",
            "NotErased",
            "QuotaExceeded",
            "ScopeError",
            "StoreError",
        ),
        "memory.errors",
    ),
    **dict.fromkeys(("turns",), "memory.ingest.jsonl"),
    **dict.fromkeys(("Memory",), "memory.memory"),
    **dict.fromkeys(("Recall", "RecalledRecord"), "memory.retrieval.packing"),
    **dict.fromkeys(("CrossEncoderReranker", "Reranker"), "memory.retrieval.ranking"),
    **dict.fromkeys(
        ("ExportedRecord", "Forgotten", "Limits", "Mention", "NewRecord", "Record", "Scope", "Summary"), "memory.record"
    ),
    **dict.fromkeys(("AesGcmCipher", "Cipher"), "memory.storage.encryption"),
    **dict.fromkeys(("Thresholds",), "memory.thresholds"),
    "StaticEncoder": "text.static_encoder",
}
__all__ = [
    "AesGcmCipher",
    "Cipher",
    "CrossEncoderReranker",
    "Encoder",
    "EncoderError",
    "EncoderMismatch",
    "EndpointEncoder",
    "ExportedRecord",
    "Forgotten",
    "HashingEncoder",
    "InvalidRecord",
    "Limits",
    "Memory",
    "MemoryFailure",
    "Mention",
    "MultilingualEncoder",
    "NewRecord",
    "NotErased",
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
    "turns",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'orchestrator.memory' has no attribute {name!r}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(f"orchestrator.{_HOME[name]}"), name)
    return found


if __name__ == "memory":  # the old name of this package, which a checkout on the path still offers
    from importlib import import_module

    import_module("orchestrator._deprecated").replace_package(__name__)
