"""Everything that can go wrong, drawn as a tree.

Each error has a stable `code`, says what happened and where, and what to do next.

OrchestratorError
├── ConfigError            the configuration is missing or wrong (file:line:column)
├── InvalidQuery           the query itself cannot be used
├── InvalidBudget          a limit is negative, NaN or not a number
├── BudgetExceeded         the next call could overspend; carries the best answer so far
├── NoAdequateModel        nothing at hand can answer; says what to add
├── UnknownModel           a name that is not in the fleet
├── UnknownAnswer          an id that is not in the decision log
├── StorageError           a file that outlives the process cannot be used
└── BackendError           a model could not be asked
    ├── BackendUnavailable   no connection, timeout, 5xx              (retryable)
    ├── RateLimited          429                                      (retryable)
    ├── BackendRejected      4xx: the request or the key is wrong
    └── BadResponse          the answer cannot be read: garbage, truncated, empty (retryable)
"""

from __future__ import annotations

from typing import Any, ClassVar

from orchestrator.jsontypes import JsonObject


class OrchestratorError(Exception):
    """Base of all errors. `remedy` is one sentence that says what to do next."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(f"{message}. {remedy}" if remedy else message)
        self.message = message
        self.remedy = remedy

    def as_dict(self) -> JsonObject:
        """Code, message and remedy, as JSON values."""
        return {"code": self.code, "message": self.message, "remedy": self.remedy}


class ConfigError(OrchestratorError):
    """A configuration, or arguments, that cannot work."""

    code = "config"


class InvalidQuery(OrchestratorError, ValueError):
    """A query that cannot be answered as it was asked."""

    code = "invalid_query"


class InvalidBudget(OrchestratorError, ValueError):
    """A budget that is no budget."""

    code = "invalid_budget"


class UnknownModel(OrchestratorError, LookupError):
    """A model that this fleet does not have."""

    code = "unknown_model"


class UnknownAnswer(OrchestratorError, LookupError):
    """An answer that nobody knows of."""

    code = "unknown_answer"


class StorageError(OrchestratorError):
    """A database or file that cannot be used."""

    code = "storage"


class BudgetExceeded(OrchestratorError):
    """Nothing was started that could overspend.

    `limit` names the limit that stopped it: usd, tokens, calls or seconds.
    """

    code = "budget_exceeded"

    def __init__(self, message: str, *, limit: str, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.limit = limit


class NoAdequateModel(OrchestratorError):
    """No model at hand can answer.

    `tried` maps each model to why not; `trace` is what was done. `has_failed`: models could have answered, but their
    servers failed, so that the same query may be answered later.
    """

    code = "no_adequate_model"

    def __init__(
        self,
        message: str,
        *,
        remedy: str = "",
        tried: dict[str, str] | None = None,
        trace: Any = None,
        has_failed: bool = False,
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.tried = tried or {}
        self.trace = trace
        self.has_failed = has_failed

    def as_dict(self) -> JsonObject:
        """As every error, with what each model that was tried said."""
        return {**super().as_dict(), "tried": self.tried}


class BackendError(OrchestratorError):
    """A model could not be asked.

    `retryable` says whether the same call may succeed later, `status` is the HTTP status if there was one.

    `may_be_billed` says that the model may have worked and the provider may charge for it: the worst case is settled,
    and whoever asks again reserves again. `detail` is what the server itself said.
    """

    code = "backend"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        remedy: str = "",
        status: int | None = None,
        retry_after_s: float | None = None,
        may_be_billed: bool = False,
        detail: str = "",
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.detail = detail
        self.status = status
        self.retry_after_s = retry_after_s
        self.may_be_billed = may_be_billed


class BackendUnavailable(BackendError):
    """No server of the model could be reached, or none answered in time."""

    code = "backend_unavailable"
    retryable = True


class RateLimited(BackendError):
    """The provider asks to be called less often."""

    code = "rate_limited"
    retryable = True


class BackendRejected(BackendError):
    """The provider refuses the request; asking again changes nothing."""

    code = "backend_rejected"


class BadResponse(BackendError):
    """An answer that cannot be read, or that broke off."""

    code = "bad_response"
    retryable = True

    def __init__(self, message: str, *, remedy: str = "", may_be_billed: bool = True) -> None:
        super().__init__(message, remedy=remedy, may_be_billed=may_be_billed)
