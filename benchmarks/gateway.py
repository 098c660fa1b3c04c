"""What the gateway costs a request, beside the least that a relay can do and beside other gateways, all in one run.

    python -m benchmarks.gateway --json out.json

One core for the server under test; the load and a mock upstream (no model) share the other. Keys, budgets, limits,
traces and metrics are on. The JSON holds exactly: bare_rps, passthrough_rps, auto_rps, passthrough_p50_ms, litellm_rps,
portkey_rps (null where `make bench-peers` did not install it), rss_mb, ready_s, two_workers_ratio. The streaming
figures are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.http_load import CHUNKS, Load, free_port, process, request_bytes, run_load
from benchmarks.output import write_json
from orchestrator.storage.account_types import AccountLimits, NewKey
from orchestrator.storage.accounts import Accounts
from orchestrator.storage.database import open_database

SERVER_CORE, LOAD_CORE = 0, 1
CHAT = "/v1/chat/completions"
SECONDS = 4.0
ROUNDS = 3
SLOW_STREAMS, SLOW_GAP_S = 1_000, 0.1
PEERS = Path(__file__).parent.parent / "build"
QUESTION = (
    "What is the capital of the country whose president visited Lima in {}, and how many people live there today?"
)


def chat(model: str, text: str, **fields: Any) -> bytes:
    return json.dumps({"model": model, "messages": [{"role": "user", "content": text}], **fields}).encode()


@contextmanager
def upstream(gap_s: float = 0.0) -> Iterator[int]:
    port = free_port()
    with process(sys.executable, "-m", "benchmarks.http_load", str(port), str(gap_s), core=LOAD_CORE, port=port):
        yield port


@contextmanager
def bare(upstream_port: int) -> Iterator[int]:
    port = free_port()
    options = ("--loop", "uvloop", "--http", "httptools", "--log-level", "error", "--no-access-log")
    command = (sys.executable, "-m", "uvicorn", "benchmarks.bare_relay:app", "--port", str(port), *options)
    with process(*command, core=SERVER_CORE, port=port, UPSTREAM=f"http://127.0.0.1:{upstream_port}"):
        yield port


class Ours:
    """The gateway with everything on; `key` is a key with a budget and all limits."""

    def __init__(self, folder: Path, upstream_port: int) -> None:
        models = {
            name: {
                "provider": "compatible",
                "base_url": f"http://127.0.0.1:{upstream_port}/v1",
                "model": "mock",
                "skill": skill,
                "input_usd_per_mtok": price,
                "output_usd_per_mtok": 4 * price,
            }
            for name, skill, price in (("small", 0.6, 0.1), ("medium", 0.8, 0.5), ("large", 0.95, 2.5))
        }
        self.folder = folder
        self.config = folder / "gateway.json"  # JSON is YAML
        self.config.write_text(
            json.dumps(
                {"models": models, "memory": None, "strategy": "single", "gateway": {"database": str(folder / "g.db")}}
            )
        )
        accounts = Accounts(open_database(folder / "g.db"))
        org = accounts.add_org("bench", AccountLimits(usd=1e6))
        team = accounts.add_team(org.id, "bench", AccountLimits(usd=1e5))
        limits = AccountLimits(usd=1e4, requests_per_minute=10**8, tokens_per_minute=10**11, concurrency=10**4)
        self.key = accounts.add_key(NewKey("bench", org.id, team.id, limits=limits))[1]

    @contextmanager
    def running(self, workers: int = 1) -> Iterator[tuple[int, subprocess.Popen[bytes], float]]:
        """(port, process, seconds from start to the first answer)."""
        port = free_port()
        command = (
            sys.executable,
            "-m",
            "orchestrator",
            "serve",
            "--config",
            str(self.config),
            "--port",
            str(port),
            "--workers",
            str(workers),
        )
        cores = SERVER_CORE if workers == 1 else [SERVER_CORE, LOAD_CORE]
        began = time.perf_counter()
        with process(*command, core=cores, port=port) as server:
            probe = run_load(port, [self.request("small")], connections=1, count=1)
            ready_s = time.perf_counter() - began
            assert probe.statuses == {200: 1}, probe.statuses
            yield port, server, ready_s

    def request(self, model: str, **fields: Any) -> bytes:
        return request_bytes(CHAT, chat(model, "hello " * 20, **fields), key=self.key)

    def questions(self, before: str = "") -> list[bytes]:
        """Two thousand different ones, so that no decision is made twice in a row; `before` is what they are about."""
        return [request_bytes(CHAT, chat("auto", before + QUESTION.format(n)), key=self.key) for n in range(2_000)]


def measured(port: int, requests: list[bytes], *, connections: int, seconds: float = SECONDS) -> Load:
    load = run_load(port, requests, connections=connections, seconds=seconds)
    if set(load.statuses) != {200}:
        raise RuntimeError(f"not every answer was good: {load.statuses}")
    return load


def rss_mb(server: subprocess.Popen[bytes]) -> float:
    """Resident memory of a process and its children, in MB."""
    listed = subprocess.run(
        ["ps", "-o", "rss=", "--pid", str(server.pid), "--ppid", str(server.pid)],
        capture_output=True,
        text=True,
        check=True,
    )
    return sum(map(int, listed.stdout.split())) / 1024


def median_of(rounds: int, measure: Callable[[], float]) -> float:
    return statistics.median(measure() for _ in range(rounds))


def compare(folder: Path, figures: dict[str, Any]) -> None:
    """The bare relay and the gateway take turns, so that a slow moment of the machine slows both."""
    with upstream() as up:
        ours = Ours(folder, up)
        plain, streaming = ours.request("small"), ours.request("small", stream=True)
        bare_request = request_bytes(CHAT, chat("mock", "hello " * 20))
        bare_stream = request_bytes(CHAT, chat("mock", "hello " * 20, stream=True))
        questions = ours.questions()
        with bare(up) as bare_port, ours.running() as (port, server, ready_s):
            for warm in (bare_port, port):
                measured(warm, [bare_request if warm == bare_port else plain], connections=8, seconds=1)
            rounds: dict[str, list[float]] = {}

            def note(name: str, value: float) -> None:
                rounds.setdefault(name, []).append(value)

            for _ in range(ROUNDS):
                note("bare_rps", measured(bare_port, [bare_request], connections=32).per_second)
                note("passthrough_rps", measured(port, [plain], connections=32).per_second)
                note("auto_rps", measured(port, questions, connections=32).per_second)
                note("bare_p50_ms", measured(bare_port, [bare_request], connections=1, seconds=2).percentile_ms(0.5))
                note("passthrough_p50_ms", measured(port, [plain], connections=1, seconds=2).percentile_ms(0.5))
                note("bare_streams", measured(bare_port, [bare_stream], connections=16).per_second)
                note("streams", measured(port, [streaming], connections=16).per_second)
            figures.update({name: statistics.median(values) for name, values in rounds.items()})
            figures["ready_s"], figures["rss_mb"] = ready_s, rss_mb(server)


def many_streams(folder: Path, figures: dict[str, Any]) -> None:
    """A thousand streams at once of 50 chunks, a chunk every 100 ms.

    How long any of them stalls, and what a chunk costs.
    """
    with upstream(SLOW_GAP_S) as up:
        ours = Ours(folder, up)
        direct = run_load(
            up, [request_bytes(CHAT, chat("mock", "x", stream=True))], connections=SLOW_STREAMS, count=SLOW_STREAMS
        )
        with ours.running() as (port, server, _):
            before = cpu_s(server)
            load = run_load(port, [ours.request("small", stream=True)], connections=SLOW_STREAMS, count=SLOW_STREAMS)
            used_s = cpu_s(server) - before
    if set(load.statuses) != {200}:
        raise RuntimeError(f"not every stream was good: {load.statuses}")
    figures["stall_ms"] = (max(load.gaps_s) - SLOW_GAP_S) * 1e3
    figures["direct_stall_ms"] = (max(direct.gaps_s) - SLOW_GAP_S) * 1e3
    figures["us_per_chunk"] = used_s / (SLOW_STREAMS * (CHUNKS + 1)) * 1e6


def cpu_s(server: subprocess.Popen[bytes]) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def workers(folder: Path, figures: dict[str, Any]) -> None:
    """One worker and two, both with every core to run on, and the load beside them.

    The questions are long ones, so that the gateway and not the load takes the processor: on two cores, what the load
    takes two workers cannot have. Each worker gets the same number of connections, so that it decides about as many
    questions at once.
    """
    with upstream() as up:
        ours = Ours(folder, up)
        requests = ours.questions(
            before="The harbour office writes in its annual report that trade grew again, and names the reasons. " * 40
        )

        def rps(count: int) -> float:
            with ours.running(count) as (port, _, _):
                measured(port, requests, connections=32 * count, seconds=1)
                return measured(port, requests, connections=32 * count).per_second

        pairs = [(rps(1), rps(2)) for _ in range(ROUNDS)]
    figures["two_workers_ratio"] = statistics.median(two / one for one, two in pairs)


def litellm(folder: Path) -> float | None:
    command = PEERS / "peers" / "bin" / "litellm"
    if not command.exists():
        return None
    with upstream() as up:
        port, key = free_port(), "sk-bench-9f2b7c41d0e84a6fb3"
        parameters = {"model": "openai/mock", "api_base": f"http://127.0.0.1:{up}/v1", "api_key": "x"}
        config = {
            "model_list": [{"model_name": "small", "litellm_params": parameters}],
            "general_settings": {"master_key": key},
        }
        path = folder / "litellm.yaml"
        path.write_text(json.dumps(config))
        line = (str(command), "--config", str(path), "--port", str(port), "--host", "127.0.0.1")
        with process(*line, core=SERVER_CORE, port=port, wait_s=180):
            return _peer_rps(port, request_bytes(CHAT, chat("small", "hello " * 20), key=key))


def portkey() -> float | None:
    start = PEERS / "peers-node" / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    node = shutil.which("node")
    if node is None or not start.exists():
        return None
    with upstream() as up:
        port = free_port()
        with process(node, str(start), f"--port={port}", "--headless", core=SERVER_CORE, port=port):
            plain = request_bytes(CHAT, chat("mock", "hello " * 20), key="x")
            routed = (
                b"content-type: application/json\r\nx-portkey-provider: openai\r\nx-portkey-custom-host: "
                b"http://127.0.0.1:%d/v1\r\n" % up
            )
            return _peer_rps(port, plain.replace(b"content-type: application/json\r\n", routed))


def _peer_rps(port: int, request: bytes) -> float:
    deadline = time.monotonic() + 120
    while run_load(port, [request], connections=1, count=1).statuses != {200: 1}:
        if time.monotonic() > deadline:
            raise RuntimeError("the peer does not answer")
        time.sleep(0.5)
    measured(port, [request], connections=8, seconds=1)
    return median_of(ROUNDS, lambda: measured(port, [request], connections=32).per_second)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CORE})
    figures: dict[str, Any] = {}
    for part in (compare, many_streams, workers):
        with tempfile.TemporaryDirectory() as folder:
            part(Path(folder), figures)
    with tempfile.TemporaryDirectory() as folder:
        figures["litellm_rps"], figures["portkey_rps"] = litellm(Path(folder)), portkey()
    for line in told(figures):
        print(line)
    names = (
        "bare_rps",
        "passthrough_rps",
        "auto_rps",
        "passthrough_p50_ms",
        "litellm_rps",
        "portkey_rps",
        "rss_mb",
        "ready_s",
        "two_workers_ratio",
    )
    write_json({name: None if figures[name] is None else round(figures[name], 3) for name in names}, options.json)


def told(figures: dict[str, Any]) -> list[str]:
    """The figures as lines to read."""
    bare_rps, ours = figures["bare_rps"], figures["passthrough_rps"]
    peers = []
    for name in ("litellm", "portkey"):
        rps = figures[f"{name}_rps"]
        peers.append(
            f"{name}: not installed (make bench-peers)"
            if rps is None
            else f"{name}: {rps:,.0f} a second, we {ours / rps:.1f} x"
        )
    return [
        f"bare relay: {bare_rps:,.0f} requests a second, p50 {figures['bare_p50_ms']:.2f} ms",
        f"pass-through: {ours:,.0f} ({ours / bare_rps:.2f} x), p50 {figures['passthrough_p50_ms']:.2f} ms",
        f"auto, one draft: {figures['auto_rps']:,.0f} ({figures['auto_rps'] / bare_rps:.2f} x)",
        f"streams of {CHUNKS} chunks: bare {figures['bare_streams']:,.0f} a second, here {figures['streams']:,.0f} "
        f"({figures['streams'] / figures['bare_streams']:.2f} x)",
        f"{SLOW_STREAMS:,} streams at once: longest stall {figures['stall_ms']:.0f} ms (without a gateway "
        f"{figures['direct_stall_ms']:.0f} ms), "
        f"{figures['us_per_chunk']:.0f} us of processor time a chunk",
        f"two workers: {figures['two_workers_ratio']:.2f} x one; ready in {figures['ready_s']:.2f} s; "
        f"{figures['rss_mb']:.0f} MB",
        *peers,
    ]


if __name__ == "__main__":
    main()
