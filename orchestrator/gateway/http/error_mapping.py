"""Which error of the gateway becomes of an error of the engine, a budget, a pipeline or a database.

A spent budget is a 402, because clients repeat a 429 and most of them read no header that says otherwise;
`x-should-retry: false` goes with every refusal that waiting does not mend.
"""

from __future__ import annotations

from orchestrator.agent.journal import RunInUse
from orchestrator.backends.dialects.dialect import UNSUPPORTED
from orchestrator.backends.provider_errors import cannot_do, is_too_long
from orchestrator.errors import (
    BackendError,
    BackendRejected,
    BackendUnavailable,
    BudgetExceeded,
    ConfigError,
    InvalidBudget,
    InvalidQuery,
    NoAdequateModel,
    OrchestratorError,
    RateLimited,
    StorageError,
    UnknownAnswer,
    UnknownModel,
)
from orchestrator.gateway.accounts.quota_leases import REQUESTS, TOKENS, USD, LimitReached
from orchestrator.gateway.errors import GatewayError
from orchestrator.gateway.http.redaction import without_addresses
from orchestrator.memory.errors import InvalidRecord, MemoryFailure, NotErased, QuotaExceeded, ScopeError
from orchestrator.pipeline.execution.result import RunCancelled, RunFailed, UnknownRun
from orchestrator.storage.account_types import AccountError, NoAccount


def to_gateway_error(error: Exception) -> GatewayError | None:
    """An error of ours as its problem; `None` for one that nobody foresaw."""
    if isinstance(error, GatewayError):
        return error
    if isinstance(error, LimitReached):
        return _limit(error)
    if isinstance(error, BudgetExceeded):
        return GatewayError(402, str(error), code="insufficient_quota", kind="insufficient_quota", should_retry=False)
    if isinstance(error, UnknownModel):
        return GatewayError(404, str(error), code="model_not_found", param="model")
    if isinstance(error, InvalidQuery | InvalidBudget | InvalidRecord | ScopeError | UnicodeEncodeError):
        return GatewayError(400, str(error), code=getattr(error, "code", "invalid_request"))
    if isinstance(error, QuotaExceeded):
        return GatewayError(403, str(error), code="memory_full", should_retry=False)
    if isinstance(error, UnknownAnswer | NoAccount):
        return GatewayError(404, str(error), code=error.code)
    if isinstance(error, AccountError):
        return GatewayError(409, str(error), code=error.code)
    if isinstance(error, NoAdequateModel) and error.has_failed:
        return _all_failed(error)
    if isinstance(error, NoAdequateModel):
        return GatewayError(404, str(without_addresses(str(error))), code=error.code, should_retry=False)
    if isinstance(error, BackendError):
        return _backend(error)
    if isinstance(error, RunFailed):
        return _run(error)
    if isinstance(error, UnknownRun):
        return GatewayError(404, str(error), code=error.code)
    if isinstance(error, RunCancelled):
        return GatewayError(409, str(error), code=error.code, should_retry=False)
    if isinstance(error, NotErased):
        told = "deleted, but not erased yet: another process is reading the memory; forget it again in a moment"
        return GatewayError(503, told, code="not_erased", retry_after_s=5.0)
    if isinstance(error, StorageError | MemoryFailure):
        return GatewayError(
            503, "a database of this gateway cannot be used at the moment", code="storage", retry_after_s=2.0
        )
    if isinstance(error, RunInUse):
        return GatewayError(409, error.message, code=error.code, retry_after_s=2.0)
    if isinstance(error, ConfigError):
        return GatewayError(400, str(error), code=error.code)
    if isinstance(error, OrchestratorError):
        return GatewayError(500, str(error), code=error.code)
    return None


