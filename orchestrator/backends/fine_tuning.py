"""Fine-tuning at a provider, by OpenAI's API (openai 3.54, resources.fine_tuning.jobs); other servers speak it, too.

The provider bills the training by its own prices: what it will cost is not known here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from orchestrator.backends.provider_batches import ProviderApi
from orchestrator.backends.remote import RemoteBackend
from orchestrator.errors import BadResponse, ConfigError
from orchestrator.jsontypes import JsonObject

if TYPE_CHECKING:
    import httpx

FIRST_POLL_S, LONGEST_POLL_S = 2.0, 60.0
State = Literal["running", "done", "failed", "cancelled"]
_STATES: dict[str, State] = {"succeeded": "done", "failed": "failed", "cancelled": "cancelled"}


@dataclass(frozen=True, slots=True)
class TuningStatus:
    """How far a job is.

    Attributes:
        id: The job's.
        state: Whether it runs.
        model: The name of the tuned model, once it is there.
        reason: Why it failed.
        trained_tokens: What the provider bills, once it tells.
    """

    id: str
    state: State
    model: str = ""
    reason: str = ""
    trained_tokens: int | None = None


class FineTuning:
    """Fine-tuning of one model. Errors are `BackendError` subclasses.

    Args:
        backend: The model that is to be tuned, as the fleet has it.
        transport: Replaces the network, for tests.

    Raises:
        ConfigError: Its provider does not speak OpenAI's API.
    """

    def __init__(self, backend: RemoteBackend, transport: httpx.AsyncBaseTransport | None = None) -> None:
        if backend.provider.batches != "openai":
            raise ConfigError(
                f"{backend.provider.title or backend.provider.name} cannot be asked to fine-tune",
                remedy="Use OpenAI or a server with its API, or the scripts in recipes/",
            )
        self._api = ProviderApi(backend, transport)
        self._model = backend.upstream.model

    async def begin(self, train: bytes, test: bytes, *, seed: int = 0, epochs: int | None = None) -> str:
        """Uploads rows (JSON lines of chats) and begins a job; its id."""
        body: JsonObject = {
            "model": self._model,
            "training_file": await self._upload("train.jsonl", train),
            "seed": seed,
            "method": {
                "type": "supervised",
                "supervised": {"hyperparameters": {"n_epochs": "auto" if epochs is None else epochs}},
            },
        }
        if test.strip():
            body["validation_file"] = await self._upload("test.jsonl", test)
        made = await self._api.json("POST", "/fine_tuning/jobs", json=body)
        if not isinstance(made.get("id"), str):
            told = "the job of fine-tuning has no id"
            raise BadResponse(told, remedy="Look at the provider's page", may_be_billed=True)
        return str(made["id"])

    async def status(self, job: str) -> TuningStatus:
        """How far a job is."""
        found = await self._api.json("GET", f"/fine_tuning/jobs/{job}")
        error = found.get("error") or {}
        return TuningStatus(
            job,
            _STATES.get(str(found.get("status")), "running"),
            str(found.get("fine_tuned_model") or ""),
            str(error.get("message") or "") if isinstance(error, dict) else str(error),
            found.get("trained_tokens"),
        )

    async def wait(
        self, job: str, *, poll_s: float = FIRST_POLL_S, on_status: Callable[[TuningStatus], None] = lambda _: None
    ) -> TuningStatus:
        """Until the job ends. Cancelling the wait leaves the job running: what was trained is billed anyway."""
        while True:
            status = await self.status(job)
            on_status(status)
            if status.state != "running":
                return status
            await asyncio.sleep(poll_s)
            poll_s = min(1.5 * poll_s, LONGEST_POLL_S)

    async def cancel(self, job: str) -> None:
        """Ends a job."""
        await self._api.json("POST", f"/fine_tuning/jobs/{job}/cancel")

    async def aclose(self) -> None:
        """Closes connections."""
        await self._api.aclose()

    async def _upload(self, name: str, rows: bytes) -> str:
        parts = {"file": (name, rows, "application/jsonl")}
        found = await self._api.json("POST", "/files", data={"purpose": "fine-tune"}, files=parts)
        if not isinstance(found.get("id"), str):
            raise BadResponse(f"{name} was uploaded and got no id", remedy="Try again", may_be_billed=False)
        return str(found["id"])
