"""A fleet's answers kept in a file, and given again without a network: record once, replay in every test."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from orchestrator.backends.base import Backend, Delta, LocalBackend, Request, as_wire
from orchestrator.errors import BackendRejected, ConfigError
from orchestrator.fleet.named import ModelLike, connect_fleet
from orchestrator.jsontypes import JsonObject
from orchestrator.router import ModelProfile
from orchestrator.router.profile import PriceStep
from orchestrator.types import Completion, Usage

VERSION = 1
Recordable = Mapping[str, ModelLike] | Sequence[ModelLike]
"""Models by name, or a list of them."""
WORD_DELTAS = 8  # a replayed stream gives at most so many words at once


class NotRecorded(BackendRejected):
    """The file holds no answer to this request."""

    code = "not_recorded"


def record(models: Recordable, path: str | Path) -> dict[str, Backend]:
    """The same models as backends; whatever they answer is also written to `path`, for `replay`.

    `models` are what `Orchestrator` takes: names, `Model`s or backends by name, or a list of them. The file holds the
    texts of requests and answers as JSON lines, and no key or header. What was in it stays until the first answer; what
    one process records into one file, from several fixtures too, is kept together.
    """
    backends = connect_fleet([models] if isinstance(models, Mapping) else list(models))
    file = _RecordingFile.at(Path(path))
    return {name: RecordingBackend(backend, file) for name, backend in backends.items()}


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


def record_or_replay(path: str | Path, models: Recordable | Callable[[], Recordable]) -> dict[str, Backend]:
    """What a fixture needs: the recording where there is one, else the models, asked for real and recorded.

    `models`, or a function that gives them where they cannot be made without a key. ORCHESTRATOR_RECORD=1 in the
    environment records anew.

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
    is_open = _RecordingFile.is_open(Path(path))
    if Path(path).exists() and not is_open and os.environ.get("ORCHESTRATOR_RECORD") != "1":
        return replay(path)
    backends = record(models() if callable(models) else models, path)
    for backend in backends.values():  # what this process has recorded already is not asked for again
        assert isinstance(backend, RecordingBackend)
        backend.replays = is_open
    return backends


class _RecordingFile:
    """A file that this process records into: begun anew with the first answer, then added to."""

    _open: ClassVar[dict[Path, _RecordingFile]] = {}

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._models: set[str] = set()
        self._kept: dict[tuple[str, str], list[Completion]] = {}
        self._has_begun = False

    @classmethod
    def at(cls, path: Path) -> _RecordingFile:
        """The one for this path."""
        return cls._open.setdefault(path.absolute(), cls(path))

    @classmethod
    def is_open(cls, path: Path) -> bool:
        """Whether this process has recorded something into it."""
        found = cls._open.get(path.absolute())
        return found is not None and found._has_begun

    def find(self, model: str, key: str, number: int) -> Completion | None:
        """What was recorded as this model's answer `number` to a request."""
        kept = self._kept.get((model, key), [])
        return kept[number] if number < len(kept) else None

    def add(self, profile: ModelProfile, request: Request, done: Completion) -> None:
        """Keeps one answer, and before its first one what is known of its model."""
        key = request_key(request)
        row = {"model": profile.name, "key": key, "question": request.question, "completion": asdict(done)}
        with self._lock:
            self._kept.setdefault((profile.name, key), []).append(done)
            lines: list[JsonObject] = []
            if profile.name not in self._models:
                self._models.add(profile.name)
                lines.append({"version": VERSION, "model": profile.name, "profile": _profile_json(profile)})
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a" if self._has_begun else "w", encoding="utf-8") as file:
                file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in (*lines, row))
            self._has_begun = True


class RecordingBackend:
    """A backend whose answers are also kept."""

    def __init__(self, backend: Backend, file: _RecordingFile) -> None:
        self._backend = backend
        self._file = file
        self._given: dict[str, int] = {}
        self.replays = False
        """Whether what this process has recorded is given again instead of asked for."""

    @property
    def profile(self) -> ModelProfile:
        """What is known of the model."""
        return self._backend.profile

    async def complete(self, request: Request) -> Completion:
        """The backend's answer, kept."""
        found = self._found(request)
        return self._kept(request, await self._backend.complete(request)) if found is None else found

    async def stream(self, request: Request) -> AsyncIterator[Delta | Completion]:
        """The backend's stream; its completion is kept, or what was read of it by who left early."""
        if (found := self._found(request)) is not None:
            for delta in _deltas(found):
                yield delta
            yield found
            return
        read: list[str] = []
        is_whole = False
        try:
            async for piece in self._backend.stream(request):
                if isinstance(piece, Completion):
                    is_whole = True
                    yield self._kept(request, piece)
                else:
                    read.append(piece.text)
                    yield piece
        except GeneratorExit:
            if read and not is_whole:
                self._kept(request, Completion(self.profile.name, "".join(read)))
            raise

    def estimate(self, request: Request) -> float | None:
        """As the backend has it."""
        return self._backend.estimate(request)

    async def aclose(self) -> None:
        """Closes the backend."""
        await self._backend.aclose()

    def _found(self, request: Request) -> Completion | None:
        key = request_key(request)
        number = self._given.get(key, 0)
        self._given[key] = number + 1
        return self._file.find(self.profile.name, key, number) if self.replays else None

    def _kept(self, request: Request, done: Completion) -> Completion:
        self._file.add(self.profile, request, done)
        return done


def _deltas(done: Completion) -> Iterator[Delta]:
    """A whole answer in pieces of some words."""
    words = (done.text or "").split(" ")
    for at in range(0, len(words), WORD_DELTAS):
        piece = " ".join(words[at : at + WORD_DELTAS])
        if text := piece + (" " if at + WORD_DELTAS < len(words) else ""):
            yield Delta(text)


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
        for delta in _deltas(done):
            yield delta
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
        "certainty": request.certainty,
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:24]


def _profile_json(profile: ModelProfile) -> JsonObject:
    return {**asdict(profile), "capabilities": sorted(profile.capabilities)}


def _profile_of(stated: JsonObject) -> ModelProfile:
    steps = tuple(PriceStep(**step) for step in stated["price_steps"])
    return ModelProfile(**{**stated, "capabilities": frozenset(stated["capabilities"]), "price_steps": steps})