def _all_failed(error: NoAdequateModel) -> GatewayError:
    """What is wrong with every model alike, else that none answered: whether to ask again hangs on it."""
    told = f"no model answered: {', '.join(error.tried)} failed or cannot take this"
    found = [_backend(each) for each in error.failures]
    if len({(each.status, each.code) for each in found}) != 1:
        return GatewayError(503, told, code="upstream_unavailable", retry_after_s=1.0)
    alike = found[0]
    return GatewayError(
        alike.status,
        f"{told}. Of those that were asked: {alike.message}",
        code=alike.code,
        kind=alike.kind,
        param=alike.param,
        retry_after_s=alike.retry_after_s,
        should_retry=alike.should_retry,
    )


def _run(error: RunFailed) -> GatewayError:
    """A run that failed.

    What a step says of a model is told as it would be outside of a pipeline; what a tool says stays with us.
    """
    where = f"step {error.path!r}" if error.path else "the run"
    cause = to_gateway_error(error.cause) if isinstance(error.cause, OrchestratorError) else None
    if cause is None or cause.status == 500:
        return GatewayError(
            502, f"{where} of the pipeline failed; its operator can look at the run {error.run}", code=error.code
        )
    retry = cause.retry_after_s
    return GatewayError(
        cause.status,
        f"{where}: {cause.message}",
        code=cause.code,
        kind=cause.kind,
        retry_after_s=retry,
        should_retry=cause.should_retry,
    )


def _limit(error: LimitReached) -> GatewayError:
    """A 429 where waiting helps, another status where it does not."""
    helps = error.retry_after_s is not None
    if error.kind == USD and not helps:
        return GatewayError(402, str(error), code="insufficient_quota", kind="insufficient_quota", should_retry=False)
    if error.kind == USD:
        return GatewayError(
            429, str(error), code="insufficient_quota", kind="insufficient_quota", retry_after_s=error.retry_after_s
        )
    kind = error.kind if error.kind in (REQUESTS, TOKENS) else "requests"
    status = 413 if error.kind == TOKENS and not helps else 429
    return GatewayError(
        status,
        str(error),
        code="rate_limit_exceeded",
        kind=kind,
        retry_after_s=error.retry_after_s,
        should_retry=None if helps else False,
    )


def _backend(error: BackendError) -> GatewayError:
    """A model that could not be asked. Whatever says how we reach it (addresses, our own keys) stays with us."""
    if isinstance(error, RateLimited):
        return GatewayError(
            429,
            "the model's provider limits us: too many requests",
            code="upstream_rate_limited",
            kind="requests",
            retry_after_s=error.retry_after_s or 1.0,
        )
    if isinstance(error, BackendRejected):
        if error.status is None and error.detail.startswith(UNSUPPORTED):
            told = f"the API of this model's provider has no word for this: {error.detail.removeprefix(UNSUPPORTED)}"
            return GatewayError(400, told, code="unsupported_by_model", should_retry=False)
        if is_too_long(error):
            told = f"the request is longer than the model's context: {without_addresses(error.detail)}"
            return GatewayError(400, told, code="context_length_exceeded", param="messages", should_retry=False)
        if error.status in (400, 413, 422):
            told = without_addresses(error.detail) or "no details"
            return GatewayError(
                error.status, f"the model's provider refuses the request: {told}", code="upstream_rejected"
            )
        if cannot_do(error):
            told = f"the model's server cannot do this: {without_addresses(error.detail)}"
            return GatewayError(400, told, code="unsupported_by_model", should_retry=False)
        return GatewayError(
            502, "the model's provider refuses the gateway's own request", code="upstream_rejected", should_retry=False
        )
    if isinstance(error, BackendUnavailable) and error.may_be_billed:
        return GatewayError(504, "the model gave no answer in time", code="upstream_timeout")
    if isinstance(error, BackendUnavailable):
        return GatewayError(
            503,
            "the model cannot be reached at the moment",
            code="upstream_unavailable",
            retry_after_s=error.retry_after_s or 1.0,
        )
    return GatewayError(502, "the model's answer broke off or cannot be read", code="upstream_bad_response")
