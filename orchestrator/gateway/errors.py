"""An error that ends a request, as OpenAI's and Anthropic's clients know it.

Status, error object, and whether to try again.

OpenAI: {"error": {"message", "type", "param", "code"}}; Anthropic: {"type": "error", "error": {"type", "message"},
"request_id"}.
"""

from __future__ import annotations

import math

from orchestrator.jsontypes import JsonObject

ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


class GatewayError(Exception):
    """Ends a request with `status`.

    `retry_after_s`: when it may be sent again; `should_retry` overrules what clients would do by themselves.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        kind: str = "",
        param: str | None = None,
        retry_after_s: float | None = None,
        should_retry: bool | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.kind = kind or ("server_error" if status >= 500 else "invalid_request_error")
        self.param = param
        self.retry_after_s = retry_after_s
        self.should_retry = should_retry
        self.extra_headers = headers

    def as_openai(self) -> JsonObject:
        """The error as OpenAI's clients read it."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}

    def as_anthropic(self, request_id: str) -> JsonObject:
        """The error as Anthropic's clients read it."""
        kind = ANTHROPIC_TYPES.get(self.status, "api_error" if self.status >= 500 else "invalid_request_error")
        details = {"details": {"error_code": self.code}} if self.code else {}
        return {"type": "error", "error": {"type": kind, "message": self.message, **details}, "request_id": request_id}

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that say whether and when to try again."""
        found = list(self.extra_headers)
        if self.retry_after_s is not None:
            found.append((b"retry-after", str(max(math.ceil(self.retry_after_s), 1)).encode()))
            found.append((b"retry-after-ms", str(max(math.ceil(self.retry_after_s * 1000), 1)).encode()))
        if self.should_retry is not None:
            found.append((b"x-should-retry", b"true" if self.should_retry else b"false"))
        return found


def broke_off() -> GatewayError:
    """For an answer that ended before its end, or cannot be read on."""
    return GatewayError(502, "the model's answer broke off", code="upstream_bad_response")
