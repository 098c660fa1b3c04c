"""Opens the memory that a configuration names, and lets models write its summaries."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.config.models import MemoryConfig
from orchestrator.config.secrets import secret
from orchestrator.errors import ConfigError
from orchestrator.plugins.entry_points import ENCODERS, make_plugin
from orchestrator.types import Answer, Query

if TYPE_CHECKING:
    from orchestrator.memory import Cipher, Encoder, Memory, Reranker


def open_memory(config: MemoryConfig) -> Memory:
    """Raises `ConfigError` when its encoder cannot be had, `memory.MemoryFailure` when the file cannot be used."""
    from orchestrator.memory import Memory  # numpy

    return Memory(config.path, encoder=encoder_of(config), cipher=cipher_of(config), reranker=_reranker(config))


def encoder_of(config: MemoryConfig) -> Encoder:
    """The encoder that the configuration names. Raises `ConfigError` where it cannot be had."""
    from orchestrator.memory import (  # numpy
        EncoderError,
        EndpointEncoder,
        MultilingualEncoder,
        SentenceTransformerEncoder,
        default_encoder,
    )

    try:
        if config.encoder == "minilm":
            return SentenceTransformerEncoder()
        if config.encoder == "multilingual":
            return MultilingualEncoder()
        if config.encoder == "endpoint":
            if config.base_url is None or config.model is None:
                raise ConfigError(
                    "memory: an endpoint needs base_url and model",
                    remedy="For example http://127.0.0.1:11434/v1, nomic-embed-text",
                )
            return EndpointEncoder(config.base_url, config.model, key=secret(config.key, None))
        if config.encoder != "static":
            encoder: Encoder = make_plugin(ENCODERS, config.encoder, needs=("fingerprint", "dimensions", "encode"))
            return encoder
    except (ImportError, EncoderError) as error:
        raise ConfigError(f"memory: {error}", remedy="Or use encoder: static") from None
    return default_encoder()


def cipher_of(config: MemoryConfig) -> Cipher | None:
    """The cipher of the key that the configuration names; `None` without one. Raises `ConfigError`."""
    from orchestrator.memory import AesGcmCipher  # numpy

    key = secret(config.encryption_key, None)
    if key is None:
        return None
    try:
        return AesGcmCipher(base64.b64decode(key, validate=True))
    except ImportError as error:
        raise ConfigError(f"memory: {error}", remedy="Or leave encryption_key away") from None
    except (binascii.Error, ValueError) as error:
        raise ConfigError(
            f"memory: encryption_key: {error}", remedy="It is 32 random bytes in base64: openssl rand -base64 32"
        ) from None


def _reranker(config: MemoryConfig) -> Reranker | None:
    from orchestrator.memory import CrossEncoderReranker  # numpy

    try:
        return CrossEncoderReranker(config.reranker) if config.reranker is not None else None
    except (ImportError, OSError, ValueError) as error:
        raise ConfigError(
            f"memory: reranker: {error}", remedy="Name a folder with a CrossEncoder, or leave it away"
        ) from None


def writer_of(
    answer: Callable[[Query], Coroutine[None, None, Answer]], asked: Query, loop: asyncio.AbstractEventLoop
) -> Callable[[str], str]:
    """Writes summaries (from another thread than the loop's).

    `asked` says which models may, and in whose scope it is accounted.
    """

    def written(prompt: str) -> str:
        query = replace(asked, text=prompt, uses_memory=False)
        return asyncio.run_coroutine_threadsafe(answer(query), loop).result().text

    written.__name__ = ", ".join(sorted(asked.models or ()))
    return written
