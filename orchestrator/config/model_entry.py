"""One model of the fleet, as the configuration states it."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from orchestrator.config.fields import Address, Price, Share, Strict, known_provider
from orchestrator.config.names import DEFAULT_NAME as DEFAULT_NAME
from orchestrator.jsontypes import JsonObject

_HEADER_NAME = re.compile(r"[A-Za-z0-9-]{1,128}")


_OUR_HEADERS = frozenset(
    {"host", "content-length", "content-type", "transfer-encoding", "connection", "accept-encoding"}
)


_COUNTED_FIELDS = frozenset(
    (
        "model messages input contents prompt stream n candidatecount bestof maxtokens maxcompletiontokens "
        "maxoutputtokens npredict numpredict mintokens maxnewtokens maxlength maxtokenstosample budgettokens "
        "thinkingbudget models route streamoptions"
    ).split()
)


def _sendable_headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not value.isprintable() or not value.isascii():
            raise ValueError(
                f"{name!r} is no header that can be sent: names are letters, digits and -, values printable ASCII"
            )
        if name.lower() in _OUR_HEADERS:
            raise ValueError(f"the header {name!r} is set for each call anew and cannot be stated")
    return {name.lower(): value for name, value in headers.items()}


def harmless_body(body: JsonObject) -> JsonObject:
    """Further fields of a call's body. Raises `ValueError` on one from which the cost of the call is reckoned."""
    for name, value in body.items():
        if name.lower().replace("_", "") in _COUNTED_FIELDS:
            raise ValueError(
                f"{name!r} cannot be stated in extra_body: what a call may cost is reckoned from it. Use max_tokens of "
                "the request, or "
                "max_output_tokens of the model"
                if "token" in name.lower()
                else f"{name!r} cannot be stated in extra_body: it is set for each call anew"
            )
        if isinstance(value, dict):
            harmless_body(value)
    return body


class TlsConfig(Strict):
    """Certificates.

    `ca` is a file of those that are trusted instead of the usual ones, `cert` and `key` are files of the client's own.
    """

    ca: str | None = None
    """A file of certificates that are trusted."""
    cert: str | None = None
    """A file with our own certificate."""
    key: str | None = None
    """A file with its private key."""


class ReplicaConfig(Strict):
    """One of several servers of the same model."""

    base_url: Address
    """The server's address, which ends in `/v1`."""
    pool: Literal["any", "prefill", "decode"] = "any"
    """Which calls it is for: those that are mostly reading, mostly writing, or all."""
    kv_events: str | None = None
    """`tcp://host:5557`: where its engine tells of its prefix cache (extra `kv-events`)."""


class StudentAuditConfig(Strict):
    """How a student in use is watched."""

    share: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.02
    """Of its answers, how many are asked of its teacher afterwards."""
    teacher: str | None = None
    """A model of this file; default: the best one of the route."""
    usd_per_day: Price = 1.0
    """What audits may cost in a day, in USD, for each student and process."""


