"""Kill the memory at random moments and look what is left: `python -m benchmarks.durability --json FILE`.

A child process adds (one by one, and in batches), deletes, recalls, sums up and writes snapshots in several threads,
and says so only after the memory has acknowledged it. The parent kills it with SIGKILL at a random moment, opens the
file, and checks: every acknowledged add is there unless its deletion had begun; nothing whose deletion was acknowledged
is, not even in a summary; a batch is there whole or not at all; and what recall finds (through whatever snapshot was
left) is what the store holds.

Killing a process proves nothing about power cuts: for those SQLite's synchronous=FULL has to be believed.
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path

from benchmarks.output import write_json
from orchestrator.memory import HashingEncoder, Memory, NewRecord, Thresholds

KILLS = 200
KILLS_PER_FILE = 5  # scopes stay small enough for a recall that returns all of them
LONGEST_S = 0.4
SCOPES = ("a", "a/b", "c")
THREADS = 4
BATCH = 5
_NAMED = re.compile(r"\b(lamp|oil) (\d+(?:\.\d+)+)")
_said = threading.Lock()


def work(path: Path, seed: int) -> None:
    """The child: never returns. Each line tells what is about to happen, or what has been acknowledged."""
    memory = Memory(path, encoder=HashingEncoder(32), thresholds=Thresholds(snapshot_from=1, snapshot_growth=1.0))

    def loop(number: int) -> None:
        rng = random.Random(f"{seed}.{number}")
        count, mine = 0, list[tuple[str, int, str]]()
        while True:
            count += 1
            scope, roll = rng.choice(SCOPES), rng.random()
            if roll < 0.5:
                text = f"lamp {seed}.{number}.{count}"
                record = memory.remember(text, scope)
                mine.append((scope, record.id, text))
                say(f"added\t{scope}\t{text}")
            elif roll < 0.7:
                texts = [f"oil {seed}.{number}.{count}.{part}" for part in range(BATCH)]
                say(f"adding\t{scope}\t" + "\t".join(texts))
                stored = memory.remember_many([NewRecord(text) for text in texts], scope)
                mine.extend((scope, record.id, record.text) for record in stored)
                say(f"added\t{scope}\t" + "\t".join(texts))
            elif roll < 0.9 and mine:
                where, record_id, text = mine.pop(rng.randrange(len(mine)))
                say(f"deleting\t{where}\t{text}")
                memory.forget(where, [record_id])
                say(f"deleted\t{where}\t{text}")
            elif roll < 0.93:
                memory.summarize(scope)
                say("summarized")
            elif roll < 0.96:
                memory.snapshot()
                say("snapshot")
            else:
                memory.recall(f"lamp oil {count}", scope)

    for number in range(THREADS):
        threading.Thread(target=loop, args=(number,), daemon=True).start()
    say("working")
    time.sleep(60)


def say(line: str) -> None:
    with _said:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def kill_once(path: Path, seed: int, rng: random.Random) -> list[list[str]]:
    """Starts the child, kills it, and returns what it said, each line split at tabs."""
    child = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.durability", "--child", str(path), "--seed", str(seed)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    lines = [child.stdout.readline()]
    reader = threading.Thread(target=lambda out=child.stdout: lines.extend(out))  # type: ignore[misc]
    reader.start()
    time.sleep(rng.uniform(0.0, LONGEST_S))
    child.kill()
    child.wait()
    reader.join()
    return [line.rstrip("\n").split("\t") for line in lines if line.endswith("\n")]


class Ledger:
    """What must be there, what may be, and what must not, over all rounds. Texts are unique."""

    def __init__(self) -> None:
        self.added: dict[str, set[str]] = defaultdict(set)
        self.deleting: set[str] = set()
        self.deleted: set[str] = set()
        self.batches: list[tuple[str, frozenset[str]]] = []
        self.summaries = self.snapshots = 0

    def hear(self, lines: list[list[str]]) -> None:
        for kind, *rest in lines:
            if kind == "added":
                self.added[rest[0]].update(rest[1:])
            elif kind == "adding":
                self.batches.append((rest[0], frozenset(rest[1:])))
            elif kind == "deleting":
                self.deleting.update(rest[1:])
            elif kind == "deleted":
                self.deleted.update(rest[1:])
            self.summaries += kind == "summarized"
            self.snapshots += kind == "snapshot"

    def judge(self, memory: Memory) -> dict[str, int]:
        found = {scope: {record.text for record in memory.export(scope)} for scope in SCOPES}
        everything = set().union(*found.values())
        lost = sum(len(texts - found[scope] - self.deleting) for scope, texts in self.added.items())
        torn = sum(
            0 < len((batch - self.deleting) & found[scope]) < len(batch - self.deleting)
            for scope, batch in self.batches
        )
        summed_up = {
            f"{kind} {number}"
            for scope in SCOPES
            for one in memory.summaries(scope)
            for kind, number in _NAMED.findall(one.text)
        }
        disagreeing = 0
        for scope in SCOPES:
            recalled = {
                item.record.text for item in memory.recall("lamp oil", scope, token_budget=10**9, limit=10**6).items
            }
            disagreeing += recalled != found[scope]
        return {
            "lost": lost,
            "resurrected": len((everything | summed_up) & self.deleted),
            "torn_batches": torn,
            "disagreeing": disagreeing,
        }


def run(kills: int, folder: Path) -> dict[str, int]:
    rng = random.Random(0)
    totals: dict[str, int] = defaultdict(int)
    for first in range(0, kills, KILLS_PER_FILE):
        path, ledger = folder / f"memory{first}.db", Ledger()
        for seed in range(first, min(first + KILLS_PER_FILE, kills)):
            ledger.hear(kill_once(path, seed, rng))
            with Memory(path, encoder=HashingEncoder(32)) as memory:
                for name, count in ledger.judge(memory).items():
                    totals[name] += count
        totals["acknowledged_adds"] += sum(map(len, ledger.added.values()))
        totals["acknowledged_deletes"] += len(ledger.deleted)
        totals["summaries"] += ledger.summaries
        totals["snapshots"] += ledger.snapshots
    return {"kills": kills, **totals}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--json", type=Path, nargs="?", help="also write the result to this file")
    parser.add_argument("--data", help="not used; accepted so that every benchmark takes the same options")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child is not None:
        work(arguments.child, arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        write_json(run(arguments.kills, Path(folder)), arguments.json)


if __name__ == "__main__":
    main()
