"""How fast the dashboard is with a million traces, and what keeping them costs the gateway.

    python -m benchmarks.dashboard --json out.json

One SQLite file of 1,000,000 traces with 6,000,000 spans (made by seed, thirty days, 3 organisations, 12 teams, 60 keys,
8 models; kept in build/ for the next time), shown by a real gateway over loopback. The JSON holds exactly:

- list_p95_ms, filter_p95_ms, percentiles_p95_ms, cost_p95_ms: pages as HTML, from the request to the last byte: the
  list at random moments; with random filters; the models page (percentiles by model); the overview (spend by all).
- first_paint_ms: first contentful paint of the overview in chromium, median; null where there is none.
- big_trace_open_ms: the page of a trace of 50,000 spans, p95.
- script_kb: all scripts of the dashboard, compressed.
- ingest_spans_per_s: spans that another process writes into the file of a gateway that serves as fast as it can.
- gateway_cost: requests a second of the gateway as it is, divided by those without the dashboard's storage
  (benchmarks.plain_gateway), medians of rounds in turn.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import httpx

from benchmarks.gateway import SERVER_CORE, Ours, free_port, measured, process, upstream
from benchmarks.output import write_json
from orchestrator.dashboard.static_files import static_files
from orchestrator.storage.account_types import NewKey
from orchestrator.storage.accounts import Accounts
from orchestrator.storage.database import open_database
from orchestrator.storage.requests import Requests, ServedRequest
from orchestrator.storage.spans import of_attempts

TRACES, SPANS_EACH = 1_000_000, 6
BIG_SPANS = 50_000
BIG_ID = "b" * 32
DAYS = 30
BATCH = 2_000
ERRORS = ("rate_limited", "timeout", "context_too_long", "model_not_found")
NAMES = ("recall", "route", "draft", "verify", "draft", "verify")
ROUNDS = 4
PAGES = 60


def spans_of(rng: random.Random) -> list[dict[str, Any]]:
    start, found = 0.0, []
    for number, name in enumerate(NAMES):
        took = rng.expovariate(3.0)
        told: dict[str, Any] = {"model": f"model-{rng.randrange(8)}", "cost_usd": rng.random() / 1_000}
        if name == "draft":
            told |= {"prefill_tokens": rng.randrange(2_000), "output_tokens": rng.randrange(500)}
        elif name == "verify":
            told = {"verifier": "numeric", "score": rng.random(), "passed": rng.random() < 0.8}
        elif name == "route":
            options = [
                {"model": f"model-{m}", "p": rng.random(), "cost_usd": rng.random() / 100, "latency_s": 1.0}
                for m in range(4)
            ]
            told = {"chosen": "model-1", "reason": "the cheapest that may do", "options": options}
        found.append({"n": number, "parent": -1, "depth": 0, "name": name, "start_s": start, "duration_s": took})
        found[-1]["attributes"] = told
        start += took
    return found


def requests_of(
    rng: random.Random, count: int, keys: list[tuple[str, str, str]], now: float
) -> Iterator[ServedRequest]:
    some_spans = [spans_of(rng) for _ in range(500)]
    for number in range(count):
        key, team, org = keys[min(int(rng.paretovariate(1.2)) - 1, len(keys) - 1)]
        at = now - DAYS * 86_400 * (1 - number / count)
        one = ServedRequest(
            f"{rng.getrandbits(128):032x}", at, org, team, key, rng.choice(("chat", "messages")), "auto"
        )
        one.model = f"model-{min(int(rng.expovariate(0.6)), 7)}"
        one.status, one.prefill_tokens, one.output_tokens = 200, rng.randrange(3_000), rng.randrange(800)
        one.cost_nano, one.latency_s = int(rng.lognormvariate(13, 1)), rng.lognormvariate(-0.3, 0.9)
        one.ttft_s, one.confidence = one.latency_s * rng.random(), rng.random()
        one.cached = "exact" if rng.random() < 0.05 else ""
        one.error = rng.choice(ERRORS) if rng.random() < 0.01 else ""
        one.scope = f"{org}/user-{rng.randrange(2_000)}"
        one.drafts, one.escalated, one.reference_nano = 2, rng.random() < 0.2, int(rng.lognormvariate(14, 1))
        one.trace, one.spans = {"reason": "the cheapest that may do"}, rng.choice(some_spans)
        yield one


def filled(path: Path, traces: int) -> None:
    """Makes the file, unless an earlier run has left it."""
    database = open_database(path)
    accounts = Accounts(database)
    if accounts.orgs():
        database.close()
        return
    rng, now = random.Random(7), time.time()
    keys = []
    for number in range(60):
        if number % 20 == 0:
            org = accounts.add_org(f"org {number // 20}")
        if number % 5 == 0:
            team = accounts.add_team(org.id, f"team {number // 5}")
        key, _ = accounts.add_key(NewKey(f"key {number}", org.id, team.id))
        keys.append((key.id, team.id, org.id))
    requests = Requests(database)
    batch: list[ServedRequest] = []
    for one in requests_of(rng, traces, keys, now):
        batch.append(one)
        if len(batch) == BATCH:
            requests.add(batch)
            batch = []
    big = ServedRequest(BIG_ID, now - 60, keys[0][2], keys[0][1], keys[0][0], "chat", "auto", model="model-1")
    big.spans = of_attempts([{"model": "model-1", "seconds": 0.001}] * BIG_SPANS)
    requests.add([*batch, big])
    database.close()


@contextmanager
def shown(path: Path) -> Iterator[tuple[str, str]]:
    """(address, operator's key) of a gateway over the file."""
    database = open_database(path)
    operator = Accounts(database).add_key(NewKey(f"bench {time.time_ns()}", None, permissions=("admin",)))[1]
    database.close()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.json"
        models = {"calculator": {"provider": "calculator"}}
        gateway = {"database": str(path), "keep_days": 3_650}
        config.write_text(json.dumps({"models": models, "memory": None, "gateway": gateway}))
        port = free_port()
        command = (sys.executable, "-m", "orchestrator", "serve", "--config", str(config), "--port", str(port))
        with process(*command, core=SERVER_CORE, port=port):
            yield f"http://127.0.0.1:{port}", operator


def p95_ms(times: list[float]) -> float:
    return 1_000 * sorted(times)[max(int(0.95 * len(times)) - 1, 0)]


def timed_pages(client: httpx.Client, addresses: list[str]) -> float:
    times = []
    for address in addresses:
        began = time.perf_counter()
        answer = client.get(address)
        times.append(time.perf_counter() - began)
        if answer.status_code != 200:
            raise RuntimeError(f"{address}: {answer.status_code} {answer.text[:300]}")
    return p95_ms(times)


def some_filters(rng: random.Random, keys: list[str]) -> str:
    choices: list[Callable[[], str]] = [
        lambda: f"model=model-{rng.randrange(8)}",
        lambda: f"key={rng.choice(keys)}",
        lambda: f"error={rng.choice((*ERRORS, 'any', 'never_seen'))}",
        lambda: f"min_usd={rng.choice((0.0001, 0.001, 0.01, 0.1))}",
        lambda: f"min_s={rng.choice((0.5, 2, 10, 60))}",
        lambda: "escalated=1",
        lambda: "cached=1",
        lambda: f"api={rng.choice(('chat', 'messages', 'none'))}",
        lambda: f"order={rng.choice(('cost', 'latency'))}",
    ]
    chosen = rng.sample(choices, rng.randint(1, 3))
    return "&".join([*(each() for each in chosen), f"range={rng.choice(('24h', '7d', '30d'))}"])


def page_times(path: Path) -> dict[str, float | None]:
    rng = random.Random(3)
    with shown(path) as (url, operator):
        headers = {"authorization": f"Bearer {operator}", "accept": "text/html"}
        with httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False) as client:
            keys = [each["id"] for each in client.get("/ui/keys.json").json()["keys"]]
            now = time.time()
            moments = [now - rng.uniform(0, DAYS * 86_400) for _ in range(PAGES)]
            ranges = ("24h", "7d", "30d")
            found: dict[str, float | None] = {
                "list_p95_ms": timed_pages(
                    client, [f"/ui/traces?since={at - 7 * 86_400:.0f}&until={at:.0f}" for at in moments]
                ),
                "filter_p95_ms": timed_pages(client, [f"/ui/traces?{some_filters(rng, keys)}" for _ in range(PAGES)]),
                "percentiles_p95_ms": timed_pages(
                    client, [f"/ui/models?range={rng.choice(ranges)}" for _ in range(PAGES)]
                ),
                "cost_p95_ms": timed_pages(client, [f"/ui/?range={rng.choice(ranges)}" for _ in range(PAGES)]),
                "big_trace_open_ms": timed_pages(client, [f"/ui/traces/{BIG_ID}"] * 20),
            }
        found["first_paint_ms"] = first_paint_ms(url, operator)
    return found


