"""Scripts for training a generative student elsewhere, written beside the exported files."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from orchestrator.config.distill_job import DistillJob
from orchestrator.distill.export import write_text

SCRIPTS = ("train_lora.py", "train_dpo.py")


def write_recipes(job: DistillJob, folder: Path) -> list[Path]:
    """Writes them, ready to run. Raises `ConfigError` where they cannot be written."""
    target = folder / "recipes"
    written = [write_text(target / name, _template(name).replace("{seed}", str(job.seed))) for name in SCRIPTS]
    pairs = folder / "preferences.jsonl"
    count = pairs.read_bytes().count(b"\n") if pairs.exists() else 0
    written.append(write_text(target / "README.md", _template("README.md").format(name=job.name, pairs=count)))
    return written


def _template(name: str) -> str:
    return (files("orchestrator.distill") / "recipe_files" / f"{name}.txt").read_text(encoding="utf-8")
