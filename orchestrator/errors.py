"""Everything that can go wrong, drawn as a tree.

Each error has a stable `code`, says what happened and where, and what to do next.

OrchestratorError
├── ConfigError            the configuration is missing or wrong (file:line:column)
├── InvalidArgument        a value or a keyword that a method of the SDK does not take
├── BlockingCall           a blocking method was called inside an event loop
├── NotAwaited             a result was used before it was awaited
├── InvalidQuery           the query itself cannot be used
├── InvalidBudget          a limit is negative, NaN or not a number
├── InvalidAnswer          the text of an answer is not the value that was asked for
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

Other packages of this project add to it: `memory.MemoryFailure` with `ScopeError`, `InvalidRecord` and `StoreError`,
`pipeline.RunFailed` and `InvalidPipeline`, `verifiers.sandbox.SandboxUnavailable`, `plugins.PluginError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from orchestrator.jsontypes import JsonObject


def closest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The name that a mistyped one probably means; `None` if none is similar enough (a ratio in [0, 1])."""
    from difflib import get_close_matches  # only who mistypes waits for it

    return next(iter(get_close_matches(word, list(known), n=1, cutoff=cutoff)), None)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: what was probably meant, or all that there is."""
    names = list(known)
    close = closest(word, names)
    return f"Did you mean {close!r}?" if close is not None else f"Known: {', '.join(names)}"


class OrchestratorError(Exception):
    """Base of all errors. `remedy` is one sentence that says what to do next."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, remedy: str = "") -> None:
        end = "\n" if "\n" in message else ". "  # lines of a file keep their place
        super().__init__(f"{message}{end}{remedy}" if remedy else message)
        self.message = message
        self.remedy = remedy

    def as_dict(self) -> JsonObject:
        """Code, message and remedy, as JSON values."""
        return {"code": self.code, "message": self.message, "remedy": self.remedy}


class ConfigError(OrchestratorError):
    """A configuration, or arguments, that cannot work."""

    code = "config"


class InvalidArgument(OrchestratorError, TypeError, ValueError):
    """A value or a keyword that a method of the SDK does not take."""

    code = "invalid_argument"


class BlockingCall(OrchestratorError, RuntimeError):
    """A blocking method was called where it would stop a running event loop."""

    code = "blocking_call"


class NotAwaited(OrchestratorError, AttributeError, TypeError):
    """The result of a coroutine was used before it was awaited."""

    code = "not_awaited"


class InvalidQuery(OrchestratorError, ValueError):
    """A query that cannot be answered as it was asked."""

    code = "invalid_query"


class InvalidBudget(OrchestratorError, ValueError):
    """A budget that is no budget."""

    code = "invalid_budget"


class InvalidAnswer(OrchestratorError, ValueError):
    """The text of an answer is not the value that was asked for; `text` is what the model said."""

    code = "invalid_answer"

    def __init__(self, message: str, *, text: str, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.text = text


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

    `limit` names the limit that stopped it: usd, tokens, calls or seconds. `is_price_unknown`: money is limited, and
    nobody says what the model costs.
    """

    code = "budget_exceeded"

    def __init__(self, message: str, *, limit: str, remedy: str = "", is_price_unknown: bool = False) -> None:
        super().__init__(message, remedy=remedy)
        self.limit = limit
        self.is_price_unknown = is_price_unknown


class NoAdequateModel(OrchestratorError):
    """No model at hand can answer.

    `tried` maps each model to why not; `trace` is what was done. `has_failed`: models could have answered, but their
    servers failed, so that the same query may be answered later; `failures` are their errors.
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
        failures: Sequence[BackendError] = (),
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.failures = tuple(failures)
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