def first_paint_ms(url: str, operator: str) -> float | None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    if chromium is None:
        return None
    with sync_playwright() as player:
        driver = player.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = driver.new_context().new_page()
        page.goto(f"{url}/ui/sign-in")
        page.fill("#key", operator)
        page.press("#key", "Enter")
        page.wait_for_url(f"{url}/ui/")
        times = []
        for _ in range(7):
            page.goto(f"{url}/ui/")
            page.wait_for_timeout(300)  # until the browser has noted it
            painted = page.evaluate("performance.getEntriesByName('first-contentful-paint').map((e) => e.startTime)")
            times += painted
        driver.close()
    return float(statistics.median(times))


def _ingest(path: str, seconds: float, told: Any) -> None:
    database = open_database(path)
    requests = Requests(database)
    rng = random.Random(time.time_ns())
    source = requests_of(rng, 10**9, [("key_i", "team_i", "org_i")], time.time())
    written, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        some = [next(source) for _ in range(500)]
        requests.add(some)
        written += sum(len(one.spans) for one in some)
    told.put(written / (time.perf_counter() - began))
    database.close()


def ingest_spans_per_s(seconds: float) -> float:
    with tempfile.TemporaryDirectory() as folder, upstream() as upstream_port:
        ours = Ours(Path(folder), upstream_port)
        with ours.running() as (port, _, _):
            context = get_context("spawn")
            told = context.Queue()
            writer = context.Process(target=_ingest, args=(str(Path(folder) / "g.db"), seconds, told))
            writer.start()
            measured(port, [ours.request("small")], connections=16, seconds=seconds)
            rate = float(told.get(timeout=120))
            writer.join()
            return rate


