"""Distillation: the strong models teach, students answer, and the promise holds.

A job collects texts, lets the fleet answer them, keeps what verification believes, exports it, and trains a student
that answers what it has mastered (docs/distill.md).

Example:
    >>> from orchestrator import Orchestrator
    >>> from orchestrator.distill import load_job, run_job
    >>> async def work():
    ...     async with Orchestrator.from_config("orchestrator.yaml", memory=None) as fleet:
    ...         return await run_job(load_job("news.yaml"), fleet)
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.config.distill_job import DistillJob as DistillJob
    from orchestrator.config.distill_job import load_job as load_job
    from orchestrator.distill.job import JobRun as JobRun
    from orchestrator.distill.job import run_job as run_job
    from orchestrator.distill.result import JobResult as JobResult

_HOME = {
    "DistillJob": "orchestrator.config.distill_job",
    "load_job": "orchestrator.config.distill_job",
    "JobRun": "orchestrator.distill.job",
    "run_job": "orchestrator.distill.job",
    "JobResult": "orchestrator.distill.result",
}
"""Names are loaded when first used: a gateway that only asks for the status trains nothing."""


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
