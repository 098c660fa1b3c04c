"""How long a newcomer waits, and what the core install brings: `python -m benchmarks.cold_start --json [FILE]`.

`help_s`: whole process of `orchestrator --help`; `import_s`: `import orchestrator` inside a fresh interpreter; both
medians of 9 runs after a warm-up. `packages`: what `pip install compound-orchestrator` installs, this package included,
walked through the installed metadata.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from benchmarks.output import write_json

DISTRIBUTION = "compound-orchestrator"
RUNS = 9
IMPORT = "import time; t = time.perf_counter(); import orchestrator; print(time.perf_counter() - t)"


def median_of(run: Callable[[], float]) -> float:
    run()
    return round(statistics.median(run() for _ in range(RUNS)), 4)


def help_seconds() -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "orchestrator", "--help"], check=True, capture_output=True)
    return time.perf_counter() - start


def import_seconds() -> float:
    return float(subprocess.run([sys.executable, "-c", IMPORT], check=True, capture_output=True, text=True).stdout)


def core_packages() -> dict[str, float]:
    """Every distribution of the core install and its size in MB, largest first."""
    sizes: dict[str, float] = {}
    waiting = [DISTRIBUTION]
    while waiting:
        distribution = metadata.distribution(waiting.pop())
        name = distribution.metadata["Name"].lower().replace("_", "-")
        if name in sizes:
            continue
        files = (
            _own_files() if name == DISTRIBUTION else [Path(str(file.locate())) for file in distribution.files or []]
        )
        sizes[name] = round(sum(path.stat().st_size for path in files if path.is_file()) / 1e6, 2)
        requirements = (Requirement(text) for text in distribution.requires or [])
        waiting.extend(r.name for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""}))
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))


def _own_files() -> list[Path]:
    """Our own packages' files, also when they are installed in place."""
    root = Path(__file__).parents[1]
    packages = ("orchestrator", "router", "memory", "verifiers")
    return [path for package in packages for path in (root / package).rglob("*") if "__pycache__" not in path.parts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, nargs="?", help="also write the result to this file")
    parser.add_argument("--data", help="not used; accepted so that every benchmark takes the same options")
    arguments = parser.parse_args()
    packages = core_packages()
    result = {
        "help_s": median_of(help_seconds),
        "import_s": median_of(import_seconds),
        "packages": len(packages),
        "size_mb": round(sum(packages.values()), 1),
        "package_sizes_mb": packages,
    }
    write_json(result, arguments.json)


if __name__ == "__main__":
    main()
