"""What asking a model costs beside the model: `python -m benchmarks.backends --json FILE`.

One core for the process under test, the other for a mock upstream on loopback (no model). `calls_per_s`: complete calls
with reservation, trace and settlement, 32 in flight; `ratio_to_tensorzero`: of what the embedded client of the package
tensorzero does in the same run (null where `make bench-peers` did not install it); `mb_per_1000_streams`: memory of a
thousand open streams; `added_ttft_ms`: time to the first token beyond that of a bare socket, medians.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.gateway import PEERS, SERVER_CORE, upstream
from benchmarks.output import write_json

ROUNDS = 3
GAP_S = 0.5  # between the chunks of a stream that is to stay open


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="not needed: nothing is read")
    parser.add_argument("--json", type=Path, nargs="?", help="also write the result to this file")
    parser.add_argument("--seconds", type=float, default=4.0, help="how long calls are counted, each time")
    parser.add_argument(
        "--transport",
        choices=("wire", "httpx"),
        default="wire",
        help="our own wire, or the one behind proxies and HTTP/2",
    )
    options = parser.parse_args()
    seconds, transport = str(options.seconds), options.transport
    with upstream() as port:
        peer = PEERS / "peers" / "bin" / "python"
        has_peer = (
            peer.exists()
            and subprocess.run([peer, "-c", "import tensorzero"], capture_output=True, check=False).returncode == 0
        )
        rounds = []
        for _ in range(ROUNDS):  # in turn, so that a slow minute of the machine is one of both
            ours = measured("calls", port, seconds, transport)["per_second"]
            theirs = measured("tensorzero", port, seconds, python=str(peer))["per_second"] if has_peer else None
            rounds.append((ours, theirs))
            print(f"calls a second: {ours:,.0f}" + (f", tensorzero {theirs:,.0f}" if theirs else ""))
        first = measured("ttft", port, seconds, transport)
        print(f"first token after {first['ours_s'] * 1e3:.3f} ms, on a bare socket {first['bare_s'] * 1e3:.3f} ms")
    with upstream(GAP_S) as port:
        held = measured("streams", port, seconds, transport)
    write_json(
        {
            "calls_per_s": round(statistics.median(ours for ours, _ in rounds), 0),
            "ratio_to_tensorzero": round(statistics.median(ours / theirs for ours, theirs in rounds), 3)
            if has_peer
            else None,
            "mb_per_1000_streams": round(held["mb"], 2),
            "added_ttft_ms": round((first["ours_s"] - first["bare_s"]) * 1e3, 3),
        },
        options.json,
    )


def measured(kind: str, port: int, *more: str, python: str = sys.executable) -> dict[str, Any]:
    """One figure, in a process of its own on one core."""
    done = subprocess.run(
        [python, "-m", "benchmarks.backend_calls", kind, str(port), *more],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE}),
    )
    if done.returncode:
        raise RuntimeError(f"{kind}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
