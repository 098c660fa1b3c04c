"""Fine-tuning of a model of the fleet at its provider, with what a job exported."""

from __future__ import annotations

from orchestrator.backends.fine_tuning import FineTuning, TuningStatus
from orchestrator.backends.remote import RemoteBackend
from orchestrator.config.distill_job import DistillJob
from orchestrator.engine.orchestrator import Orchestrator
from orchestrator.errors import ConfigError
from orchestrator.jsontypes import JsonObject
from orchestrator.tokens.estimate import estimate_tokens


def exported(job: DistillJob) -> tuple[bytes, bytes, int]:
    """Rows to train on, rows to test on, and about how many tokens an epoch has.

    Raises `ConfigError` where the job has exported nothing.
    """
    train, test = (job.out_folder / f"{part}.openai.jsonl" for part in ("train", "test"))
    if not train.exists() or not train.stat().st_size:
        raise ConfigError(f"{train} is not there", remedy="Run the job first, with `openai` among export.formats")
    rows = train.read_bytes()
    return rows, test.read_bytes() if test.exists() else b"", estimate_tokens(rows.decode())


def check_tunable(fleet: Orchestrator, model: str) -> RemoteBackend:
    """The model of the fleet. Raises `ConfigError` where no provider serves it."""
    backend = fleet.backends.get(model)
    if not isinstance(backend, RemoteBackend):
        raise ConfigError(
            f"{model!r} is no model of this fleet that a provider serves", remedy=f"It has: {', '.join(fleet.backends)}"
        )
    return backend


async def begin_tuning(
    fleet: Orchestrator, model: str, train: bytes, test: bytes, *, seed: int, epochs: int | None
) -> tuple[FineTuning, str]:
    """Uploads the rows and begins. Raises `ConfigError` on a model that cannot be tuned, else `BackendError`."""
    tuning = FineTuning(check_tunable(fleet, model))
    return tuning, await tuning.begin(train, test, seed=seed, epochs=epochs)


async def wait_for_tuning(tuning: FineTuning, job: str, *, wait: bool) -> JsonObject:
    """How the job ended, or how far it is."""
    try:
        found: TuningStatus = await tuning.wait(job) if wait else await tuning.status(job)
    finally:
        await tuning.aclose()
    return {
        "id": found.id,
        "state": found.state,
        "model": found.model,
        "reason": found.reason,
        "trained_tokens": found.trained_tokens,
    }
