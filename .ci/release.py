"""Builds what is published, and says what it is made of: `python .ci/release.py`, called by `make release`.

Into `dist/` go the source archive and the wheel (built from that archive), `sbom.cdx.json` (a CycloneDX 1.6 bill of the
locked core dependencies) and `provenance.json` (an in-toto statement with SLSA's provenance predicate, version 1: which
commit, which builder, which hashes). Nothing is uploaded.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"


def main() -> None:
    """Builds, checks and describes."""
    shutil.rmtree(DIST, ignore_errors=True)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(DIST), str(ROOT))
    files = sorted(DIST.glob("*.whl")) + sorted(DIST.glob("*.tar.gz"))
    run(sys.executable, "-m", "twine", "check", "--strict", *map(str, files))
    write_bill(DIST / "sbom.cdx.json")
    write(DIST / "provenance.json", provenance(files))
    for file in sorted(DIST.iterdir()):
        sys.stdout.write(f"{file.stat().st_size:>12,}  {file.name}\n")


def run(*command: str) -> str:
    """What a command prints. Raises `CalledProcessError` where it fails, after what it said was shown."""
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def write_bill(path: Path) -> None:
    """The bill of materials of what `pip install compound-orchestrator` brings, at the locked versions."""
    requirements = DIST / "requirements.txt"
    requirements.write_text("\n".join(core_requirements()) + "\n", encoding="utf-8")
    command = (sys.executable, "-m", "cyclonedx_py", "requirements", str(requirements), "--spec-version", "1.6")
    run(*command, "--pyproject", str(ROOT / "pyproject.toml"), "--output-file", str(path))
    requirements.unlink()


def core_requirements() -> list[str]:
    """The locked versions of the dependencies that everybody gets, with theirs."""
    locked = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if "==" in line and not line.startswith("#"):
            locked[line.split("==")[0].strip().lower()] = line.split(";")[0].strip()
    direct = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    wanted, seen = [name_of(each) for each in direct], set()
    while wanted:
        name = wanted.pop()
        if name not in seen:
            seen.add(name)
            wanted += requirements_of(name)
    return [locked[name] for name in sorted(seen) if name in locked]


def name_of(requirement: str) -> str:
    """The normalised name at the start of a requirement."""
    bare = "".join(character if character.isalnum() or character in "-_." else " " for character in requirement)
    return bare.split()[0].replace("_", "-").replace(".", "-").lower()


def requirements_of(name: str) -> list[str]:
    """What an installed distribution needs, extras left out."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        return [name_of(each) for each in requires(name) or () if "extra ==" not in each]
    except PackageNotFoundError:
        return []


def provenance(files: list[Path]) -> dict[str, Any]:
    """An in-toto statement about the files (https://slsa.dev/spec/v1.0/provenance)."""
    commit = run("git", "rev-parse", "HEAD").strip()
    is_clean = not run("git", "status", "--porcelain").strip()
    built = datetime.now(UTC).isoformat(timespec="seconds")
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {"name": file.name, "digest": {"sha256": hashlib.sha256(file.read_bytes()).hexdigest()}} for file in files
        ],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "https://packaging.python.org/en/latest/specifications/pyproject-toml/",
                "externalParameters": {"workflow": "make release"},
                "internalParameters": {"tree_is_clean": is_clean},
                "resolvedDependencies": [{"uri": "git:HEAD", "digest": {"gitCommit": commit}}],
            },
            "runDetails": {
                "builder": {
                    "id": "make release",
                    "version": {"python": platform.python_version(), "system": platform.system()},
                },
                "metadata": {"finishedOn": built},
            },
        },
    }


def write(path: Path, found: dict[str, Any]) -> None:
    """JSON, indented."""
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