def gateway_cost(seconds: float) -> tuple[float, dict[str, list[float]]]:
    rates: dict[str, list[float]] = {"kept": [], "plain": []}
    with tempfile.TemporaryDirectory() as folder, upstream() as upstream_port:
        (Path(folder) / "kept").mkdir()
        (Path(folder) / "plain").mkdir()
        sides = {name: Ours(Path(folder) / name, upstream_port) for name in rates}
        modules = {"kept": "orchestrator", "plain": "benchmarks.plain_gateway"}
        for turn in range(ROUNDS):
            for name in ("kept", "plain") if turn % 2 == 0 else ("plain", "kept"):
                port = free_port()
                ours = sides[name]
                command = (sys.executable, "-m", modules[name], "serve", "--config", str(ours.config))
                with process(*command, "--port", str(port), core=SERVER_CORE, port=port):
                    measured(port, [ours.request("small")], connections=32, seconds=1.0)
                    load = measured(port, [ours.request("small")], connections=32, seconds=seconds)
                rates[name].append(load.per_second)
    return statistics.median(rates["kept"]) / statistics.median(rates["plain"]), rates


def script_kb() -> float:
    return (
        sum(len(gzip.compress(content, 9)) for name, (_, content) in static_files().items() if name.endswith(".js"))
        / 1_024
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="Not needed: everything is made by seed.")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--traces", type=int, default=TRACES)
    parser.add_argument("--seconds", type=float, default=6.0, help="Of each measurement of the gateway.")
    parser.add_argument("--keep", type=Path, default=Path("build"), help="Where the file is kept for the next time.")
    given = parser.parse_args()
    path = given.keep / f"dashboard-{given.traces}.db"
    path.parent.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    filled(path, given.traces)
    print(
        f"{given.traces:,} traces in {time.perf_counter() - began:.0f} s, {path.stat().st_size / 1e6:,.0f} MB",
        flush=True,
    )
    found: dict[str, Any] = page_times(path)
    found["script_kb"] = script_kb()
    found["ingest_spans_per_s"] = ingest_spans_per_s(given.seconds)
    cost, rates = gateway_cost(given.seconds)
    print({name: [round(rate) for rate in each] for name, each in rates.items()})
    found["gateway_cost"] = cost
    order = ("list", "filter", "percentiles", "cost")
    names = [*(f"{name}_p95_ms" for name in order), "first_paint_ms", "ingest_spans_per_s", "big_trace_open_ms"]
    write_json({name: _rounded(found[name]) for name in (*names, "script_kb", "gateway_cost")}, given.json)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


if __name__ == "__main__":
    main()
