"""A helper that sleeps for as long as it is told, then says what it was told."""

from __future__ import annotations

import json
import sys
import time


def main() -> None:
    for line in sys.stdin:
        time.sleep(json.loads(line)["s"])
        print(line, end="", flush=True)