class ModelConfig(Strict):
    """One model of the fleet."""

    provider: Annotated[str, AfterValidator(known_provider)]
    """Whose API; `compatible` is any OpenAI-compatible server at `base_url`.

    `orchestrator doctor --providers` lists them.
    """
    model: str | None = None
    """The provider's own name for the model."""
    base_url: Address | None = None
    """`${NAME}` in it is a variable of the environment."""
    replicas: list[ReplicaConfig] = []
    """Several servers of this model: calls go to the one that holds their prefix. Instead of `base_url`."""
    via: Address | None = None
    """A proxy that reaches the `replicas` by the header `x-gateway-destination-endpoint` (Gateway API)."""
    hands_over: bool = False
    """Prompts are read by replicas of the pool `prefill`, answers written by those of the pool `decode`, which are
    handed the keys and values (vLLM's `kv_transfer_params`)."""
    reads_load: bool = True
    """Whether several servers of vLLM, SGLang or TensorRT-LLM are asked for their load."""
    key: str | None = None
    """`env:NAME`, `file:PATH` or `command:PROGRAM ARGUMENTS`; never the key itself.

    Default: the provider's usual environment variable.
    """
    input_usd_per_mtok: Price | None = None
    """USD for a million tokens of a prompt; else the list price."""
    output_usd_per_mtok: Price | None = None
    """USD for a million tokens of an answer."""
    cached_usd_per_mtok: Price | None = None
    """USD for a million tokens that the provider's cache holds."""
    cache_write_usd_per_mtok: Price | None = None
    """What the provider takes for writing a prefix to its cache for five minutes (OpenAI: thirty)."""
    cache_write_1h_usd_per_mtok: Price | None = None
    """The same, kept for an hour."""
    audio_input_usd_per_mtok: Price | None = None
    """USD for a million tokens of sound that goes in."""
    audio_output_usd_per_mtok: Price | None = None
    """USD for a million tokens of sound that comes out."""
    cache: Literal["auto", "off", "5m", "1h"] = "auto"
    """When a prefix is marked to be kept by the provider.

    Where that is expected to pay, never, or always for so long.
    """
    hedge: bool = False
    """Make a call again that takes longer than 95 % of those before it, and take the answer that comes first.

    Its worst case is reserved twice.
    """
    context_tokens: Annotated[int, Field(gt=0)] | None = None
    """Default: as the price list has it, else 128,000."""
    effective_context_tokens: Annotated[int, Field(gt=0)] | None = None
    """How much of it the model uses well (`orchestrator probe`); longer prompts are trimmed to what matters."""
    capabilities: list[str] = []
    """Of `tools`, `vision`, `audio`, `json`, `n`: what requests that need them are routed by.

    Default: what is known of the provider's model, or of its kind of server.
    """
    skill: Share | None = None
    """Expected share of right answers, in (0, 1)."""
    like: str | None = None
    """A model whose success is known, to start from."""
    output_tokens: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 250.0
    """The expected length of an answer, in tokens."""
    max_output_tokens: Annotated[int, Field(gt=0)] = 8_192
    """The longest answer; what a caller of the gateway who has a budget but states no `max_tokens` is held to."""
    ttft_s: Price = 0.5
    """Seconds to the first token."""
    tokens_per_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 60.0
    """Tokens that it writes in a second."""
    prefill_tokens_per_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """How fast it reads what no cache holds (`orchestrator probe`)."""
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    """This and the next three hold for requests that state none of their own."""
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    """Of requests that state none: only the likeliest tokens of this share, in (0, 1]."""
    top_k: Annotated[int, Field(ge=1)] | None = None
    """Of requests that state none: only so many of the likeliest tokens."""
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    """Of requests that state none: how much it may think."""
    timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """The longest that one call may take."""
    retries: Annotated[int, Field(ge=0, le=20)] = 2
    """How often a call that failed without an answer is made again, where that costs nothing twice."""
    rpm: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """At most so many calls a minute are sent: what comes beyond waits, or goes to another model if it cannot wait."""
    headers: Annotated[dict[str, str], AfterValidator(_sendable_headers)] = {}
    """Sent with every call. A value may be a reference, as `key`."""
    proxy: str | None = None
    """`http://host:port` or `socks5://host:port`, or `none`: that of the environment is not used.

    Default: `HTTPS_PROXY` and its kin.
    """
    tls: TlsConfig | None = None
    """Certificates, where the usual ones will not do."""
    http2: bool = False
    """Speak HTTP/2 (extra `transports`)."""
    extra_body: Annotated[dict[str, Any], AfterValidator(harmless_body)] = {}
    """Laid over the body of every call, in the words of the provider."""
    folder: str | None = None
    """Recorded models: the folder of the recordings."""
    task: str | None = None
    """Recorded models: which recordings (`gsm`, `crux`)."""
    file: str | None = None
    """Students: the file that `orchestrator distill` wrote."""
    audits: StudentAuditConfig = StudentAuditConfig()
    """Students: how they are watched."""
