"""Prometheus metrics, fed in batches from what was served: a request itself pays nothing for being counted."""

from __future__ import annotations

import os
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from orchestrator.storage.requests import ServedRequest

if TYPE_CHECKING:
    from orchestrator.backends.http.replicas import Replicas

ACCOUNT = ("org", "team", "key")
MAX_ACCOUNTS = 1_000
"""Keys that have series of their own; those that come after are counted together, under `other`."""
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
DRAFTS = (1, 2, 3, 4, 6, 8, 12, 16, 32)
SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 40, 80)


class Metrics:
    """Of one process; with PROMETHEUS_MULTIPROC_DIR, any worker tells what all of them counted.

    An attribute for each metric.
    """

    def __init__(
        self,
        in_flight: Callable[[], int],
        overrun_usd: Callable[[], float],
        replicas: Callable[[], Mapping[str, Replicas]] = dict,
    ) -> None:
        self._is_shared = "PROMETHEUS_MULTIPROC_DIR" in os.environ
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "orchestrator_requests", "Requests by API, model and status.", ("api", "model", "status"), registry=registry
        )
        self._errors = Counter(
            "orchestrator_errors", "Requests that ended in an error, by its code.", ("api", "code"), registry=registry
        )
        self._tokens = Counter("orchestrator_tokens", "Tokens by model and kind.", ("model", "kind"), registry=registry)
        self._usd = Counter("orchestrator_cost_usd", "Money spent on models, in USD.", ("model",), registry=registry)
        self._nano = object()  # money is summed as whole numbers before it is counted
        self._unpriced = Counter(
            "orchestrator_unpriced_requests", "Requests to models without a known price.", ("model",), registry=registry
        )
        self._cached = Counter("orchestrator_cache_hits", "Answers given again.", ("kind",), registry=registry)
        self._seconds = Histogram(
            "orchestrator_request_seconds",
            "Seconds to the end of the answer.",
            ("api",),
            buckets=SECONDS,
            registry=registry,
        )
        self._ttft = Histogram(
            "orchestrator_time_to_first_token_seconds",
            "Seconds to the first piece of a stream.",
            ("api",),
            buckets=SECONDS,
            registry=registry,
        )
        self._account_requests = Counter(
            "orchestrator_account_requests",
            "Requests by organisation, team and key (their ids), and whether they were answered.",
            (*ACCOUNT, "outcome"),
            registry=registry,
        )
        self._account_usd = Counter(
            "orchestrator_account_cost_usd", "Money spent by organisation, team and key.", ACCOUNT, registry=registry
        )
        self._account_nano = object()
        self._account_tokens = Counter(
            "orchestrator_account_tokens",
            "Tokens read and written by organisation, team and key.",
            (*ACCOUNT, "kind"),
            registry=registry,
        )
        self._account_info = Gauge(
            "orchestrator_account_info",
            "1 for each organisation, team and key that is known: what its id is called.",
            ("account", "kind", "name"),
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._budget_left = Gauge(
            "orchestrator_budget_left_usd",
            "What is left of a budget in its present period, in USD.",
            ("account", "kind"),
            registry=registry,
            multiprocess_mode="livemin",
        )
        self._confidence = Histogram(
            "orchestrator_confidence",
            "The confidence that was stated with each answer, as P(correct).",
            buckets=SHARES,
            registry=registry,
        )
        self._drafts = Histogram(
            "orchestrator_drafts",
            "Answers that models wrote for one request.",
            buckets=DRAFTS,
            registry=registry,
        )
        self._escalated = Counter(
            "orchestrator_escalations", "Requests for which more than one model wrote.", registry=registry
        )
        self._verdicts = Counter(
            "orchestrator_verdicts",
            "What checks found: passed, failed, or only scored.",
            ("verifier", "result"),
            registry=registry,
        )
        self._accounts: set[tuple[str, ...]] = set()
        self.dropped = Counter("orchestrator_records_dropped", "Records that could not be kept.", registry=registry)
        running = Gauge("orchestrator_in_flight", "Requests under way.", registry=registry, multiprocess_mode="livesum")
        overrun = Gauge(
            "orchestrator_overrun_usd",
            "Billed by providers beyond what was held.",
            registry=registry,
            multiprocess_mode="sum",
        )
        self._gauges: tuple[tuple[Gauge, Callable[[], float]], ...] = ((running, in_flight), (overrun, overrun_usd))
        self._replicas = replicas

        def gauge(name: str, about: str, mode: Literal["livesum", "livemin", "livemax"]) -> Gauge:
            return Gauge(f"orchestrator_upstream_{name}", about, ("model",), registry=registry, multiprocess_mode=mode)

        self._upstream: tuple[tuple[Gauge, Callable[[Replicas], float]], ...] = (
            (
                gauge(
                    "available",
                    "1 if the model may be asked; 0 while all of its servers rest after failures.",
                    "livemin",
                ),
                _is_available,
            ),
            (
                gauge("in_flight", "Calls under way at the model's servers.", "livesum"),
                lambda r: sum(one.limit.in_flight for one in r.all),
            ),
            (
                gauge("limit", "Calls at once that the model's servers take at present.", "livesum"),
                lambda r: sum(o.limit.limit for o in r.all),
            ),
            (
                gauge("cache_hit_rate", "Share of the tokens read that came from a cache.", "livemax"),
                lambda r: r.hit_rate,
            ),
            (
                gauge(
                    "prefix_forecast_holds",
                    "1 if servers find about as much in their caches as was foreseen; 0 while one finds far less.",
                    "livemin",
                ),
                lambda r: float(all(one.agrees for one in r.all)),
            ),
            (
                gauge("waiting", "Requests that wait in the model's servers, as far as they tell.", "livemax"),
                lambda r: sum(one.told.waiting or 0.0 for one in r.all),
            ),
        )
        self._children: dict[tuple[Any, ...], Any] = {}

    def count(self, served: Iterable[ServedRequest]) -> None:
        """Counts requests that were served."""
        sums: Tally[tuple[Any, ...]] = Tally()
        for one in served:
            sums[self._requests, one.api, one.model, str(one.status)] += 1
            self._child(self._seconds, one.api).observe(one.latency_s)
            if one.ttft_s is not None:
                self._child(self._ttft, one.api).observe(one.ttft_s)
            if one.error:
                sums[self._errors, one.api, one.error] += 1
            if one.cached:
                sums[self._cached, one.cached] += 1
            kinds = {"prefill": one.prefill_tokens, "cached": one.cached_tokens, "output": one.output_tokens}
            for kind, tokens in kinds.items():
                if tokens:
                    sums[self._tokens, one.model, kind] += tokens
            if one.cost_nano is None:
                sums[self._unpriced, one.model] += 1
            else:
                sums[self._nano, one.model] += one.cost_nano
            self._count_account(one, sums)
            self._count_search(one, sums)
        money = {self._nano: self._usd, self._account_nano: self._account_usd}
        for (metric, *labels), amount in sums.items():
            if metric in money:
                self._child(money[metric], *labels).inc(amount / 1e9)
            else:
                self._child(metric, *labels).inc(amount)

    def _count_account(self, one: ServedRequest, sums: Tally[tuple[Any, ...]]) -> None:
        account = (one.org, one.team or "", one.key)
        if account not in self._accounts:
            if len(self._accounts) >= MAX_ACCOUNTS:
                account = (one.org, "", "other")
            else:
                self._accounts.add(account)
        sums[self._account_requests, *account, "failed" if one.error else "answered"] += 1
        sums[self._account_nano, *account] += one.cost_nano or 0
        for kind, tokens in (("prefill", one.prefill_tokens), ("output", one.output_tokens)):
            if tokens:
                sums[self._account_tokens, *account, kind] += tokens

    def _count_search(self, one: ServedRequest, sums: Tally[tuple[Any, ...]]) -> None:
        if one.confidence is not None:
            self._confidence.observe(one.confidence)
        if one.drafts:
            self._drafts.observe(one.drafts)
        if one.escalated:
            sums[(self._escalated,)] += 1
        for span in one.spans:
            if span["name"] == "verify":
                told = span.get("attributes", {})
                result = {True: "passed", False: "failed"}.get(told.get("passed"), "scored")
                sums[self._verdicts, str(told.get("verifier")), result] += 1

    def tell_accounts(self, names: Iterable[tuple[str, str, str]], left: Iterable[tuple[str, str, float]]) -> None:
        """What accounts are called (id, kind, name), and what is left of budgets (id, kind, USD), of `MAX_ACCOUNTS`."""
        if not self._is_shared:  # with workers, what has gone stays until they end
            self._account_info.clear()
            self._budget_left.clear()
        for id, kind, name in islice(names, MAX_ACCOUNTS):
            self._account_info.labels(id, kind, name).set(1)
        for id, kind, usd in islice(left, MAX_ACCOUNTS):
            self._budget_left.labels(id, kind).set(usd)

    def text(self) -> bytes:
        """The exposition format."""
        for gauge, value in self._gauges:
            gauge.set(value())
        for model, replicas in self._replicas().items():
            for measured, of in self._upstream:
                self._child(measured, model).set(of(replicas))
        if not self._is_shared:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)

    def _child(self, metric: Any, *labels: str) -> Any:
        key = (metric, *labels)
        if key not in self._children:
            self._children[key] = metric.labels(*labels) if labels else metric
        return self._children[key]


def _is_available(replicas: Replicas) -> float:
    return float(replicas.is_available)
