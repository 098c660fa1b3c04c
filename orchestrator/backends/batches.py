"""Work that can wait.

Many requests handed in at once and done within a day, at half the price (OpenAI's and Anthropic's batch APIs).

OpenAI: a file of requests is uploaded, a batch made of it, its output a file again (openai 3.54, resources.batches).
Anthropic: requests in the body, and results behind an address (anthropic 2.12, resources.messages.batches). What it may
cost at most is reserved before anything is handed in.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from orchestrator.backends.dialects.dialect import stated_limit
from orchestrator.backends.metering import Bill, WorstCase, metered
from orchestrator.backends.provider_batches import AnthropicBatches, Batches, BatchResult, OpenAIBatches
from orchestrator.backends.remote import RemoteBackend
from orchestrator.budget import Ledger
from orchestrator.errors import BackendError, BackendUnavailable, ConfigError
from orchestrator.jsontypes import JsonObject
from orchestrator.providers.prices import billed_usd
from orchestrator.router import ModelProfile
from orchestrator.tokens.estimate import request_bound
from orchestrator.types import Usage

if TYPE_CHECKING:
    import httpx

PRICE_SHARE = 0.5
FIRST_POLL_S, LONGEST_POLL_S = 1.0, 60.0


class BatchFailed(BackendUnavailable):
    """The provider gave a whole batch up: it has no results, and will have none."""


def batches_of(backend: RemoteBackend, *, transport: httpx.AsyncBaseTransport | None = None) -> Batches:
    """Raises `ConfigError` for a provider that takes no batches. `transport` replaces the network, for tests."""
    if backend.provider.batches == "openai":
        return OpenAIBatches(backend, transport)
    if backend.provider.batches == "anthropic":
        return AnthropicBatches(backend, transport)
    raise ConfigError(
        f"{backend.provider.title or backend.provider.name} takes no batches",
        remedy="Ask one by one, or use OpenAI or Anthropic",
    )


async def run_batch(
    backend: RemoteBackend,
    bodies: Mapping[str, JsonObject],
    ledger: Ledger,
    *,
    batches: Batches | None = None,
    poll_s: float = FIRST_POLL_S,
    on_submitted: Callable[[str], None] = lambda _: None,
    submitted: str | None = None,
    cancels: bool = True,
) -> list[BatchResult]:
    """Hands in, waits, and gives the results in the order of `bodies`, paid at half the price.

    `on_submitted` is told the batch's id at once; with `submitted`, the id of a batch that was handed in before, it is
    waited for instead of a new one. Without `cancels` a batch goes on at the provider when the wait ends early: who
    keeps its id asks for it again.

    Raises `BudgetExceeded` before anything is handed in, `BackendError` if the batch itself fails. A cancelled wait
    cancels the batch; what it may have cost by then is booked at its worst, and so is an answer that tells no usage.
    """
    profile, found = backend.profile, batches or batches_of(backend)
    worst = {id: _worst_case(profile, body) for id, body in bodies.items()}
    usd = None if any(one.usd is None for one in worst.values()) else sum(one.usd or 0.0 for one in worst.values())
    held = ledger.reserve(usd=usd, tokens=sum(one.tokens for one in worst.values()))

    async def hand_in_and_wait() -> list[BatchResult]:
        batch = await found.submit(bodies) if submitted is None else submitted
        try:
            on_submitted(batch)
            return await _finished(found, batch, poll_s)
        except BaseException as error:
            if cancels:
                await asyncio.shield(_quietly_cancelled(found, batch))
            if isinstance(error, BackendError):
                error.may_be_billed = True  # the batch was handed in, whatever failed after that
            raise

    def billed(results: list[BatchResult]) -> Bill:
        by_id = {result.id: result for result in results}
        bills = [_bill(profile, by_id[id], most) for id, most in worst.items() if id in by_id]
        return Bill(sum(bill.usd or 0.0 for bill in bills), sum((bill.usage for bill in bills), Usage()))

    results, _ = await metered(ledger, held, hand_in_and_wait, billed)
    by_id = {result.id: result for result in results}
    return [by_id.get(id) or BatchResult(id, None, error="the batch holds no result for it") for id in bodies]


async def _finished(batches: Batches, batch: str, poll_s: float) -> list[BatchResult]:
    while True:
        status = await batches.status(batch)
        if status.state == "failed":
            raise BatchFailed(
                f"the batch {batch} failed: {status.reason}", remedy="Look at the requests in it", may_be_billed=True
            )
        if status.state != "running":
            return [result async for result in batches.results(batch)]
        await asyncio.sleep(poll_s)
        poll_s = min(poll_s * 1.5, LONGEST_POLL_S)


async def _quietly_cancelled(batches: Batches, batch: str) -> None:
    with contextlib.suppress(Exception):  # whoever waited is gone: there is nobody to tell
        await batches.cancel(batch)


def _worst_case(profile: ModelProfile, body: JsonObject) -> WorstCase:
    """What one request may cost at most, in a batch."""
    stated = stated_limit(body)
    read, written = request_bound(body), (stated or profile.max_output_tokens) * int(body.get("n") or 1)
    usd = profile.worst_usd(read, written)
    return WorstCase(None if usd is None else PRICE_SHARE * usd, read + written)


def _bill(profile: ModelProfile, result: BatchResult, worst: WorstCase) -> Bill:
    """What is booked for one result: its usage at half the price.

    All that was held, where it has an answer whose usage or price nobody knows.
    """
    if result.completion is None:
        return Bill(0.0, Usage())
    usd = None if result.usage is None else billed_usd(profile, result.usage)
    usage = Usage(worst.tokens, estimated=True) if result.usage is None else result.usage
    return Bill(worst.usd if usd is None else PRICE_SHARE * usd, usage)
