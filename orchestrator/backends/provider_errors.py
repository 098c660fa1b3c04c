"""What went wrong upstream, as errors that say what to do.

The table of all faults and their outcomes is in docs/providers.md and tests/test_faults.py.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from orchestrator.errors import BackendError, BackendRejected, BackendUnavailable, BadResponse, RateLimited
from orchestrator.jsontypes import JsonObject, JsonValue
from orchestrator.text.excerpt import excerpt
from orchestrator.types import Usage

MAX_DETAIL_CHARS = 300
_REMEDIES = {
    401: "Check the API key",
    402: "The account has no credit left",
    403: "The key may not use this model",
    404: "Check base_url and the model's name",
    413: "Send less, or choose a model with a longer context",
}
_NO_NAME = ("name resolution", "Name or service", "nodename nor servname", "getaddrinfo", "No address associated")
OVERLOADED = frozenset({429, 503, 529})


class TransportError(Exception):
    """A call that brought no whole answer.

    `may_be_billed`: it had been sent, so the server may have worked on it. `is_stale`: it was sent on a connection that
    had served before, and that its server closed without a byte of an answer.
    """

    def __init__(self, message: str, *, may_be_billed: bool, is_timeout: bool = False, is_stale: bool = False) -> None:
        super().__init__(message)
        self.may_be_billed = may_be_billed
        self.is_timeout = is_timeout
        self.is_stale = is_stale


def error_of(
    where: str,
    status: int,
    headers: Mapping[str, str],
    content: bytes,
    *,
    key: str | None = None,
    key_variable: str | None = None,
) -> BackendError:
    """What an answer with another status than 200 means; `headers` by names in small letters.

    A `key` in the server's words is made unreadable; `key_variable` is where it is usually set.
    """
    if key:  # before anything is cut
        content = content.replace(key.encode(), b"***")
    try:
        payload = json.loads(content)
        detail = error_text(payload)
    except (ValueError, RecursionError):
        detail = excerpt(content) or "no details"
    if key:
        detail = detail.replace(key, "***")
    message = f"{where}: HTTP {status}: {detail}"
    wait_s = retry_after_s(headers)
    if status == 429:
        return RateLimited(
            message, remedy="Slow down, or add another model", status=status, retry_after_s=wait_s, detail=detail
        )
    if status in (501, 505) or (
        status == 500 and _CANNOT.search(detail)
    ):  # it is well, and has no such function (RFC 9110, section 15.6.2)
        return BackendRejected(message, remedy="This server cannot do that", status=status, detail=detail)
    if status >= 500 or status in (408, 409, 425):
        return BackendUnavailable(
            message, remedy="The server has a problem; ask again", status=status, retry_after_s=wait_s, detail=detail
        )
    if status < 400:
        return BackendRejected(
            message, remedy="Check base_url: nobody follows redirects with a key", status=status, detail=detail
        )
    remedy = _REMEDIES.get(status, "The server refuses this request")
    if status == 401 and key_variable:
        remedy = f"Check the API key: {key_variable} is {'another one' if key else 'not set'}, or it was revoked"
    return BackendRejected(message, remedy=remedy, status=status, detail=detail)


def broken(where: str, error: TransportError) -> BackendError:
    """What a call means that brought no whole answer."""
    if not error.may_be_billed:
        is_unknown = "CERTIFICATE_VERIFY_FAILED" in str(error)
        remedy = "Check the address and that the server runs: orchestrator doctor"
        if is_unknown:
            remedy = "Name the certificates that it is to be trusted by: tls: {ca: FILE}"
        elif any(sign in str(error) for sign in _NO_NAME):
            remedy = "Check the network, the host's name and HTTPS_PROXY: orchestrator doctor --providers tries each"
        return BackendUnavailable(f"{where}: {error}", remedy=remedy)
    if error.is_timeout:
        return too_slow(where)
    return BadResponse(f"{where}: {error}", remedy="Ask again")


def too_slow(where: str) -> BackendError:
    """The error of a call that took too long."""
    # Connected and sent: the model may be at work, and its provider may charge for that.
    return BackendUnavailable(
        f"{where}: no answer in time", remedy="Allow more seconds, or choose a faster model", may_be_billed=True
    )


def failure_in(parsed: JsonObject) -> JsonValue:
    """What an event or an answer says of a failure, wherever it stands; `None` if it says nothing."""
    if parsed.get("error"):
        return parsed["error"]
    for choice in parsed.get("choices") or ():
        if isinstance(choice, dict) and choice.get("error"):
            return choice["error"]
        if isinstance(choice, dict) and choice.get("finish_reason") == "error":
            return {"message": "the model ended with an error", "type": "upstream_error"}
    if parsed.get("object") == "error" or parsed.get("type") == "error":
        return {"message": str(parsed.get("message") or "the server told of an error"), "type": "upstream_error"}
    if (
        "choices" not in parsed
        and not parsed.get("usage")
        and isinstance(told := parsed.get("detail") or parsed.get("message"), str)
    ):
        return {"message": told, "type": "upstream_error"}
    return None


def stream_error(where: str, error: JsonValue, *, key: str | None = None) -> BackendError:
    """What a server reports in the middle of a stream, or with a status of 200."""
    told = error_text({"error": error})
    return BadResponse(f"{where}: {told.replace(key, '***') if key else told}", remedy="Ask again")


def told_failure(where: str, failure: JsonValue, usage: Usage | None = None, *, key: str | None = None) -> BackendError:
    """What a server says of a failure with a status of 200: in an answer, or as the first event of a stream."""
    told = error_text({"error": failure})
    told = told.replace(key, "***") if key else told
    stated = failure if isinstance(failure, dict) else {}
    code, kind = stated.get("code") or stated.get("status"), str(stated.get("type") or "")
    status = int(code) if isinstance(code, int | str) and str(code).isdigit() and 400 <= int(code) <= 599 else None
    message, is_billed = f"{where}: {told}", usage is not None and usage.total_tokens > 0
    if status == 429 or "rate_limit" in kind:
        return RateLimited(
            message, remedy="Slow down, or add another model", status=429, may_be_billed=is_billed, detail=told
        )
    if status is not None and status < 500 and status not in (408, 409, 425):
        return BackendRejected(
            message, remedy=_REMEDIES.get(status, "The server refuses this request"), status=status, detail=told
        )
    if status is not None or "overloaded" in kind or "unavailable" in kind:
        return BackendUnavailable(
            message, remedy="The server has a problem; ask again", status=status, may_be_billed=is_billed, detail=told
        )
    return BadResponse(message, remedy="Ask again")


def error_text(payload: JsonValue) -> str:
    """What the server said: `{"error": {"message"}}`, `{"error".

    "..."}`, `{"message"}`, `{"detail"}` or a list of one of these.
    """
    if isinstance(payload, list) and payload:
        payload = payload[0]
    if not isinstance(payload, dict):
        return str(payload)[:MAX_DETAIL_CHARS]
    error = payload.get("error", payload)
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or error.get("error") or error
    return str(error or payload)[:MAX_DETAIL_CHARS]


_CANNOT = re.compile(
    r"\b(?:is|are) not supported|\bdoes(?: not|n't) support|\bunsupported\b|\bnot implemented\b", re.IGNORECASE
)
_TOO_LONG = re.compile(
    r"context[ _](?:length|size|window)|maximum context|exceed_context_size|prompt is too long|too many (?:input "
    r")?tokens|input is too long|"
    r"exceeds the (?:available )?(?:maximum|context|model)|reduce the length|token count .{0,40}exceeds",
    re.IGNORECASE,
)


def cannot_do(error: BackendRejected) -> bool:
    """Whether a server says that it has no way to do what is asked (pictures without a projector, say)."""
    return error.status in (500, 501) and _CANNOT.search(error.detail) is not None


def is_too_long(error: BackendRejected) -> bool:
    """Whether a server refuses a request because it does not fit into its model's context."""
    return error.status in (400, 413, 422) and _TOO_LONG.search(error.detail) is not None


def retry_after_s(headers: Mapping[str, str], *, now: float | None = None) -> float | None:
    """Seconds from `retry-after-ms` or `retry-after` (seconds or a date; RFC 9110, section 10.2.3).

    `None` if there is neither, or none that makes sense.
    """
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        told = headers.get(name)
        if told is None:
            continue
        try:
            seconds = float(told) * scale
        except ValueError:
            try:
                seconds = parsedate_to_datetime(told).timestamp() - (time.time() if now is None else now)
            except ValueError:
                continue
            seconds = max(seconds, 0.0)
        if 0 <= seconds <= 3_600:
            return seconds
    return None
