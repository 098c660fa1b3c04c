"""A fleet's answers kept in a file, and given again without a network: record once, replay in every test."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from orchestrator.backends.base import Backend, Delta, LocalBackend, Request, as_wire
from orchestrator.errors import BackendRejected, ConfigError
from orchestrator.jsontypes import JsonObject
from orchestrator.router import ModelProfile
from orchestrator.router.profile import PriceStep
from orchestrator.types import Completion, Usage

VERSION = 1
WORD_DELTAS = 8  # a replayed stream gives at most so many words at once


class NotRecorded(BackendRejected):
    """The file holds no answer to this request."""

    code = "not_recorded"


def record(backends: Mapping[str, Backend], path: str | Path) -> dict[str, Backend]:
    """The same backends; whatever they answer is also written to `path`, for `replay`.

    The file holds the texts of requests and answers as JSON lines, and no key or header. What was in it is replaced.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps({"version": VERSION, "model": name, "profile": _profile_json(backend.profile)}, ensure_ascii=False)
        for name, backend in backends.items()
    ]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return {name: RecordingBackend(backend, path) for name, backend in backends.items()}


def replay(path: str | Path) -> dict[str, Backend]:
    """Backends that give the answers in a file that `record` wrote, and ask nobody.

    Equal requests get the answers in the order in which they were recorded, the last one again and again. Raises
    `ConfigError` on a file that cannot be read; a request that is not in it raises `NotRecorded`.
    """
    profiles: dict[str, ModelProfile] = {}
    answers: dict[str, dict[str, list[JsonObject]]] = {}
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        for line in lines:
            row: JsonObject = json.loads(line)
            if "profile" in row:
                profiles[row["model"]] = _profile_of(row["profile"])
                answers[row["model"]] = {}
            else:
                answers[row["model"]].setdefault(row["key"], []).append(row)
    except OSError as error:
        raise ConfigError(
            f"the recording {path} cannot be read: {error.strerror}", remedy="Record it first: testing.record(...)"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is no recording of a fleet: {error}", remedy="Record it again") from error
    return {name: ReplayedBackend(profile, answers[name], Path(path)) for name, profile in profiles.items()}


def record_or_replay(path: str | Path, make: Callable[[], Mapping[str, Backend]]) -> dict[str, Backend]:
    """What a fixture needs: the recording where there is one, else `make()` asked for real and recorded.

    ORCHESTRATOR_RECORD=1 in the environment records anew.

    Example:
        >>> import tempfile
        >>> from orchestrator import Orchestrator
        >>> from orchestrator.testing import ScriptedBackend, record_or_replay
        >>> path = f"{tempfile.mkdtemp()}/fleet.jsonl"
        >>> for _ in range(2):  # the second time nothing is asked
        ...     models = record_or_replay(path, lambda: {"small": ScriptedBackend("small", "42")})
        ...     with Orchestrator(models) as fleet:
        ...         print(fleet.answer_sync("How many?").text)
        42
        42
    """
    if Path(path).exists() and os.environ.get("ORCHESTRATOR_RECORD") != "1":
        return replay(path)
    return record(make(), path)


class RecordingBackend:
    """A backend whose answers are also kept."""

    def __init__(self, backend: Backend, path: Path) -> None:
        self._backend = backend
        self._path = path

    @property
    def profile(self) -> ModelProfile:
        """What is known of the model."""
        return self._backend.profile

    async def complete(self, request: Request) -> Completion:
        """The backend's answer, kept."""
        return self._kept(request, await self._backend.complete(request))

    async def stream(self, request: Request) -> AsyncIterator[Delta | Completion]:
        """The backend's stream; its completion is kept."""
        async for piece in self._backend.stream(request):
            yield self._kept(request, piece) if isinstance(piece, Completion) else piece

    def estimate(self, request: Request) -> float | None:
        """As the backend has it."""
        return self._backend.estimate(request)

    async def aclose(self) -> None:
        """Closes the backend."""
        await self._backend.aclose()

    def _kept(self, request: Request, done: Completion) -> Completion:
        row = {
            "model": self.profile.name,
            "key": request_key(request),
            "question": request.question,
            "completion": asdict(done),
        }
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        return done


class ReplayedBackend(LocalBackend):
    """A model that says what it said when it was recorded."""

    def __init__(self, profile: ModelProfile, answers: Mapping[str, Sequence[JsonObject]], path: Path) -> None:
        super().__init__(profile)
        self._answers = answers
        self._path = path
        self._given: dict[str, int] = {}

    async def complete(self, request: Request) -> Completion:
        """The next recorded answer to this request. Raises `NotRecorded`."""
        key = request_key(request)
        recorded = self._answers.get(key)
        if recorded is None:
            asked = {row["question"] for rows in self._answers.values() for row in rows}
            told = "with other settings or notes" if request.question in asked else "which was not asked then"
            raise NotRecorded(
                f"{self._path} holds no answer of {self.profile.name} to {request.question[:80]!r}, {told}",
                remedy="Record it again: ORCHESTRATOR_RECORD=1, or delete the file",
                status=404,
            )
        number = self._given.get(key, 0)
        self._given[key] = number + 1
        said = recorded[min(number, len(recorded) - 1)]["completion"]
        return Completion(
            **{
                **said,
                "usage": Usage(**said["usage"]),
                "citations": tuple(said["citations"]),
                "others": tuple(said["others"]),
            }
        )

    async def stream(self, request: Request) -> AsyncIterator[Delta | Completion]:
        """The recorded answer in pieces of some words."""
        done = await self.complete(request)
        words = (done.text or "").split(" ")
        for at in range(0, len(words), WORD_DELTAS):
            piece = " ".join(words[at : at + WORD_DELTAS])
            if text := piece + (" " if at + WORD_DELTAS < len(words) else ""):
                yield Delta(text)
        yield done


def request_key(request: Request) -> str:
    """The same for requests that any model would take for the same."""
    told: dict[str, Any] = {
        "messages": [as_wire(message) for message in request.messages],
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "seed": request.seed,
        "several": request.several,
        "schema": request.schema,
        "stop": request.stop,
        "reasoning": request.reasoning,
        "extra_body": request.extra_body,
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:24]


def _profile_json(profile: ModelProfile) -> JsonObject:
    return {**asdict(profile), "capabilities": sorted(profile.capabilities)}


def _profile_of(stated: JsonObject) -> ModelProfile:
    steps = tuple(PriceStep(**step) for step in stated["price_steps"])
    return ModelProfile(**{**stated, "capabilities": frozenset(stated["capabilities"]), "price_steps": steps})
