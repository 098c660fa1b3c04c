"""The headers by which a client learns how much of its limits is left."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.gateway.accounts.quota_leases import MINUTE_S
from orchestrator.gateway.http.request import Headers


def rate_limit_headers(limits: Iterable[tuple[str, int, int]], now: float) -> Headers:
    """OpenAI's `x-ratelimit-*`: for each kind (requests, tokens), its limit in a minute, what is left, and until when.

    Args:
        limits: For each kind its name, the limit and what is left of it.
        now: Seconds since 1970.
    """
    reset = b"%ds" % (MINUTE_S - int(now) % MINUTE_S)
    found = []
    for kind, limit, remaining in limits:
        name = kind.encode()
        found.append((b"x-ratelimit-limit-" + name, b"%d" % limit))
        found.append((b"x-ratelimit-remaining-" + name, b"%d" % remaining))
        found.append((b"x-ratelimit-reset-" + name, reset))
    return found
