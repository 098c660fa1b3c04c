"""Opens the memory that a configuration names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.config import MemoryConfig, secret
from orchestrator.errors import ConfigError

if TYPE_CHECKING:
    from memory import Encoder, Memory


def open_memory(config: MemoryConfig) -> Memory:
    """Raises `ConfigError` when its encoder cannot be had, `memory.MemoryFailure` when the file cannot be used."""
    from memory import Memory

    return Memory(config.path, encoder=_encoder(config))


def _encoder(config: MemoryConfig) -> Encoder:
    from memory import EncoderError, EndpointEncoder, SentenceTransformerEncoder, default_encoder

    try:
        if config.encoder == "minilm":
            return SentenceTransformerEncoder()
        if config.encoder == "endpoint":
            if config.base_url is None or config.model is None:
                raise ConfigError(
                    "memory: an endpoint needs base_url and model", remedy="For example http://127.0.0.1:11434/v1, nomic-embed-text"
                )
            return EndpointEncoder(config.base_url, config.model, key=secret(config.key, None))
    except (ImportError, EncoderError) as error:
        raise ConfigError(f"memory: {error}", remedy="Or use encoder: static") from None
    return default_encoder()
